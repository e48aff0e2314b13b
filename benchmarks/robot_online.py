"""Simulated robots learn online, in stepped time: the arm reaches, the quadruped stands up.

Each run is ``--ticks`` ticks at 20 Hz (9,600: eight minutes of robot time) of a config; then
``--episodes`` episodes of the task that it has not seen, best action: goals of 5 s each, or 10 s
from lying.  ``reached``: the share of episodes in which the task was done at some tick (the tip
within 5 cm of its goal; the torso upright and at height); ``stayed``: that it was at the end.
Appends a JSON line a run to ``results/robot_online.jsonl``.

    python benchmarks/robot_online.py tdmpc/reach --seeds 0 1 2
    python benchmarks/robot_online.py tdmpc/stand sac/reach --seeds 0 1 2
    python benchmarks/robot_online.py --without Reach Stand     # random, and holding the first pose
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Protocol

import numpy as np
from arm_logs import clumsy
from timing import about, append, prepare

import agents
from agents.logger import read_metrics
from agents.policy import read_settings
from envs.robot import RECORD
from envs.robot.tasks import Reach, Stand

RESULTS = Path(__file__).parent / "results" / "robot_online.jsonl"
HZ, SEED = 20.0, 10_000
TASKS: dict[str, Callable[..., Any]] = {"Reach": Reach, "Stand": Stand}
"""By the name of the class."""


class Acts(Protocol):
    """What is judged."""

    def act(self, observation: Mapping[str, Any]) -> Any: ...
    def reset(self) -> None: ...


class Program:
    """An action from an observation by a function."""

    def __init__(self, act: Callable[[Mapping[str, Any]], Any]) -> None:
        self.act = act

    def reset(self) -> None:
        """It remembers nothing."""


def programs(task: str, env: Any) -> dict[str, Acts]:
    """What does not learn: chance, the first pose, and for goals the arm's own Jacobian."""
    rng, space = np.random.default_rng(0), env.action_space
    still = {
        "Reach": lambda seen: np.zeros(space.shape),
        "Stand": lambda seen: seen["target"],
    }
    found: dict[str, Acts] = {
        "random": Program(lambda seen: rng.uniform(space.low, space.high)),
        "hold": Program(still[task]),
    }
    if task == "Reach":
        found["jacobian"] = Program(clumsy(env, rng, gain=1.0, noise=0.0))
    return found


def train(config: str, seed: int, ticks: int, folder: Path, changes: list[str]) -> Path:
    """A run of the command, or what there is of it."""
    run = folder / "-".join([config.replace("/", "-"), f"seed{seed}", str(ticks), *changes])
    settings = [f"steps={ticks}", f"eval_every={ticks}", "eval_episodes=1", f"seed={seed}"]
    command = ["train", config, *settings, *changes, "--run", str(run)]
    if run.exists():
        command = ["resume", str(run)]
    subprocess.run([sys.executable, "-m", "agents.cli", *command], check=True)
    return run


def arrivals(policy: Acts, env: Any, episodes: int, repeat: int) -> dict[str, float]:
    """Shares of episodes, mean and deviation of returns; an action is made every ``repeat`` ticks.

    The robot is put back to rest before each episode.
    """
    returns, reached, stayed = [], 0, 0
    for episode in range(episodes):
        observation, _ = env.reset(seed=SEED + episode)
        policy.reset()
        came = over = False
        total, tick = 0.0, 0
        while not over:
            if tick % repeat == 0:
                action = policy.act(observation)
            observation, reward, terminated, truncated, info = env.step(action)
            came, over = came or info[RECORD].success, terminated or truncated
            total, tick = total + float(reward), tick + 1
        returns.append(total)
        reached, stayed = reached + came, stayed + info[RECORD].success
    return {
        "reached": reached / episodes,
        "stayed": stayed / episodes,
        "return": round(fmean(returns), 2),
        "return_std": round(pstdev(returns), 2),
    }


def learned(config: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """A line of a run."""
    run = train(config, seed, given.ticks, given.runs, given.set)
    settings = read_settings(run)
    last = [x for x in read_metrics(run / "metrics.jsonl") if x["kind"] == "train"][-1]
    task, repeat = settings.env.id.rpartition(":")[2], settings.env.action_repeat
    env = TASKS[task](hz=HZ, **settings.env.options)
    return {
        "benchmark": "robot_online",
        "task": task,
        "config": config,
        "changes": given.set,
        "seed": seed,
        "ticks": given.ticks,
        "ticks_of_an_action": repeat,
        "minutes_of_robot_time": round(given.ticks / HZ / 60, 2),
        "episodes": given.episodes,
        **arrivals(agents.load(run), env, given.episodes, repeat),
        "updates": last["updates"],
        "cpu_minutes": round(last["cpu_seconds"] / 60, 1),
        **about(),
    }


def unlearned(task: str, episodes: int) -> list[dict[str, Any]]:
    """Lines of what does not learn; an action is made every two ticks, as in the configs."""
    env, lines = TASKS[task](hz=HZ), []
    for name, program in programs(task, env).items():
        found = arrivals(program, env, episodes, repeat=2)
        line = {"benchmark": "robot_online", "task": task, "config": name, "changes": []}
        line |= {"seed": 0, "ticks": 0, "ticks_of_an_action": 2, "episodes": episodes}
        lines.append({**line, **found, "cpu_minutes": None, **about()})
    env.close()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="*")
    parser.add_argument("--without", nargs="+", default=[], choices=TASKS, help="no learning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ticks", type=int, default=9_600)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--set", nargs="+", default=[], help="changes of the config")
    parser.add_argument("--runs", type=Path, default=Path("runs/online"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    for task in given.without:
        for line in unlearned(task, given.episodes):
            _write(given.out, line)
    for config in given.configs:
        for seed in given.seeds:
            _write(given.out, learned(config, seed, given))


def _write(out: Path, line: dict[str, Any]) -> None:
    append(out, line)
    shown = ("task", "config", "seed", "reached", "stayed", "return")
    print({k: line[k] for k in shown}, flush=True)


if __name__ == "__main__":
    main()
