"""Page: under which name a slot is known at a place of the text, and in which shape.

A slot has one meaning and several layouts: with ``keep`` leading axes as dimensions of their
    own and the
rest merged into the batch dimension.  ``keep=0`` is ``[T*K*B, ...]``, what a network sees;
``keep=len(axes)`` is ``[T, K, B, ...]``.  Views between layouts are written when they are first
needed, once.  Inside a loop over T that axis is gone: a series is unbound before the loop and read
as ``s[t]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pixyz.plan.emit.lines import Frame, Line
from pixyz.plan.emit.names import Names
from pixyz.plan.graph import Axis, Graph, Net, Slot, Step, rules
from pixyz.plan.graph.wiring import Look
from pixyz.plan.looks import Rows, Together
from pixyz.plan.options import Options


class Page:
    """What is written so far: names and layouts of slots, lines, names of what is called.

    Args:
        graph: what is written.
        options: of the plan; ``checked`` writes checks that values are finite.
    """

    def __init__(self, graph: Graph, options: Options) -> None:
        self.graph, self.options = graph, options
        self.names = Names()
        self.networks: dict[str, Any] = {}
        """What is called with checks in a first run, by its name in the text."""
        self.functions: list[str] = []
        """Functions that the plan calls, in front of it."""
        self.looking: list[str] = []
        """The same for the text that looks at what it reads."""
        self.lists: dict[Slot, str] = {}
        """Series of which there is only a list of the steps: its name."""
        self._lengths: dict[Axis, str] = {}
        self._looked: dict[Look, Slot] = {}
        """Looks that were written, each by what is computed after it."""

    # ---------------------------------------------------------------- layouts

    def get(self, slot: Slot, keep: int, frame: Frame) -> str:
        """The name of ``slot`` here, with ``keep`` leading axes as dimensions of their own."""
        here = frame.memo.get(slot) or {}
        axes = frame.axes(slot) if keep else ()
        if not axes:
            keep = 0
        if keep in here:
            return here[keep]
        axes, known = frame.axes(slot), list(here)
        if not known and frame.parent is not None:
            return self._from_outside(slot, keep, frame)
        if not known:
            raise AssertionError(f"{slot} is read before it is written")
        step = self.graph.made[slot]
        name = self.names.fresh(frame.prefix, slot.label or step.label)
        have = here[known[0]]
        self.line(frame, f"{name} = {self._view(have, known[0], keep, axes, frame)}", step)
        frame.know(slot, keep, name)
        return name

    def _view(self, name: str, have: int, keep: int, axes: tuple[Axis, ...], frame: Frame) -> str:
        if keep < have:
            return f"{name}.flatten({keep}, {have})"
        sizes = "".join(f"{self.length(a, frame)}, " for a in axes[have:keep])
        return f"{name}.unflatten({have}, ({sizes}-1))"

    def _from_outside(self, slot: Slot, keep: int, frame: Frame) -> str:
        parent, axis = frame.parent, frame.inside[-1]
        assert parent is not None
        if axis not in slot.axes:
            name = self.get(slot, keep, parent)
            frame.know(slot, keep, name)
            self._take(name, frame)
            return name
        outer, step = parent.axes(slot), self.graph.made[slot]
        if outer[0] is axis:
            series, dim = self.get(slot, keep + 1, parent), 0
        else:
            series, dim = self.shaped(slot, parent), outer.index(axis)
        whole = self.names.fresh("s")
        if frame.chunked:
            frame.series[whole] = f"{series}.movedim({dim}, 0)" if dim else series
        else:
            self.line(parent, f"{whole} = {series}.unbind({dim})", step)
        name = self.names.fresh("u", slot.label or step.label)
        self.line(frame, f"{name} = {whole}[{frame.index}]", step)
        have = keep if outer[0] is axis else len(outer) - 1
        frame.know(slot, have, name)
        return self.get(slot, keep, frame)

    def _take(self, name: str, frame: Frame) -> None:
        """Note that ``name`` is read from outside the loop; numbers are written as they are."""
        if name in self.names.values:
            frame.taken[name] = None

    def flat(self, slot: Slot, frame: Frame) -> str:
        """``slot`` as ``[T*K*B, ...]``."""
        return self.get(slot, 0, frame)

    def shaped(self, slot: Slot, frame: Frame) -> str:
        """``slot`` as ``[T, K, B, ...]``."""
        return self.get(slot, len(frame.axes(slot)), frame)

    def cheapest(self, args: Sequence[Slot], frame: Frame, most: int) -> int:
        """The layout that most of ``args`` already have."""
        have = [set(frame.layouts(a)) for a in args]
        return min(range(most, -1, -1), key=lambda k: sum(k not in h for h in have))

    def agree(
        self, args: Sequence[Slot], axes: tuple[Axis, ...], frame: Frame
    ) -> tuple[list[str], int]:
        """The arguments of a broadcasting formula in one layout."""
        if not axes and not any([a.axes for a in args]):
            return [self.get(a, 0, frame) for a in args], 0
        full = [a for a in args if a.batch == "full"]
        loose = all(not frame.axes(a) for a in args if a.batch != "full")
        if loose and all(frame.axes(a) == axes for a in full):
            keep = self.cheapest(full, frame, len(axes)) if full else 0
            return [self.get(a, keep if a.batch == "full" else 0, frame) for a in args], keep
        return [self.aligned(a, axes, frame, scalar=not full) for a in args], len(axes)

    def aligned(
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
        name, own = self.shaped(slot, frame), frame.axes(slot)
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

    def sizes(self, axes: tuple[Axis, ...], like: Slot, frame: Frame) -> str:
        """A tuple of the lengths of ``axes`` and the batch size."""
        batch = f"{self.shaped(like, frame)}.shape[{len(frame.axes(like))}]"
        return f"({''.join(self.length(a, frame) + ', ' for a in axes)}{batch},)"

    def has_number(self, step: Step) -> bool:
        """Whether a number stands among the arguments."""
        without_batch = [a for a in step.args if a.batch == "none"]
        return any([self.graph.number(a) is not None for a in without_batch])

    # ---------------------------------------------------------------- lengths of axes

    def length(self, axis: Axis, frame: Frame) -> str:
        """The length of ``axis``, as it is written here."""
        if axis.base is not None:
            return f"({self.length(axis.base, frame)} + 1)"
        if axis.size is not None:
            return str(axis.size)
        self._take(self._lengths[axis], frame)
        return self._lengths[axis]

    def is_length(self, name: str) -> bool:
        """Whether ``name`` is the length of an axis."""
        return name in self._lengths.values()

    def note_length(self, axis: Axis, slot: Slot, frame: Frame) -> None:
        """Write the line that reads the length of ``axis`` from its series ``slot``."""
        name = self._lengths[axis] = self.names.fresh("T")
        step = self.graph.made[slot]
        label, least = slot.label or step.label, len(slot.axes) + (slot.batch != "none")
        given = f"{self.get(slot, 1, frame)}, {self.names.of(label)}, {least}"
        text = f"{name} = {self.names.of(rules.series_length)}({given})"
        self.line(frame, text, step, f"steps of {label}")

    # ---------------------------------------------------------------- looks

    def looks(self, step: Step, frame: Frame) -> None:
        """The lines that look at values before ``step``, each once; none in a loop that is
        compiled.
        """
        for slot in () if frame.chunked else step.outs:
            for found in self.graph.looks.get(slot, ()):
                if self._looked.setdefault(found, slot) is slot:
                    look, slots = found
                    self._look(look, ", ".join([_there(s, frame) for s in slots]), step, frame)

    def _look(self, look: Callable[..., None], pairs: str, step: Step, frame: Frame) -> None:
        if not frame.chunked:
            text, grad = f"{self.names.of(look)}({pairs})", not self.graph.is_quiet(step)
            frame.lines.append(Line(text, grad, look=True))

    def look_together(self, step: Step, args: Sequence[str], keep: int, frame: Frame) -> None:
        """Look whether the arguments of plain arithmetic would broadcast against each other."""
        pairs = [(s, n) for s, n in zip(step.args, args, strict=True) if s.batch == "full"]
        if len(pairs) > 1:
            made = [self.graph.made[slot] for slot, _ in pairs]
            names = tuple(s.label or m.label for (s, _), m in zip(pairs, made, strict=True))
            constants = tuple(isinstance(getattr(m, "fn", None), rules.Attribute) for m in made)
            within = step.body is not None or any(a.kind == "particle" for a in step.outs[0].axes)
            given = constants if within else ()
            look = Together(step.label, names, not any(constants), given)
            self._look(look, ", ".join(f"({name}, {keep})" for _, name in pairs), step, frame)

    def look_at_rows(self, step: Net, args: Sequence[str], frame: Frame) -> None:
        """Look whether the rows of a network's arguments were taken for features of each other."""
        names = tuple(a.label or self.graph.made[a].label for a in step.args)
        found = ", ".join(frame.memo[slot][0] for slot in step.outs)
        look = Rows(step.fn, step.label, names)
        self._look(look, f"({found},), {', '.join(args)}", step, frame)

    # ---------------------------------------------------------------- lines

    def line(self, frame: Frame, text: str, step: Step, comment: str = "") -> None:
        """Write a line that belongs to ``step``."""
        frame.lines.append(Line(text, not self.graph.is_quiet(step), comment=comment))

    def define(
        self, step: Step, frame: Frame, call: str, keep: int | list[int], packed: bool = True
    ) -> None:
        """Write the line that computes what ``step`` computes, in the layouts ``keep``."""
        names = []
        for i, slot in enumerate(step.outs):
            names.append(self.names.fresh(frame.prefix, slot.label or step.label))
            own = keep if isinstance(keep, int) else keep[i]
            frame.know(slot, own if own and frame.axes(slot) else 0, names[-1])
        target = ", ".join(names) + ("," if step.multiple and packed and len(names) == 1 else "")
        self.line(frame, f"{target} = {call}", step, step.label)
        if self.options.checked:
            for slot, name in zip(step.outs, names, strict=True):
                label = self.names.of(slot.label or step.label)
                self.line(frame, f"{self.names.of(rules.check_finite)}({name}, {label})", step)


def _there(slot: Slot, frame: Frame) -> str:
    """The name of a value in whatever layout it is there, with its leading dimensions; None if
    nothing else needs it.
    """
    at: Frame | None = frame
    while at is not None:
        for keep, name in at.memo.get(slot, {}).items():
            return f"({name}, {keep})"
        at = at.parent
    return "(None, 0)"
