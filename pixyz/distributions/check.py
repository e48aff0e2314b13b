"""check_family: whether a family is what it says, tried on draws, by quadrature or by counting."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.distributions.check_draws import WIDE, Draws, equal_rows
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.families.declaration import problems, scores_noise
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.kullback_leibler import KullbackLeibler
from pixyz.expression import Expectation
from pixyz.types import PixyzError


def check_family(
    family: ParametricDistribution | type[ParametricDistribution],
    count: int = 20_000,
    seed: int = 0,
    **params: Any,
) -> list[str]:
    r"""Try whether a family is what it says, at some parameters.

    Looked at is what there is of: formulas and their arguments; shapes of draws ``[B,
    *features_shape]`` and densities ``[B]``; the mass of the density, by counting or, of one real
    number, by quadrature; the law of draws against it; the density of a draw in terms of its noise;
    mean, variance and entropy against draws; finite gradients to values and parameters; a
    divergence to itself of 0; all values of a finite variable.  Float64; torch's generators are put
    back.

    Args:
        family: a distribution with constant parameters, or a class, then ``params`` are given to
            its constructor.
        count: how many draws.
        seed: of the draws.
        **params: parameters ``[*features_shape]`` and options of the constructor; without any, a
            class alone is looked at.

    Returns:
        What was looked at, as short names.

    Raises:
        PixyzError: what is not as it should be, with the numbers.

    >>> from pixyz.distributions import Beta, Normal
    >>> check_family(Normal, loc=0.0, scale=2.0)
    ['declaration', 'shapes', 'noise', 'mass', 'law', 'mean', 'variance', 'entropy', 'gradients', 'divergence']
    >>> check_family(Beta)
    ['declaration']
    """  # noqa: E501
    cls = family if isinstance(family, type) else type(family)
    if not issubclass(cls, ParametricDistribution):
        raise PixyzError(
            f"check_family is for families (ParametricDistribution), got {cls.__name__}"
        )
    for problem in problems(cls):
        raise PixyzError(f"{cls.__name__}: {problem}")
    if isinstance(family, type):
        if not params:
            return ["declaration"]
        family = cls(var="x", **params)
    elif params:
        raise PixyzError(
            f"parameters {sorted(params)} are for a class; {family.prob_text} has its own"
        )
    if family.cond_var:
        raise PixyzError(
            f"{family.prob_text} has conditions; give check_family one with constant parameters"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ["declaration", *Trial(copy.deepcopy(family).double(), count).run()]


class Trial(Draws):
    """One family at some parameters, and draws of it.

    Args:
        p: the distribution, of constants, in float64.
        count: how many draws.
    """

    def run(self) -> Iterator[str]:
        """Every look, in order; names of those that were possible."""
        looks: list[Callable[[], bool]] = [
            self.shapes,
            self.noise,
            self.states,
            self.mass,
            self.law,
            self.mean,
            self.variance,
            self.entropy,
            self.gradients,
            self.divergence,
        ]
        return (look.__name__ for look in looks if look())

    # ---------------------------------------------------------------- looks

    def shapes(self) -> bool:
        """Draws have rows and features; a density is one number a row."""
        if not self.can_draw:
            return False
        features = list(self.p.features_shape)
        for lead in ([], [2]):
            drawn = self.p.sample(batch_n=3, sample_shape=lead)[self.name]
            if list(drawn.shape) != [*lead, 3, *features]:
                raise self.wrong(
                    f"3 draws have the shape {list(drawn.shape)}, expected {[*lead, 3, *features]}"
                )
            value = self.score(drawn)
            if self.p.feature_rank is not None and list(value.shape) != [*lead, 3]:
                raise self.wrong(
                    f"the log-density of 3 draws has the shape {list(value.shape)}, "
                    f"expected {[*lead, 3]}"
                )
        return True

    def noise(self) -> bool:
        """``minus_log_density_of_noise`` and ``log_density`` agree on a draw."""
        if not self.can_draw or not scores_noise(type(self.p)) or self.p.relaxes:
            return False
        by_noise, drawn = Expectation(self.p, self.p.log_prob()).eval({}, return_dict=True)
        given = self.score(drawn[self.name])
        if not torch.allclose(by_noise, given, rtol=1e-5, atol=1e-5):
            raise self.wrong(
                f"the log-density of a draw is {by_noise.tolist()} by its noise, "
                f"{given.tolist()} by its value"
            )
        return True

    def states(self) -> bool:
        """A finite variable: its values are distinct, and they are what is drawn."""
        values = self.p.states()
        if values is None or not self.p.normalized:
            return False
        if list(values.shape[1:]) != list(self.p.features_shape):
            raise self.wrong(
                f"states() has the shape {list(values.shape)}, expected [S, "
                f"{list(self.p.features_shape)}]"
            )
        if len(values.unique(dim=0)) != len(values):
            raise self.wrong("states() names a value twice")
        chances = self.score(values.to(self.x.dtype)).exp()
        if abs(chances.sum().item() - 1.0) > 1e-5:
            raise self.wrong(
                f"the density of all states() sums to {chances.sum().item():.6g}, not to 1"
            )
        if self.can_draw and not self.p.relaxes:
            seen = (
                torch.stack([equal_rows(self.x, v) for v in values.to(self.x.dtype)])
                .double()
                .mean(-1)
            )
            self.compare_shares(seen, chances, "a state")
        return True

    def mass(self) -> bool:
        """The density of one number sums, or integrates, to 1."""
        found = self.line()
        if found is None:
            return False
        x, chance = found
        if abs(chance.sum().item() - 1.0) > 1e-2:
            raise self.wrong(
                f"the density has the mass {chance.sum().item():.5g} between "
                f"{x[0]:.3g} and {x[-1]:.3g}, not 1"
            )
        return True

    def law(self) -> bool:
        """Draws of one number have the distribution function of the density."""
        found = self.line()
        if found is None:
            return False
        x, chance = found
        drawn = self.numbers(self.x)
        if self.counts():
            seen = torch.stack([(drawn == v).double().mean() for v in x])
            self.compare_shares(seen, chance, "a count")
            return True
        below = chance.cumsum(0) - 0.5 * chance
        at = below[torch.searchsorted(x, drawn.sort().values).clamp(max=len(x) - 1)]
        steps = torch.arange(1, len(drawn) + 1, dtype=torch.float64) / len(drawn)
        gap = (at - steps).abs().max().item()
        if gap > 2.5 / math.sqrt(len(drawn)) + 5e-3:
            raise self.wrong(
                f"draws and density differ: their distribution functions are {gap:.3g} apart"
            )
        return True

    def mean(self) -> bool:
        """The formula of the mean against draws."""
        if not self.p.exact_mean or self.p.period is not None:
            return False
        return self._moment("mean_of", lambda: self.p.sample_mean(), self.x)

    def variance(self) -> bool:
        """The formula of the variance against draws."""
        if not self.can_draw or self.p.period is not None:  # of angles it is the circular one
            return False
        return self._moment(
            "variance_of", lambda: self.p.sample_variance(), (self.x - self.x.mean(0)).square()
        )

    def entropy(self) -> bool:
        """The formula of the entropy against the log-density of draws."""
        if getattr(self.p, "entropy_of", None) is None or not self.can_draw or self.p.relaxes:
            return False
        return self._moment("entropy_of", lambda: self.p.get_entropy(), -self.score(self.x))

    def gradients(self) -> bool:
        """Log-density and draws have finite gradients."""
        twin = learned(self.p, self.params)
        weights = [w for w in twin.parameters() if w.requires_grad]
        if not weights or not self.can_draw:
            return False
        x = self.x[:100].clone().requires_grad_()
        found = torch.autograd.grad(
            twin.get_log_prob({self.name: x}).sum(), [x, *weights], allow_unused=True
        )
        self._all_finite("the log-density", found)
        if self.p.has_reparam:
            drawn = twin.sample(batch_n=100, reparam=True)[self.name]
            if not drawn.requires_grad:
                raise self.wrong(
                    "it is pathwise, but draws have no gradient; set pathwise = False, "
                    "or draw from the noise"
                )
            self._all_finite("a draw", torch.autograd.grad(drawn.sum(), weights, allow_unused=True))
        return True

    def divergence(self) -> bool:
        """The divergence to itself is 0."""
        if not self.can_draw:
            return False
        found = KullbackLeibler(self.p, copy.deepcopy(self.p)).eval({})
        if not bool((found.abs() < 1e-6).all()):
            raise self.wrong(
                f"the divergence of the distribution to itself is {found.tolist()}, not 0"
            )
        return True

    def _moment(self, formula: str, value: Callable[[], Tensor], each: Tensor) -> bool:
        p = self.p
        if getattr(p, formula, None) is None or not self.can_draw or p.relaxes or not p.normalized:
            return False
        found = value()[0]
        spread = each.var(0)
        steady = bool(found.isfinite().all()) and bool(
            (each.square().mean(0) < 1e4 * each.mean(0).square() + 1e4).all()
        )
        if not steady:  # no such moment, or none that draws show
            return False
        gap = (each.mean(0) - found).abs()
        if bool((gap > WIDE * (spread / len(each)).sqrt() + 1e-6 * (1.0 + found.abs())).any()):
            name = formula.removesuffix("_of")
            raise self.wrong(
                f"{formula} says {found.tolist()}, "
                f"but the {name} of {len(each)} draws is {each.mean(0).tolist()}"
            )
        return True

    def _all_finite(self, what: str, gradients: tuple[Tensor | None, ...]) -> None:
        if not all(g is None or bool(g.isfinite().all()) for g in gradients):
            raise self.wrong(f"a gradient of {what} is not finite")


def learned(p: ParametricDistribution, params: Mapping[str, Tensor]) -> Distribution:
    """A copy whose constant parameters are learned."""
    twin = copy.deepcopy(p)
    for key, value in list(twin.named_buffers(recurse=False)):
        if key in params:
            delattr(twin, key)
            twin.register_parameter(key, nn.Parameter(value.clone()))
    return twin
