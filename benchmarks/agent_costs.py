"""What learning costs: an update, a plan, an action and the environment of each preset; torchrl's
DreamerV3 beside ours.

A preset is built as a run builds it, on its own environment, and its replay is filled with random
rows. CPU milliseconds on one thread, medians of single calls; ``frames_a_second`` is the
environment alone, under random actions. ``minutes_100k`` is what they make together: CPU minutes
for 100,000 frames, without evaluations.

    python benchmarks/agent_costs.py presets
    python benchmarks/agent_costs.py torchrl --folder DIR   # size1m, 16x64, horizon 15, in turn
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import by_torchrl
import torch
import update as ours
from timing import about, append, contend, prepare, record

from agents.config import load_config
from agents.run import Learner, Progress, Trainer
from agents.settings import RunSettings

RESULTS = Path(__file__).parent / "results" / "agent_costs.jsonl"
PRESETS = (
    "tdmpc/small",
    "dreamer_v3/fast",
    "dreamer_v2/small",
    "dreamer_v1/small",
    "planet/small",
    "sac/small",
    "sac/crossq",
)
FRAMES = 100_000
WARMUP = 3


def milliseconds(call: Callable[[], Any], calls: int) -> float:
    """The median of single calls, CPU time."""
    for _ in range(WARMUP):
        call()
    taken = []
    for _ in range(calls):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return round(statistics.median(taken) * 1e3, 3)


def measure(config: str, env: str | None, calls: int) -> dict[str, Any]:
    """An update, a plan, an action, the environment, and what 100,000 frames make of them."""
    changes = ["threads=1", "capacity=4000", *([f"env.id={env}"] if env else [])]
    settings = load_config(RunSettings, config, changes)
    repeat = settings.env.action_repeat
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainer(settings).begin(Path(folder) / "run") as t,
    ):
        agent: Any = t.agent
        w = agent.window
        for _ in range(w.rows + 100):
            t.driver.step(random=True)
        learner = Learner(agent, t.replay, Progress())
        rows = t.envs.reset()
        obs, state = t.view.tensors(rows, agent.device), agent.initial(1)
        random = t.view.to_env(t.view.random(1, torch_free()), t.envs)
        found: dict[str, Any] = {"update": milliseconds(learner.update, calls)}
        found["action"] = milliseconds(lambda: agent.act(obs, state, explore=True), 4 * calls)
        planner = agent if hasattr(agent, "plan") else getattr(agent, "actor", None)
        if hasattr(planner, "plan"):
            found["plan"] = milliseconds(lambda: planner.plan(obs, state), calls)
        step = milliseconds(lambda: t.envs.step(random), 20 * calls)
        per_action = t.schedule.per_action
    actions = FRAMES / repeat
    updates = (FRAMES - (0 if settings.prefill_updates else settings.prefill)) / repeat * per_action
    whole = actions * (found["action"] + step) + updates * found["update"]
    return {
        "milliseconds": found,
        "frames_a_second": round(1e3 * repeat / step),
        "updates": round(updates),
        "actions": round(actions),
        "minutes_100k": round(whole / 6e4, 1),
    }


def torch_free() -> Any:
    """Random numbers of actions."""
    import numpy as np

    return np.random.default_rng(0)


def presets(given: argparse.Namespace) -> None:
    """A line each."""
    for config in given.presets:
        found = measure(config, given.env, given.calls)
        load = round(os.getloadavg()[0], 1)  # of others too: a busy machine's caches are slower
        line = {"benchmark": "agents", "config": config, "env": given.env, "load": load}
        line |= {**found, **about()}
        print(config, found, flush=True)
        append(given.out, line)


def torchrl(given: argparse.Namespace) -> None:
    """Whole updates in turn, and actions, of equal sizes."""
    version = by_torchrl.find(given.folder)
    agent, _ = ours.build("size1m", "float32")
    c = agent.config
    theirs, their_act, weights = by_torchrl.build(5, 1, c.batch, c.length, c.horizon)
    own = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    assert own == weights, f"expected as many weights, got {own} here and {weights} there"
    mine = ours.contenders("size1m", "float32")["update"]["pixyz"]
    obs = {k: torch.zeros(1, *s) for k, s in ours.SHAPES.items()}
    obs["is_first"], state = torch.zeros(1, dtype=torch.bool), agent.initial(1)

    def act() -> None:
        agent.act(obs, state, explore=True)

    sizes = {"weights": own, "batch": [c.batch, c.length], "horizon": c.horizon, "torchrl": version}
    for what, tasks, rounds, repeat in (
        ("update", {"pixyz": mine, "torchrl": theirs}, given.rounds, 1),
        ("action", {"pixyz": act, "torchrl": their_act}, given.rounds, 20),
    ):
        seconds = contend(tasks, rounds, repeat, warmup=2)
        record(given.out, f"torchrl_{what}", sizes, seconds, baseline="pixyz")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["presets", "torchrl"])
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--env", help="instead of each preset's own")
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where torchrl is installed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    torch.manual_seed(0)
    (torchrl if given.what == "torchrl" else presets)(given)


if __name__ == "__main__":
    main()
