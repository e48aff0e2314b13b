"""Formulas of a family that are asked of torch.distributions: a torch object is built in the step
that needs it, not kept.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence

from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.declaration import Declaration

FORMULAS = {
    "log_density": "log_prob",
    "mean_of": "mean",
    "variance_of": "variance",
    "entropy_of": "entropy",
}
"""A formula of a family -> the method of a torch distribution."""


def shape_only(shape: Sequence[int], like: Tensor) -> Tensor:
    """The shape of a sample, for samplers that have no base noise: zeros that take no memory."""
    return like.new_zeros(()).expand(tuple(shape))


class TorchFormula:
    """``method`` of a torch distribution as a formula of its parameters."""

    def __init__(
        self, build: Callable[..., td.Distribution], keys: Sequence[str], method: str
    ) -> None:
        self.build, self.keys, self.method = build, tuple(keys), method
        self.__name__ = f"{getattr(build, '__name__', 'torch')}_{method}"
        first = {"log_prob": ("x",), "rsample": ("noise",), "sample": ("noise",)}.get(method, ())
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(n, kind) for n in (*first, *self.keys)]
        )

    def __call__(self, *values: Tensor) -> Tensor:
        *first, dist = (
            *values[: len(values) - len(self.keys)],
            self.build(**dict(zip(self.keys, values[-len(self.keys) :]))),
        )
        if self.method == "log_prob":
            return dist.log_prob(first[0])
        if not first:
            found = getattr(dist, self.method)
            return found() if callable(found) else found  # type: ignore[no-any-return]
        shape = first[0].shape[: first[0].ndim - len(dist.event_shape)]
        return getattr(dist.expand(shape), self.method)()  # type: ignore[no-any-return]


def ask_torch(cls: type[Declaration], family: type[td.Distribution], keys: Sequence[str]) -> None:
    """Give ``cls`` the formulas that it does not define itself, from the torch class ``family``
    with parameters ``keys``.
    """
    build = functools.partial(family, validate_args=False)
    build.__name__ = family.__name__  # type: ignore[attr-defined]
    for name, method in FORMULAS.items():
        if name not in vars(cls):
            # ExponentialFamily.entropy differentiates at each call, and fails for some families
            unknown = (getattr(td.Distribution, method), getattr(td.ExponentialFamily, method))
            known = getattr(family, method) not in unknown
            setattr(cls, name, TorchFormula(build, keys, method) if known else None)
    if "draw" not in vars(cls):
        cls.pathwise = bool(family.has_rsample)
        setattr(cls, "draw", TorchFormula(build, keys, "rsample" if cls.pathwise else "sample"))  # noqa: B010
