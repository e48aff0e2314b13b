"""How many kernels an update of DreamerV3 starts: the declared objective, and the form by hand on
the same networks.

Every operator that reaches a device is one; what moves no number is none (views, empty memory), and
operators on lists of tensors (``_foreach_*``) are one each.  On a GPU each is at least a launch of
some microseconds.  Counted on the CPU, eager, in the third update, when the plan has been tried.
Appends a JSON line a size to ``results/kernels.jsonl``.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --sizes small --out /tmp/kernels.jsonl
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hand_dreamer import dreamer_loss
from timing import about, append, prepare
from torch.utils._python_dispatch import TorchDispatchMode
from update import SIZES, build

RESULTS = Path(__file__).parent / "results" / "kernels.jsonl"
STILL = (
    "aten.empty",
    "aten.new_empty",
    "aten.detach",
    "aten.lift_fresh",
    "aten._unsafe_view",
    "aten._reshape_alias",
)
"""Operators that are no views by their schema, and start no kernel."""


class Kernels(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).rpartition(".")[0]
        if not (func.is_view or str(func).startswith(STILL)):
            self.found[name.removeprefix("aten.")] += 1
        return func(*args, **(kwargs or {}))


def kernels(call: Callable[[], Any]) -> Counter[str]:
    """Those of a call, in its backward pass, too."""
    with Kernels() as mode:
        call()
    return mode.found


def parts(agent: Any, loss: Callable[[], torch.Tensor]) -> dict[str, Counter[str]]:
    """Those of an update, by what it does."""
    held: list[torch.Tensor] = []

    def optimise() -> None:
        agent.optimizer.step()
        agent.update_slow()

    found = {}
    for _ in range(3):
        held.clear()
        agent.optimizer.zero_grad(set_to_none=True)
        found = {
            "losses": kernels(lambda: held.append(loss())),
            "backward": kernels(lambda: held[0].backward()),
            "optimizer": kernels(optimise),
        }
    return found


def line(size: str) -> dict[str, Any]:
    """A size's counts."""
    agent, x = build(size, "float32")
    declared = parts(agent, lambda: agent.objective.eval(x))
    hand = parts(agent, lambda: dreamer_loss(agent, x))
    frequent = sum(declared.values(), Counter[str]()).most_common(12)
    return {
        "benchmark": "kernels",
        "size": size,
        "declared": {k: v.total() for k, v in declared.items()},
        "hand": {k: v.total() for k, v in hand.items()},
        "frequent": dict(frequent),
        **about(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    for size in given.sizes:
        found = line(size)
        append(given.out, found)
        print(size, found["declared"], found["hand"], found["frequent"], flush=True)


if __name__ == "__main__":
    main()
