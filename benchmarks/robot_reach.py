"""The simulated arm learns to reach, online, in stepped time: how often it then arrives.

Each run is ``--ticks`` ticks at 20 Hz (9,600: eight minutes of robot time), of the settings in
``configs/*/reach.yaml``; then ``--episodes`` goals that it has not seen, 5 s each, best action.
``reached``: the share of goals that the tip came within 5 cm of; ``stayed``: that it was within
5 cm of at the end.  Appends a JSON line a run to ``results/robot_reach.jsonl``.

    python benchmarks/robot_reach.py tdmpc/reach --seeds 0 1 2
    python benchmarks/robot_reach.py sac/reach --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import fmean, pstdev

from timing import about, append, prepare

import agents
from agents.logger import read_metrics
from agents.policy import read_settings
from envs.robot import RECORD
from envs.robot.tasks import Reach

RESULTS = Path(__file__).parent / "results" / "robot_reach.jsonl"
HZ, SEED = 20.0, 10_000


def train(config: str, seed: int, ticks: int, folder: Path, changes: list[str]) -> Path:
    """A run of the command, or what there is of it."""
    run = folder / "-".join([config.replace("/", "-"), f"seed{seed}", str(ticks), *changes])
    settings = [f"steps={ticks}", f"eval_every={ticks}", "eval_episodes=1", f"seed={seed}"]
    command = ["train", config, *settings, *changes, "--run", str(run)]
    if run.exists():
        command = ["resume", str(run)]
    subprocess.run([sys.executable, "-m", "agents.cli", *command], check=True)
    return run


def arrivals(run: Path, episodes: int) -> dict[str, float]:
    """Shares of goals, mean and deviation of returns; an action is made as often as in the run."""
    policy, env = agents.load(run), Reach(hz=HZ)
    repeat = read_settings(run).env.action_repeat
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
    env.close()
    return {
        "reached": reached / episodes,
        "stayed": stayed / episodes,
        "return": round(fmean(returns), 2),
        "return_std": round(pstdev(returns), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ticks", type=int, default=9_600)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--set", nargs="+", default=[], help="changes of the config")
    parser.add_argument("--runs", type=Path, default=Path("runs/reach"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    for seed in given.seeds:
        run = train(given.config, seed, given.ticks, given.runs, given.set)
        last = [x for x in read_metrics(run / "metrics.jsonl") if x["kind"] == "train"][-1]
        line = {
            "benchmark": "robot_reach",
            "config": given.config,
            "changes": given.set,
            "seed": seed,
            "ticks": given.ticks,
            "ticks_of_an_action": read_settings(run).env.action_repeat,
            "minutes_of_robot_time": round(given.ticks / HZ / 60, 2),
            "episodes": given.episodes,
            **arrivals(run, given.episodes),
            "updates": last["updates"],
            "cpu_minutes": round(last["cpu_seconds"] / 60, 1),
            **about(),
        }
        append(given.out, line)
        print({k: line[k] for k in ("config", "seed", "reached", "stayed", "return")}, flush=True)


if __name__ == "__main__":
    main()
