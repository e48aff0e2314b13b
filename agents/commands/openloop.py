"""``pixyz openloop``: what an agent's world model predicts from a few rows and its actions, beside
what came.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Actor
from agents.build import build
from agents.commands.evaluate import read_environment
from agents.errors import UsageError
from agents.outputs import check_folder
from agents.policy import read_settings
from agents.pretrain import report
from agents.pretrain.models import RSSMModel
from agents.pretrain.settings import LEAST_SEEN, RSSMSettings
from agents.process import check_plots, prepare_process
from agents.replay.episodes import read_replay
from agents.run import Judge, read_part
from agents.rundir import open_run
from agents.settings import EnvSettings, RunSettings
from agents.spaces import Rows
from worldmodels.data import Episode, Episodes, Split
from worldmodels.rssm import RSSM

SEEN, HORIZON = 20, 50
"""Rows that are read and predicted where nothing is said and episodes have them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "run", type=Path, help="of `pixyz train`, of an agent whose model is an RSSM"
    )
    parser.add_argument(
        "--episodes", type=int, default=4, help="fresh episodes of the agent to predict"
    )
    parser.add_argument(
        "--seen", type=int, help=f"rows that are read (default: {SEEN}, or as episodes have them)"
    )
    parser.add_argument(
        "--horizon",
        type=int,
        help=f"rows that are predicted (default: {HORIZON}, or as episodes have them)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a folder (default: RUN/openloop)")
    parser.set_defaults(command=openloop)


def openloop(given: argparse.Namespace) -> int:
    """Act some episodes that nobody learned from, predict them, write table, pictures and video."""
    if not 1 <= given.episodes <= 1024 or not 0 <= given.seed < 2**32:
        raise UsageError(
            f"expected --episodes from 1 to 1024 and --seed from 0 on, "
            f"got {given.episodes} and {given.seed}"
        )
    check_plots()
    if "kind" in open_run(given.run)[0]:
        raise UsageError(
            f"{given.run} is a run of `pixyz pretrain`, whose report has its predictions in open "
            f"loop: pixyz report {given.run}"
        )
    out = given.out or given.run / "openloop"
    check_folder(out, "--out")
    settings = read_settings(given.run, None)
    prepare_process(settings.threads)
    at, state = read_part(given.run, "agent")
    agent: Any = build(settings.agent, read_environment(settings))
    model = getattr(agent, "model", None)
    if not isinstance(model, RSSM):
        raise UsageError(
            f"{given.run}: expected an agent whose model is an RSSM, such as dreamer_v3 or planet; "
            f"{settings.agent.kind} "
            "predicts no observations"
        )
    judge(given)  # before anything is acted
    agent.load_state(state)
    agent.to(settings.device).eval()
    data = read_data(given.run, agent, settings, given.episodes, given.seed)
    rows = min(map(len, data.test))
    judged = judge(given, rows)
    out.mkdir(parents=True, exist_ok=True)
    wrapped = RSSMModel(model, data.train.action_size, (1.0,)).to(settings.device)
    found = report.write(out, wrapped, data, judged)
    print(f"step {at} of {given.run}: {data.test}")
    for line in shortened(judged, given, rows):
        print(line)
    print(
        f"open-loop error on these episodes, in {report.unit(found)}; units and baselines are "
        f"those of the replay"
    )
    print(report.table(found))
    print(f"pictures and video: {out}")
    return 0


def judge(given: argparse.Namespace, rows: int = sys.maxsize) -> RSSMSettings:
    """How predictions of episodes of at least ``rows`` rows are judged.

    Raises:
        UsageError: more was asked for than they have, or less than a model needs.
    """
    few = [n for n in (given.seen, given.horizon) if n is not None and n < 1]
    if few:
        raise UsageError(f"--seen, --horizon: expected rows from 1 on, got {few[0]}")
    seen, horizon = given.seen, given.horizon
    if seen is None:
        seen = min(SEEN, max(LEAST_SEEN, rows * SEEN // (SEEN + HORIZON)))
    if horizon is None:
        horizon = max(1, min(HORIZON, rows - seen))
    try:
        judged = RSSMSettings(
            seen=seen, horizon=horizon, stride=horizon, predicts="value", data=str(given.run)
        )
    except ValueError as error:
        raise UsageError(f"--seen, --horizon: {error}") from None
    if seen + horizon > rows:
        raise UsageError(
            f"an episode has {rows} rows; expected --seen and --horizon to be at most that "
            f"together, got {seen} and {horizon}"
        )
    return judged


def shortened(judged: RSSMSettings, given: argparse.Namespace, rows: int) -> list[str]:
    """A line where the shortest episode, of ``rows`` rows, has fewer than are read and predicted
    where nothing is said.
    """
    seen, horizon = given.seen or SEEN, given.horizon or HORIZON
    if (judged.seen, judged.horizon) == (seen, horizon):
        return []
    return [
        f"the shortest episode has {rows} rows: {judged.seen} are read and {judged.horizon} "
        f"predicted, not {seen} and {horizon}; --seen and --horizon share them otherwise, fewer "
        f"--episodes or another --seed may have longer ones"
    ]


def read_data(run: Path, agent: Actor, settings: RunSettings, episodes: int, seed: int) -> Split:
    """The replay, its last episode apart, for units and baselines; fresh episodes to predict.

    Raises:
        UsageError: the replay has fewer than two episodes.
    """
    learned = read_replay(run / "replay")
    if len(learned) < 2:
        raise UsageError(
            f"{run}: expected a replay of at least two episodes, got {len(learned)}; train longer"
        )
    fresh = acted(agent, settings.env, episodes, seed, settings.eval_limit)
    keys = [k for k in learned.observations if k in fresh.observations]
    return Split(learned[:-1].select(keys), learned[-1:].select(keys), fresh.select(keys))


def acted(agent: Actor, settings: EnvSettings, episodes: int, seed: int, limit: int) -> Episodes:
    """Episodes of an evaluation of the agent, with the actions that were done; whole ones, or
    ``limit`` actions of them.
    """
    kept: list[list[dict[str, Any]]] = [[] for _ in range(episodes)]

    def watch(running: np.ndarray, rows: Rows, chosen: np.ndarray, following: Rows) -> None:
        taken = following.get("action", chosen)
        for i in np.flatnonzero(running & following["is_first"]).tolist():
            kept[i].clear()  # it failed, and began anew
        for i in np.flatnonzero(running & ~following["is_first"]).tolist():
            kept[i].append({**_row(rows, i), "action": np.array(taken[i])})
            if following["is_last"][i]:
                kept[i].append({**_row(following, i), "action": np.zeros_like(taken[i])})

    Judge(settings, episodes, seed, limit).actor(agent, watch=watch)
    stacked = [{k: np.stack([row[k] for row in one]) for k in one[0]} for one in kept if one]
    return Episodes(
        [Episode(f"fresh episode {i}", series) for i, series in enumerate(stacked)],
        source="fresh episodes",
    )


def _row(rows: Rows, i: int) -> dict[str, Any]:
    return {k: np.array(v[i]) for k, v in rows.items()}
