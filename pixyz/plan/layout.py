"""Layouts: under which name a slot is known at a place of the text, and in which shape.

A slot has one meaning and several layouts: with ``keep`` leading axes as dimensions of their own
and the rest merged into the batch dimension.  ``keep=0`` is ``[T*K*B, ...]``, what a network sees;
``keep=len(axes)`` is ``[T, K, B, ...]``. Views between layouts are written when they are first
needed, once.  Inside a loop over T that axis is gone: a series is unbound before the loop and read
as ``s[t]``.

Variables are ``v7_z`` (outside) or ``u7_z`` (inside a loop), functions ``q_3``: a user's names
appear only where they are plain words, behind a number that makes them unique.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from pixyz.plan import rules
from pixyz.plan.fission import Schedule
from pixyz.plan.graph import Axis, Slot, Step
from pixyz.plan.looks import Rows, Together
from pixyz.plan.text import Frame, Line


class Layouts:
    """Abstract: names and layouts of slots, names of what a plan calls.

    Args:
        plan: the order of the steps, and which of them need gradients.
        checked: check that what is written is finite.
    """

    def __init__(self, plan: Schedule, checked: bool = False) -> None:
        self.plan, self.checked = plan, checked
        self.namespace: dict[str, Any] = {"torch": torch, "no_grad": torch.no_grad}
        self._constants: dict[Any, str] = {}
        self._alive: list[Any] = []
        self._count = 0
        self._names: set[str] = set()
        self._lengths: dict[Axis, str] = {}
        self._looked: set[tuple[Callable[..., None], tuple[Slot, ...]]] = set()

    # ---------------------------------------------------------------- layouts

    def _get(self, slot: Slot, keep: int, frame: Frame) -> str:
        """The name of ``slot`` here, with ``keep`` leading axes as dimensions of their own."""
        axes = frame.axes(slot)
        if not axes:
            keep = 0
        if (slot, keep) in frame.memo:
            return frame.memo[slot, keep]
        natives = [k for (s, k) in frame.memo if s is slot]
        if not natives and frame.parent is not None:
            return self._from_outside(slot, keep, frame)
        if not natives:
            raise AssertionError(f"{slot} is read before it is written")
        name = self._name("v" if frame.parent is None else "u", slot.label or slot.step.label)
        have = frame.memo[slot, natives[0]]
        self._line(frame, f"{name} = {self._view(have, natives[0], keep, axes, frame)}", slot.step)
        frame.memo[slot, keep] = name
        return name

    def _view(self, name: str, have: int, keep: int, axes: tuple[Axis, ...], frame: Frame) -> str:
        if keep < have:
            return f"{name}.flatten({keep}, {have})"
        sizes = "".join(f"{self._length(a, frame)}, " for a in axes[have:keep])
        return f"{name}.unflatten({have}, ({sizes}-1))"

    def _from_outside(self, slot: Slot, keep: int, frame: Frame) -> str:
        parent, axis = frame.parent, frame.inside[-1]
        assert parent is not None
        if axis not in slot.axes:
            name = self._get(slot, keep, parent)
            frame.memo[slot, keep] = name
            return name
        outer = parent.axes(slot)
        if outer[0] is axis:
            series, dim = self._get(slot, keep + 1, parent), 0
        else:
            series, dim = self._shaped(slot, parent), outer.index(axis)
        whole = self._name("s")
        if frame.chunked:
            frame.series[whole] = f"{series}.movedim({dim}, 0)" if dim else series
        else:
            self._line(parent, f"{whole} = {series}.unbind({dim})", slot.step)
        name = self._name("u", slot.label or slot.step.label)
        self._line(frame, f"{name} = {whole}[{frame.index}]", slot.step)
        have = keep if outer[0] is axis else len(outer) - 1
        frame.memo[slot, have] = name
        return self._get(slot, keep, frame)

    def _flat(self, slot: Slot, frame: Frame) -> str:
        return self._get(slot, 0, frame)

    def _shaped(self, slot: Slot, frame: Frame) -> str:
        return self._get(slot, len(frame.axes(slot)), frame)

    def _cheapest(self, args: Sequence[Slot], frame: Frame, most: int) -> int:
        """The layout that most of ``args`` already have."""
        have = [{k for (s, k) in frame.memo if s is a} for a in args]
        return min(range(most, -1, -1), key=lambda k: sum(k not in h for h in have))

    def _agree(
        self, args: Sequence[Slot], axes: tuple[Axis, ...], frame: Frame
    ) -> tuple[list[str], int]:
        """The arguments of a broadcasting formula in one layout."""
        full = [a for a in args if a.batch == "full"]
        loose = all(not frame.axes(a) for a in args if a.batch != "full")
        if loose and all(frame.axes(a) == axes for a in full):
            keep = self._cheapest(full, frame, len(axes)) if full else 0
            return [self._get(a, keep if a.batch == "full" else 0, frame) for a in args], keep
        return [self._aligned(a, axes, frame, scalar=not full) for a in args], len(axes)

    def _aligned(
        self,
        slot: Slot,
        axes: tuple[Axis, ...],
        frame: Frame,
        scalar: bool = False,
        whole: bool = False,
    ) -> str:
        """``slot`` with a dimension of size 1 for each of ``axes`` that it lacks; constants
        broadcast without the first.
        """
        name, own = self._shaped(slot, frame), frame.axes(slot)
        if slot.batch == "none" and not own:
            return name
        marks = [":" if a in own else "None" for a in axes]
        while marks and marks[0] == "None" and slot.batch != "full" and not whole:
            marks.pop(0)
        if slot.batch == "none" and not scalar:
            marks += ["None"]
        while marks and marks[-1] == ":":
            marks.pop()
        return f"{name}[{', '.join(marks)}]" if marks else name

    def _sizes(self, axes: tuple[Axis, ...], like: Slot, frame: Frame) -> str:
        """A tuple of the lengths of ``axes`` and the batch size."""
        batch = f"{self._shaped(like, frame)}.shape[{len(frame.axes(like))}]"
        return f"({''.join(self._length(a, frame) + ', ' for a in axes)}{batch},)"

    def _length(self, axis: Axis, frame: Frame) -> str:
        if axis.base is not None:
            return f"({self._length(axis.base, frame)} + 1)"
        if axis.size is not None:
            return str(axis.size)
        return self._lengths[axis]

    # ---------------------------------------------------------------- looks

    def _write_looks(self, step: Step, frame: Frame) -> None:
        """The lines that look at values before ``step``, each once; none in a loop that is
        compiled.
        """
        for look, slots in [] if frame.chunked else step.looks:
            if (look, slots) not in self._looked:
                self._looked.add((look, slots))
                pairs = ", ".join(self._there(slot, frame) for slot in slots)
                self._write_look(look, pairs, step, frame)

    def _write_look(self, look: Callable[..., None], pairs: str, step: Step, frame: Frame) -> None:
        if not frame.chunked:
            frame.lines.append(
                Line(f"{self._fn(look)}({pairs})", step in self.plan.grad, look=True)
            )

    def _look_together(self, step: Step, args: Sequence[str], keep: int, frame: Frame) -> None:
        """Look whether the arguments of plain arithmetic would broadcast against each other."""
        pairs = [
            (slot, name) for slot, name in zip(step.args, args, strict=True) if slot.batch == "full"
        ]
        if len(pairs) > 1:
            names = tuple(slot.label or slot.step.label for slot, _ in pairs)
            constants = any(isinstance(slot.step.fn, rules.Attribute) for slot, _ in pairs)
            look = Together(step.label, names, strict=not constants)
            self._write_look(look, ", ".join(f"({name}, {keep})" for _, name in pairs), step, frame)

    def _look_at_rows(self, step: Step, args: Sequence[str], frame: Frame) -> None:
        """Look whether the rows of a network's arguments were taken for features of each other."""
        look = Rows(step.fn, step.label, tuple(a.label or a.step.label for a in step.args))  # type: ignore[arg-type]
        found = ", ".join(frame.memo[slot, 0] for slot in step.outs)
        self._write_look(look, f"({found},), {', '.join(args)}", step, frame)

    @staticmethod
    def _there(slot: Slot, frame: Frame) -> str:
        """The name of a value in whatever layout it is there, with its leading dimensions; None if
        nothing else needs it.
        """
        at: Frame | None = frame
        while at is not None:
            for (known, keep), name in at.memo.items():
                if known is slot:
                    return f"({name}, {keep})"
            at = at.parent
        return "(None, 0)"

    # ---------------------------------------------------------------- names and lines

    def _line(self, frame: Frame, text: str, step: Step, comment: str = "") -> None:
        frame.lines.append(Line(text, step in self.plan.grad, comment=comment))

    def _define(
        self, step: Step, frame: Frame, call: str, keep: int | list[int], packed: bool = True
    ) -> None:
        prefix = "v" if frame.parent is None else "u"
        names = [self._name(prefix, slot.label or step.label) for slot in step.outs]
        keeps = keep if isinstance(keep, list) else [keep] * len(names)
        for slot, name, k in zip(step.outs, names, keeps, strict=True):
            frame.memo[slot, k if frame.axes(slot) else 0] = name
        target = ", ".join(names) + ("," if step.multiple and packed and len(names) == 1 else "")
        self._line(frame, f"{target} = {call}", step, step.label)
        if self.checked:
            for slot, name in zip(step.outs, names, strict=True):
                label = self._fn(slot.label or step.label)
                self._line(frame, f"{self._fn(rules.check_finite)}({name}, {label})", step)

    def _name(self, prefix: str, label: str = "") -> str:
        """A fresh name; it ends on the variable's where that is a plain word."""
        suffix = (
            f"_{label}" if label.isidentifier() and label.isascii() and len(label) <= 24 else ""
        )
        name = ""
        while not name or name in self.namespace:
            self._count += 1
            name = f"{prefix}{self._count}{suffix}"
        self._names.add(name)
        return name

    def _fn(self, value: Any) -> str:
        key = value if isinstance(value, str) else id(value)
        if key not in self._constants:
            base = getattr(value, "__name__", type(value).__name__) if callable(value) else "k"
            base = base.lstrip("_")
            base = base if base.isidentifier() and base.isascii() else "f"
            name = f"{base}_{len(self._constants)}"
            while name in self._names:
                name += "f"
            self._constants[key] = name
            self.namespace[name] = value
            self._alive.append(value)
        return self._constants[key]
