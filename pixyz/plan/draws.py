"""How base noise is written: before a loop, in it for all of its steps at once, or told to a
compiled body.
"""

from __future__ import annotations

from pixyz.plan import chunk, rules
from pixyz.plan.graph import Axis, Step
from pixyz.plan.layout import Layouts
from pixyz.plan.text import Frame, Line


class NoiseText(Layouts):
    """Abstract: writes the steps that draw."""

    def _emit_noise(self, step: Step, frame: Frame) -> None:
        out = step.outs[0]
        loops = [a for a in frame.inside if a in out.axes]
        axes = frame.axes(out)
        known = [a for a in step.args if a.batch != "none"]
        if all(frame.axes(a) == axes for a in known if a.batch == "full") and not (
            axes and all(a.batch != "full" for a in known)
        ):
            keep = self._cheapest(
                [a for a in known if a.batch == "full"] or known, frame, len(axes)
            )
            # each axis stays a dimension of its own
            if len(loops) > 1 or (loops and out.axes[0] not in loops):
                keep = len(axes)
            refs = [self._get(a, keep if a.batch == "full" else 0, frame) for a in known]
            shape = (
                f"{refs[0]}.shape"
                if len(refs) == 1
                else f"{self._fn(rules.joint_shape)}({', '.join(refs)})"
            )
            like = getattr(step.fn, "inline_like", None)
            if not loops and like and len(refs) <= 2:
                text = like.format(refs[0])
                if len(refs) == 2:
                    other = step.fn.inline.format(shape, refs[0])  # type: ignore[union-attr]
                    text += f" if {refs[0]}.shape == {refs[1]}.shape else {other}"
                self._define(step, frame, text, keep)
                return
        else:
            keep = len(axes)
            present = tuple(a for a in axes if any(a in s.axes for s in known))
            refs = [self._aligned(a, present, frame) for a in known]
            base = f"{self._fn(rules.joint_shape)}({', '.join(refs)})"
            shape = (
                f"({''.join(self._length(a, frame) + ', ' for a in axes)}) + "
                f"tuple({base}[{len(present)}:])"
            )
        fn = self._fn(step.fn)
        if not loops:
            text = getattr(step.fn, "inline", None)
            self._define(
                step,
                frame,
                text.format(shape, refs[0]) if text else f"{fn}({shape}, {refs[0]})",
                keep,
            )
            return
        whole = self._name("n")
        if frame.chunked:
            at = out.axes.index(loops[-1])
            frame.noise[whole] = chunk.Noise(step.fn, at)  # type: ignore[arg-type]
            seen = f"{whole} = {self._fn(chunk.note)}(found, {fn}, {shape}, {refs[0]})"
            frame.lines.append(Line("", step in self.plan.grad, probe=seen))
            self._define(step, frame, f"{whole}[{frame.index}]", keep)
            return
        self._noise_of_loops(step, frame, whole, loops, shape, f"{fn}(({{}}), {refs[0]})", keep)

    def _noise_of_loops(
        self,
        step: Step,
        frame: Frame,
        whole: str,
        loops: list[Axis],
        shape: str,
        draw: str,
        keep: int,
    ) -> None:
        """Noise of all steps of all loops around, drawn at the first: the numbers are those of the
        split form.
        """
        axes, at, outside = step.outs[0].axes, frame, frame
        indices = {}
        while any(a in outside.inside for a in loops):
            indices[outside.inside[-1]] = outside.index
            assert outside.parent is not None
            outside = outside.parent
        self._line(outside, f"{whole} = None", step)
        if len(loops) == 1 and axes[0] is loops[0]:
            noise = draw.format(f"{self._length(loops[0], at)},) + tuple({shape}") + ".unbind(0)"
        else:
            inner, shape = frame.axes(step.outs[0]), f"({shape})"
            sizes = [
                self._length(a, at) if a in loops else f"{shape}[{inner.index(a)}]" for a in axes
            ]
            places = [i for i, a in enumerate(axes) if a in loops]
            noise = draw.format(f"{', '.join(sizes)}, *{shape}[{len(inner)}:]")
            noise += f".movedim({tuple(places)}, {tuple(range(len(places)))})"
        self._line(
            frame, f"if {whole} is None: {whole} = {noise}", step, "noise of all steps at once"
        )
        chosen = ", ".join(indices[a] for a in axes if a in loops)
        self._define(step, frame, f"{whole}[{chosen}]", keep)
