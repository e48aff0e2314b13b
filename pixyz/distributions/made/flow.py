r"""Distributions made of a prior and a flow: the change of variables.

A sample pushes a draw of the prior through the flow; a log-density pulls the value back and adds
the log-determinant. Both are steps of the plan, so they work inside ``E(...)``, products and loops;
nothing is remembered between calls. The log-density of a value that was drawn in the same
evaluation reuses that draw, so no flow is inverted for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.distributions.core import direct
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.hooks import make
from pixyz.distributions.core.network import pinned_reason
from pixyz.distributions.core.params import Params
from pixyz.distributions.core.path import on_path
from pixyz.distributions.made.flow_step import FixedFlow, FlowStep
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.flows.flow import Condition, Flow
from pixyz.flows.operations import Flatten
from pixyz.plan import Scope, Slot
from pixyz.plan.graph import Origin
from pixyz.types import PixyzError, VariableError, VarSpec, names


class FlowDistribution(Distribution):
    """A prior pushed through a flow; the two public classes say in which direction.

    Raises:
        PixyzError: ``flow`` is no :class:`pixyz.flows.Flow`.
        VariableError: prior or result have several variables, or the prior's variable has the name
            of another one.
    """

    composite = True
    draws_by_inverse: ClassVar[bool]
    """Whether a sample of the prior goes through the flow's inverse."""

    def __init__(
        self, prior: Distribution, flow: Flow, var: VarSpec, cond_var: VarSpec, name: str
    ) -> None:
        if not isinstance(flow, Flow):
            raise PixyzError(
                f"the flow of {name!r} must be a pixyz.flows.Flow, got {type(flow).__name__}; "
                f"derive it from Flow"
            )
        if len(prior.var) != 1 or len(names(var)) != 1:
            raise VariableError(
                f"a flow takes one variable to one other, got {prior.prob_text} and "
                f"var={names(var)}; put them together first"
            )
        self_cond = names(cond_var, "cond_var")
        clash = set(prior.var) & {*names(var), *self_cond}
        if clash:
            raise VariableError(
                f"{sorted(clash)} names the variable of the prior {prior.prob_text} and "
                f"one of {name!r}; rename one: "
                f"prior.replace_var({prior.var[0]}=...)"
            )
        shape = torch.Size([flow.in_features]) if flow.in_features else torch.Size()
        super().__init__(var, self._ordered(prior.cond_var, self_cond), name, shape)
        self.prior, self.flow = prior, flow
        self._flow_cond = self_cond
        self._identity: tuple[Hashable, ...] | None = None

    @staticmethod
    def _ordered(prior: Sequence[str], own: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*own, *prior]))

    @property
    def input_var(self) -> list[str]:
        return list(dict.fromkeys([*self._cond_var, *self.prior.input_var]))

    @property
    def distribution_name(self) -> str:
        return type(self).__name__

    @property
    def hidden_var(self) -> list[str]:
        """The variable of the prior."""
        return self.prior.var

    @property
    def has_reparam(self) -> bool:
        return self.prior.has_reparam

    @property
    def prob_factorized_text(self) -> str:
        power = "^{-1}" if self.draws_by_inverse else ""
        inner = ",".join(latex.latex_name(v) for v in [*self.hidden_var, *self._flow_cond])
        return f"{self._name}({latex.latex_name(self.var[0])}=f{power}_{{flow}}({inner}))"

    def identity(self) -> tuple[Hashable, ...]:
        return self._identity or super().identity()

    # ---------------------------------------------------------------- lowering

    def _step(
        self, scope: Scope, value: Slot, y: Sequence[Slot], *, draw: bool
    ) -> tuple[Slot, Slot]:
        inverse = self.draws_by_inverse is draw
        arrow = "f^-1" if inverse else "f"
        outs = [self.var[0] if draw else self.hidden_var[0], "log|det|"]
        label = f"{arrow} of {self.prob_text}"
        slots = scope.builder.net(
            FlowStep(self.flow, inverse),
            [value, *y],
            outs,
            label,
            key=None,
            pinned=pinned_reason(self.flow, scope.builder.facts),
        )
        return slots[0], slots[1]

    def _draw(self, scope: Scope, how: Draw) -> dict[str, Slot]:
        """The slots of a sample and of the prior's draw behind it."""
        builder = scope.builder
        inner = scope.child()
        inner.path = {}  # the prior's variable is bound here; a loop cannot carry it
        y = [scope.lookup(v) for v in self._flow_cond]
        z = self._draw_prior(inner, y, how)
        x, logdet = self._step(scope, z, y, draw=True)
        if how.reparam:
            x.origin = Origin(self.identity(), tuple(y), z, logdet)
        else:
            x = builder.detach(x)
        x.label = self.var[0]
        return {self.var[0]: x, self.hidden_var[0]: z}

    def _draw_prior(self, scope: Scope, y: Sequence[Slot], how: Draw) -> Slot:
        like = next((slot for slot in y if slot.batch == "full"), None)
        if like is not None and not self.prior.cond_var and self.prior.drawn_by_parameters:
            # a prior without a batch: every row of the condition has a draw of its own
            params = self.prior.lower_params(scope).expanded(like)
            drawn = self.prior.sample_from(scope, params, how=how)
            return drawn[self.hidden_var[0]]
        z = self.prior.lower_sample(scope, how=how)[self.hidden_var[0]]
        if like is not None and z.batch != "full" and not (how.mean or scope.mode.mean):
            raise PixyzError(
                f"{self.prior.prob_text} has no batch, "
                f"so all rows of {self._flow_cond} would share one draw; "
                "use a family such as Normal as the prior, or give batch_n"
            )
        return z

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        found = on_path(self, scope, how.reparam)
        if found is not None:
            return found
        drawn = self._draw(scope, how)
        return {self.var[0]: drawn[self.var[0]]}

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        builder = scope.builder
        if how != SCORE:
            raise PixyzError(
                f"the density of {self.prob_text} is one over all features: a flow mixes them; "
                "leave out sum_features and feature_dims"
            )
        x = scope.lookup(self.var[0])
        y = tuple(scope.lookup(v) for v in self._flow_cond)
        origin = x.origin
        if origin is not None and origin.logdet is not None and origin.same(self.identity(), y):
            z, logdet, sign = origin.noise, origin.logdet, _minus
        else:
            (z, logdet), sign = self._step(scope, x, y, draw=False), _plus
            if not any(isinstance(f, Flatten) for f in nn.Module.modules(self.flow)):
                z.stands_for = x.stands_for or x
        inner = scope.child({self.hidden_var[0]: z})
        inner.path = {}
        base = self.prior.lower_log_prob(inner)
        return builder.point(sign, base, logdet, label=f"log {self.prob_text}")

    def lower_params(self, scope: Scope) -> Params:
        raise NotImplementedError(
            f"{self.prob_text} is a flow: it has no parameters, mean or entropy by formula"
        )

    # ---------------------------------------------------------------- direct use

    def sample(
        self,
        x_dict: object = None,
        batch_n: int | None = None,
        sample_shape: Sequence[int] = torch.Size(),
        return_all: bool = True,
        reparam: bool = False,
        sample_mean: bool = False,
        return_hidden: bool = True,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Draw a sample.

        Args:
            x_dict, batch_n, sample_shape, return_all, reparam, generator: see
                :meth:`Distribution.sample`.
            sample_mean: the image of the prior's mean (which is not the mean of the image).
            return_hidden: also return the prior's draw under its own name.
        """

        def lower(scope: Scope, how: Draw) -> dict[str, Slot]:
            drawn = self._draw(scope, how)
            return drawn if reparam else {k: scope.builder.detach(v) for k, v in drawn.items()}

        values, drawn = direct.sample(
            self, x_dict, batch_n, sample_shape, reparam, sample_mean, generator, lower
        )
        if not return_hidden:
            drawn = {v: drawn[v] for v in self.var}
        return {**values, **drawn} if return_all else drawn

    def forward(self, x: Tensor, y: Condition = None, compute_jacobian: bool = True) -> Tensor:
        """``flow(x, y)``, see :class:`pixyz.flows.Flow`."""
        return self.flow.forward(x, y, compute_jacobian)

    def inverse(self, z: Tensor, y: Condition = None) -> Tensor:
        """The flow's inverse."""
        return self.flow.inverse(z, y)

    @property
    def logdet_jacobian(self) -> Tensor | None:
        """The log-determinant of the last :meth:`forward`. Densities neither set nor read it."""
        return self.flow.logdet_jacobian

    # ---------------------------------------------------------------- stop-gradients

    def detach(self) -> Distribution:
        """Log-densities and samples see the prior's parameters, the flow's weights and its
        conditions as constants.
        """
        return self._fixed(self.prior.detach(), True, "detached", r"\bar")

    def frozen(self) -> Distribution:
        """Gradients flow through it, not into its weights."""
        return self._fixed(self.prior.frozen(), False, "frozen", r"\underline")

    def _fixed(self, prior: Distribution, detach: bool, word: str, mark: str) -> FlowDistribution:
        name = f"{mark}{{{latex.latex_name(self._name)}}}"
        fixed = FixedFlow(self.flow, detach)
        kind = "pulled back" if self.draws_by_inverse else "pushed forward"
        twin: FlowDistribution = make(
            kind, prior=prior, flow=fixed, var=self._var, cond_var=self._flow_cond, name=name
        )
        twin._identity = (*self.identity(), word)
        return twin


def pull_back(
    p: FlowDistribution, x_dict: object, return_all: bool, compute_jacobian: bool
) -> dict[str, Tensor]:
    """The prior's variable at given values, with what was given if ``return_all``."""
    values = p._values(x_dict, [*p.var, *p._flow_cond])
    missing = [v for v in [*p.var, *p._flow_cond] if v not in values]
    if missing:
        raise VariableError(f"inference of {p.prob_text} needs {missing} too; add it to the dict")
    y = [values[v] for v in p._flow_cond]
    given: Condition = None if not y else y[0] if len(y) == 1 else y
    found = {p.hidden_var[0]: p.forward(values[p.var[0]], given, compute_jacobian)}
    return {**found, **values} if return_all else found


def _plus(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def _minus(a: Tensor, b: Tensor) -> Tensor:
    return a - b
