"""How time and memory grow: with the steps, the batch, the factors of a joint, the terms of an
objective; and over time.

An evaluation is the loss and all gradients.  Each sweep is one JSON line: CPU seconds (median over
rounds, sizes in turn) and peak bytes of tensors (from the profiler's record of every allocation) at
each size, the line fitted to each, and the exponent of the growth over the upper half (1 is
linear).  Two more lines: the time to build the plan of an objective of 20 terms, and what 10,000
evaluations leave behind.

    python benchmarks/scaling.py --rounds 9
    python benchmarks/scaling.py --smoke
"""

from __future__ import annotations

import argparse
import gc
import linecache
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from declared import Training
from timing import about, append, contend, prepare
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Distribution, Normal
from pixyz.losses import E, KullbackLeibler, LogProb, Loss

RESULTS = Path(__file__).parent / "results" / "scaling.jsonl"
DMM = {"x_dim": 88, "z_dim": 20, "emission_dim": 50, "transition_dim": 50, "rnn_dim": 100}
SWEEPS: dict[str, list[int]] = {
    "steps": [15, 30, 60, 120, 240],
    "batch": [32, 64, 128, 256, 512],
    "factors": [4, 8, 16, 32, 64],
    "terms": [4, 8, 16, 32, 64],
}
WIDTH, ROWS = 8, 32


class Link(Normal):
    """A normal given the variable before it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"z{number}", f"z{number - 1}", name="p")
        self.net = nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(given[self.cond_var[0]]).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale)}


class Encoder(Normal):
    def __init__(self, number: int) -> None:
        super().__init__(f"z{number}", "x", name="q")
        self.net = nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(x).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale)}


class Decoder(Bernoulli):
    def __init__(self, number: int) -> None:
        super().__init__("x", f"z{number}", name="p")
        self.net = nn.Linear(WIDTH, WIDTH)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(given[self.cond_var[0]])}


def joint_of(count: int) -> Distribution:
    """A chain of so many factors."""
    joint: Distribution = Normal("z0", loc=0.0, scale=1.0, features_shape=[WIDTH])
    for i in range(1, count):
        joint = joint * Link(i)
    return joint


def sum_of(count: int, first: int = 0) -> Loss:
    """So many terms, half of them divergences, half of them expectations, each pair with networks
    of its own; latents are numbered from ``first`` on.
    """
    total: Loss | None = None
    for i in range(first, first + count // 2):
        q, p = Encoder(i), Decoder(i)
        pair = KullbackLeibler(q, Normal(f"z{i}", loc=0.0, scale=1.0, features_shape=[WIDTH])) - E(
            q, LogProb(p)
        )
        total = pair if total is None else total + pair
    assert total is not None
    return total.mean()


def evaluation(sweep: str, size: int) -> Callable[[], None]:
    """Loss and gradients at a size of a sweep."""
    torch.manual_seed(0)
    if sweep in ("steps", "batch"):
        shape = {"batch": 32, "steps": 60} | {sweep: size}
        training = Training("dmm", {**DMM, **shape, "logits": True})
        loss, x, weights = (
            training.model.objective,
            training.model.inputs(),
            list(training.model.modules.parameters()),
        )
    else:
        loss = LogProb(joint_of(size)).mean() if sweep == "factors" else sum_of(size)
        x = {v: torch.rand(ROWS, WIDTH) for v in loss.input_var}
        weights = list(loss.parameters())

    def run() -> None:
        torch.autograd.grad(loss.eval(x), weights)

    return run


def peak_bytes(run: Callable[[], None]) -> int:
    """The most bytes of tensors that a run holds at one time, beyond what was there."""
    run()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        run()
    events = sorted(
        (e.start_ns(), e.nbytes())
        for e in profile.profiler.kineto_results.events()
        if e.name() == "[memory]"
    )
    held = most = 0
    for _, size in events:
        held += size
        most = max(most, held)
    return most


def growth(sizes: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """The line fitted to values, how well it fits, and the exponent over the upper half."""
    slope, intercept = statistics.linear_regression(sizes, values)
    half = len(sizes) // 2
    exponent = math.log(values[-1] / values[half]) / math.log(sizes[-1] / sizes[half])
    return {
        "slope": float(f"{slope:.4g}"),
        "intercept": float(f"{intercept:.4g}"),
        "r_squared": round(statistics.correlation(sizes, values) ** 2, 4),
        "exponent": round(exponent, 3),
    }


def sweep_line(sweep: str, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Time and memory over the sizes of a sweep."""
    runs = {str(n): evaluation(sweep, n) for n in sizes}
    repeat = 1 if sweep in ("steps", "batch") else 10
    seconds = [statistics.median(v) for v in contend(runs, rounds, repeat, warmup=2).values()]
    peaks = [peak_bytes(run) for run in runs.values()]
    return {
        "benchmark": "scaling",
        "sweep": sweep,
        "sizes": list(sizes),
        "rounds": rounds,
        "cpu_seconds": [round(s, 6) for s in seconds],
        "peak_bytes": peaks,
        "time": growth(sizes, seconds),
        "memory": growth(sizes, peaks),
    }


def building_line(rounds: int) -> dict[str, Any]:
    """CPU seconds to build the plan of 20 terms and its function, of distributions and losses that
    were just made, under names that no plan had; and of the first evaluation whole, in which the
    plan is tried, written again for each network that returns something else, and looked at.  The
    first of all is told apart.
    """
    seconds, firsts = [], []
    for i in range(rounds + 1):
        loss, again = sum_of(20, 1000 * i), sum_of(20, 1000 * i + 500)
        x = torch.rand(ROWS, WIDTH)
        began = time.process_time()
        loss.plan.function  # noqa: B018  (properties that build)
        seconds.append(time.process_time() - began)
        began = time.process_time()
        again.eval({"x": x})
        firsts.append(time.process_time() - began)
    return {
        "benchmark": "plan_building",
        "terms": 20,
        "rounds": rounds,
        "first_seconds": round(seconds[0], 5),
        "cpu_seconds": round(statistics.median(seconds[1:]), 5),
        "most_seconds": round(max(seconds[1:]), 5),
        "first_evaluation_seconds": round(statistics.median(firsts[1:]), 5),
    }


def lifetime_line(evaluations: int) -> dict[str, Any]:
    """What many training steps leave behind: bytes of the process, Python objects, kept sources."""
    training = Training("vae", {"x_dim": 20, "h_dim": 16, "z_dim": 4, "batch": 8, "logits": True})

    def held() -> tuple[int, int, int]:
        gc.collect()
        return psutil.Process().memory_info().rss, len(gc.get_objects()), len(linecache.cache)

    for _ in range(evaluations // 10):
        training.step()
    before = held()
    for _ in range(evaluations):
        training.step()
    after = held()
    rss, objects, sources = (b - a for a, b in zip(before, after, strict=True))
    return {
        "benchmark": "lifetime",
        "evaluations": evaluations,
        "resident_bytes_grown": rss,
        "objects_grown": objects,
        "sources_grown": sources,
        "plans": len(training.model.objective._plans),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--sizes", nargs="+", choices=list(SWEEPS), default=list(SWEEPS), help="which sweeps"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="two small sizes a sweep, one round, nothing recorded"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    rounds = 1 if given.smoke else given.rounds
    lines = [
        lambda s=s: sweep_line(s, SWEEPS[s][:3] if given.smoke else SWEEPS[s], rounds)
        for s in given.sizes
    ]
    lines += [
        lambda: building_line(3 if given.smoke else 15),
        lambda: lifetime_line(200 if given.smoke else 10_000),
    ]
    where = about()
    for make in lines:
        line = make()
        if not given.smoke:
            append(given.out, {**line, **where})
        print(line, flush=True)


if __name__ == "__main__":
    main()
