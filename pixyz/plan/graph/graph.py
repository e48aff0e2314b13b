"""Graph: the steps of a plan in the order in which they run, and how they are printed."""

from __future__ import annotations

from functools import cached_property

from pixyz.plan.graph.order import Item, Nest, arranged, places
from pixyz.plan.graph.step import Slot
from pixyz.plan.graph.wiring import Wiring


class Graph(Wiring):
    """What an objective was lowered to; a pass makes another one of it. ``print(graph)`` shows it.

    >>> from pixyz.losses import Parameter
    >>> print((2 * Parameter("a")).plan.after("written"))
      %0 = point 2()
      %1 = input a()
      %2 = point MulLoss(%0, %1)
    """

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The steps in order, loops nested."""
        return arranged(self)

    def __str__(self) -> str:
        number: dict[Slot, str] = {}
        lines: list[str] = []
        place = {} if self.blocks is None else places(self)

        def show(item: Item, depth: int) -> None:
            pad = "  " * depth
            if isinstance(item, Nest):
                way = " reversed" if item.loop.reverse else ""
                lines.append(f"{pad}loop over {item.loop.axis!r}{way}:")
                for slot in item.block.carries:
                    number[slot] = f"%{len(number)}"
                    lines.append(f"{pad}  {number[slot]} = carry {self.carry_of[slot].name}")
                for inner in item.items:
                    show(inner, depth + 1)
                return
            for slot in item.outs:
                number.setdefault(slot, f"%{len(number)}")
            args = ", ".join(number.get(a, "?") for a in item.args)
            outs = ", ".join(number[s] for s in item.outs)
            where = f"  [{place[item]}]" if place.get(item) else ""
            quiet = "  (no grad)" if self.is_quiet(item) else ""
            lines.append(f"{pad}{outs} = {item.kind} {item.label}({args}){where}{quiet}")

        for item in self.steps if self.blocks is None else self.items:
            show(item, 1)
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])
