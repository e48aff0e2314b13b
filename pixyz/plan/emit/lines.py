"""Lines of source, the places where they are written, and their text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from textwrap import wrap

from pixyz.plan.graph import Axis, Slot
from pixyz.plan.run.chunk import Draw


@dataclass(slots=True)
class Line:
    """A line of the function, or a loop (``body``)."""

    text: str
    grad: bool
    body: list[Line] | None = None
    comment: str = ""
    probe: str = ""
    """Written instead of ``text`` where a step is run for the shapes of its noise."""
    look: bool = False
    """Written only where a plan runs on new shapes."""


@dataclass(eq=False)
class Frame:
    """A place where lines are written: the function itself, or the body of a loop."""

    parent: Frame | None
    inside: tuple[Axis, ...]
    index: str = ""
    lines: list[Line] = field(default_factory=list)
    memo: dict[Slot, dict[int, str]] = field(default_factory=dict)
    """The names of a slot here, by layout: how many of its axes are dimensions of their own."""
    chunked: bool = False
    taken: dict[str, None] = field(default_factory=dict)
    """Values from outside that are the same in all steps."""
    series: dict[str, str] = field(default_factory=dict)
    """In a chunked loop: what is sliced over its steps, by the name that it has inside."""
    noise: dict[str, Draw] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """How names of values begin here."""
        return "v" if self.parent is None else "u"

    def axes(self, slot: Slot) -> tuple[Axis, ...]:
        """The leading axes that ``slot`` still has here."""
        if not self.inside:
            return slot.axes
        return tuple(a for a in slot.axes if a not in self.inside)

    def know(self, slot: Slot, keep: int, name: str) -> None:
        """``slot`` is here under ``name``, with ``keep`` axes as dimensions of their own."""
        self.memo.setdefault(slot, {})[keep] = name

    def layouts(self, slot: Slot) -> list[int]:
        """The layouts in which ``slot`` is known here."""
        return list(self.memo.get(slot, ()))


WIDTH = 90
"""Of a ``del``."""
_VALUE = re.compile(r"\b[a-z]\d\w*")


def let_go(lines: Sequence[Line], values: Collection[str], calls: Collection[str]) -> list[Line]:
    """``lines``, and before each loop and each call of a network a ``del`` of what is not read any
    more: its memory is there for them.

    Args:
        lines: of the function itself; what a loop makes goes with the loop's next step.
        values: names that may go.
        calls: names of networks.
    """
    heavy = {i for i, line in enumerate(lines) if line.body is not None or _called(line) in calls}
    if not heavy:
        return list(lines)
    read = [dict.fromkeys(_read(line)) for line in lines]
    last = {name: i for i, names in enumerate(read) for name in names}
    plain = [(line.text, names) for line, names in zip(lines, read) if line.body is None]
    gone = {name for text, names in plain if text.startswith("del ") for name in names}
    own = {name for _, names in plain for name in names if name in values} - gone
    found: list[Line] = []
    dead: list[str] = []
    for i, line in enumerate(lines):
        if dead and i in heavy:
            texts = wrap(", ".join(dead), WIDTH)
            found += [Line(f"del {text.rstrip(',')}", line.grad) for text in texts]
            dead = []
        found.append(line)
        dead += [name for name in read[i] if name in own and last[name] == i]
    return found


def _called(line: Line) -> str:
    """The name of what a line calls first."""
    return line.text.partition("(")[0].rpartition(" ")[2]


def _read(line: Line) -> list[str]:
    """The names of values in a line and in what is inside of it."""
    return [*_VALUE.findall(line.text), *(name for x in line.body or () for name in _read(x))]


def listed(names: Iterable[str]) -> str:
    """Names as the inside of a tuple."""
    return "".join(f"{n}, " for n in names)


def render(lines: Sequence[Line], depth: int, looks: bool = False) -> list[str]:
    """The text of ``lines``; those without a gradient under ``no_grad``."""
    text: list[str] = []
    pad = "    " * depth
    quiet = False
    for line in lines:
        if line.look and not looks:
            continue
        if line.grad:
            quiet = False
        elif not quiet:
            quiet = True
            text.append(f"{pad}with no_grad():")
        here = pad + ("    " if not line.grad else "")
        text.append(f"{here}{line.text}" + (f"  # {_plain(line.comment)}" if line.comment else ""))
        if line.body is not None:
            inside = render if line.grad else render_plain
            text += inside(line.body, depth + 1 + int(not line.grad), looks)
    return text


def _plain(comment: str) -> str:
    """A comment in one line of ASCII."""
    if comment.isascii() and comment.isprintable():
        return comment
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in comment)


def render_plain(lines: Sequence[Line], depth: int, looks: bool = False) -> list[str]:
    """A loop that is under no_grad as a whole."""
    return render([replace(x, grad=True) for x in lines], depth, looks)
