"""Reconstruction: the density of a dict of observations given the state."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pixyz.distributions.base import Distribution, Params, sum_over
from pixyz.distributions.network import call_network
from pixyz.plan import Axis, Builder, Scope, Slot
from worldmodels.networks import MLP, ConvDecoder, linear


def symlog(x: Tensor) -> Tensor:
    r""":math:`\mathrm{sign}(x) \log(1 + |x|)`."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    r"""The inverse of :func:`symlog`."""
    return torch.sign(x) * torch.expm1(x.abs())


def vector_error(x: Tensor, loc: Tensor) -> Tensor:
    r""":math:`(\mathrm{symlog}(x) - \mu)^2`: minus the log of a normal of variance 1/2 of the symlog, up to a constant."""
    gap = symlog(x) - loc
    return gap * gap


def image_error(x: Tensor, loc: Tensor) -> Tensor:
    r""":math:`(x - \mu)^2` on pixels in [0, 1]."""
    gap = (x.to(loc.dtype) / 255 if x.dtype == torch.uint8 else x) - loc
    return gap * gap


class Reconstruction(Distribution):
    """One density of several variables, ``p(x_1, x_2, ...|h, s)``: squared errors as log-densities, up to a constant.

    Vectors are compared after symlog, images as pixels in [0, 1] (DreamerV3's reconstruction loss). A sample is the
    mean, in the observations' own units.

    Args:
        shapes: variable -> shape, ``[D]`` or ``[H, W, C]``.
        size: the size of the state.
        units, layers: the MLP of the vectors.
        depth: channels of the convolutions.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], size: int, units: int, layers: int, depth: int) -> None:
        super().__init__(list(shapes), ["deter", "stoch"], "p")
        self.returns: dict[str, str] = {}
        self.vectors = [k for k, s in shapes.items() if len(s) == 1]
        self.images = [k for k, s in shapes.items() if len(s) == 3]
        self.mlp = MLP(size, units, layers) if self.vectors else None
        self.heads = nn.ModuleDict({k: linear(units, shapes[k][0]) for k in self.vectors})
        self.cnn = nn.ModuleDict({k: ConvDecoder(size, tuple(shapes[k]), depth) for k in self.images})

    @property
    def distribution_name(self) -> str:
        return "Reconstruction"

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, Tensor]:
        """The mean of each variable (of its symlog for vectors)."""
        found = {k: self.cnn[k](deter, stoch) for k in self.images}
        if self.mlp is not None:
            hidden = self.mlp(deter, stoch)
            found.update({k: self.heads[k](hidden) for k in self.vectors})
        return found

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        return Params(builder, call_network(self, self, builder, scope, self.var), lambda params, name: None)

    def log_prob_from(
        self, builder: Builder, scope: Scope, params: Params, *, sum_features: bool, feature_dims: Sequence[int] | None
    ) -> Slot:
        total: Slot | None = None
        for key in self.var:
            formula = vector_error if key in self.vectors else image_error
            label = f"log {self.name}({key})"
            slot = builder.point(formula, scope.lookup(key), params[key], label=label)
            slot = sum_over(builder, slot, sum_features, feature_dims, label)
            total = slot if total is None else builder.point(operator.add, total, slot, label=f"log {self.prob_text}")
        assert total is not None
        return builder.point(operator.neg, total, label=f"log {self.prob_text}")

    def sample_from(
        self, builder: Builder, scope: Scope, params: Params, *, reparam: bool, particles: tuple[Axis, ...], mean: bool
    ) -> dict[str, Slot]:
        return {
            k: builder.point(symexp, params[k], label=f"mean of {k}") if k in self.vectors else params[k] for k in self.var
        }
