"""A function of variables, and a gate: a distribution that does not draw."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.network import call_network
from pixyz.distributions.core.params import Forward, Params, none_derived
from pixyz.expression.protocol import Draw
from pixyz.plan import Scope, Slot
from pixyz.plan.looks import Domain, Read
from pixyz.types import VarSpec


class Deterministic(Distribution):
    """A function: ``forward(**cond_var)`` returns ``{var: value}``; sampling it is computing it.

    Computed once in an evaluation, however many expectations name it.  :attr:`domains` says where
    arguments must lie (a :class:`pixyz.plan.looks.Domain` each), which is looked at on the first
    run on new shapes and in debug mode.

    Raises:
        NotImplementedError: its log-density is asked for; it has none.

    :math:`x = f(z)`.

    >>> class Double(Deterministic):
    ...     def __init__(self):
    ...         super().__init__("y", "x", name="f")
    ...
    ...     def forward(self, x):
    ...         return {"y": 2 * x}
    >>> Double().sample({"x": torch.ones(1, 2)}, return_all=False)
    {'y': tensor([[2., 2.]])}
    """

    has_network = True

    def __init__(
        self,
        var: VarSpec,
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape)
        self._returns: dict[str, str] = {}
        self.domains: dict[str, Domain] = {}

    @property
    def distribution_name(self) -> str:
        return "Deterministic"

    @property
    def is_random(self) -> bool:
        return False

    def lower_params(self, scope: Scope) -> Params:
        return self.params_by(scope, self)

    def params_by(self, scope: Scope, network: Forward) -> Params:
        found = call_network(self, network, scope, self.var)
        for v, domain in self.domains.items():
            scope.builder.look(
                next(iter(found.values())), Read(v, self.prob_text, domain), scope.lookup(v)
            )
        return Params(scope.builder, found, none_derived)

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        return {v: params[v] for v in self.var}


class Gate(Deterministic):
    r"""``x = g new + (1 - g) old``: a new value where a gate is open, else the old one.

    Args:
        var: the result.
        new, old: the two variables, ``[B, D]``.
        by: the gate, ``[B]`` or ``[B, 1]``: a number in [0, 1], a flag, or a draw with
            straight-through gradient.

    >>> p = Gate("z", new="z_new", old="z_prev", by="m")
    >>> p.sample(
    ...     {"z_new": torch.ones(2, 1), "z_prev": torch.zeros(2, 1), "m": torch.tensor([1.0, 0.0])}
    ... )["z"].T
    tensor([[1., 0.]])

    :math:`x = g\, x_{new} + (1 - g)\, x_{old}`.
    """

    def __init__(
        self,
        var: str,
        new: str,
        old: str,
        by: str,
        name: str = "g",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(var, [new, old, by], name, features_shape)

    def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
        new, old, gate = (given[v] for v in self._cond_var)
        if gate.dtype == torch.bool:
            gate = gate.to(new.dtype)
        return {
            self._var[0]: torch.lerp(
                old, new, gate.reshape(*gate.shape, *[1] * (new.ndim - gate.ndim))
            )
        }
