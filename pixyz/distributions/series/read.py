"""The series that a recurrence reads: one time axis, flags, shifts, and what stands in a masked
frame.

A shift without an ``init`` shortens the range of all series.  What a masked frame holds is read by
nobody, a flag of a reset least of all: in its place stands a valid frame of the batch, the same for
all series, because a density need not be finite at 0 (a Weibull, a flow with a logarithm), and a
gradient of infinity times 0 would be NaN.  A shift with an ``init`` and a function of the whole
series read 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixyz.distributions.series.recurrence import Recurrence
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.plan.graph.formula import Fn
from pixyz.plan.looks import Flag
from pixyz.types import PixyzError


@dataclass
class Series:
    """What :func:`read_series` found.

    Args:
        axis: the time that the loop visits.
        series: the series by name, masked frames filled.
        lags: the shifted series by name; the unshifted source of one with an ``init``.
        mask, first: the flags.
        valid: where every shift without ``init`` reads a valid frame of the same sequence; None if
            there is no such shift.
        begin, end: ``[B]``, whether a sequence begins in a frame that shifts leave out before
            (behind) the loop.
    """

    axis: Axis
    series: dict[str, Slot]
    lags: dict[str, Slot]
    mask: Slot | None = None
    first: Slot | None = None
    valid: Slot | None = None
    begin: Slot | None = None
    end: Slot | None = None

    def clock(self, scope: Scope) -> Slot:
        """The number of each step, ``[T]``."""
        like = next(iter(self.series.values()), None)
        if like is None:
            return step_numbers(scope, self.axis)
        slot = scope.builder.series(
            _Count(None), [like], [("t", self.axis)], self.axis, "t", key=id(self.axis)
        )[0]
        slot.axes, slot.batch = (self.axis,), "none"
        return slot


def step_numbers(scope: Scope, axis: Axis) -> Slot:
    """The number of each step, ``[T]``, along an axis of known length."""
    count = _Count(axis.size or 0)
    return scope.builder.series(count, [], [("t", axis)], axis, "t", key=id(axis))[0]


class _Count:
    def __init__(self, steps: int | None) -> None:
        self.steps = steps

    def __call__(self, *like: Tensor) -> tuple[Tensor]:
        return (torch.arange(self.steps if self.steps is not None else like[0].shape[0]),)


def read_series(r: Recurrence, scope: Scope) -> Series:
    """Lower the series, flags and shifts of a recurrence."""
    builder = scope.builder
    mask_var, reset_var = (_there(v, r, scope) for v in (r.mask_var, r.reset_var))
    if not mask_var and not scope.bound("mask") and r.series_var and builder.given("mask"):
        mask_var = "mask"
    flags = [v for v in (mask_var, reset_var) if v]
    wanted = dict.fromkeys([*r.series_var, *(s for s, _ in r.lags.values()), *flags])
    found = {n: scope.lookup(n) for n in wanted}
    if not found:
        if r.steps is None:
            raise PixyzError("a recurrence without series needs the number of its steps")
        return Series(Axis("time", r.steps), {}, {})
    axis, slots = read_as_series(scope, found)
    mask, first = (
        None if n is None else builder.point(rules.as_flag, slots[n], label=n)
        for n in (mask_var, reset_var)
    )
    for flag in (mask, first):
        if flag is not None:
            builder.look(flag, Flag(scope.outer_name(flag.step.label)), *flag.step.args)
    values = {n: s for n, s in slots.items() if n in r.series_var}
    lags = {n: slots[s] for n, (s, _) in r.lags.items()}
    if mask is not None:
        values = {
            n: builder.point(rules.blank if n in flags else fill, mask, s, label=n)
            for n, s in values.items()
        }
        lags = {
            n: builder.point(rules.blank if n in r.init else fill, mask, s, label=n)
            for n, s in lags.items()
        }
    read = Series(axis, values, lags, mask, first)
    free = {n: k for n, (_, k) in r.lags.items() if n not in r.init}
    low, high = max([0, *(-k for k in free.values())]), max([0, *free.values()])
    if low or high:
        _shift(read, scope, free, low, high, r.reverse)
    if r.steps is not None and r.steps != read.axis.size:
        _move(read, scope, Axis("time", r.steps), rules.Head(r.steps))
        if r.reverse:
            read.begin = None  # frames that are left out by ``steps`` are not the loop's
        else:
            read.end = None
    return read


def _there(flag: str | None, r: Recurrence, scope: Scope) -> str | None:
    """A flag by its name; None where it may be left out, and is."""
    optional = flag is not None and flag in r.optional_var
    if flag is None or not optional or scope.bound(flag):
        return flag
    return flag if scope.builder.given(scope.outer_name(flag)) else None


def fill(mask: Tensor, x: Tensor) -> Tensor:
    """``x`` with the first valid frame of the batch in the place of all masked ones; 0.5 where
    there is none.
    """
    valid = mask.expand(x.shape[: mask.ndim])
    flat = valid.flatten()
    row = (
        x.detach()
        .flatten(0, mask.ndim - 1)
        .index_select(0, flat.to(torch.uint8).argmax(0, keepdim=True))
    )
    half = torch.full((), 0.5, device=x.device).to(x.dtype)
    return torch.where(rules.lift(valid, x), x, torch.where(flat.any(), row[0], half))


def blank_filled(scope: Scope, slot: Slot) -> Slot:
    """A series with 0 in its masked frames, for a function of the whole series."""
    return (
        scope.builder.point(rules.blank, *slot.step.args, label=slot.label)
        if slot.fn is fill
        else slot
    )


def _shift(
    read: Series, scope: Scope, free: Mapping[str, int], low: int, high: int, reverse: bool
) -> None:
    """Shorten the range to where all shifts exist."""
    builder = scope.builder
    whole, lags, mask = read.axis, read.lags, read.mask
    if read.first is not None and mask is not None:
        read.first = builder.point(rules.both, read.first, mask, label=read.first.label)
    first, valid = read.first, []
    axis = Axis("time")
    _move(read, scope, axis, rules.Window(low, high, 0))
    for name, shift in free.items():
        window = rules.Window(low, high, shift)
        read.lags[name] = _window(scope, window, lags[name], whole, axis, name)
        if mask is not None and shift:
            valid.append(_window(scope, window, mask, whole, axis, f"mask of {name}"))
    if first is not None:
        valid.append(
            _window(scope, rules.Unbroken(-low, high, low, high), first, whole, axis, "valid")
        )
        ends = [(low, True), (high, False)][:: -1 if reverse else 1]
        read.begin, read.end = (
            _any_first(scope, first, whole, n, at) if n else None for n, at in ends
        )
    for slot in valid:
        read.valid = (
            slot
            if read.valid is None
            else builder.point(rules.both, read.valid, slot, label="valid")
        )


def _any_first(scope: Scope, first: Slot, whole: Axis, frames: int, head: bool) -> Slot:
    label = f"reset {'before' if head else 'behind'} the range"
    found = FlagSeen(frames, head)
    return scope.builder.series(found, [first], [(label, None)], whole, label, key=None)[0]


@dataclass(frozen=True)
class FlagSeen:
    """Whether a flag is set in the first (last) frames."""

    frames: int
    head: bool

    def __call__(self, flag: Tensor) -> tuple[Tensor]:
        return ((flag[: self.frames] if self.head else flag[-self.frames :]).any(0),)


def _move(read: Series, scope: Scope, axis: Axis, fn: Fn) -> None:
    """All series over ``axis``, a part of theirs."""
    whole = read.axis

    def moved(slot: Slot, name: str) -> Slot:
        return _window(scope, fn, slot, whole, axis, name)

    def flag(slot: Slot | None) -> Slot | None:
        return None if slot is None else moved(slot, slot.label)

    read.axis = axis
    read.series = {n: moved(s, n) for n, s in read.series.items()}
    read.lags = {n: moved(s, n) for n, s in read.lags.items()}
    read.mask, read.first, read.valid = flag(read.mask), flag(read.first), flag(read.valid)


def read_as_series(scope: Scope, found: Mapping[str, Slot]) -> tuple[Axis, dict[str, Slot]]:
    """Values, among them inputs ``[T, B, ...]``, as series over one axis: that of the newest of
    them, else a new one.
    """
    builder = scope.builder
    axis = _common_axis(scope, found)
    for slot in found.values():
        if not any(a.kind == "time" for a in slot.axes):
            slot.series = slot.series or axis
    return axis, {n: builder.relabel(s, axis, n) for n, s in found.items()}


def _common_axis(scope: Scope, found: Mapping[str, Slot]) -> Axis:
    known = [a for s in found.values() for a in s.axes if a.kind == "time"]
    if known:
        return max(known, key=lambda a: a.number)
    for slot in found.values():
        if slot.series is not None:
            return slot.series
    return Axis("time")


def _window(scope: Scope, fn: Fn, slot: Slot, whole: Axis, axis: Axis, label: str) -> Slot:
    out = scope.builder.series(fn, [slot], [(label, axis)], whole, label, key=axis)[0]
    if axis.size is None and axis.length_of is None:
        axis.length_of = out
    return out
