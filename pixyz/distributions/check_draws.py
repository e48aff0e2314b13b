"""Draws of a family on trial, and its density along a line: by counting or by quadrature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.types import PixyzError

WIDE = 5.0
"""How many standard errors an average of draws may be off."""
GRID = 400_001


class Draws:
    """Draws of one family at some parameters.

    Args:
        p: the distribution, of constants, in float64.
        count: how many draws.
    """

    def __init__(self, p: ParametricDistribution, count: int) -> None:
        self.p, self.count, self.name = p, count, p.var[0]
        self.params = p.get_params()
        self.can_draw = getattr(p, "draw", None) is not None and type(p).noise is not None
        self.x = p.sample(batch_n=count)[self.name] if self.can_draw else torch.empty(0)

    def score(self, x: Tensor, sum_features: bool = True) -> Tensor:
        return self.p.get_log_prob({self.name: x}, sum_features)

    def wrong(self, what: str) -> PixyzError:
        shown = ", ".join(f"{k}={v.flatten()[:4].tolist()}" for k, v in self.params.items())
        return PixyzError(f"{type(self.p).__name__}({shown}): {what}")

    def numbers(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)[:, 0]

    def counts(self) -> bool:
        drawn = self.numbers(self.x)
        return bool((drawn == drawn.round()).all()) and len(drawn.unique()) < len(drawn)

    def line(self) -> tuple[Tensor, Tensor] | None:
        """Points on the line and the mass at each, of the first feature; None if features depend on
        each other.
        """
        p = self.p
        if (
            p.event_dims
            or not self.can_draw
            or p.relaxes
            or not p.normalized
            or not bool(self.x.isfinite().all())
        ):
            return None
        if p.states() is not None:
            return None
        drawn = self.numbers(self.x)
        if self.counts():
            least, most = int(drawn.min()), int(drawn.max())
            x = torch.arange(2 * least - most - 20, 2 * most - least + 20, dtype=torch.float64)
            return x, self.density(x)
        if p.period is not None:
            x = torch.linspace(
                float(drawn.min()), float(drawn.min()) + p.period, GRID, dtype=torch.float64
            )
            return x, self.density(x) * (x[1] - x[0])
        middle = drawn.median()
        size = (drawn - middle).abs().median().clamp(min=1e-300)
        low: Tensor | None
        high: Tensor | None
        if p.domain is not None and math.isfinite(p.domain.low) and math.isfinite(p.domain.high):
            low, high = drawn.new_tensor(p.domain.low), drawn.new_tensor(p.domain.high)
        else:
            x, _ = points(middle, size, None, None)
            low, high = self.end(x), self.end(x.flip(0))
        x, volume = points(middle, size, low, high)
        chance = self.density(x) * volume
        for end in (low, high):
            if end is not None:
                chance = torch.where(x == end, 0.0, chance)  # a density may be infinite there
        return x, torch.where(volume == 0.0, 0.0, chance)

    def end(self, x: Tensor) -> Tensor | None:
        """Where the support begins along ``x``; None if it has no end there."""
        inside = self.density(x) > 0.0
        first = int(inside.to(torch.uint8).argmax())
        if first == 0 or self.density(x[first : first + 1]).item() < 1e-100:  # it fades out
            return None
        out, into = x[first - 1], x[first]
        for _ in range(80):
            half = 0.5 * (out + into)
            out, into = (out, half) if bool(self.density(half[None]) > 0.0) else (half, into)
        return into

    def density(self, x: Tensor) -> Tensor:
        shape = self.p.features_shape
        value = x.reshape(-1, *[1] * len(shape)).expand(-1, *shape) if shape else x
        each = self.score(value, sum_features=False).reshape(len(x), -1)[:, 0]
        if bool(each.isnan().any()):
            raise self.wrong(
                f"the log-density at {x[each.isnan()][0].item():.6g} is NaN; "
                f"outside of the support it is -inf"
            )
        return each.exp()

    def compare_shares(self, seen: Tensor, chance: Tensor, what: str) -> None:
        allowed = (
            WIDE * (chance * (1.0 - chance).clamp(min=0.0) / self.count).sqrt() + 2.0 / self.count
        )
        worst = ((seen - chance).abs() - allowed).argmax()
        if (seen - chance).abs()[worst] > allowed[worst]:
            raise self.wrong(
                f"{what} of the probability {chance[worst]:.4g} is drawn in "
                f"{seen[worst]:.4g} of all cases"
            )


def points(
    middle: Tensor, size: Tensor, low: Tensor | None, high: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rising points between the ends of a support, closest together at them, and the length that
    each stands for.
    """
    u = torch.linspace(-40.0, 40.0, GRID, dtype=torch.float64)
    step = u[1] - u[0]
    if low is not None and high is not None:
        share, rest = torch.sigmoid(0.9 * u), torch.sigmoid(-0.9 * u)
        return low + (high - low) * share, 0.9 * step * (high - low) * share * rest
    if low is not None:
        gap = size * torch.exp(2.0 * u)
        return low + gap, 2.0 * step * gap
    if high is not None:
        gap = size * torch.exp(-2.0 * u)
        return high - gap, 2.0 * step * gap
    return middle + size * torch.sinh(u), step * size * torch.cosh(u)


def equal_rows(x: Tensor, value: Tensor) -> Tensor:
    """Which rows have a value."""
    return (x == value).reshape(len(x), -1).all(-1)
