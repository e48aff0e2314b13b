"""Exported policies: how far they are from ``agents.load(run).act``, and how long a step takes.

DreamerV3 with the ``fast`` preset and TD-MPC with ``tdmpc/small``, on dm-control's cart-pole,
untrained but with weights moved away from their beginning, where every plan is worth the same.
Wall-clock times of each call by itself, the contenders in turn, one thread.  The machine should do
nothing else meanwhile.  Appends a JSON line an agent to ``results/exporting.jsonl``, and writes the
table of ``docs/export.md``.

    python benchmarks/exporting.py
    python benchmarks/exporting.py --rounds 50 --out /tmp/exporting.jsonl    # does it run at all?
    python benchmarks/exporting.py --table                # only the table
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from timing import about, append, prepare

from agents.config import load_config
from agents.export import export, read
from agents.export.files import Form
from agents.export.parity import arranged, check_parity, latency, start
from agents.export.whole import reference
from agents.policy import declared
from agents.run import Trainer
from agents.settings import RunSettings

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "exporting.jsonl", HERE.parent / "docs" / "export.md"
TASKS = (
    ("dreamer_v3/cartpole_swingup", "policy"),
    ("tdmpc/small", "planner"),
    ("tdmpc/small", "policy"),
)
FORMS: tuple[Form, ...] = ("torch", "onnx")
STEPS = 200


def made(config: str, folder: Path) -> None:
    """A run that has just begun, with moved weights."""
    settings = load_config(
        RunSettings, config, ["threads=1", "env.id=dm_control/cartpole-swingup-v0"]
    )
    generator = torch.Generator().manual_seed(0)
    with Trainer(settings).begin(folder) as trainer:
        with torch.no_grad():
            for p in trainer.agent.parameters():  # type: ignore[attr-defined]
                p.add_(0.05 * torch.randn(p.shape, generator=generator))
        trainer.run.save()


def measure(config: str, exported: str, rounds: int) -> dict[str, Any]:
    """Differences over :data:`STEPS` steps, and milliseconds."""
    calls, gaps = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        made(config, run)
        observation, _ = declared(run)
        for form in FORMS:
            signature, function = read(export(run, form, exported=exported), form)
            policy = reference(run, signature)
            found = check_parity(policy, observation, signature, function, STEPS)
            gaps[form] = {"action": found.action, "state": found.state}
            seen, noise = observation.sample(), []
            for slot in signature.inputs:
                if slot.what == "noise":
                    noise.append(
                        (torch.rand if slot.draws == "uniform" else torch.randn)(slot.shape).numpy()
                    )
            given = arranged(signature, policy.seen(seen), False, start(signature), noise)
            calls[form] = lambda function=function, given=given: function(given)
        taken = latency({"agents.load": lambda: policy.act(seen), **calls}, rounds)
    return {
        "config": config,
        "exported": exported,
        "steps": STEPS,
        "differences": gaps,
        "milliseconds": taken,
    }


def table(results: Path) -> str:
    """The newest line of each task, as Markdown."""
    lines = {
        (x["config"], x["exported"]): x
        for x in map(json.loads, results.read_text(encoding="utf-8").splitlines())
    }
    text = (
        "| agent | exported | `agents.load` | `.pt2` | `.onnx` | "
        "largest difference of an action |\n"
    )
    text += "|---|---|---|---|---|---|\n"
    for (config, exported), line in lines.items():
        taken = [f"{v['p50']:.2f} / {v['p99']:.2f}" for v in line["milliseconds"].values()]
        worst = max(v["action"] for v in line["differences"].values())
        text += f"| `{config}` | {exported} | {' | '.join(taken)} | {worst:.1e} |\n"
    return text


def fill(page: Path, results: Path) -> str:
    """The page with the table in it."""
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- exporting -->\n")
    return (
        f"{before}<!-- exporting -->\n{table(results)}<!-- end "
        f"-->{rest.partition('<!-- end -->')[2]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    prepare()
    for config, exported in () if given.table else TASKS:
        found = measure(config, exported, given.rounds)
        append(given.out, {"benchmark": "exporting", **found, "rounds": given.rounds, **about()})
        print(found, flush=True)
    if given.out == RESULTS:
        PAGE.write_text(fill(PAGE, RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main()
