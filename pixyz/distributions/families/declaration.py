"""Whether a family's class fits together: what its formulas read,
what its noise has the shape of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pixyz.distributions.core.params import arguments
from pixyz.types import PixyzError

if TYPE_CHECKING:
    from pixyz.distributions.families.parametric import ParametricDistribution

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


def check_declaration(cls: type[ParametricDistribution]) -> None:
    """See whether the formulas of a family fit its parameters.

    Raises:
        PixyzError: what does not fit, and how it is written.
    """
    own = [*FORMULAS, "params_keys", "noise", "noise_shape", "alternatives"]
    if not cls.params_keys or not any(n in own or n.startswith("derive_") for n in vars(cls)):
        return  # it only adds a network, or is not finished
    for problem in problems(cls):
        raise PixyzError(f"{cls.__name__}: {problem}")


def problems(cls: type[ParametricDistribution]) -> Iterator[str]:
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


def _reads(
    cls: type[ParametricDistribution], name: str, formula: Callable[..., Any]
) -> tuple[str, ...]:
    static = next(vars(c)[name] for c in cls.__mro__ if name in vars(c))
    found = arguments(formula)
    plain = not isinstance(static, (staticmethod, classmethod)) and hasattr(static, "__code__")
    return found[1:] if plain else found  # without self


def _known(cls: type[ParametricDistribution], name: str, given: list[str]) -> bool:
    if name in given or getattr(cls, f"derive_{name}", None) is not None:
        return True
    return "params_from" in _overrides(cls)  # it may add what it likes


def _overrides(cls: type[ParametricDistribution]) -> set[str]:
    """The methods of lowering that a class outside of the base classes defines."""
    root = next(i for i, c in enumerate(cls.__mro__) if c.__name__ == "ParametricDistribution")
    ours = (
        "pixyz.distributions.families.torch_family.TorchFamily",
        "pixyz.distributions.families.one_hot.Categorical",
    )
    own = [c for c in cls.__mro__[:root] if f"{c.__module__}.{c.__name__}" not in ours]
    return {n for c in own for n in vars(c)}
