"""Normals, Bernoullis and one-hot families with random parameters, and what each shall equal."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions import (
    Bernoulli,
    BoundedNormal,
    Categorical,
    GroupedOneHot,
    Normal,
    TanhNormal,
)
from pixyz.distributions.families.parametric import ParametricDistribution

B, D = 4, 3
GROUPS, CLASSES = 2, 3


def bounded(loc: Tensor, scale: Tensor) -> td.Distribution:
    return td.Normal(torch.tanh(loc), 0.9 / (1 + torch.exp(-scale - 2)) + 0.1)


def squashed(loc: Tensor, scale: Tensor) -> td.Distribution:
    return td.TransformedDistribution(td.Normal(loc, scale), [td.TanhTransform()])


class Grouped:
    """Groups of torch's one-hot distribution with the uniform distribution mixed in."""

    def __init__(self, logits: Tensor, unimix: float) -> None:
        probs = (1 - unimix) * logits.unflatten(-1, (GROUPS, CLASSES)).softmax(
            -1
        ) + unimix / CLASSES
        self.base = td.OneHotCategorical(probs=probs)
        self.mean, self.variance = self.base.mean.flatten(-2), self.base.variance.flatten(-2)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.base.log_prob(x.unflatten(-1, (GROUPS, CLASSES)))

    def entropy(self) -> Tensor:
        return self.base.entropy()


@dataclass
class Family:
    """A family, random parameters for it, and what it shall equal."""

    name: str
    make: Callable[..., ParametricDistribution]
    params: dict[str, Tensor]
    reference: Callable[..., object]
    values: list[Tensor] | None = None
    ends: tuple[float, float] = (-30.0, 30.0)
    options: dict[str, object] = field(default_factory=dict)

    def bound(self, **options: object) -> ParametricDistribution:
        """The family with its parameters as conditioning variables."""
        keys = list(self.params)
        return self.make(var="x", cond_var=keys, **dict(zip(keys, keys)), **self.options, **options)

    def constant(self) -> ParametricDistribution:
        """The family with the first row of its parameters as constants."""
        return self.make(var="x", **{k: v[0] for k, v in self.params.items()}, **self.options)

    def dist(self, params: dict[str, Tensor] | None = None) -> td.Distribution:
        return self.reference(**(params or self.params))  # type: ignore[return-value]


def families() -> list[Family]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=draw)

    def scale() -> Tensor:
        return (0.3 + normal(B, D).exp() / 2).clamp(max=1.6)

    one_hots = list(torch.eye(CLASSES, dtype=torch.float64))
    pairs = [torch.cat(p) for p in itertools.product(one_hots, repeat=GROUPS)]
    bits = [torch.full((D,), float(v), dtype=torch.float64) for v in (0, 1)]
    found = [
        Family("Normal", Normal, {"loc": normal(B, D), "scale": scale()}, td.Normal),
        Family(
            "BoundedNormal", BoundedNormal, {"loc": normal(B, D), "scale": normal(B, D)}, bounded
        ),
        Family(
            "TanhNormal",
            TanhNormal,
            {"loc": normal(B, D) / 2, "scale": scale() / 2},
            squashed,
            ends=(-1.0, 1.0),
        ),
        Family("Bernoulli-logits", Bernoulli, {"logits": 2 * normal(B, D)}, td.Bernoulli, bits),
        Family("Bernoulli-probs", Bernoulli, {"probs": normal(B, D).sigmoid()}, td.Bernoulli, bits),
        Family(
            "Categorical-logits",
            Categorical,
            {"logits": 2 * normal(B, CLASSES)},
            td.OneHotCategorical,
            one_hots,
        ),
        Family(
            "Categorical-probs",
            Categorical,
            {"probs": normal(B, CLASSES).exp()},
            td.OneHotCategorical,
            one_hots,
        ),
    ]
    for unimix in (0.0, 0.1):
        found.append(
            Family(
                f"GroupedOneHot-{unimix}",
                GroupedOneHot,
                {"logits": 2 * normal(B, GROUPS * CLASSES)},
                lambda logits, unimix=unimix: Grouped(logits, unimix),
                pairs,
                options={"groups": GROUPS, "classes": CLASSES, "unimix": unimix},
            )
        )
    return found


every = pytest.mark.parametrize("f", families(), ids=lambda f: f.name)


def points(f: Family, count: int = 7) -> Tensor:
    """Values in the support, ``[count, B, ...]``."""
    if f.values is not None:
        return torch.stack([v.expand(B, -1) for v in (f.values * count)[:count]])
    inside = torch.linspace(-0.9, 0.9, count, dtype=torch.float64)
    steps = inside if f.ends[1] == 1 else 4 * inside
    return steps[:, None, None].expand(count, B, D)


def _event(f: Family, x: Tensor) -> Tensor:
    return x.unflatten(-1, (GROUPS, CLASSES)) if f.make is GroupedOneHot else x
