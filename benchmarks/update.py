"""Time of an update of DreamerV3: the declared objective against the best form written by hand.

Contenders take turns in one process, one thread, CPU seconds; medians over rounds.  A training step is losses, backward,
LaProp; the whole update also moves the slow critic.  Both use the same networks, kernels and optimiser.

    python benchmarks/update.py --rounds 15
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hand_dreamer import dreamer_loss, world_model

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.heads import ActionSpec
from agents.dreamer.optimizer import LaProp
from agents.process import prepare_process
from agents.rundir import origin
from worldmodels import RSSMConfig

RESULTS = Path(__file__).parent / "results" / "update.jsonl"
SHAPES = {"position": (3,), "velocity": (2,)}
SIZES = {
    "size1m": DreamerV3Config(),
    "small": DreamerV3Config(
        model=RSSMConfig(deter=128, hidden=64, groups=8, classes=8, blocks=4, units=64, encoder_layers=2, decoder_layers=2,
                         prior_layers=1, bins=63),
        actor_layers=2, critic_layers=2, bins=63, length=16, horizon=10,
    ),
}


def build(name: str, precision: str) -> tuple[DreamerV3, dict[str, torch.Tensor]]:
    """An agent and a batch of made data."""
    torch.manual_seed(0)
    config = SIZES[name]
    agent = DreamerV3(SHAPES, ActionSpec(1), DreamerV3Config(**{**vars(config), "precision": precision}))
    steps, batch = config.length + 1, config.batch
    x = {k: torch.randn(steps, batch, *s) for k, s in SHAPES.items()}
    flags = torch.rand(steps, batch) < 0.002
    x |= {"action": torch.rand(steps, batch, 1) * 2 - 1, "reward": torch.rand(steps, batch), "is_first": flags,
          "is_last": flags.roll(-1, 0), "is_terminal": flags & False}
    x |= {k: v.expand(steps, batch, -1) for k, v in agent.model.initial(1).items()}
    return agent, agent.prepare(x)


def contenders(name: str, precision: str) -> dict[str, dict[str, Callable[[], None]]]:
    """What is timed -> contender -> one step of it."""
    agent, x = build(name, precision)
    model = agent.model
    world = LaProp(model.parameters())

    def step(loss: Callable[[], torch.Tensor], optimizer: LaProp) -> None:
        with agent._precision():
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def update(loss: Callable[[], torch.Tensor]) -> None:
        step(loss, agent.optimizer)
        agent.update_slow()

    return {
        "world_model_step": {
            "hand": lambda: step(lambda: world_model(model, x)["loss"], world),
            "pixyz": lambda: step(lambda: model.objective.eval(x), world),
        },
        "update": {
            "hand": lambda: update(lambda: dreamer_loss(agent, x)),
            "pixyz": lambda: update(lambda: agent.objective.eval(x)),
        },
    }


def measure(tasks: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contender, in turn; who begins changes from round to round."""
    for run in tasks.values():
        for _ in range(3):
            run()
    seconds: dict[str, list[float]] = {k: [] for k in tasks}
    for i in range(rounds):
        for k in sorted(tasks, reverse=bool(i % 2)):
            began = time.process_time()
            tasks[k]()
            seconds[k].append(time.process_time() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    given = parser.parse_args()
    prepare_process(1)
    RESULTS.parent.mkdir(exist_ok=True)
    for name in given.sizes:
        for precision in given.precisions:
            for what, tasks in contenders(name, precision).items():
                seconds = measure(tasks, given.rounds)
                ratios = [a / b for a, b in zip(seconds["pixyz"], seconds["hand"], strict=True)]
                config = SIZES[name]
                line = {
                    "benchmark": what, "size": name, "precision": precision, "rounds": given.rounds,
                    "batch": [config.batch, config.length], "horizon": config.horizon,
                    **{f"{k}_cpu_seconds": round(statistics.median(v), 4) for k, v in seconds.items()},
                    "ratio": round(statistics.median(ratios), 3), "ratio_least": round(min(ratios), 3),
                    "ratio_most": round(max(ratios), 3), "threads": 1, "machine": platform.processor() or platform.machine(),
                    **{k: v for k, v in origin().items() if k in ("commit", "dirty", "versions")},
                }
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print({k: line[k] for k in ("benchmark", "size", "precision", "hand_cpu_seconds", "pixyz_cpu_seconds", "ratio")})


if __name__ == "__main__":
    main()
