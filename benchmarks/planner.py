"""TD-MPC with its ``small`` preset: the declared update against the best form written by hand, and
what a plan takes.

Contenders take turns in one process, one thread, CPU seconds; medians over rounds.  An update is
loss, backward, one clipped step of Adam, and the slow critics' move; all forms call the same
networks and the same kind of optimizer; ``compiled`` is the declared one, all of it compiled.  A
plan is of one observation: all rounds, with the policy's proposals.  Appends lines to
``results/planner.jsonl``.

    python benchmarks/planner.py --rounds 31
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import torch
from hand_tdmpc import tdmpc_loss
from timing import contend, prepare, record

from agents.chosen import compiled
from agents.compiling import RUNS
from agents.config import load_config
from agents.settings import RunSettings
from agents.spaces import ActionSpec
from agents.tdmpc import TDMPC, TDMPCConfig

RESULTS = Path(__file__).parent / "results" / "planner.jsonl"
SHAPES, ACTIONS = {"height": (1,), "orientations": (14,), "velocity": (9,)}, 6
"""Those of dm-control's walker."""


def build(config: TDMPCConfig) -> tuple[TDMPC, dict[str, torch.Tensor]]:
    """An agent and recorded sequences of made data."""
    torch.manual_seed(0)
    agent = TDMPC(SHAPES, ActionSpec(ACTIONS), config).train()
    steps, rows = config.horizon + config.n_step, config.batch
    x = {k: torch.randn(steps, rows, *s) for k, s in SHAPES.items()}
    flags = torch.rand(steps, rows) < 0.002
    x |= {"action": torch.rand(steps, rows, ACTIONS) * 2 - 1, "reward": torch.rand(steps, rows)}
    return agent, x | {
        "is_first": flags,
        "is_last": flags.roll(-1, 0),
        "is_terminal": flags & False,
    }


def updates(agent: TDMPC, batch: dict[str, torch.Tensor]) -> dict[str, Callable[[], None]]:
    """Contender -> an update."""
    fast = copy.deepcopy(agent)
    fast.objective.compile(agent.config.horizon, whole=True)
    for _ in range(RUNS):
        fast.objective.eval(fast.prepare(batch)).backward()

    def update(agent: TDMPC, loss: Callable[[dict[str, torch.Tensor]], torch.Tensor]) -> None:
        parameters = [p for group in agent.optimizer.param_groups for p in group["params"]]
        value = loss(agent.prepare(batch))
        agent.optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, agent.config.clip, foreach=True)
        agent.optimizer.step()
        agent.update_slow()

    return {
        "hand": lambda: update(agent, lambda x: tdmpc_loss(agent, x)),
        "pixyz": lambda: update(agent, lambda x: agent.objective.eval(x)),
        "compiled": lambda: update(fast, lambda x: fast.objective.eval(x)),
    }


def plans(agent: TDMPC) -> dict[str, Callable[[], None]]:
    """A plan; an action by it, as the agent acts and compiled."""
    obs = {k: torch.randn(1, *s) for k, s in SHAPES.items()}
    obs["is_first"] = torch.zeros(1, dtype=torch.bool)
    state = agent.initial(1)
    fast = compiled(agent)
    return {
        "plan": lambda: void(agent.plan(obs, state)),
        "act": lambda: void(agent.act(obs, state)),
        "compiled": lambda: void(fast.act(obs, state)),
    }


def void(found: object) -> None:
    """Drop it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    config = load_config(RunSettings, "tdmpc/small", []).agent
    agent, batch = build(config)
    of = {"config": "tdmpc/small", "batch": config.batch, "horizon": config.horizon}
    seconds = contend(updates(agent, batch), given.rounds, repeat=3)
    record(given.out, "tdmpc_update", of, seconds, baseline="hand")
    of = {
        "config": "tdmpc/small",
        "candidates": config.candidates,
        "rounds_of_a_plan": config.rounds,
        "horizon": config.horizon,
    }
    record(given.out, "tdmpc_plan", of, contend(plans(agent), given.rounds, 5), baseline="plan")


if __name__ == "__main__":
    main()
