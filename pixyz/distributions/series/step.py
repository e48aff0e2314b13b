"""A recurrence in a plan: its step is opened, written and closed.

The order in a step is: reset, step, hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torch.nn.parameter import is_lazy

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.path import unshadowed
from pixyz.distributions.series.init import (
    Draws,
    Known,
    Repeated,
    first_value,
    init_slot,
    one_number,
)
from pixyz.distributions.series.read import read_series, step_numbers
from pixyz.distributions.series.recurrence import Recurrence
from pixyz.plan import Axis, Loop, Scope, Slot, rules
from pixyz.plan.graph import order_axes
from pixyz.plan.structure import parts
from pixyz.types import PixyzError, VariableError


@dataclass
class Step:
    """A recurrence opened in a plan: the scope of its step and what closes it."""

    axis: Axis
    loop: Loop
    scope: Scope
    mask: Slot | None
    starts: dict[str, Slot]
    carries: dict[str, Slot]
    series: dict[str, Slot]
    inits: dict[str, Slot | Draws | None] = field(default_factory=dict)
    held: dict[str, Slot] = field(default_factory=dict)
    end: Slot | None = None

    def final(self, name: str, value: Slot) -> Slot:
        """The last carried ``value`` of ``name``; a reset in a frame behind the range that lags
        leave counts.
        """
        return (
            value
            if self.end is None
            else _reset(self.scope, self.end, value, self.inits[name], name)
        )


def open_step(
    r: Recurrence,
    scope: Scope,
    factors: Sequence[Distribution],
    particles: tuple[Axis, ...],
    label: str,
    slices: Callable[[Scope], dict[str, Slot]] | None = None,
    reads: Sequence[str] = (),
) -> Step:
    """Lower everything that comes before the step: series, flags, lags, carried values.

    Args:
        factors: what the step draws, all of it or what it carries on.
        particles: leading dimensions of the carried values.
        slices: makes further series (a ``slice_step``).
        reads: variables around the recurrence that the step reads: they give the batch size where
            no series does.
    """
    builder = scope.builder
    raw = read_series(r, scope)
    axis, mask, first = raw.axis, raw.mask, raw.first
    series = dict(raw.series)
    like = next(iter(series.values()), None)
    for name, (source, shift) in r.lags.items():
        moved = raw.lags[name]
        if name in r.init:
            moved = _filled_lag(r, scope, name, source, shift, moved, first, axis)
        series[name] = moved
    if slices is not None:
        made = slices(scope)
        axis = next(a for s in made.values() for a in s.axes if a.kind == "time")
        series.update(made)
        like = like or next(iter(made.values()))
    for name in r.timestep_var:
        series[name] = raw.clock(scope) if axis is raw.axis else step_numbers(scope, axis)
    if like is None and any(c in r.init for c in r.carried):
        like = next((s for s in map(scope.lookup, reads) if s.batch == "full"), None)
    wide = {*particles, *_outer_axes(r, scope, factors, series, axis)}
    starts, inits = _starts(r, scope, factors, series, wide, like, raw.begin)
    loop = builder.open_loop(axis, reverse=r.reverse, fission=r.fission, label=label)
    carries, held = {}, {}
    inner = scope.child(series)
    inner.path = unshadowed(scope.path, {*series, *r.carried, *(v for f in factors for v in f.var)})
    with builder.body(loop):
        for name, slot in starts.items():
            carries[name] = builder.carry(loop, name, slot)
            value = carries[name]
            if first is not None:
                value = _reset(inner, first, value, inits[name], name)
            inner.values[name] = value
            held[name] = carries[name] if raw.valid is None else value
    if raw.valid is not None:
        mask = (
            raw.valid if mask is None else builder.point(rules.both, mask, raw.valid, label="valid")
        )
    if mask is not None:
        inner.masks[axis] = mask
    return Step(axis, loop, inner, mask, starts, carries, series, inits, held, raw.end)


def _known(p: Distribution) -> bool:
    """Whether the shape of a sample is known; ``[]`` is where it was declared."""
    return len(p.features_shape) > 0 or (p.atom.has_network and p.atom._declared)


def close_step(r: Recurrence, step: Step) -> None:
    """Lower what comes after the step: which values are carried on; a frame that is not valid holds
    what came in.
    """
    builder = step.scope.builder
    with builder.body(step.loop):
        for name, prevs in r.update.items():
            for prev in prevs:
                new = step.scope.lookup(name)
                if new.step.kind == "input":
                    raise VariableError(
                        f"update_value carries {name!r} on, "
                        f"but no distribution of the step draws it and it is no series; "
                        f"name one that is drawn, or put the distribution of {name!r} into the step"
                    )
                new = as_series(step, new, step.carries[prev].axes)
                if step.mask is not None:
                    new = builder.point(
                        rules.hold, step.mask, new, step.held[prev], label=f"hold {name}"
                    )
                builder.close_carry(step.loop, prev, new)


def as_series(step: Step, slot: Slot, axes: tuple[Axis, ...] = ()) -> Slot:
    """A value of the step, ``[T, B, ...]`` also where it is constant in time; with further ``axes``
    (particles).
    """
    wanted = {step.axis, *axes, *slot.axes}
    if wanted == set(slot.axes):
        return slot
    like = next(
        (s for s in [slot, *step.series.values(), *step.carries.values()] if s.batch == "full"),
        slot,
    )
    return step.scope.builder.expand(slot, like, order_axes(wanted))


# -------------------------------------------------------------------------------------------- lags


def _filled_lag(
    r: Recurrence,
    scope: Scope,
    name: str,
    source: str,
    shift: int,
    slot: Slot,
    first: Slot | None,
    axis: Axis,
) -> Slot:
    builder = scope.builder
    if shift != -1:
        raise PixyzError(
            f"the lag {name!r} of {shift} steps: an init is for lags of -1; "
            f"leave it out to shorten the range"
        )
    init = init_slot(r, scope, name, Known(None, slot), lagged=True)
    if init is None:
        init = one_number(0.0, scope, slot, f"init of {name}")
    frame = tuple(a for a in slot.axes if a is not axis)
    begin = None
    if name in r.start:
        begin = scope.lookup(r.start[name])
    elif scope.bound(name) or builder.given(name):
        begin = scope.lookup(name)
    if begin is None:
        begin = init(slot, frame) if isinstance(init, Draws) else init
    begin = builder.expand(begin, slot, frame)
    moved = builder.series(rules.lagged, [slot, begin], [(name, axis)], axis, name, key=None)[0]
    return (
        moved
        if first is None
        else _reset(scope, first, moved, None if r.init[name] == 0 else init, name)
    )


def _reset(
    scope: Scope,
    first: Slot,
    value: Slot,
    init: Slot | Draws | None,
    name: str,
    wide: Collection[Axis] = (),
) -> Slot:
    builder = scope.builder
    first = builder.point(rules.column, first, label=first.label)
    if isinstance(init, Draws):
        init = init(first, order_axes({*first.axes, *value.axes, *wide}))
    if init is None:
        return builder.point(rules.reset_zero, first, value, label=f"reset {name}")
    return builder.point(rules.reset, first, value, init, label=f"reset {name}")


# --------------------------------------------------------------------------------------------
# carried values


def _starts(
    r: Recurrence,
    scope: Scope,
    factors: Sequence[Distribution],
    series: Mapping[str, Slot],
    wide: set[Axis],
    like: Slot | None,
    begin: Slot | None,
) -> tuple[dict[str, Slot], dict[str, Slot | Draws | None]]:
    builder, n = scope.builder, scope.mode.batch_n
    shapes = {v: f.features_shape for f in factors for v in f.var if _known(f)}
    starts: dict[str, Slot] = {}
    inits: dict[str, Slot | Draws | None] = {}
    draws: dict[str, Draws] = {}
    drawn = {prev: name for name, prevs in r.update.items() for prev in prevs}
    given = {
        prev: scope.lookup(r.start.get(prev, prev))
        for prev in drawn
        if prev in r.start or scope.bound(prev) or prev not in r.init or builder.given(prev)
    }
    like = like or next((s for s in given.values() if s.batch == "full"), None)
    for prev, name in drawn.items():
        inits[prev] = None
        frames = series.get(name)
        if frames is not None and frames.batch != "full":
            frames = None
        known = Known(shapes.get(name), like, frames, lambda: _weights(scope, factors))
        if prev in given:
            starts[prev] = given[prev]
        elif isinstance(first := first_value(r, scope, prev, known), Draws):
            draws[prev] = first
        else:
            starts[prev] = first
        if prev in r.init and r.init[prev] != 0:
            inits[prev] = init_slot(r, scope, prev, known)
        if prev in given and begin is not None:
            starts[prev] = _reset(scope, begin, starts[prev], inits[prev], prev, wide)
    ordered = order_axes(wide.union(*(slot.axes for slot in starts.values())))
    if like is None and n is not None:
        starts = {
            prev: builder.point(Repeated(prev), s, n, label=s.label, batch="full")
            for prev, s in starts.items()
        }
    full = like or next((s for s in starts.values() if s.batch == "full"), None)
    starts |= {prev: draw(full, ordered) for prev, draw in draws.items()}
    starts = {prev: starts[prev] for prev in drawn}
    full = full or next((s for s in starts.values() if s.batch == "full"), None)
    if full is not None:
        starts = {name: builder.expand(s, full, ordered) for name, s in starts.items()}
    return starts, inits


def _weights(scope: Scope, factors: Sequence[Distribution]) -> Slot | None:
    """A parameter or a buffer of what the step draws; None where it has none."""
    for module in (m for f in factors for m in parts(f)):
        for name, held in (*module._parameters.items(), *module._buffers.items()):
            if held is not None and not is_lazy(held) and held.is_floating_point():
                return scope.builder.attribute(module, name)
    return None


def _outer_axes(
    r: Recurrence,
    scope: Scope,
    factors: Sequence[Distribution],
    series: Mapping[str, Slot],
    axis: Axis,
) -> set[Axis]:
    """The axes (particles, an outer time) that carried values get from what the step reads: their
    starts need them too.
    """
    owner = {v: f for f in factors for v in f.var}
    found: set[Axis] = set()
    seen: set[str] = set()
    stack = [(name, False) for name in r.update]
    while stack:
        name, whole = stack.pop()
        if name in r.carried or name in seen:
            continue
        seen.add(name)
        if name in owner and (name in r.update or name not in series):
            stack += [(c, owner[name].atom.over_time) for c in owner[name].cond_var]
        elif name in series or scope.bound(name):
            axes = (series[name] if name in series else scope.lookup(name)).axes
            found |= {
                a for a in axes if a.family is not axis.family and not (whole and a.kind == "time")
            }
    return found
