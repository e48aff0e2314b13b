"""What a plan is made of: axes, slots, steps, formulas, and the graph of them.

::

    step       axes, slots and steps, a frozen dataclass a kind
    formula    functions that know how they are written
    rules      small tensor functions
    wiring     who makes, reads and needs what
    cores      what of a loop must stay in it
    order      each step after what it needs, loops nested
    graph      the graph that passes make of another one, and how it is printed
"""

from pixyz.plan.graph.graph import Graph
from pixyz.plan.graph.step import (
    Axis,
    BatchKind,
    Carry,
    CarryIn,
    Expand,
    Features,
    Input,
    Joined,
    Loop,
    Net,
    Noise,
    Origin,
    Point,
    Reduce,
    Relabel,
    Series,
    Shift,
    Slot,
    Step,
    Total,
    order_axes,
)
from pixyz.plan.graph.wiring import Block, RowGroup

__all__ = [
    "Axis",
    "BatchKind",
    "Block",
    "Carry",
    "CarryIn",
    "Expand",
    "Features",
    "Graph",
    "Input",
    "Joined",
    "Loop",
    "Net",
    "Noise",
    "Origin",
    "Point",
    "Reduce",
    "Relabel",
    "RowGroup",
    "Series",
    "Shift",
    "Slot",
    "Step",
    "Total",
    "order_axes",
]
