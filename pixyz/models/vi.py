"""VI: amortised variational inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import optim

from pixyz.distributions.core.base import Distribution
from pixyz.losses.elbo import ELBO
from pixyz.models.model import Model
from pixyz.types import as_list


class VI(Model):
    r"""Amortised variational inference: the objective is minus the mean of the ELBO,
    :math:`\mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)]`.

    Args:
        p: the joint :math:`p(x,z)`.
        approximate_dist: the approximate posterior :math:`q(z|x)`.
        other_distributions: more distributions to train.
        optimizer, optimizer_params, clip_grad_norm, clip_grad_value, settings: see :class:`Model`.

    >>> from torch import nn
    >>> import torch
    >>> from pixyz.distributions import Bernoulli, Normal
    >>> class Inference(Normal):
    ...     def __init__(self):
    ...         super().__init__("z", "x", "q", features_shape=[2])
    ...         self.net = nn.Linear(2, 2)
    ...
    ...     def forward(self, x):
    ...         return {"loc": self.net(x), "scale": torch.ones_like(x)}
    >>> class Generator(Bernoulli):
    ...     def __init__(self):
    ...         super().__init__("x", "z", features_shape=[2])
    ...         self.net = nn.Linear(2, 2)
    ...
    ...     def forward(self, z):
    ...         return {"logits": self.net(z)}
    >>> prior = Normal("z", loc=0.0, scale=1.0, features_shape=[2])
    >>> model = VI(Generator() * prior, Inference())
    >>> model.train({"x": torch.ones(4, 2)}).shape
    torch.Size([])
    """

    def __init__(
        self,
        p: Distribution,
        approximate_dist: Distribution,
        other_distributions: Sequence[Distribution] | Distribution = (),
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            -ELBO(p, approximate_dist).mean(),
            distributions=[p, approximate_dist, *as_list(other_distributions)],
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **settings,
        )
