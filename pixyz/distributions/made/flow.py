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
from pixyz.distributions.core.base import BATCH, Distribution
from pixyz.distributions.core.network import pinned_reason
from pixyz.distributions.core.params import Params
from pixyz.distributions.core.path import on_path
from pixyz.distributions.core.probe import Probe
from pixyz.distributions.core.views import constant_copy
from pixyz.distributions.families.normal import Normal
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.overrides import adopted
from pixyz.flows.flow import Condition, Flow, conditions
from pixyz.flows.operations import Flatten
from pixyz.flows.zuko import ZukoFlow, make_zuko_flow
from pixyz.plan import Axis, Builder, Scope, Slot
from pixyz.plan.graph.formula import Network
from pixyz.types import PixyzError, VariableError, VarSpec, names


class FlowStep(Network):
    """One direction of a flow as a step of a plan: ``(value, *conditions)`` to value and
    log-determinant.
    """

    __slots__ = ("flow", "inverse")

    def __init__(self, flow: Flow, inverse: bool) -> None:
        self.flow, self.inverse = flow, inverse

    def __call__(self, value: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        given: Condition = None if not y else y[0] if len(y) == 1 else y
        return (self.flow.inverse_and_logdet if self.inverse else self.flow.forward_and_logdet)(
            value, given
        )

    def probe(self, rows: Sequence[bool], named: bool) -> Probe:
        """The call where its step has left a loop."""
        return Probe(
            self.flow.flow if isinstance(self.flow, FixedFlow) else self.flow,
            self,
            self,
            self,
            [self.flow],
            rows,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlowStep) and (other.flow, other.inverse) == (
            self.flow,
            self.inverse,
        )

    def __hash__(self) -> int:
        return hash((self.flow, self.inverse))


class FixedFlow(Flow):
    """A flow with its weights as constants; they share memory with the flow's, so it follows the
    optimiser.

    Args:
        flow: the flow.
        detach: no gradient to the conditions either.
    """

    def __init__(self, flow: Flow, detach: bool) -> None:
        super().__init__(flow.in_features)
        self.flow, self.detached = flow, detach

    def _condition(self, y: Condition) -> Condition:
        return (
            y if y is None or not self.detached else tuple(part.detach() for part in conditions(y))
        )

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return constant_copy(self.flow, {}).forward_and_logdet(x, self._condition(y))  # type: ignore[operator, no-any-return]

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return constant_copy(self.flow, {}).inverse_and_logdet(z, self._condition(y))  # type: ignore[operator, no-any-return]


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
        self._identity: tuple[Any, ...] | None = None

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

    def identity(self) -> Hashable:
        return self._identity or super().identity()

    # ---------------------------------------------------------------- lowering

    def _step(
        self, builder: Builder, value: Slot, y: Sequence[Slot], *, draw: bool
    ) -> tuple[Slot, Slot]:
        inverse = self.draws_by_inverse is draw
        arrow = "f^-1" if inverse else "f"
        outs = [self.var[0] if draw else self.hidden_var[0], "log|det|"]
        label = f"{arrow} of {self.prob_text}"
        slots = builder.net(
            FlowStep(self.flow, inverse),
            [value, *y],
            outs,
            label,
            key=None,
            pinned=pinned_reason(self.flow),
        )
        return slots[0], slots[1]

    def _draw(
        self,
        builder: Builder,
        scope: Scope,
        *,
        reparam: bool,
        particles: tuple[Axis, ...],
        mean: bool,
    ) -> dict[str, Slot]:
        """The slots of a sample and of the prior's draw behind it."""
        inner = scope.child()
        inner.path = {}  # the prior's variable is bound here; a loop cannot carry it
        y = [scope.lookup(v) for v in self._flow_cond]
        z = self._draw_prior(builder, inner, y, reparam=reparam, particles=particles, mean=mean)
        x, logdet = self._step(builder, z, y, draw=True)
        if reparam:
            builder.origin[x] = (self.identity(), tuple(y), z, logdet)
        else:
            x = builder.detach(x)
        x.label = self.var[0]
        return {self.var[0]: x, self.hidden_var[0]: z}

    def _draw_prior(
        self,
        builder: Builder,
        scope: Scope,
        y: Sequence[Slot],
        *,
        reparam: bool,
        particles: tuple[Axis, ...],
        mean: bool,
    ) -> Slot:
        like = next((slot for slot in y if slot.batch == "full"), None)
        family = isinstance(self.prior.atom, ParametricDistribution) and not adopted(
            self.prior.atom, "sample"
        )
        if like is not None and not self.prior.cond_var and family:
            # a prior without a batch: every row of the condition has a draw of its own
            params = self.prior.lower_params(builder, scope).expanded(like)
            drawn = self.prior.sample_from(
                builder, scope, params, reparam=reparam, particles=particles, mean=mean
            )
            return drawn[self.hidden_var[0]]
        z = self.prior.lower_sample(
            builder, scope, reparam=reparam, particles=particles, mean=mean
        )[self.hidden_var[0]]
        if like is not None and z.batch != "full" and not mean:
            raise PixyzError(
                f"{self.prior.prob_text} has no batch, "
                f"so all rows of {self._flow_cond} would share one draw; "
                "use a family such as Normal as the prior, or give batch_n"
            )
        return z

    def lower_sample(
        self,
        builder: Builder,
        scope: Scope,
        *,
        reparam: bool = True,
        particles: tuple[Axis, ...] = (),
        mean: bool = False,
    ) -> dict[str, Slot]:
        found = on_path(self, scope, reparam)
        if found is not None:
            return found
        drawn = self._draw(builder, scope, reparam=reparam, particles=particles, mean=mean)
        return {self.var[0]: drawn[self.var[0]]}

    def lower_log_prob(
        self,
        builder: Builder,
        scope: Scope,
        *,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Slot:
        if not sum_features or feature_dims is not None:
            raise PixyzError(
                f"the density of {self.prob_text} is one over all features: a flow mixes them; "
                "leave out sum_features and feature_dims"
            )
        x = scope.lookup(self.var[0])
        y = tuple(scope.lookup(v) for v in self._flow_cond)
        known = builder.origin.get(x)
        if known is not None and known[:2] == (self.identity(), y):
            z, sign = known[2], _minus
            logdet = known[3]
        else:
            (z, logdet), sign = self._step(builder, x, y, draw=False), _plus
            if not any(isinstance(f, Flatten) for f in nn.Module.modules(self.flow)):
                builder.stands_for[z] = builder.stands_for.get(x, x)
        inner = scope.child({self.hidden_var[0]: z})
        inner.path = {}
        base = self.prior.lower_log_prob(builder, inner)
        return builder.point(sign, base, logdet, label=f"log {self.prob_text}")

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        raise NotImplementedError(
            f"{self.prob_text} is a flow: it has no parameters, mean or entropy by formula"
        )

    # ---------------------------------------------------------------- direct use

    def sample(
        self,
        x_dict: Any = None,
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
        values = self._sample_values(x_dict, batch_n)
        shape = tuple(int(n) for n in sample_shape)

        def build(builder: Builder) -> dict[str, Slot]:
            particles = tuple(Axis("particle", n) for n in reversed(shape))
            builder.batch_n = builder.input(BATCH, "none") if builder.given(BATCH) else None
            drawn = self._draw(
                builder, Scope(builder), reparam=reparam, particles=particles, mean=sample_mean
            )
            return drawn if reparam else {k: builder.detach(v) for k, v in drawn.items()}

        drawn = self._run(("sample", shape, reparam, sample_mean), values, build, generator)
        values.pop(BATCH, None)
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
        kind = InverseTransformedDistribution if self.draws_by_inverse else TransformedDistribution
        fixed = FixedFlow(self.flow, detach)
        twin: FlowDistribution = kind(
            prior=prior, flow=fixed, var=self._var, cond_var=self._flow_cond, name=name
        )
        twin._identity = (*self.identity(), word)  # type: ignore[misc]
        return twin


class TransformedDistribution(FlowDistribution):
    r"""A prior pushed forward through a flow: :math:`z = f(x; y),\ x \sim p_{prior}(x)`.

    .. math::
        \log p(z) = \log p_{prior}(x) - \log \left|\det \frac{\partial f}{\partial x}\right|, \qquad
            x = f^{-1}(z; y).

    Drawing is the flow's forward direction: the form for posteriors, :math:`E_{q(z|x)}[\log
    q(z|x)]` (Rezende and Mohamed, 2015), where the density of a draw needs no inverse.

    What differs from pixyz 0.3.3: the log-density is right whatever was called before it and as
    often as it is called; ``reparam`` counts; in a product the prior's variable does not show;
    several conditioning variables are allowed.

    Args:
        prior: of one variable; its conditioning variables are this distribution's too.
        flow: the flow ``f``.
        var: the new variable.
        name: the letter in formulas.
        cond_var: variables that the flow is conditioned on.

    Raises:
        VariableError: the prior's variable has the name of another one.
        NotImplementedError: a log-density at a value that was not drawn in the same evaluation, of
            a flow without inverse.

    >>> from pixyz.distributions import Normal
    >>> from pixyz.flows import PlanarFlow
    >>> q = TransformedDistribution(
    ...     Normal(var="x", loc=0.0, scale=1.0, features_shape=[2]),
    ...     PlanarFlow(2),
    ...     var="z",
    ...     name="q",
    ... )
    >>> q.get_log_prob(q.sample(batch_n=5)).shape, q.prob_factorized_text
    (torch.Size([5]), 'q(z=f_{flow}(x))')
    """

    draws_by_inverse = False

    def __init__(
        self, prior: Distribution, flow: Flow, var: VarSpec, name: str = "p", cond_var: VarSpec = ()
    ) -> None:
        super().__init__(prior, flow, var, cond_var, name)

    @staticmethod
    def _ordered(prior: Sequence[str], own: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*prior, *own]))

    @property
    def flow_input_var(self) -> list[str]:
        """The variable that goes into the flow."""
        return self.hidden_var


class InverseTransformedDistribution(FlowDistribution):
    r"""A prior pulled back through a flow: :math:`x = f^{-1}(z; y),\ z \sim p_{prior}(z)`.

    .. math::
        \log p(x|y) = \log p_{prior}(z) + \log \left|\det \frac{\partial f}{\partial x}\right|,
            \qquad z = f(x; y).

    The log-density is the flow's forward direction: the form for density estimation (NICE, RealNVP,
    Glow).

    What differs from pixyz 0.3.3: several conditioning variables (the flow gets them as a tuple, in
    order), a prior that is itself conditional, and no hidden state.

    Args:
        prior: of one variable; its conditioning variables are this distribution's too.
        flow: the flow ``f``.
        var: the new variable.
        cond_var: variables that the flow is conditioned on.
        name: the letter in formulas.

    Raises:
        VariableError: the prior's variable has the name of another one.

    >>> from pixyz.distributions import Normal
    >>> from pixyz.flows import RealNVP
    >>> p = InverseTransformedDistribution(
    ...     Normal(var="z", loc=0.0, scale=1.0, features_shape=[2]), RealNVP(2), var="x"
    ... )
    >>> p.get_log_prob({"x": torch.zeros(5, 2)}).shape, p.prob_joint_factorized_and_text
    (torch.Size([5]), 'p(x) = p(x=f^{-1}_{flow}(z))')
    """

    draws_by_inverse = True

    def __init__(
        self, prior: Distribution, flow: Flow, var: VarSpec, cond_var: VarSpec = (), name: str = "p"
    ) -> None:
        super().__init__(prior, flow, var, cond_var, name)

    @property
    def flow_output_var(self) -> list[str]:
        """The variable that comes out of the flow."""
        return self.hidden_var

    def inference(
        self, x_dict: Any, return_all: bool = True, compute_jacobian: bool = False
    ) -> dict[str, Tensor]:
        """The prior's variable at given values: ``{"z": f(x; y)}``, with what was given if
        ``return_all``.
        """
        values = self._values(x_dict, [*self.var, *self._flow_cond])
        missing = [v for v in [*self.var, *self._flow_cond] if v not in values]
        if missing:
            raise VariableError(
                f"inference of {self.prob_text} needs {missing} too; add it to the dict"
            )
        y = [values[v] for v in self._flow_cond]
        given: Condition = None if not y else y[0] if len(y) == 1 else y
        found = {self.hidden_var[0]: self.forward(values[self.var[0]], given, compute_jacobian)}
        return {**found, **values} if return_all else found


def _plus(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def _minus(a: Tensor, b: Tensor) -> Tensor:
    return a - b


class ZukoDistribution(InverseTransformedDistribution):
    r"""A flow of zuko as a distribution: :math:`x = f^{-1}(u; y),\ u \sim N(0, 1)`.

    Args:
        flow: the name of a class in ``zuko.flows`` (``"NSF"``: neural splines, ``"MAF"``:
            autoregressive, ...).
        var: the variable, ``[B, D]``.
        features: ``D``.
        cond_var: the conditioning variables; they are flattened and put together.
        name: the letter in formulas.
        context: the size of the conditioning variables together.
        base_var: the name of the prior's variable.
        **settings: what the class takes besides: ``transforms``, ``hidden_features``, ``bins`` ...

    Raises:
        PixyzError: zuko (extra ``flows``) is not installed; the flow's base is no standard normal.

    >>> p = ZukoDistribution("NSF", "x", 2, transforms=1, hidden_features=(8,))
    >>> p.sample(batch_n=3)["x"].shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        flow: str,
        var: VarSpec,
        features: int,
        cond_var: VarSpec = (),
        name: str = "p",
        context: int = 0,
        base_var: str = "u",
        **settings: Any,
    ) -> None:
        made = make_zuko_flow(flow, features=features, context=context, **settings)
        base = made.base() if hasattr(made, "transform") else None
        if type(base).__name__ != "DiagNormal":
            raise PixyzError(
                f"{flow} of zuko has the base {type(base).__name__}, not a standard normal; write "
                "InverseTransformedDistribution(prior, ZukoFlow(...), var=...) with that prior"
            )
        prior = Normal(var=base_var, loc=0.0, scale=1.0, features_shape=[features])
        super().__init__(prior, ZukoFlow(made), var, cond_var, name)
        self._features_shape = torch.Size([features])
