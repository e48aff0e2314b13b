"""The recorded workloads in this tree and in another one, in turn.

Each round is a process a tree (``workloads.py``), in which each workload takes its turns in one and
in the other, this tree first at every other turn; CPU seconds of a call on one thread, the median
of some calls a turn.  The line has the median over all turns of this tree's times to the other's,
and the quartiles.  Appends it to ``results/before.jsonl``.

    git worktree add --detach ../before dd925b8
    python benchmarks/before.py ../before --rounds 5
    python benchmarks/before.py ../before --workloads "update small" "update size1m"
    python benchmarks/before.py ../before --rounds 1 --workloads "VAE tiny" --out /tmp/b.jsonl
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import about, append, by_round

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "before.jsonl"
WORKLOADS = [
    "plan",
    *(f"VAE {size}" for size in ("tiny", "h400_z10", "h400_z30", "h2000_z10", "h2000_z30")),
    *(f"DMM {size}" for size in ("small", "b20_t60", "b20_t129", "z20", "z50", "z100", "z500")),
    *(f"{what} {size}" for what in ("RSSM", "update") for size in ("small", "size1m")),
    *(f"{what} {size} bfloat16" for what in ("RSSM", "update") for size in ("small", "size1m")),
    *(f"RSSM {size} gaussian" for size in ("small", "size1m")),
    *(
        f"imagination {s} {kind}"
        for kind in ("categorical", "gaussian")
        for s in ("small", "size1m")
    ),
    *("RSSM small chunk", "update small chunk"),
    "action",
    *("VRNN", "TDVAE", "HRSSM"),
]


class Child:
    """A process that imports a tree and runs workloads when it is told."""

    def __init__(self, tree: Path) -> None:
        there = os.pathsep.join([str(tree), str(tree / "benchmarks")])
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "workloads.py")],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": there, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> float:
        """CPU seconds of a call."""
        told, answers = self.process.stdin, self.process.stdout
        assert told is not None and answers is not None
        told.write(f"{line}\n")
        told.flush()
        return float(answers.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def in_turn(trees: dict[str, Path], workloads: list[str], turns: int) -> dict[str, Any]:
    """CPU seconds by tree and workload, of each turn of a round."""
    children = {name: Child(tree) for name, tree in trees.items()}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in trees}
    for workload in workloads:
        for name, child in children.items():
            child.ask(workload)
            found[name][workload] = []
        for i in range(turns):
            for name in sorted(trees, reverse=bool(i % 2)):
                found[name][workload].append(children[name].ask("again"))
    for child in children.values():
        child.close()
    return found


def commit(tree: Path) -> str:
    """The commit that a tree is at."""
    told = ["git", "-C", str(tree), "rev-parse", "HEAD"]
    return subprocess.run(told, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def compared(other: Path, workloads: list[str], rounds: int, turns: int) -> dict[str, Any]:
    """This tree and another one: ratios of this to that."""
    trees = {"this": HERE.parent, "other": other.resolve()}
    seconds: dict[str, dict[str, list[float]]] = {n: {w: [] for w in workloads} for n in trees}
    for i in range(rounds):
        for name, found in in_turn(trees, workloads, turns).items():
            for workload, times in found.items():
                seconds[name][workload] += times
        print(f"round {i + 1} of {rounds}", file=sys.stderr, flush=True)
    ratios = {w: by_round(seconds["this"][w], seconds["other"][w]) for w in workloads}
    return {
        "benchmark": "before",
        "rounds": rounds,
        "turns": turns,
        "other": commit(other),
        "cpu_seconds": {
            name: {w: round(statistics.median(v), 6) for w, v in times.items()}
            for name, times in seconds.items()
        },
        "ratio": {w: round(statistics.median(v), 3) for w, v in ratios.items()},
        "quartiles": {
            w: [round(q, 3) for q in statistics.quantiles(v, n=4)[::2]] for w, v in ratios.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="another checkout")
    parser.add_argument("--workloads", nargs="+", default=WORKLOADS, choices=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=5, help="processes of each tree")
    parser.add_argument("--turns", type=int, default=5, help="of each workload in a round")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    line = {**compared(given.other, given.workloads, given.rounds, given.turns), **about()}
    append(given.out, line)
    for workload, ratio in line["ratio"].items():
        print(f"{workload:16} {ratio:.3f} {line['quartiles'][workload]}")


if __name__ == "__main__":
    main()
