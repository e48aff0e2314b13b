"""CustomProb: a log-density that the user writes as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CellType
from typing import Any

from torch import Tensor, nn

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.network import pinned_reason
from pixyz.distributions.core.params import sum_over
from pixyz.expression.protocol import SCORE, Score
from pixyz.plan import Scope, Slot
from pixyz.plan.graph.formula import Network
from pixyz.plan.run.probe import Probe
from pixyz.types import PixyzError, VarSpec


class CustomProb(Distribution):
    r"""A density given as a function, :math:`\log p(x) = f(x)`; normalised or not. It cannot be
    sampled.

    Args:
        log_prob_function: ``f(**variables)``: the log-density, ``[B]`` or with feature dimensions;
            a function or a module.
        var: the variables.
        distribution_name: the name of the family in texts.
        **kwargs: ``name``, ``features_shape``.

    >>> import torch
    >>> p = CustomProb(lambda z: -z.abs(), var="z", name="p")
    >>> p.get_log_prob({"z": torch.ones(2, 3)})
    tensor([-3., -3.])
    """

    composite = True
    log_prob_function: Callable[..., Tensor]

    def __init__(
        self,
        log_prob_function: Callable[..., Tensor],
        var: VarSpec,
        distribution_name: str = "Custom PDF",
        **kwargs: Any,
    ) -> None:
        super().__init__(var, **kwargs)
        self.log_prob_function = log_prob_function
        self._distribution_name = distribution_name

    @property
    def input_var(self) -> list[str]:
        return self.var

    @property
    def distribution_name(self) -> str:
        return self._distribution_name

    @property
    def has_reparam(self) -> bool:
        return False

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        builder = scope.builder
        args = [scope.lookup(v) for v in self._var]
        label = f"log {self.prob_text}"
        if self._features_shape and how.dims is None:  # declared: the shape of each variable
            builder.ranks.update(
                {x.step.label: len(self._features_shape) for x in args if x.step.kind == "input"}
            )
        call = DensityCall(self.log_prob_function, tuple(self._var))
        function, facts = self.log_prob_function, builder.facts
        reasons = (pinned_reason(m, facts) for m in modules_of(function))
        why = next(filter(None, reasons), "") or facts.pinned.get(function, "")
        slot = builder.net(call, args, [label], label, key=None, pinned=why)[0]
        return sum_over(scope, slot, how, label)

    def sample_from(self, *args: object, **kwargs: object) -> dict[str, Slot]:
        raise NotImplementedError(
            f"{self.prob_text} is known by its log-density only and cannot be sampled"
        )

    lower_sample = sample_from

    def detach(self) -> Distribution:
        return self._without_weights("detach()")

    def frozen(self) -> Distribution:
        return self._without_weights("frozen()")

    def _without_weights(self, what: str) -> Distribution:
        """The same, where its function has no weights to hold constant."""
        learned = [
            type(m).__name__
            for m in modules_of(self.log_prob_function)
            if any(p.requires_grad for p in nn.Module.parameters(m))
        ]
        if learned:
            raise PixyzError(
                f"{what} of {self.prob_text}: its function has weights, those of {learned}, which "
                f"cannot be held constant within it; give a function of a copy whose weights do "
                f"not require a gradient, copy.deepcopy(net).requires_grad_(False)"
            )
        return self


def modules_of(function: Callable[..., Tensor]) -> list[nn.Module]:
    """The modules that a function is, belongs to, or names: in its closure or as globals."""
    cells = getattr(function, "__closure__", None) or ()
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    held = [
        function,
        getattr(function, "__self__", None),
        *(c.cell_contents for c in cells if _filled(c)),
        *(known.get(name) for name in (code.co_names if code is not None else ())),
    ]
    return list({id(m): m for m in held if isinstance(m, nn.Module)}.values())


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


class DensityCall(Network):
    """The user's function, called with the variables by name."""

    __slots__ = ("function", "variables")

    def __init__(self, function: Callable[..., Tensor], variables: tuple[str, ...]) -> None:
        self.function, self.variables = function, variables

    def __call__(self, *values: Tensor) -> tuple[Tensor]:
        return (self.function(**dict(zip(self.variables, values, strict=True))),)

    def probe(self, rows: Sequence[bool], named: bool) -> Probe:
        """The call where its step has left a loop."""
        return Probe(self.function, self, self, self, modules_of(self.function), rows)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DensityCall)
            and other.function is self.function
            and other.variables == self.variables
        )

    def __hash__(self) -> int:
        return hash((id(self.function), self.variables))
