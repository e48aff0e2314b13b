"""Steps -> the text of a Python function.

A slot has one meaning and several layouts: with ``keep`` leading axes as dimensions of their own and the rest merged
into the batch dimension.  ``keep=0`` is ``[T*K*B, ...]``, what a network sees; ``keep=len(axes)`` is ``[T, K, B, ...]``.
Views between layouts are written when they are first needed, once.  Inside a loop over T that axis is gone:
a series is unbound before the loop and read as ``s[t]``.

The text holds no string of the user's: variables are ``v7`` (outside) or ``u7`` (inside a loop), functions ``f3``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pixyz.plan import rules
from pixyz.plan.fission import Block, Schedule
from pixyz.plan.graph import Axis, Slot, Step


@dataclass
class Line:
    """A line of the function, or a loop (``body``)."""

    text: str
    grad: bool
    body: list[Line] | None = None
    comment: str = ""


@dataclass(eq=False)
class Frame:
    """A place where lines are written: the function itself, or the body of a loop."""

    parent: Frame | None
    block: Block | None
    inside: tuple[Axis, ...]
    index: str = ""
    lines: list[Line] = field(default_factory=list)
    memo: dict[tuple[Slot, int], str] = field(default_factory=dict)
    lists: dict[tuple[Slot, int], str] = field(default_factory=dict)

    def axes(self, slot: Slot) -> tuple[Axis, ...]:
        """The leading axes that ``slot`` still has here."""
        return tuple(a for a in slot.axes if a not in self.inside)


class Emitter:
    """Writes the source of one plan."""

    def __init__(self, inputs: Sequence[Slot], outputs: Sequence[Slot], plan: Schedule) -> None:
        self.plan = plan
        self.outputs = list(outputs)
        self.namespace: dict[str, Any] = {"torch": torch, "no_grad": torch.no_grad}
        self._constants: dict[Any, str] = {}
        self._alive: list[Any] = []
        self._count = 0
        self._lengths: dict[Axis, str] = {}
        self.root = Frame(None, None, ())
        self.parameters: list[str] = []
        for slot in inputs:
            name = self._name("v")
            self.parameters.append(name)
            self.root.memo[slot, 0] = name
        self._users = self._consumers(plan.items)

    # ---------------------------------------------------------------- the function

    def source(self, name: str = "plan") -> str:
        """The text of the function."""
        self._items(self.plan.items, self.root)
        results = [self._shaped(slot, self.root) for slot in self.outputs]
        text = [f"def {name}({', '.join(self.parameters)}):"]
        text += _render(self.root.lines, 1)
        text.append(f"    return ({''.join(r + ', ' for r in results)})")
        return "\n".join(text) + "\n"

    def _items(self, items: Sequence[Step | Block], frame: Frame) -> None:
        for item in items:
            if isinstance(item, Block):
                self._block(item, frame)
            else:
                getattr(self, f"_emit_{item.kind}")(item, frame)

    def _block(self, block: Block, frame: Frame) -> None:
        axis = block.loop.axis
        length = self._length(axis, frame)
        index = self._name("t")
        inner = Frame(frame, block, (*frame.inside, axis), index)
        for carry in block.carries:
            name = self._name("u")
            start = self._flat(carry.start, frame)
            self._line(frame, f"{name} = {start}", carry.slot.step, f"carried in: {carry.name}")
            inner.memo[carry.slot, 0] = name
        stacked: list[tuple[Slot, str, int]] = []
        core = {s for s in block.core}
        for step in sorted(core, key=lambda s: s.index):
            if step.kind == "carry":
                self._collect(step, block, inner, frame, stacked)
        for item in block.items:
            if isinstance(item, Block):
                self._block(item, inner)
                for step in sorted(item.core, key=lambda s: s.index):
                    self._collect(step, block, inner, frame, stacked)
            else:
                getattr(self, f"_emit_{item.kind}")(item, inner)
                self._collect(item, block, inner, frame, stacked)
        if block.carries:
            outs = [self._flat(_carried(carry.out), inner) for carry in block.carries]
            names = [inner.memo[carry.slot, 0] for carry in block.carries]
            grad = any(c.slot.step in self.plan.grad for c in block.carries)
            inner.lines.append(Line(f"{', '.join(names)} = {', '.join(outs)}", grad, comment="carried on"))
        backward = f"range({length} - 1, -1, -1)" if block.loop.reverse else f"range({length})"
        grad = any(line.grad for line in inner.lines)
        frame.lines.append(Line(f"for {index} in {backward}:", grad, inner.lines, block.loop.label))
        for slot, name, keep in stacked:
            out = self._name("v")
            order = f"{name}[::-1]" if block.loop.reverse else name
            self._line(frame, f"{out} = torch.stack({order})", slot.step, slot.label or slot.step.label)
            frame.memo[slot, keep + 1] = out
        if stacked:
            frame.lines.append(Line(f"del {', '.join(name for _, name, _ in stacked)}", grad))

    def _collect(
        self, step: Step, block: Block, inner: Frame, frame: Frame, stacked: list[tuple[Slot, str, int]]
    ) -> None:
        """Stack the results of ``step`` that are read outside the loop."""
        for slot in step.outs:
            used = self._users.get(slot, set())
            if slot in self.outputs or any(user not in block.core for user in used):
                keep = next(k for (s, k) in inner.memo if s is slot)
                name = self._name("l")
                self._line(frame, f"{name} = []", step)
                self._line(inner, f"{name}.append({inner.memo[slot, keep]})", step)
                stacked.append((slot, name, keep))

    # ---------------------------------------------------------------- one method a kind of step

    def _emit_input(self, step: Step, frame: Frame) -> None:
        """Inputs are the function's parameters."""

    def _emit_carry(self, step: Step, frame: Frame) -> None:
        """Carried values are assigned around the loop."""

    def _emit_point(self, step: Step, frame: Frame) -> None:
        if isinstance(step.fn, rules.Constant):
            frame.memo[step.outs[0], 0] = repr(step.fn.value) if _finite(step.fn.value) else f"float('{step.fn.value}')"
            return
        args, keep = self._agree(step.args, frame.axes(step.outs[0]), frame)
        self._define(step, frame, f"{self._fn(step.fn)}({', '.join(args)})", keep)

    def _emit_net(self, step: Step, frame: Frame) -> None:
        axes = frame.axes(step.outs[0])
        like = next((a for a in step.args if a.batch == "full"), None)
        args = []
        for arg in step.args:
            if arg.batch == "none" or like is None or (arg.batch == "full" and frame.axes(arg) == axes):
                args.append(self._flat(arg, frame))
            else:
                aligned = self._aligned(arg, axes, frame, whole=True)
                args.append(f"{self._fn(rules.expand_rows)}({aligned}, {self._sizes(axes, like, frame)})")
        self._define(step, frame, f"{self._fn(step.fn)}({', '.join(args)})", 0)

    def _emit_features(self, step: Step, frame: Frame) -> None:
        keep = self._cheapest(step.args, frame, len(frame.axes(step.args[0])))
        arg = self._get(step.args[0], keep, frame)
        self._define(step, frame, f"{self._fn(step.fn)}({arg}, {keep + 1})", keep)

    def _emit_reduce(self, step: Step, frame: Frame) -> None:
        arg, axes = step.args[0], frame.axes(step.args[0])
        kept = frame.axes(step.outs[0])
        mask = [self._aligned(step.args[1], axes, frame)] if len(step.args) > 1 else []
        if step.over_batch and not kept:
            value = self._shaped(arg, frame) if mask else self._get(arg, self._cheapest([arg], frame, len(axes)), frame)
            call = [value, "None", "None", *mask]
        else:
            dims = tuple(i for i, a in enumerate(axes) if a in step.over)
            tail = str(len(axes)) if step.over_batch else "None"
            call = [self._shaped(arg, frame), repr(dims), tail, *mask]
        self._define(step, frame, f"{self._fn(step.fn)}({', '.join(call)})", len(kept))

    def _emit_series(self, step: Step, frame: Frame) -> None:
        axis, out = step.over[0], step.outs[0]
        if step.extra == "relabel":
            arg = step.args[0]
            name = self._shaped(arg, frame)
            frame.memo[out, len(out.axes)] = name
            if axis.length_of is out:
                self._lengths[axis] = self._name("T")
                self._line(frame, f"{self._lengths[axis]} = {name}.shape[0]", step, f"steps of {out.label or step.label}")
            elif axis.length_of is not None or axis.size is not None:
                length = self._length(axis, frame)
                label = self._fn(out.label or step.label or "a series")
                self._line(frame, f"{self._fn(rules.check_length)}({name}, {length}, {label})", step)
            return
        rest = tuple(a for a in frame.axes(out) if a in step.extra)
        like = next((a for a in step.args if a.batch == "full"), None)
        args = []
        for arg in step.args:
            own = frame.axes(arg)
            has = bool(own) and own[0].family is axis.family
            if own[1:] == rest if has else own == rest or arg.batch == "none":
                args.append(self._get(arg, 1 if has else 0, frame))
                continue
            assert like is not None
            target = ((own[0],) if has else ()) + rest
            aligned = self._aligned(arg, target, frame, whole=True)
            wide = f"{self._fn(rules.expand_lead)}({aligned}, {self._sizes(target, like, frame)})"
            args.append(f"{wide}.flatten({int(has)}, {len(target)})" if rest else wide)
        keeps = [1 if any(a not in step.extra for a in s.axes) else 0 for s in step.outs]
        self._define(step, frame, f"{self._fn(step.fn)}({', '.join(args)})", keeps)

    def _emit_shift(self, step: Step, frame: Frame) -> None:
        start, out = step.args
        self._define(step, frame, f"{self._fn(step.fn)}({self._flat(start, frame)}, {self._get(out, 1, frame)})", 1)

    def _emit_expand(self, step: Step, frame: Frame) -> None:
        arg, like = step.args
        axes = frame.axes(step.outs[0])
        aligned = self._aligned(arg, axes, frame, whole=True)
        call = f"{self._fn(rules.expand_lead)}({aligned}, {self._sizes(axes, like, frame)})"
        self._define(step, frame, call, len(axes))

    def _emit_noise(self, step: Step, frame: Frame) -> None:
        out = step.outs[0]
        loop = frame.inside[-1] if frame.inside and frame.inside[-1] in out.axes else None
        axes = frame.axes(out)
        known = [a for a in step.args if a.batch != "none"]
        if all(frame.axes(a) == axes for a in known if a.batch == "full") and not (
            axes and all(a.batch != "full" for a in known)
        ):
            keep = self._cheapest([a for a in known if a.batch == "full"] or known, frame, len(axes))
            refs = [self._get(a, keep if a.batch == "full" else 0, frame) for a in known]
            shape = f"{refs[0]}.shape" if len(refs) == 1 else f"{self._fn(rules.joint_shape)}({', '.join(refs)})"
        else:
            keep = len(axes)
            present = tuple(a for a in axes if any(a in s.axes for s in known))
            refs = [self._aligned(a, present, frame) for a in known]
            base = f"{self._fn(rules.joint_shape)}({', '.join(refs)})"
            shape = f"({''.join(self._length(a, frame) + ', ' for a in axes)}) + tuple({base}[{len(present)}:])"
        fn = self._fn(step.fn)
        if loop is None:
            self._define(step, frame, f"{fn}({shape}, {refs[0]})", keep)
            return
        assert frame.parent is not None
        whole = self._name("n")
        self._line(frame.parent, f"{whole} = None", step)
        length = self._length(loop, frame.parent)
        draw = f"{whole} = {fn}(({length},) + tuple({shape}), {refs[0]}).unbind(0)"
        self._line(frame, f"if {whole} is None: {draw}", step, "noise of all steps at once")
        self._define(step, frame, f"{whole}[{frame.index}]", keep)

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
        name = self._name("v" if frame.parent is None else "u")
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
            series = f"{self._get(slot, keep + 1, parent)}.unbind(0)"
        else:
            series = f"{self._shaped(slot, parent)}.unbind({outer.index(axis)})"
        whole = self._name("s")
        self._line(parent, f"{whole} = {series}", slot.step)
        name = self._name("u")
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

    def _agree(self, args: Sequence[Slot], axes: tuple[Axis, ...], frame: Frame) -> tuple[list[str], int]:
        """The arguments of a broadcasting formula in one layout."""
        full = [a for a in args if a.batch == "full"]
        loose = all(not frame.axes(a) for a in args if a.batch != "full")
        if loose and all(frame.axes(a) == axes for a in full):
            keep = self._cheapest(full, frame, len(axes)) if full else 0
            return [self._get(a, keep if a.batch == "full" else 0, frame) for a in args], keep
        return [self._aligned(a, axes, frame, scalar=not full) for a in args], len(axes)

    def _aligned(
        self, slot: Slot, axes: tuple[Axis, ...], frame: Frame, scalar: bool = False, whole: bool = False
    ) -> str:
        """``slot`` with a dimension of size 1 for each of ``axes`` that it lacks; constants broadcast without the first."""
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

    # ---------------------------------------------------------------- names and lines

    def _define(self, step: Step, frame: Frame, call: str, keep: int | list[int]) -> None:
        names = [self._name("v" if frame.parent is None else "u") for _ in step.outs]
        keeps = keep if isinstance(keep, list) else [keep] * len(names)
        for slot, name, k in zip(step.outs, names, keeps, strict=True):
            frame.memo[slot, k if frame.axes(slot) else 0] = name
        target = ", ".join(names) + ("," if step.multiple and len(names) == 1 else "")
        self._line(frame, f"{target} = {call}", step, step.label)

    def _line(self, frame: Frame, text: str, step: Step, comment: str = "") -> None:
        frame.lines.append(Line(text, step in self.plan.grad, comment=comment))

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _fn(self, value: Any) -> str:
        key = value if isinstance(value, str) else id(value)
        if key not in self._constants:
            base = getattr(value, "__name__", "f") if isinstance(value, Callable) else "k"  # type: ignore[arg-type]
            base = base if base.isidentifier() and base.isascii() and not base.startswith("_") else "f"
            name = f"{base}_{len(self._constants)}"
            self._constants[key] = name
            self.namespace[name] = value
            self._alive.append(value)
        return self._constants[key]

    @staticmethod
    def _consumers(items: Sequence[Step | Block]) -> dict[Slot, set[Step]]:
        users: dict[Slot, set[Step]] = {}
        stack: list[Step | Block] = list(items)
        while stack:
            item = stack.pop()
            if isinstance(item, Block):
                stack += item.items
                for carry in item.carries:
                    users.setdefault(_carried(carry.out), set()).add(carry.slot.step)
                    users.setdefault(carry.start, set()).add(carry.slot.step)
            else:
                for arg in item.args:
                    users.setdefault(arg, set()).add(item)
        return users


def _carried(slot: Slot | None) -> Slot:
    assert slot is not None
    return slot


def _finite(value: float | int) -> bool:
    return value == value and value not in (float("inf"), float("-inf"))


def _render(lines: Sequence[Line], depth: int) -> list[str]:
    text: list[str] = []
    pad = "    " * depth
    quiet = False
    for line in lines:
        if line.grad:
            quiet = False
        elif not quiet:
            quiet = True
            text.append(f"{pad}with no_grad():")
        here = pad + ("    " if not line.grad else "")
        safe = "".join(c if c.isascii() and c.isprintable() else "?" for c in line.comment)
        text.append(f"{here}{line.text}" + (f"  # {safe}" if safe else ""))
        if line.body is not None:
            text += _render_plain(line.body, depth + 1 + int(not line.grad)) if not line.grad else _render(
                line.body, depth + 1
            )
    return text


def _render_plain(lines: Sequence[Line], depth: int) -> list[str]:
    """A loop that is under no_grad as a whole."""
    return _render([Line(x.text, True, x.body, x.comment) for x in lines], depth)
