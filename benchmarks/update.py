"""Time of an update of DreamerV3: the declared objective against the best form written by hand.

Contenders take turns in one process, one thread, CPU seconds; medians over rounds.  A training step
is losses, backward, LaProp; the whole update also moves the slow critic.  All use the same
networks, kernels and optimiser.  ``pixyz_chunk`` is the declared objective with its loops compiled,
``--chunk`` steps at a time, ``pixyz_whole`` with the rest compiled, too; the seconds of compiling
are beside their ratios.

    python benchmarks/update.py --rounds 15
    python benchmarks/update.py --rounds 15 --chunk 8 --precisions float32   # compiles first
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from hand_dreamer import dreamer_loss, world_model
from timing import compiling, contend, prepare, record

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.heads import ActionSpec
from agents.dreamer.optimizer import LaProp
from pixyz.plan.once import one_run
from worldmodels import RSSM, RSSMConfig

RESULTS = Path(__file__).parent / "results" / "update.jsonl"
SHAPES = {"position": (3,), "velocity": (2,)}
SIZES = {
    "size1m": DreamerV3Config(),
    "small": DreamerV3Config(
        model=RSSMConfig(
            deter=128,
            hidden=64,
            groups=8,
            classes=8,
            blocks=4,
            units=64,
            encoder_layers=2,
            decoder_layers=2,
            prior_layers=1,
            bins=63,
        ),
        actor_layers=2,
        critic_layers=2,
        bins=63,
        batch=4,
    ),
}


def build(name: str, precision: str) -> tuple[DreamerV3, dict[str, torch.Tensor]]:
    """An agent and a batch of made data."""
    torch.manual_seed(0)
    config = SIZES[name]
    agent = DreamerV3(
        SHAPES, ActionSpec(1), DreamerV3Config(**{**vars(config), "precision": precision})
    )
    steps, batch = config.length + 1, config.batch
    x = {k: torch.randn(steps, batch, *s) for k, s in SHAPES.items()}
    flags = torch.rand(steps, batch) < 0.002
    x |= {
        "action": torch.rand(steps, batch, 1) * 2 - 1,
        "reward": torch.rand(steps, batch),
        "is_first": flags,
        "is_last": flags.roll(-1, 0),
        "is_terminal": flags & False,
    }
    x |= {k: v.expand(steps, batch, -1) for k, v in agent.model.initial(1).items()}
    return agent, agent.prepare(x)


Tasks = dict[str, dict[str, Callable[[], None]]]


def contenders(name: str, precision: str, chunk: int = 0, whole: bool = False) -> Tasks:
    """What is timed -> contender -> one step of it."""
    agent, x = build(name, precision)
    model = agent.model
    for loss in (model.objective, agent.objective):
        loss.compile(chunk, whole=whole)
    world = LaProp(model.parameters())

    def step(loss: Callable[[], torch.Tensor], optimizer: LaProp) -> None:
        with agent._precision():
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def by_hand(model: RSSM, x: dict[str, torch.Tensor]) -> torch.Tensor:
        with one_run():
            return world_model(model, x)["loss"]

    def update(loss: Callable[[], torch.Tensor]) -> None:
        step(loss, agent.optimizer)
        agent.update_slow()

    return {
        "world_model_step": {
            "hand": lambda: step(lambda: by_hand(model, x), world),
            "pixyz": lambda: step(lambda: model.objective.eval(x), world),
        },
        "update": {
            "hand": lambda: update(lambda: dreamer_loss(agent, x)),
            "pixyz": lambda: update(lambda: agent.objective.eval(x)),
        },
    }


def compiled(name: str, precision: str, chunk: int, whole: bool) -> tuple[Tasks, dict[str, float]]:
    """The same with compiled loops, or all compiled, and the seconds that takes."""
    found = contenders(name, precision, chunk, whole)
    return found, {what: compiling(tasks["pixyz"], 2) for what, tasks in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--chunk", type=int, default=0, help="also compile, this many steps at a time"
    )
    given = parser.parse_args()
    prepare()
    for name in given.sizes:
        for precision in given.precisions:
            forms = {"chunk": False, "whole": True} if given.chunk else {}
            made = {
                form: compiled(name, precision, given.chunk, whole) for form, whole in forms.items()
            }
            for what, tasks in contenders(name, precision).items():
                config = SIZES[name]
                about = {
                    "size": name,
                    "precision": precision,
                    "batch": [config.batch, config.length],
                    "horizon": config.horizon,
                }
                if made:
                    tasks |= {
                        f"pixyz_{form}": found[what]["pixyz"] for form, (found, _) in made.items()
                    }
                    seconds = {form: times[what] for form, (_, times) in made.items()}
                    about |= {"chunk": given.chunk, "compile_seconds": seconds}
                record(RESULTS, what, about, contend(tasks, given.rounds), baseline="hand")


if __name__ == "__main__":
    main()
