"""ML: maximum likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import optim

from pixyz.distributions.core.base import Distribution
from pixyz.models.model import Model
from pixyz.types import as_list


class ML(Model):
    r"""Maximum likelihood: the objective is the mean of :math:`-\log p(x)`.

    Args:
        p: the distribution.
        other_distributions: more distributions to train.
        optimizer, optimizer_params, clip_grad_norm, clip_grad_value, settings: see :class:`Model`.

    >>> from torch import nn
    >>> import torch
    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=nn.Parameter(torch.zeros(2)), scale=1.0, features_shape=[2])
    >>> model = ML(p, optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    >>> model.train({"x": torch.ones(8, 2)})
    tensor(2.8379)
    """

    def __init__(
        self,
        p: Distribution,
        other_distributions: Sequence[Distribution] | Distribution = (),
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **settings: Any,
    ) -> None:
        self.nll = -p.log_prob()
        super().__init__(
            self.nll.mean(),
            distributions=[p, *as_list(other_distributions)],
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **settings,
        )
