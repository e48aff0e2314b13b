"""VAE: reconstruction plus a regulariser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import optim

from pixyz.distributions.core.base import Distribution
from pixyz.expression import Loss, LossLike
from pixyz.models.model import Model
from pixyz.types import as_list


class VAE(Model):
    r"""A variational autoencoder (Kingma and Welling 2014): the mean of
    :math:`-\mathbb{E}_{q(z|x)}[\log p(x|z)]` + regulariser.

    Args:
        encoder: :math:`q(z|x)`.
        decoder: :math:`p(x|z)`.
        other_distributions: more distributions to train.
        regularizer: what is added, such as ``KullbackLeibler(q, prior)``; nothing if None.
        optimizer, optimizer_params, clip_grad_norm, clip_grad_value, settings: see :class:`Model`.

    >>> from torch import nn
    >>> import torch
    >>> from pixyz.distributions import Bernoulli, Normal
    >>> from pixyz.losses import KullbackLeibler
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
    >>> model = VAE(Inference(), Generator(), regularizer=KullbackLeibler(Inference(), prior))
    >>> model.train({"x": torch.ones(4, 2)}).shape
    torch.Size([])
    """

    def __init__(
        self,
        encoder: Distribution,
        decoder: Distribution,
        other_distributions: Sequence[Distribution] | Distribution = (),
        regularizer: LossLike | None = None,
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **settings: Any,
    ) -> None:
        loss: Loss = -decoder.log_prob().expectation(encoder)
        if regularizer is not None:
            loss = loss + regularizer
        super().__init__(
            loss.mean(),
            distributions=[encoder, decoder, *as_list(other_distributions)],
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **settings,
        )
