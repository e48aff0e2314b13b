"""Steps -> the text of a Python function; how each kind of step is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixyz.plan import chunk, rules, slabs
from pixyz.plan.draws import NoiseText
from pixyz.plan.fission import Block, Schedule
from pixyz.plan.graph import Axis, Slot, Step
from pixyz.plan.leads import OpenDensity
from pixyz.plan.options import Options
from pixyz.plan.rows import RowGroup, RowLoop, group_rows
from pixyz.plan.text import Frame, Line, assigned, listed, render, render_plain, words


class Emitter(NoiseText):
    """Writes the source of one plan."""

    def __init__(
        self,
        inputs: Sequence[Slot],
        outputs: Sequence[Slot],
        plan: Schedule,
        options: Options | None = None,
        *,
        checked: bool = False,
    ) -> None:
        super().__init__(plan, checked)
        self.options = options or Options()
        self.loops: dict[str, chunk.ChunkedLoop] = {}
        self.rows: dict[str, RowLoop] = {}
        self.networks: dict[str, Any] = {}
        """Networks by their names in the text, and what else is called with checks at first."""
        self._functions: list[str] = []
        self._looking: list[str] = []
        self.outputs = list(outputs)
        self.root = Frame(None, None, ())
        self.parameters: list[str] = []
        for slot in inputs:
            name = self._name("v", slot.label or slot.step.label)
            self.parameters.append(name)
            self.root.memo[slot, len(slot.axes)] = name
        self._users = self._consumers(plan.items)
        self._lists: dict[Slot, str] = {}
        """Series of which there is only a list of the steps: its name."""
        self._totals: dict[Slot, tuple[str, str]] = {}
        """Terms of which only the sum of all elements was computed: its name, and that of the
        number of rows.
        """

    # ---------------------------------------------------------------- the function

    def sources(self) -> tuple[str, str]:
        """The text of the function ``plan``, and that of ``look``, which does the same and looks at
        what it reads.
        """
        self._items(self.plan.items, self.root)
        results = [self._shaped(slot, self.root) for slot in self.outputs]

        def text(name: str, looks: bool) -> list[str]:
            head, end = (
                f"def {name}({', '.join(self.parameters)}):",
                f"    return ({listed(results)})",
            )
            return [head, *render(self.root.lines, 1, looks), end]

        plan = [*self._functions, *text("plan", looks=self.checked)]
        return "\n".join(plan) + "\n", "\n".join([*self._looking, *text("look", looks=True)]) + "\n"

    def _items(self, items: Sequence[Step | Block], frame: Frame) -> None:
        steps = (
            []
            if self.checked or self.options.max_rows
            else [i for i in items if isinstance(i, Step)]
        )
        groups = group_rows(
            steps,
            self.plan.grad,
            lambda s: self._on_series(s, frame),
            self._only_total,
            join=self.options.whole,
        )
        waiting = list(dict.fromkeys(groups.values()))
        for item in items:
            if isinstance(item, Block):
                self._block(item, frame)
            elif item not in groups:
                self._write(item, frame)
            known = {slot for slot, _ in frame.memo} if waiting else set()
            # at once: next to the loop, as this is one
            for group in [g for g in waiting if known.issuperset(g.args)]:
                waiting.remove(group)
                self._row_group(group, frame)

    def _write(self, step: Step, frame: Frame) -> None:
        getattr(self, f"_emit_{step.kind}")(step, frame)

    def _row_group(self, group: RowGroup, frame: Frame) -> None:
        """The steps as a function of rows, and its call."""
        inner = Frame(None, None, frame.inside)
        for arg in group.args:
            inner.memo[arg, 0] = self._name("v", arg.label or arg.step.label)
        parameters = list(inner.memo.values())
        for step in group.steps:
            for arg in step.args:
                if isinstance(arg.step.fn, rules.Constant):
                    self._write(arg.step, inner)
            self._write(step, inner)
        wanted = group.results(self._users, self.outputs)
        results = [self._flat(slot, inner) for slot in wanted]
        name = self._fn(loop := RowLoop())
        self.rows[name] = loop
        for functions, end, looks in (
            (self._functions, "of", False),
            (self._looking, "look", True),
        ):
            functions += [
                f"def {name}_{end}({', '.join(parameters)}):",
                *render(inner.lines, 1, looks),
            ]
            functions += [f"    return ({listed(results)})", ""]
        for slot in wanted:
            frame.memo[slot, 0] = self._name("v", slot.label or slot.step.label)
        outs = listed(frame.memo[slot, 0] for slot in wanted)
        call = f"{outs}= {name}({', '.join(self._flat(arg, frame) for arg in group.args)})"
        grad = any(line.grad for line in inner.lines)
        frame.lines.append(
            Line(
                call,
                grad,
                comment=f"{', '.join(s.label for s in group.steps if s.kind == 'net')}, by rows",
            )
        )

    def _block(self, block: Block, frame: Frame) -> None:
        axis = block.loop.axis
        length = self._length(axis, frame)
        index = self._name("t")
        inner = Frame(frame, block, (*frame.inside, axis), index, chunked=self._may_chunk(block))
        starts: list[str] = []
        for carry in block.carries:
            name = self._name("u", carry.name)
            starts.append(self._flat(carry.start, frame))
            if not inner.chunked:
                self._line(
                    frame, f"{name} = {starts[-1]}", carry.slot.step, f"carried in: {carry.name}"
                )
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
                self._write(item, inner)
                self._collect(item, block, inner, frame, stacked)
        if block.carries:
            outs = [self._flat(_carried(carry.out), inner) for carry in block.carries]
            names = [inner.memo[carry.slot, 0] for carry in block.carries]
            grad = any(c.slot.step in self.plan.grad for c in block.carries)
            inner.lines.append(
                Line(f"{', '.join(names)} = {', '.join(outs)}", grad, comment="carried on")
            )
        if inner.chunked:
            self._chunked(block, inner, frame, starts, stacked)
            return
        backward = f"range({length} - 1, -1, -1)" if block.loop.reverse else f"range({length})"
        grad = any(line.grad for line in inner.lines)
        over = block.loop.label or repr(axis)
        frame.lines.append(
            Line(f"for {index} in {backward}:", grad, inner.lines, f"steps of {over}")
        )
        for slot, name, keep in stacked:
            if self._loose(slot, keep, block, frame):
                self._lists[slot] = name
                continue
            out = self._name("v", slot.label or slot.step.label)
            order = f"{name}[::-1]" if block.loop.reverse else name
            at = frame.axes(slot).index(axis)
            call = f"torch.stack({order}, {at})" if at else f"torch.stack({order})"
            self._line(frame, f"{out} = {call}", slot.step, slot.label or slot.step.label)
            frame.memo[slot, keep + 1] = out
        if done := [name for slot, name, _ in stacked if slot not in self._lists]:
            frame.lines.append(Line(f"del {', '.join(done)}", grad))

    def _loose(self, slot: Slot, keep: int, block: Block, frame: Frame) -> bool:
        """Whether a stacked value is only read as the later part of a path, so that both can be
        stacked at once.
        """
        users = [u for u in self._users.get(slot, ()) if u not in block.core]
        if (
            len(users) != 1
            or users[0].fn is not rules.cat_path
            or slot in self.outputs
            or keep
            or block.loop.reverse
        ):
            return False
        start, axes = users[0].args[0], frame.axes(slot)
        if axes[0] is not block.loop.axis or start.batch != "full" or frame.axes(start) != axes[1:]:
            return False
        return slot.step not in self.plan.grad and users[0] not in self.plan.grad

    def _collect(
        self,
        step: Step,
        block: Block,
        inner: Frame,
        frame: Frame,
        stacked: list[tuple[Slot, str, int]],
    ) -> None:
        """Stack the results of ``step`` that are read outside the loop."""
        for slot in step.outs:
            used = self._users.get(slot, set())
            if slot in self.outputs or any(user not in block.core for user in used):
                # axes in front of the loop's must not be merged with later ones
                at = frame.axes(slot).index(block.loop.axis)
                keep = next((k for (s, k) in inner.memo if s is slot and k >= at), -1)
                if keep < 0:
                    keep = len(inner.axes(slot))
                    self._shaped(slot, inner)
                name = self._name("l")
                if not inner.chunked:
                    self._line(frame, f"{name} = []", step)
                self._line(inner, f"{name}.append({inner.memo[slot, keep]})", step)
                stacked.append((slot, name, keep))

    def _may_chunk(self, block: Block) -> bool:
        """Whether the loop is compiled; a note says why not where that was asked for."""
        if not self.options.chunk:
            return False
        pinned = dict.fromkeys(
            f"{i.label} ({i.pinned})" for i in block.items if isinstance(i, Step) and i.pinned
        )
        why = (
            "values are checked one by one in debug mode"
            if self.checked
            else "it carries nothing"
            if not block.carries
            else "there is a loop inside it"
            if any(isinstance(i, Block) for i in block.items)
            else f"it holds {'; '.join(pinned)}"
            if pinned
            else ""
        )
        if why:
            self.plan.notes.append(f"loop over {block.loop.axis!r} is not compiled: {why}")
        return not why

    def _chunked(
        self,
        block: Block,
        inner: Frame,
        frame: Frame,
        starts: list[str],
        stacked: list[tuple[Slot, str, int]],
    ) -> None:
        """The loop as a function of some steps, and its call."""
        grad = any(line.grad for line in inner.lines)
        write = render if grad else render_plain
        carries = [inner.memo[carry.slot, 0] for carry in block.carries]
        lists = [name for _, name, _ in stacked]
        loose = {
            slot: name for slot, name, keep in stacked if self._loose(slot, keep, block, frame)
        }
        own = {*carries, *lists, *inner.series, *inner.noise, inner.index, *assigned(inner.lines)}
        read = dict.fromkeys(w for line in inner.lines for w in words(line.text + " " + line.probe))
        constants = [w for w in read if w in self._names and w not in own]
        text = chunk.LoopText(
            carries,
            list(inner.series),
            list(inner.noise),
            constants,
            lists,
            loose.values(),
            inner.index,
            write([x for x in inner.lines if not x.probe], 2),
            write([Line(x.probe or x.text, x.grad) for x in inner.lines], 2),
        )
        numbers = frozenset(i for i, c in enumerate(constants) if c not in self._lengths.values())
        size = chunk.piece(block.loop.axis.size, self.options.chunk)
        loop = chunk.ChunkedLoop(
            self.options, size, list(inner.noise.values()), block.loop.reverse, numbers
        )
        name = self._fn(loop)
        names = [f"{name}_steps", f"{name}_step", f"{name}_shapes"]
        self._functions += text.function(names[0], size, block.loop.reverse)
        self._functions += [*text.function(names[1], 1, block.loop.reverse), *text.shapes(names[2])]
        self.loops[name] = loop
        length = self._length(block.loop.axis, frame)
        prefix = "v" if frame.parent is None else "u"
        outs = [self._name(prefix, slot.label or slot.step.label) for slot, _, _ in stacked]
        for (slot, _, keep), out in zip(stacked, outs, strict=True):
            if slot in loose:
                self._lists[slot] = out
            else:
                frame.memo[slot, keep + 1] = out
        inside = [
            (out, frame.axes(slot).index(block.loop.axis))
            for (slot, _, _), out in zip(stacked, outs, strict=True)
        ]
        call = (
            f"{name}({length}, ({listed(starts)}), ({listed(inner.series.values())}), "
            f"({listed(constants)}))"
        )
        over = block.loop.label or repr(block.loop.axis)
        frame.lines.append(
            Line(f"{listed(outs)}= {call}", grad, comment=f"steps of {over}, compiled")
        )
        frame.lines += [Line(f"{out} = {out}.movedim(0, {at})", grad) for out, at in inside if at]

    # ---------------------------------------------------------------- one method a kind of step

    def _emit_input(self, step: Step, frame: Frame) -> None:
        """Inputs are the function's parameters."""

    def _emit_carry(self, step: Step, frame: Frame) -> None:
        """Carried values are assigned around the loop."""

    def _emit_point(self, step: Step, frame: Frame) -> None:
        if isinstance(step.fn, rules.Constant):
            frame.memo[step.outs[0], 0] = (
                repr(step.fn.value) if _finite(step.fn.value) else f"float('{step.fn.value}')"
            )
            return
        if isinstance(step.fn, rules.Attribute) and (held := step.fn.dictionary()) is not None:
            self._define(step, frame, f"{self._fn(held)}[{step.fn.name!r}]", 0)
            return
        if isinstance(step.fn, rules.MeanOfSums):
            self._mean_of_sums(step, step.fn, frame)
            return
        args, keep = self._agree(step.args, frame.axes(step.outs[0]), frame)
        self._write_looks(step, frame)
        if step.fn in rules.BROADCAST:
            self._look_together(step, args, keep, frame)
        formula = step.fn.total if (only_total := self._only_total(step)) else step.fn  # type: ignore[union-attr]
        if isinstance(formula, OpenDensity):
            self.networks[self._fn(formula)] = formula
        if only_total:
            names = self._name("v", step.outs[0].label or step.label), self._name("n", "rows")
            self._line(
                frame,
                f"{', '.join(names)} = {self._fn(formula)}({', '.join(args)})",
                step,
                f"{step.label}, summed",
            )
            self._totals[step.outs[0]] = names
            return
        text = rules.INLINE.get(step.fn) or getattr(step.fn, "inline", None)
        if text and not any(
            isinstance(a.step.fn, rules.Constant) for a in step.args if step.fn not in rules.INLINE
        ):
            self._define(step, frame, text.format(*args), keep)
        else:
            self._define(step, frame, f"{self._fn(step.fn)}({', '.join(args)})", keep)

    def _only_total(self, step: Step) -> bool:
        """Whether a mean over the batch is all that reads the result, and the formula has a form
        for that.
        """
        slot = step.outs[0]
        if self.checked or slot in self.outputs or not hasattr(step.fn, "total"):
            return False
        return all(isinstance(user.fn, rules.MeanOfSums) for user in self._users.get(slot, ()))

    def _mean_of_sums(self, step: Step, mean: rules.MeanOfSums, frame: Frame) -> None:
        found = []
        for slot in step.args:
            if slot not in self._totals:
                name = self._flat(slot, frame)
                self._totals[slot] = self._name("v"), self._name("n", "rows")
                call = (
                    f"{name}.sum() if {name}.dtype.itemsize >= 4 else "
                    f"{self._fn(rules.total)}({name}), len({name})"
                )
                self._line(
                    frame,
                    f"{', '.join(self._totals[slot])} = {call}",
                    slot.step,
                    f"{slot.step.label}, summed",
                )
            found.append(self._totals[slot])
        self._define(
            step, frame, mean.text(self._fn(mean), [t for t, _ in found], [n for _, n in found]), 0
        )

    def _emit_net(self, step: Step, frame: Frame) -> None:
        args = self._call_network(step, frame)
        if sum(a.batch == "full" for a in step.args) > 1:
            self._look_at_rows(step, args, frame)

    def _call_network(self, step: Step, frame: Frame) -> list[str]:
        """Write the call; the names of its arguments."""
        axes = frame.axes(step.outs[0])
        like = next((a for a in step.args if a.batch == "full"), None)
        args = []
        for arg in step.args:
            if arg.batch == "none" or (
                frame.axes(arg) == axes and (arg.batch == "full" or like is None)
            ):
                args.append(self._flat(arg, frame))
            else:
                aligned = self._aligned(arg, axes, frame, whole=True)
                args.append(
                    f"{self._fn(rules.expand_rows)}({aligned}, "
                    f"{self._sizes(axes, like or arg, frame)})"
                )
        self._write_looks(step, frame)
        network: Any = step.fn
        keywords = getattr(network, "keywords", None)
        on_series, rows = self._on_series(step, frame), tuple(a.batch != "none" for a in step.args)
        in_slabs = on_series and self.options.max_rows
        named = bool(keywords) and not self.options.chunk and not in_slabs
        name = self._fn(network)
        probe = network.probe(rows, named) if on_series else None
        if probe is not None or named:
            self.networks[name] = probe or network
        if in_slabs:
            given = ", ".join([name, repr(rows), str(self.options.max_rows), *args])
            self._define(step, frame, f"{self._fn(slabs.in_slabs)}({given})", 0)
            return args
        if not named or keywords is None:
            self._define(step, frame, f"{name}({', '.join(args)})", 0)
            return args
        call = f"{name}({', '.join(f'{k}={a}' for k, a in zip(keywords, args, strict=True))})"
        if len(step.outs) > 1:
            found = self._name("r")
            self._line(frame, f"{found} = {call}", step, step.label)
            call = ", ".join(f"{found}[{key!r}]" for key in network.wanted)
        else:
            call += f"[{network.wanted[0]!r}]"
        self._define(step, frame, call, 0, packed=False)
        return args

    @staticmethod
    def _on_series(step: Step, frame: Frame) -> bool:
        """Whether a network is called once on the rows of all steps of a series,
        and can be tried.
        """
        on_series = any(a.kind == "time" for a in frame.axes(step.outs[0]))
        return on_series and not step.pinned and hasattr(step.fn, "probe")

    def _emit_features(self, step: Step, frame: Frame) -> None:
        keep = self._cheapest(step.args, frame, len(frame.axes(step.args[0])))
        arg = self._get(step.args[0], keep, frame)
        call = f"{self._fn(step.fn)}({arg}, {keep + 1})"
        if step.fn is rules.sum_features:
            call = f"{arg}.sum(-1) if {arg}.ndim == {keep + 2} else {call}"
        self._define(step, frame, call, keep)

    def _emit_reduce(self, step: Step, frame: Frame) -> None:
        arg, axes = step.args[0], frame.axes(step.args[0])
        kept = frame.axes(step.outs[0])
        mask = [self._aligned(step.args[1], axes, frame)] if len(step.args) > 1 else []
        if step.over_batch and not kept:
            value = (
                self._shaped(arg, frame)
                if mask
                else self._get(arg, self._cheapest([arg], frame, len(axes)), frame)
            )
            call = [value, "None", "None", *mask]
        else:
            dims = tuple(i for i, a in enumerate(axes) if a in step.over)
            tail = str(len(axes)) if step.over_batch else "None"
            call = [self._shaped(arg, frame), repr(dims), tail, *mask]
        method = {rules.reduce_mean: "mean", rules.reduce_sum: "sum"}.get(step.fn)  # type: ignore[arg-type]
        if method and not mask and call[2] == "None":
            self._define(
                step,
                frame,
                f"{call[0]}.{method}({'' if call[1] == 'None' else call[1]})",
                len(kept),
            )
        else:
            self._define(step, frame, f"{self._fn(step.fn)}({', '.join(call)})", len(kept))

    def _emit_series(self, step: Step, frame: Frame) -> None:
        axis, out = step.over[0], step.outs[0]
        if step.fn is rules.cat_path and (later := self._lists.get(step.args[1])):
            self._define(
                step,
                frame,
                f"torch.stack([{self._flat(step.args[0], frame)}, *{later}])",
                1,
                packed=False,
            )
            self._line(frame, f"del {later}", step)
            return
        if step.extra == "relabel":
            arg = step.args[0]
            name = self._shaped(arg, frame)
            frame.memo[out, len(out.axes)] = name
            if axis.length_of is out:
                self._note_length(axis, out, frame)
            elif axis.length_of is not None or axis.size is not None:
                call = (
                    f"{name}, {self._length(axis, frame)}, "
                    f"{self._fn(out.label or step.label or 'a series')}"
                )
                self._line(frame, f"{self._fn(rules.check_length)}({call})", step)
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
        for slot, keep in zip(step.outs, keeps, strict=True):
            for a in [a for a in slot.axes[:keep] if a.length_of is slot]:
                self._note_length(a, slot, frame)

    def _note_length(self, axis: Axis, slot: Slot, frame: Frame) -> None:
        name = self._lengths[axis] = self._name("T")
        label, least = slot.label or slot.step.label, len(slot.axes) + (slot.batch != "none")
        text = (
            f"{name} = {self._fn(rules.series_length)}({self._get(slot, 1, frame)}, "
            f"{self._fn(label)}, {least})"
        )
        self._line(frame, text, slot.step, f"steps of {label}")

    def _emit_shift(self, step: Step, frame: Frame) -> None:
        start, out = step.args
        self._define(
            step,
            frame,
            f"{self._fn(step.fn)}({self._flat(start, frame)}, {self._get(out, 1, frame)})",
            1,
        )

    def _emit_expand(self, step: Step, frame: Frame) -> None:
        arg, like = step.args
        axes = frame.axes(step.outs[0])
        aligned = self._aligned(arg, axes, frame, whole=True)
        call = f"{self._fn(rules.expand_lead)}({aligned}, {self._sizes(axes, like, frame)})"
        self._define(step, frame, call, len(axes))

    # ---------------------------------------------------------------- who reads what

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
