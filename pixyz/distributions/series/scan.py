"""Scan: a distribution over series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.path import Path, on_path
from pixyz.distributions.core.product import Drawn
from pixyz.distributions.series.recurrence import Recurrence
from pixyz.distributions.series.step import as_series, close_step, open_step
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Axis, PlanCache, Scope, Slot, rules
from pixyz.types import PixyzError, VariableError, VarSpec


class Scan(Distribution):
    r"""The distribution of series that a step draws one after another, :math:`\prod_t
    p(x_t|x_{t-1}, \ldots)`.

    A filter over data, a recurrent network that reads backward (``reverse=True``), imagination
    without data (``steps=H``) and ragged batches (``mask_var``) are this one class.  What it draws
    is a series ``[T, B, ...]``; with ``sample_shape=[K]`` it is ``[T, K, B, ...]``.  Its series,
    its lags and its carried-in values are series that expressions under ``E(scan, ...)`` may read
    too.  In a masked frame a series holds a valid frame of the batch, so that no density is taken
    where it is not finite; a :class:`SeriesFunction` reads 0 there.

    Args:
        dists: the step: a distribution or a product.
        series_var, update_value, steps, init, start, reset_var, mask_var, lags, timestep_var,
            reverse, fission, optional_var: see
            :class:`pixyz.distributions.series.recurrence.Recurrence`.
        path: ``{"h_all": "h_prev"}``: a name for all values of a carried variable in the order of
            time, start included (the first one; the last one if ``reverse``), ``[T + 1, ...]``;
            what a reset puts in their place is not among them.
        max_iter: another name of ``steps``, as in :class:`pixyz.losses.IterativeLoss`.
        grad: False draws without any gradient (REINFORCE; the same as ``.detach()``).

    >>> import torch
    >>> from pixyz.distributions import Normal
    >>> class Step(Normal):
    ...     def __init__(self):
    ...         super().__init__("z", "z_prev", features_shape=[2])
    ...
    ...     def forward(self, z_prev):
    ...         return {"loc": z_prev + 1, "scale": torch.ones_like(z_prev)}
    >>> path = Scan(Step(), update_value={"z": "z_prev"}, steps=3)
    >>> path.sample({"z_prev": torch.zeros(4, 2)}, sample_mean=True)["z"][:, 0, 0]
    tensor([1., 2., 3.])
    """

    over_time = True

    def __init__(
        self,
        dists: Distribution,
        series_var: VarSpec = (),
        update_value: Mapping[str, str | Sequence[str]] | None = None,
        steps: int | None = None,
        init: Mapping[str, object] | None = None,
        start: Mapping[str, str] | None = None,
        reset_var: str | None = None,
        mask_var: str | None = None,
        lags: Mapping[str, tuple[str, int]] | None = None,
        timestep_var: VarSpec = (),
        reverse: bool = False,
        path: Mapping[str, str] | None = None,
        grad: bool = True,
        fission: bool = True,
        max_iter: int | None = None,
        optional_var: VarSpec = (),
    ) -> None:
        if max_iter is not None and steps not in (None, max_iter):
            raise PixyzError(
                f"steps and max_iter are one number, got {steps} and {max_iter}; give one of them"
            )
        steps = max_iter if steps is None else steps
        recurrence = Recurrence(
            series_var,
            update_value,
            steps,
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
        self_path = dict(path or {})
        unknown = [c for c in self_path.values() if c not in recurrence.carried]
        if unknown:
            raise VariableError(f"path of {unknown}, but carried are {recurrence.carried}")
        unbound = [
            v
            for v in dists.cond_var
            if v not in recurrence.carried
            and v not in recurrence.lags
            and v not in recurrence.series_var
            and v not in recurrence.timestep_var
        ]
        cond = list(dict.fromkeys([*recurrence.outer_names, *unbound]))
        super().__init__(
            [*dists.var, *self_path], [v for v in cond if v not in dists.var], dists.name
        )
        self.dists, self.recurrence, self.path, self.grad = dists, recurrence, self_path, grad
        self.constant = [v for v in unbound if v not in dists.var]

    def compile(  # type: ignore[override]
        self,
        chunk: int = 8,
        *,
        whole: bool = False,
        backend: Any = "inductor",
        mode: str | None = None,
    ) -> Scan:
        """Compile the loop of ``sample``, ``chunk`` steps at a time, or all of it; see
        :meth:`pixyz.losses.Loss.compile`.

        Within a loss it is the loss that is compiled.
        """
        self._plans.set_options(chunk=chunk, whole=whole, backend=backend, mode=mode)
        return self

    @property
    def distribution_name(self) -> str:
        return "Scan"

    @property
    def is_random(self) -> bool:
        return any(factor.is_random for factor in self.dists.factors())

    @property
    def prob_text(self) -> str:
        if len({f.name for f in self.dists.factors()}) > 1:
            return self.prob_factorized_text
        end = "T" if self.recurrence.steps is None else str(self.recurrence.steps)
        timed = [*self.recurrence.series_var, *(s for s, _ in self.recurrence.lags.values())]

        def over_time(name: str) -> str:
            return (
                f"{latex.latex_name(name)}_{{1:{end}}}"
                if "_" not in name
                else f"{latex.latex_name(name)}^{{1:{end}}}"
            )

        drawn = ",".join(over_time(v) for v in self.dists.var)
        given = ",".join(
            over_time(v) if v in timed else latex.latex_name(v)
            for v in self.cond_var
            if v not in (self.recurrence.reset_var, self.recurrence.mask_var)
        )
        return f"{latex.latex_name(self.name)}({drawn}{'|' + given if given else ''})"

    @property
    def prob_factorized_text(self) -> str:
        end = "T" if self.recurrence.steps is None else str(self.recurrence.steps)
        return rf"\prod_{{t=1}}^{{{end}}} {self.dists.prob_factorized_text}"

    def detach(self) -> Scan:
        """The same series without gradient:
        samples are constants for everything that reads them.
        """
        import copy

        twin = copy.copy(self)
        twin.__dict__ = {**self.__dict__, "grad": False, "_plans": PlanCache()}
        return twin

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        builder = scope.builder
        found = on_path(self, scope, how.reparam)
        if found is not None:
            return (
                scope.path.whole.get(self.identity(), found)
                if isinstance(scope.path, Path)
                else found
            )
        r = self.recurrence
        step = open_step(
            r, scope, self.dists.factors(), how.particles, self.prob_text, reads=self.constant
        )
        with builder.body(step.loop):
            step.scope.values.update(self.dists.lower_sample(step.scope, how=how))
            step.scope.values.update(
                {v: as_series(step, step.scope.values[v]) for v in self.dists.var}
            )
        close_step(r, step)
        values = dict(step.scope.values)
        whole = Axis("time", base=step.axis)
        for name, carried in self.path.items():
            outs = next(c.out for c in step.loop.carries if c.name == carried)
            assert outs is not None
            join, before = (
                (rules.cat_path_back, rules.but_first)
                if r.reverse
                else (rules.cat_path, rules.but_last)
            )
            args = [step.starts[carried], outs]
            values[name] = path = builder.series(
                join, args, [(name, whole)], step.axis, name, key=whole
            )[0]
            # what was carried in is a view of the path: nothing is stacked twice
            if r.reset_var is None:
                values[carried] = builder.series(
                    before, [path], [(carried, step.axis)], whole, carried, key=None
                )[0]
        if not self.grad:
            values = {n: s if n in step.series else builder.detach(s) for n, s in values.items()}
        drawn = Drawn(values)
        drawn.masks = {} if step.mask is None else {step.axis: step.mask}
        return drawn

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        raise NotImplementedError(
            f"write the log-density of {self.prob_text} as IterativeLoss(LogProb(step), "
            f"series_var=..., lags=...)"
        )
