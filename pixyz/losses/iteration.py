"""IterativeLoss: the sum of a step's objective over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.graph import children_first
from pixyz.distributions.core.path import Path
from pixyz.distributions.made.deterministic import Deterministic
from pixyz.distributions.series.recurrence import Recurrence
from pixyz.distributions.series.step import Step, as_series, close_step, open_step
from pixyz.expression import Expectation, Loss, LossLike, as_loss, walk
from pixyz.expression.protocol import Draw
from pixyz.losses.edges import put_edge
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.types import PixyzError, VariableError, VarSpec

if TYPE_CHECKING:
    import sympy


class IterativeLoss(Loss):
    r"""The sum of a step's objective over time, :math:`\sum_{t} L_t(x_t, z_t, z_{t-1})` (Suzuki et
    al. 2023, Fig. 9).

    A carried variable, and what it is drawn from, is drawn once in a step; every term of the step
    sees that draw.  The ``sample_shape`` of an expectation over it is the number of particles that
    are carried; other expectations over it need not name it, and may not name another. The time
    loop is split: only what the carried values need stays in it.

    Args:
        step_loss: the objective of a step. ``.mean()`` in it is over the batch at each step.
        max_iter: the number of steps; the length of the series if None.
        series_var, update_value, timestep_var: see
            :class:`pixyz.distributions.series.recurrence.Recurrence`.
        slice_step: a Deterministic that makes the step's variables from whole series and the step's
            number.
        mask_var, reset_var, init, start, lags, reverse, fission, optional_var: see ``Recurrence``.
            Without ``mask_var`` an input called ``mask``, ``[T, B]``, is used if it is given.
        reduction: ``"sum"`` over steps (``[B]``), ``"frame"``: the sum over valid frames of all
            sequences divided by their number :math:`N`, None: ``[T, B]``.
        terms: named expressions of the step that are also returned, ``[T, B]``, differentiable.
        first_step: another objective in the place of ``step_loss`` at the first step.
        last_step: a further objective at the last step, added to ``step_loss`` there. Both read the
            series, what is carried into the step and what the path draws in it, at the first (last)
            valid frame that the loop visits in each sequence; other expectations in them draw for
            themselves, and a reset does not make a step the first one.
        steps: another name of ``max_iter``, as in :class:`pixyz.distributions.Scan`.
        returns: drawn variables that are also returned as series ``[T, B, ...]``; the final carried
            values come under their carried names, ready to be the start of the next chunk.

    >>> from pixyz.distributions import Normal
    >>> from pixyz.losses import E, LogProb
    >>> class Step(Normal):
    ...     def __init__(self):
    ...         super().__init__("z", "z_prev", features_shape=[2])
    ...
    ...     def forward(self, z_prev):
    ...         return {"loc": z_prev, "scale": torch.ones_like(z_prev)}
    >>> z, prior = Step(), Normal("z", loc=0.0, scale=1.0, features_shape=[2], name="r")
    >>> loss = IterativeLoss(E(z, LogProb(prior)), max_iter=3, update_value={"z": "z_prev"})
    >>> print(loss)
    \sum_{t=0}^{2} \mathbb{E}_{p(z|z_{prev})} \left[\log r(z) \right]
    >>> loss.eval({"z_prev": torch.zeros(4, 2)}).shape
    torch.Size([4])
    """

    def __init__(
        self,
        step_loss: Loss,
        max_iter: int | None = None,
        series_var: VarSpec = (),
        update_value: Mapping[str, str | Sequence[str]] | None = None,
        slice_step: Distribution | None = None,
        timestep_var: VarSpec = (),
        mask_var: str | None = None,
        reset_var: str | None = None,
        init: Mapping[str, object] | None = None,
        start: Mapping[str, str] | None = None,
        lags: Mapping[str, tuple[str, int]] | None = None,
        reverse: bool = False,
        reduction: str | None = "sum",
        terms: Mapping[str, LossLike] | None = None,
        returns: VarSpec = (),
        fission: bool = True,
        first_step: LossLike | None = None,
        last_step: LossLike | None = None,
        steps: int | None = None,
        optional_var: VarSpec = (),
    ) -> None:
        super().__init__()
        if steps is not None and max_iter not in (None, steps):
            raise PixyzError(
                f"max_iter and steps are one number, got {max_iter} and {steps}; give one of them"
            )
        max_iter = steps if max_iter is None else max_iter
        if max_iter is not None and (not isinstance(max_iter, int) or max_iter < 1):
            raise PixyzError(f"max_iter must be a positive whole number or None, got {max_iter!r}")
        if reduction not in ("sum", "frame", None):
            raise PixyzError(f"reduction must be 'sum', 'frame' or None, got {reduction!r}")
        self.step_loss = as_loss(step_loss)
        self.slice_step = slice_step
        # then the slices have the length of the series
        sliced = slice_step is not None and len(series_var) > 0
        self.recurrence = Recurrence(
            series_var,
            update_value,
            None if sliced else max_iter,
            init,
            start,
            reset_var,
            mask_var,
            lags,
            timestep_var,
            reverse,
            fission,
            optional_var,
        )
        self._max_iter, self._sliced_length, self.reduction = max_iter, sliced, reduction
        self.returns = [returns] if isinstance(returns, str) else list(returns)
        self.first_step = None if first_step is None else as_loss(first_step)
        self.last_step = None if last_step is None else as_loss(last_step)
        self.term_losses = torch.nn.ModuleList([as_loss(t) for t in (terms or {}).values()])
        self.term_names = list(terms or {})
        self.timestep_var = [timestep_var] if isinstance(timestep_var, str) else list(timestep_var)

    @property
    def max_iter(self) -> int | None:
        """The number of steps, if it is fixed."""
        return self._max_iter

    @max_iter.setter
    def max_iter(self, steps: int | None) -> None:
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise PixyzError(f"max_iter must be a positive whole number or None, got {steps!r}")
        self._max_iter = steps
        self.recurrence.steps = None if self._sliced_length else steps
        self.touch()

    def symbol(self) -> sympy.Expr:
        last = str(self.max_iter - 1) if self.max_iter else latex.latex_name("t_max") + " - 1"
        begin, inner = 0 if self.first_step is None else 1, self._sliced(self.step_loss)
        terms = [latex.leaf(rf"\sum_{{t={begin}}}^{{{last}}} {inner}")]
        if self.reduction is None:
            terms = [latex.leaf(rf"\left({inner}\right)_{{t={begin}, \dots, {last}}}")]
        if self.first_step is not None:
            terms.insert(0, latex.leaf(f"{self._sliced(self.first_step, edge=True)}_{{t=0}}"))
        if self.last_step is not None:
            terms.append(latex.leaf(f"{self._sliced(self.last_step, edge=True)}_{{t={last}}}"))
        total = latex.add(*terms) if len(terms) > 1 else terms[0]
        if self.reduction == "frame":
            return latex.product(latex.leaf(r"\frac{1}{N}"), total)
        return total

    def _sliced(self, loss: Loss, edge: bool = False) -> str:
        inner = latex.text((latex.whole if edge else latex.bracketed)(loss.symbol()))
        if self.slice_step is None:
            return inner
        return rf"\mathbb{{E}}_{{{self.slice_step.prob_text}}} \left[{inner} \right]"

    # ---------------------------------------------------------------- lowering

    def lower(self, scope: Scope) -> Slot:
        builder = scope.builder
        r = self.recurrence
        factors, particles = self._path()
        slices = None if self.slice_step is None else self._slices
        label, reads = self.loss_text_short(), self._reads(factors)
        step = open_step(r, scope, factors, particles, label, slices, reads)
        step.scope.particles = particles
        with builder.body(step.loop):
            self._draw_path(step, factors, particles)
            inner = step.scope.child()
            inner.keep = scope.keep | {step.axis, *particles}
            value = self._term(inner, step, self.step_loss)
            for name, term in zip(self.term_names, self.term_losses, strict=True):
                builder.terms[name] = self._term(inner, step, term)  # type: ignore[arg-type]
        close_step(r, step)
        if self.first_step is not None:
            value = put_edge(scope, step, value, self.first_step, "first", r.reverse)
        if self.last_step is not None:
            value = put_edge(scope, step, value, self.last_step, "last", r.reverse)
        self._collect(step)
        return self._reduce(step, value)

    def _reads(self, factors: Sequence[Distribution]) -> list[str]:
        """What the factors read that is the same in all steps."""
        r = self.recurrence
        own = {
            *r.series_var,
            *r.carried,
            *r.lags,
            *r.timestep_var,
            *(v for f in factors for v in f.var),
        }
        return [v for f in factors if not f.atom.over_time for v in f.cond_var if v not in own]

    def loss_text_short(self) -> str:
        """What the loop is over, for the printed plan."""
        return ", ".join(self.recurrence.series_var)

    def _path(self) -> tuple[list[Distribution], tuple[Axis, ...]]:
        """The factors that draw carried variables and their ancestors, parents first."""
        owner: dict[str, Distribution] = {}
        shapes: dict[int, dict[tuple[int, ...], None]] = {}
        clash: dict[str, Distribution] = {}
        edges = [loss for loss in (self.first_step, self.last_step) if loss is not None]
        for root in (self.step_loss, *self.term_losses, *edges):
            for node in walk(root):
                if not isinstance(node, Expectation) or not isinstance(node.p, Distribution):
                    continue
                for factor in node.p.factors():
                    for v in factor.var:
                        if v in owner and owner[v].identity() != factor.identity():
                            clash[v] = factor
                        owner.setdefault(v, factor)
                        if node.sample_shape:
                            shapes.setdefault(id(owner[v]), {})[node.sample_shape] = None
        known = {*self.recurrence.series_var, *self.recurrence.carried, *self.recurrence.lags}
        needed: list[Distribution] = []
        stack = [v for v in self.recurrence.update if v in owner]
        while stack:
            v = stack.pop()
            if v in clash:
                raise VariableError(
                    f"{v!r} is carried along the loop (or something carried depends on "
                    f"it) and drawn by two different "
                    f"distributions, {owner[v].prob_text} and {clash[v].prob_text}"
                )
            if owner[v] not in needed:
                needed.append(owner[v])
                stack += [c for c in owner[v].cond_var if c in owner and c not in known]
        sizes = list({size: None for f in needed for size in shapes.get(id(f), ())}) or [()]
        if len(sizes) > 1:
            drawn = [f.prob_text for f in needed]
            raise PixyzError(
                f"{', '.join(drawn)}: drawn once in a step, along one path, but expectations over "
                f"it ask for the sample shapes "
                f"{' and '.join(str(list(s)) for s in sizes)}; give them one sample_shape, "
                f"or leave it out in all but one"
            )
        return children_first(needed)[::-1], tuple(Axis("particle", n) for n in sizes[0])

    @staticmethod
    def _draw_path(
        step: Step, factors: Sequence[Distribution], particles: tuple[Axis, ...]
    ) -> None:
        path = Path(step.scope.path)
        step.scope.path = Path()
        for factor in factors:
            found = factor.lower_sample(step.scope, how=Draw(particles=particles))
            path.whole[factor.identity()] = found
            for v in factor.var:
                step.scope.values[v] = found[v]
                path[v] = (factor.identity(), found[v])
        step.scope.path = path

    def _slices(self, scope: Scope) -> dict[str, Slot]:
        assert self.slice_step is not None
        module = self.slice_step.atom
        if not isinstance(module, Deterministic) or self.max_iter is None:
            raise PixyzError("slice_step must be a Deterministic, and max_iter be given with it")
        time = [v for v in module.cond_var if v in self.timestep_var or v == "t"]
        args = [v for v in module.cond_var if v not in time]
        axis, whole = Axis("time", self.max_iter), Axis("time")
        slots = [scope.builder.relabel(scope.lookup(v), whole, v) for v in args]
        call = _Slices(module, time, args, self.max_iter)
        made = scope.builder.series(
            call, slots, [(v, axis) for v in module.var], whole, module.prob_text, key=None
        )
        return dict(zip(module.var, made, strict=True))

    @staticmethod
    def _term(scope: Scope, step: Step, loss: Loss) -> Slot:
        value = loss.lower(scope)
        value = scope.builder.reduce(
            rules.reduce_mean, value, scope.particles, batch=False, label="mean over samples"
        )
        if step.mask is not None and value.batch == "full":
            value = scope.builder.point(rules.blank, step.mask, value, label="valid frames")
        return value

    def _collect(self, step: Step) -> None:
        builder = step.scope.builder
        for name in self.returns:
            slot = step.scope.lookup(name)
            if slot.step.kind == "input":
                raise VariableError(
                    f"returns={name!r}: the step draws {sorted(step.scope.values)}, "
                    f"and this is no series"
                )
            builder.returned[name] = as_series(step, slot)
        if self.returns:
            for carry in step.loop.carries:
                assert carry.out is not None
                pick = rules.first if self.recurrence.reverse else rules.last
                final = builder.series(
                    pick,
                    [carry.out],
                    [(carry.name, None)],
                    step.axis,
                    f"final {carry.name}",
                    key=None,
                )
                builder.returned[carry.name] = step.final(carry.name, final[0])

    def _reduce(self, step: Step, value: Slot) -> Slot:
        builder = step.scope.builder
        if self.reduction is None:
            return value
        if step.axis not in value.axes:
            like = next(
                (
                    s
                    for s in step.scope.values.values()
                    if step.axis in s.axes and s.batch == "full"
                ),
                None,
            )
            if like is None:
                raise PixyzError(
                    f"the step's objective {self.step_loss.loss_text} does not depend on the step"
                )
            value = builder.expand(value, like, (step.axis, *value.axes))
        if self.reduction == "sum":
            return builder.reduce(
                rules.reduce_sum, value, [step.axis], batch=False, label="sum over steps"
            )
        mask = step.mask if value.batch == "full" else None
        return builder.reduce(
            rules.reduce_mean, value, [step.axis], batch=True, label="mean over frames", mask=mask
        )


class _Slices:
    """Calls a slice step for each number and stacks the results."""

    def __init__(self, module: Distribution, time: list[str], args: list[str], steps: int) -> None:
        self.module, self.time, self.args, self.steps = module, time, args, steps

    def __call__(self, *series: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fixed = dict(zip(self.args, series, strict=True))
        rows = [self.module(**fixed, **dict.fromkeys(self.time, t)) for t in range(self.steps)]
        return tuple(torch.stack([row[v] for row in rows]) for v in self.module.var)
