"""Runs that are stopped at random moments and resumed, beside straight ones: every saved part and
every line of the log.

    python benchmarks/resume.py                            DreamerV3 and every pretraining kind, 3
                                                           seeds, 10 stops each by
                                                           Ctrl+C, SIGTERM and SIGKILL (about an
                                                           hour on one core)
    python benchmarks/resume.py --seeds 0 --stops 3        less of it
    python benchmarks/resume.py --runs rssm dreamer_v3
    python benchmarks/resume.py --inside                   stops and kills between two steps of the
                                                           loop, in this process: minutes

A run is a process of its own and gets real signals, at moments that are drawn for each stop anew: a
share of the lines of the straight log.  What is compared: parameters, optimizer, running estimates,
random generators, environments, the agent's memory, counters, running means, the replay byte for
byte, the best weights, the log without its clocks.  Appends a JSON line a run to
``results/resume.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests" / "agents")]

from resume_parts import STOPPED_BY, differences, interrupted, start  # noqa: E402
from test_pretrain import SHORT, SMALL, turning  # noqa: E402
from test_resume import TINY, go_on  # noqa: E402

from agents.config import load_config  # noqa: E402
from agents.pretrain import KINDS, Pretrainer  # noqa: E402
from agents.run import Trainer  # noqa: E402
from agents.rundir import origin  # noqa: E402
from agents.settings import RunSettings  # noqa: E402
from worldmodels.data import write_npz  # noqa: E402

RESULTS = HERE / "results" / "resume.jsonl"
LONGER = ["updates=400", "eval_every=20", "checkpoint_every=50", "patience=0"]
AGENT = [
    "dreamer_v3/fast",
    *TINY,
    "env.id=dm_control/cartpole-swingup-v0",
    "env.action_repeat=4",
    "steps=4000",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", nargs="+", default=["dreamer_v3", *SMALL])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--signals", nargs="+", default=list(STOPPED_BY))
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--inside", action="store_true", help="in this process, without signals")
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    about = {k: origin()[k] for k in ("commit", "dirty", "versions")}
    for name in args.runs:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as scratch:
                made = (
                    inside(name, seed, args.stops, Path(scratch))
                    if args.inside
                    else one(name, seed, args.signals, args.stops, Path(scratch))
                )
                for line in made:
                    print(json.dumps(line), flush=True)
                    if not args.dry:
                        with RESULTS.open("a", encoding="utf-8") as file:
                            file.write(json.dumps({"benchmark": "resume", **line, **about}) + "\n")


def one(name: str, seed: int, signals: list[str], stops: int, folder: Path) -> Any:
    """A straight run, and one for each signal."""
    logs = folder / "logs"
    write_npz(turning(), logs)
    if name == "dreamer_v3":
        arguments = ["train", *AGENT, f"seed={seed}"]
    else:
        arguments = [
            "pretrain",
            name,
            "--data",
            str(logs),
            *SMALL[name],
            *SHORT,
            *LONGER,
            f"seed={seed}",
        ]
    straight = folder / "straight"
    assert start([*arguments, "--run", str(straight)], folder).wait() == 0, (
        folder / "said.txt"
    ).read_text()[-2000:]
    lines = (straight / "metrics.jsonl").read_text().count("\n")
    for signal in signals:
        rng = np.random.default_rng([seed, len(name), len(signal)])
        at = sorted(rng.integers(1, max(2, lines - 1), size=stops).tolist())
        made = interrupted(arguments, folder / signal, signal, at)
        found = differences(straight, folder / signal)
        yield {
            "run": name,
            "seed": seed,
            "signal": signal,
            "stops": made,
            "differences": len(found),
            "first": found[:3],
        }


def inside(name: str, seed: int, stops: int, folder: Path) -> Any:
    """A straight run, one that is asked to stop between steps, and one that loses all since its
    last checkpoint there.
    """
    data = turning()

    def make() -> Any:
        if name == "dreamer_v3":
            return Trainer(load_config(RunSettings, AGENT[0], [*AGENT[1:], f"seed={seed}"]))
        more = [*SMALL[name], *SHORT, *LONGER, "checkpoint_every=7", f"seed={seed}"]
        return Pretrainer(load_config(KINDS[name], f"pretrain/{name}", more), data)

    go_on(make, folder / "straight", [], False)
    for kill in (False, True):
        rng = np.random.default_rng([seed, len(name), kill])
        moments = rng.integers(5, 40, size=stops).tolist()
        with warnings.catch_warnings(action="ignore"):
            go_on(make, folder / f"kill{kill}", moments, kill)
        found = differences(folder / "straight", folder / f"kill{kill}")
        how = "kill, inside" if kill else "stop, inside"
        yield {
            "run": name,
            "seed": seed,
            "signal": how,
            "stops": stops,
            "differences": len(found),
            "first": found[:3],
        }


if __name__ == "__main__":
    main()
