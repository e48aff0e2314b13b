"""A recurrence over time: what a Scan and an IterativeLoss have in common.

A step draws some distributions; ``update_value`` says which values are carried to the next step
and under which name.  How it is lowered: :mod:`pixyz.distributions.series.step`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pixyz.plan.structure import Structured
from pixyz.types import PixyzError, VariableError, VarSpec, names


class Recurrence(Structured):
    """Everything that says how values travel through time.

    Args:
        series_var: inputs that are series, time first ``[T, B, ...]``.
        update_value: ``{"h": "h_prev"}``: after a step, the value of ``h`` is the next step's
            ``h_prev``; several targets may be named, and new values come from the old snapshot,
            whatever the order.
        steps: the number of steps; the length of the series if None.
        init: what a carried (or lagged) name holds at the beginning and after a reset: 0 or another
            number, a tensor, an ``nn.Parameter`` (learned) or a distribution of that name.  A
            tensor is one row; where ``features_shape`` says what a row is, also rows ``[B, ...]``.
            Of a distribution each sequence and particle draws for itself, again after each reset.
            A value in the input dict is taken for the first step.  A number has the shape of
            ``features_shape`` or of the series that is carried on, and the rows of what the step
            reads; where nothing has rows, ``batch_n`` of a sampled Scan says how many, of one row
            too.
        start: carried name -> the variable around the recurrence that it starts from.
        reset_var: a series of flags; where it is set, carried values are back at ``init`` before
            the step.
        mask_var: a series of flags; where it is not set, carried values are held and terms
            contribute 0. Whatever a masked frame holds, a reset among it, has no effect.
        lags: ``{"a_prev": ("action", -1)}``: a name for a shifted series.  With an ``init`` it is
            filled at the beginning and cut at resets; without one the range is shortened to where
            all shifts exist, and a frame whose shift crosses a reset or reads a masked frame
            contributes 0 and holds what its reset left.
        timestep_var: a name for the number of the step.
        reverse: go from the last step to the first.
        fission: split the time loop; False keeps every step inside.
        optional_var: those of ``reset_var`` and ``mask_var`` that are used only where they are
            given or drawn.
    """

    def __init__(
        self,
        series_var: VarSpec = (),
        update_value: Mapping[str, str | Sequence[str]] | None = None,
        steps: int | None = None,
        init: Mapping[str, Any] | None = None,
        start: Mapping[str, str] | None = None,
        reset_var: str | None = None,
        mask_var: str | None = None,
        lags: Mapping[str, tuple[str, int]] | None = None,
        timestep_var: VarSpec = (),
        reverse: bool = False,
        fission: bool = True,
        optional_var: VarSpec = (),
    ) -> None:
        super().__init__()
        self.series_var = names(series_var, "series_var")
        self.update = {k: names(v, "update_value") for k, v in (update_value or {}).items()}
        self.carried = [prev for prevs in self.update.values() for prev in prevs]
        if len(set(self.carried)) != len(self.carried):
            raise VariableError(f"update_value writes one name twice: {self.carried}")
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise PixyzError(f"the number of steps must be a positive whole number, got {steps!r}")
        self.steps, self.reverse, self.fission = steps, reverse, fission
        self.reset_var, self.mask_var = reset_var, mask_var
        self.optional_var = names(optional_var, "optional_var")
        if odd := [v for v in self.optional_var if v not in (reset_var, mask_var)]:
            raise VariableError(
                f"optional_var names {odd}, but the flags are reset_var={reset_var!r} and "
                f"mask_var={mask_var!r}"
            )
        self.lags = {k: (str(v[0]), int(v[1])) for k, v in (lags or {}).items()}
        self.timestep_var = names(timestep_var, "timestep_var")
        self.start = dict(start or {})
        self.init: dict[str, Any] = dict(init or {})
        unknown = [
            n for n in [*self.init, *self.start] if n not in self.carried and n not in self.lags
        ]
        if unknown:
            raise VariableError(
                f"init or start for {unknown}, "
                f"but carried are {self.carried} and lagged {list(self.lags)}"
            )
        for i, (name, value) in enumerate(self.init.items()):
            if isinstance(value, (nn.Parameter, nn.Module)):
                setattr(self, f"init_{i}", value)
            elif isinstance(value, Tensor):
                self.register_buffer(f"init_{i}", value)
            elif not isinstance(value, (int, float)):
                raise PixyzError(
                    f"init of {name!r} must be a number, a tensor, a parameter or a distribution, "
                    f"got {value!r}"
                )
            else:
                continue
            self.init[name] = f"init_{i}"

    @property
    def outer_names(self) -> list[str]:
        """The variables around the recurrence that it reads."""
        flags = [v for v in (self.reset_var, self.mask_var) if v and v not in self.optional_var]
        shifted = [source for source, _ in self.lags.values()]
        starts = [
            self.start.get(c, c) for c in self.carried if c in self.start or c not in self.init
        ]
        return list(dict.fromkeys([*self.series_var, *shifted, *flags, *starts]))
