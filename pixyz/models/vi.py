"""VI: amortised variational inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import optim

from pixyz.distributions.base import Distribution
from pixyz.losses.elbo import ELBO
from pixyz.models.model import Model
from pixyz.utils import tolist


class VI(Model):
    r"""Amortised variational inference: the objective is minus the mean of the ELBO,
    :math:`\mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)]`.

    Args:
        p: the joint :math:`p(x,z)`.
        approximate_dist: the approximate posterior :math:`q(z|x)`.
        other_distributions: more distributions to train.
        optimizer, optimizer_params, clip_grad_norm, clip_grad_value, settings: see :class:`Model`.
    """

    def __init__(
        self, p: Distribution, approximate_dist: Distribution,
        other_distributions: Sequence[Distribution] | Distribution = (), optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, Any] | None = None, clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None, **settings: Any,
    ) -> None:
        super().__init__(
            -ELBO(p, approximate_dist).mean(), distributions=[p, approximate_dist, *tolist(other_distributions)],
            optimizer=optimizer, optimizer_params=optimizer_params, clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value, **settings,
        )
