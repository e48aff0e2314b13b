"""What pictures of an RSSM in open loop share: it learns from a log, its errors are read, and a
line of them is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.cli import main as pixyz
from worldmodels.data import Episodes, write_npz

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))
Main = Callable[[Path, int, int, Path], dict[str, float]]
"""Makes the picture from so many episodes and updates in a folder; the model's errors."""


def pretrained(
    work: Path, recorded: Callable[[], Episodes], settings: Sequence[str], updates: int
) -> Path:
    """The run of ``pixyz pretrain rssm`` in ``work``, on a log that is recorded if need be."""
    if not (work / "log").is_dir():
        write_npz(recorded(), work / "log")
    run = work / "run"
    command = ["pretrain", "rssm", "--data", str(work / "log"), "--run", str(run)]
    if not run.is_dir() and pixyz([*command, *settings, f"updates={updates}"]):
        sys.exit("pretraining did not end well")
    return run


def errors(run: Path, ahead: Sequence[int]) -> dict[str, float]:
    """Root mean square errors of each observation so many steps ahead."""
    found = json.loads((run / "open_loop.json").read_text(encoding="utf-8"))["rmse"]
    return {f"{name}_{n}": round(e["all"][n - 1], 2) for name, e in found.items() for n in ahead}


def command(main: Main, name: str, doc: str | None, episodes: int, updates: int) -> None:
    """Read options, make ``name.gif``, and append a line to ``results/gallery.jsonl``."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--out", type=Path, default=HERE / f"{name}.gif")
    parser.add_argument("--episodes", type=int, default=episodes)
    parser.add_argument("--updates", type=int, default=updates)
    parser.add_argument("--work", type=Path, help="a folder that keeps log and run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rmse = main(given.out, given.episodes, given.updates, given.work or Path(place))
    import timing

    line = {"benchmark": f"gallery_{name}", "updates": given.updates, "rmse": rmse}
    timing.append(
        Path(timing.__file__).parent / "results/gallery.jsonl", {**line, **timing.about()}
    )
