"""What a family declares, and whether it fits together: what its formulas read, what shape its
noise has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import distributions as td

from pixyz.distributions.core.params import Formula, arguments
from pixyz.plan.looks import CONSTRAINTS, Domain
from pixyz.types import PixyzError

FORMULAS: dict[str, tuple[str, ...]] = {
    "draw": ("noise",),
    "log_density": ("x",),
    "minus_log_density": ("x",),
    "minus_log_density_of_noise": ("noise",),
    "mean_of": (),
    "variance_of": (),
    "entropy_of": (),
}
"""A formula of a family -> what it reads besides parameters."""


class Declaration:
    """The attributes that a family sets."""

    params_keys: ClassVar[tuple[str, ...]] = ()
    """The parameters of the family."""
    alternatives: ClassVar[Mapping[str, str]] = {}
    """A parameter -> the one that may stand in its place (``probs`` -> ``logits``)."""
    returned: ClassVar[tuple[str, ...]] = ()
    """Parameters that ``forward`` returns in the place of others (``logits``), where that is known;
    else the first run finds it out, and begins again.
    """
    optional: ClassVar[tuple[str, ...]] = ()
    """What else a network may return, or a conditioning variable hold."""
    noise: ClassVar[Formula | None] = None
    """Base noise: ``noise(shape, like)``; None if it cannot be drawn."""
    noise_shape: ClassVar[tuple[str, ...]] = ()
    """The parameters whose common shape is that of a sample."""
    event_dims: ClassVar[int] = 0
    """How many trailing dimensions one density is over (1 for a one-hot vector)."""
    matrices: ClassVar[tuple[str, ...]] = ()
    """Parameters with one dimension more than a sample."""
    domain: ClassVar[Domain | None] = None
    """Where values must lie although the formula takes any (soft bits, classes, counts); see
    :mod:`pixyz.plan.looks`.
    """
    constraints: ClassVar[Mapping[str, Domain]] = CONSTRAINTS
    """Where parameters must lie."""
    prepared: ClassVar[Mapping[str, Formula]] = {}
    """A given parameter -> what is made of it before it is used (probabilities that sum to 1)."""
    own_width: ClassVar[bool] = False
    """Whether a sample has another last dimension than its parameters, of size 1."""
    relaxes: ClassVar[bool] = False
    """Whether draws are soft values of the discrete variable that density, entropy and mean are of.
    """
    normalized: ClassVar[bool] = True
    """Whether the density sums to 1; False for a score that is called a log-density."""
    exact_mean: ClassVar[bool] = True
    """Whether ``mean_of`` is the mean; False where that has no formula and another value stands for
    it.
    """
    period: ClassVar[float | None] = None
    """What may be added to a value without a change (an angle's full turn)."""
    pathwise: ClassVar[bool] = True
    """Whether ``draw`` is differentiable in the parameters."""
    torch_family: ClassVar[type[td.Distribution] | None] = None
    """The class in torch.distributions that is asked for formulas that are not defined."""
    torch_keys: ClassVar[tuple[str, ...]] = ()
    """The parameters to build it with; ``params_keys`` if empty."""
    distribution_torch_class: ClassVar[Any] = None
    """The class in torch.distributions of what is drawn."""
    support: ClassVar[tuple[float, float] | None] = None
    """The closed interval outside of which the density is 0, where the formula takes any value."""


def check_declaration(cls: type[Declaration]) -> None:
    """See whether the formulas of a family fit its parameters.

    Raises:
        PixyzError: what does not fit, and how it is written.
    """
    own = [*FORMULAS, "params_keys", "noise", "noise_shape", "alternatives"]
    if not cls.params_keys or not any(n in own or n.startswith("derive_") for n in vars(cls)):
        return  # it only adds a network, or is not finished
    for problem in problems(cls):
        raise PixyzError(f"{cls.__name__}: {problem}")


def problems(cls: type[Declaration]) -> Iterator[str]:
    """What does not fit."""
    given = [*cls.params_keys, *cls.alternatives.values(), *cls.optional]
    unknown = [k for k in cls.alternatives if k not in cls.params_keys]
    if unknown:
        yield f"alternatives names {unknown}, but params_keys is {list(cls.params_keys)}"
    swaps = {
        f"derive_{a}_from_{b}" for pair in cls.alternatives.items() for a, b in (pair, pair[::-1])
    }
    derived = [n for n in dir(cls) if n.startswith("derive_") and ("_from_" not in n or n in swaps)]
    names = [*derived, *(n for n in FORMULAS if hasattr(cls, n))]
    formulas = {n: getattr(cls, n) for n in names if getattr(cls, n) is not None}
    if not scores_noise(cls):
        formulas.pop("minus_log_density_of_noise", None)
    for name, formula in formulas.items():
        if not callable(formula):
            yield f"{name} is a formula of a family, got {formula!r}; call the attribute otherwise"
            return
        besides = FORMULAS.get(name, ())
        for argument in _reads(cls, name, formula):
            if argument not in besides and not _known(cls, argument, given):
                yield (
                    f"{name} reads {argument!r}, which is no parameter (params_keys: "
                    f"{given}) and has no formula "
                    f"derive_{argument}; arguments have the names of parameters{_besides(besides)}"
                )
    if (
        "log_density" not in formulas
        and "minus_log_density" not in formulas
        and "log_prob_from" not in _overrides(cls)
    ):
        yield "it has no density: define log_density(x, ...) with the names of its parameters"
    if "draw" in formulas and "sample_from" not in _overrides(cls):
        if cls.noise is None:
            yield (
                "it defines draw and no noise: noise = staticmethod(f) with f(shape, like), "
                "a tensor of base noise"
            )
        elif not callable(cls.noise):
            yield (
                f"noise is a function f(shape, like) of a family, got {cls.noise!r}; "
                f"call the attribute otherwise"
            )
        elif not cls.noise_shape:
            yield (
                f"it draws noise of no shape: noise_shape names the parameters whose common "
                f"shape a sample has, of {given}"
            )
    for name in cls.noise_shape:
        if not _known(cls, name, given):
            yield (
                f"noise_shape names {name!r}, which is no parameter (params_keys: "
                f"{given}) and has no formula derive_{name}"
            )


def scores_noise(cls: type) -> bool:
    """Whether a draw is scored by its noise: the class that says how also says how it is drawn and
    scored by its value.
    """
    owners = [
        next((c for c in cls.__mro__ if n in vars(c)), None)
        for n in ("minus_log_density_of_noise", "draw", "log_density")
    ]
    return owners[0] is not None and owners[0] is owners[1] is owners[2]


def _besides(names: tuple[str, ...]) -> str:
    return f", or are called {names[0]!r}" if names else ""


def _reads(cls: type[Declaration], name: str, formula: Formula) -> tuple[str, ...]:
    static = next(vars(c)[name] for c in cls.__mro__ if name in vars(c))
    found = arguments(formula)
    plain = not isinstance(static, (staticmethod, classmethod)) and hasattr(static, "__code__")
    return found[1:] if plain else found  # without self


def _known(cls: type[Declaration], name: str, given: list[str]) -> bool:
    if name in given or getattr(cls, f"derive_{name}", None) is not None:
        return True
    return bool({"params_from", "hidden_params"} & _overrides(cls))  # it may add what it likes


def _overrides(cls: type[Declaration]) -> set[str]:
    """The methods of lowering that a class outside of the base classes defines."""
    root = next(i for i, c in enumerate(cls.__mro__) if c.__name__ == "ParametricDistribution")
    return {n for c in cls.__mro__[:root] for n in vars(c)}


def take_after(cls: type[Declaration], family: type[Declaration]) -> None:
    """Give ``cls`` what ``family`` declares, and its formulas, where it does not define them."""
    derived = [n for n in dir(family) if n.startswith("derive_")]
    for name in [*Declaration.__annotations__, *FORMULAS, *derived]:
        if name not in vars(cls) and (found := _static(family, name)) is not None:
            setattr(cls, name, found)


def _static(cls: type, name: str) -> Any:
    """An attribute as the class holds it, a static method among them."""
    return next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)
