"""Reconstruction: the density of a dict of observations given the state."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.network import call_network
from pixyz.distributions.core.params import Params, none_derived, sum_over
from pixyz.expression.protocol import Draw, Score
from pixyz.plan import Scope, Slot
from pixyz.plan.looks import Read
from worldmodels.images import PIXELS, ConvDecoder
from worldmodels.networks import MLP, linear
from worldmodels.scaling import Scaling, scalings

Vectors = Literal["symlog", "gaussian"]
STATE = ("deter", "stoch")
"""What the heads of an RSSM read."""
LOG_2PI = math.log(2 * math.pi)


def symlog(x: Tensor) -> Tensor:
    r""":math:`\mathrm{sign}(x) \log(1 + |x|)`."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    r"""The inverse of :func:`symlog`."""
    return torch.sign(x) * torch.expm1(x.abs())


def vector_error(x: Tensor, loc: Tensor) -> Tensor:
    r""":math:`(\mathrm{symlog}(x) - \mu)^2`: minus the log of a normal of variance 1/2 of the
    symlog, up to a constant.
    """
    gap = symlog(x) - loc
    return gap * gap


def image_error(x: Tensor, loc: Tensor) -> Tensor:
    r""":math:`(x - \mu)^2` on pixels in [0, 1]."""
    gap = (x.to(loc.dtype) / 255 if x.dtype == torch.uint8 else x) - loc
    return gap * gap


def vector_cost(x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    r""":math:`\frac{1}{2}(x - \mu)^2 / \sigma^2 + \log \sigma + \frac{1}{2}\log 2\pi`: minus the
    log of a normal.
    """
    gap = (x - loc) * torch.exp(-log_scale)
    return 0.5 * gap * gap + log_scale + 0.5 * LOG_2PI


class Reconstruction(Distribution):
    """One density of several variables, ``p(x_1, x_2, ...|h, s)``.

    Images are compared as pixels in [0, 1], vectors after symlog, by squared errors: log-densities
    up to a constant (DreamerV3's reconstruction loss). With ``vectors="gaussian"`` a vector has a
    normal density with one learned standard deviation a feature. A sample is the mean, in the
    observations' own units.

    Args:
        shapes: variable -> shape, ``[D]`` or ``[H, W, C]``.
        size: the size of the state.
        units, layers: the MLP of the vectors.
        depth, strided: of the convolutions, see :class:`worldmodels.images.ConvDecoder`.
        vectors: see :class:`worldmodels.RSSMConfig`.
        cond_var: the variables of the state, ``size`` features together; and what else a subclass's
            ``forward`` reads.

    >>> p = Reconstruction({"x": (4,)}, size=8, units=16, layers=1, depth=8)
    >>> p.sample({"deter": torch.zeros(2, 5), "stoch": torch.zeros(2, 3)})["x"].shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        size: int,
        units: int,
        layers: int,
        depth: int,
        vectors: Vectors = "symlog",
        cond_var: Sequence[str] = STATE,
        strided: bool = False,
    ) -> None:
        super().__init__(list(shapes), list(cond_var), "p")
        self._returns: dict[str, str] = {}
        self.vectors = [k for k, s in shapes.items() if len(s) == 1]
        self.images = [k for k, s in shapes.items() if len(s) == 3]
        self.mlp = MLP(size, units, layers) if self.vectors else None
        self.heads = nn.ModuleDict({k: linear(units, shapes[k][0]) for k in self.vectors})
        self.cnn = nn.ModuleDict(
            {k: ConvDecoder(size, tuple(shapes[k]), depth, strided) for k in self.images}
        )
        self.scaling = scalings(shapes) if vectors == "gaussian" else None
        self.log_scale = None
        if vectors == "gaussian":
            self.log_scale = nn.ParameterDict(
                {k: nn.Parameter(torch.zeros(shapes[k][0])) for k in self.vectors}
            )

    @property
    def distribution_name(self) -> str:
        return "Reconstruction"

    def forward(self, *parts: Tensor, **state: Tensor) -> dict[str, Tensor]:
        """The mean of each variable (of its symlog for vectors); ``KEY_log_scale`` for normal
        vectors.
        """
        parts = parts or tuple(state[v] for v in self.cond_var)
        found = {k: self.cnn[k](*parts) for k in self.images}
        if self.mlp is not None:
            hidden = self.mlp(*parts)
            found.update({k: self.heads[k](hidden) for k in self.vectors})
        if self.scaling is not None and self.log_scale is not None:
            for k in self.vectors:
                scaling = self.scaling[k]
                assert isinstance(scaling, Scaling)
                log_scale = (self.log_scale[k] + scaling.scale.log()).expand_as(found[k])
                found.update({k: scaling.inverse(found[k]), f"{k}_log_scale": log_scale})
        return found

    def lower_params(self, scope: Scope) -> Params:
        more = [] if self.log_scale is None else [f"{k}_log_scale" for k in self.vectors]
        return Params(
            scope.builder,
            call_network(self, self, scope, [*self.var, *more]),
            none_derived,
        )

    def log_prob_from(self, scope: Scope, params: Params, how: Score) -> Slot:
        builder = scope.builder
        total: Slot | None = None
        for key in self.var:
            label = f"log {self.name}({key})"
            if key in self.vectors and self.log_scale is not None:
                slot = builder.point(
                    vector_cost,
                    scope.lookup(key),
                    params[key],
                    params[f"{key}_log_scale"],
                    label=label,
                )
            else:
                formula = vector_error if key in self.vectors else image_error
                slot = builder.point(formula, scope.lookup(key), params[key], label=label)
            if key in self.images:
                builder.look(slot, Read(key, label, PIXELS), scope.lookup(key))
            slot = sum_over(scope, slot, how, label)
            total = (
                slot
                if total is None
                else builder.point(operator.add, total, slot, label=f"log {self.prob_text}")
            )
        assert total is not None
        return builder.point(operator.neg, total, label=f"log {self.prob_text}")

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        return {
            k: scope.builder.point(symexp, params[k], label=f"mean of {k}")
            if k in self.vectors and self.log_scale is None
            else params[k]
            for k in self.var
        }
