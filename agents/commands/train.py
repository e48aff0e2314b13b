"""``pixyz train`` and ``pixyz resume``."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents import runs
from agents.config import load_config
from agents.pretrain.start import FROM, start_settings
from agents.run_name import run_name
from agents.settings import RunSettings


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pixyz train``."""
    parser.add_argument("config", help="a name such as dreamer_v3/pendulum, or a YAML file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes, such as seed=1 agent.lr=1e-4"
    )
    parser.add_argument(
        "--run",
        type=Path,
        help="the run's folder (default: runs/CONFIG-seedSEED, "
        "with agent.kind and env.id in it where they are given)",
    )
    parser.add_argument(
        "--from",
        type=Path,
        dest="start",
        metavar="RUN",
        help=FROM,
    )
    parser.set_defaults(command=train)


def train(given: argparse.Namespace) -> int:
    """Start a run."""
    settings = load_config(RunSettings, given.config, given.overrides)
    if given.start:
        settings = start_settings(settings, given.start, given.overrides, given.config)
    name = run_name(given.config, given.overrides, settings)
    return runs.start(settings, given.run or Path("runs") / name).stop.code


def add_resume(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pixyz resume``."""
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help=f"changes of {', '.join(runs.CHANGEABLE)}"
    )
    parser.set_defaults(command=resume)


def resume(given: argparse.Namespace) -> int:
    """Go on with a run."""
    return runs.resume(given.run, given.overrides).stop.code
