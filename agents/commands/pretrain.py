"""``pixyz pretrain MODEL --data PATH``: from a log to a judged world model."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents import runs
from agents.config import config_names, kind_of, load_config
from agents.errors import UsageError
from agents.pretrain.settings import KINDS
from worldmodels import ranks

FOLDER = "pretrain/"
"""Of the configs that ship for logs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    names = [name.removeprefix(FOLDER) for name in config_names() if name.startswith(FOLDER)]
    parser.add_argument("model", choices=names, help="what is trained: a config of pretrain/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes, such as seed=1 model.deter=256"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a file or folder: npz, CSV, Minari, LeRobot v3, a run's replay",
    )
    parser.add_argument("--format", default=None, help="of the data, where it cannot be found out")
    parser.add_argument(
        "--config",
        help="a name such as pretrain/dreamer_v3, or a YAML file (default: pretrain/MODEL)",
    )
    parser.add_argument(
        "--run", type=Path, help="the run's folder (default: runs/pretrain-MODEL-DATA-seedSEED)"
    )
    parser.set_defaults(command=pretrain)


def pretrain(given: argparse.Namespace) -> int:
    """Start a run."""
    values = [
        f"data={given.data}",
        *([f"format={given.format}"] if given.format else []),
        *given.overrides,
    ]
    shipped = f"{FOLDER}{given.model}"
    kind = kind_of(shipped)
    settings = load_config(KINDS[kind], given.config or shipped, values)
    if settings.kind != kind:
        raise UsageError(f"{given.config} is a config of {settings.kind}, not of {kind}")
    directory = (
        given.run or Path("runs") / f"pretrain-{given.model}-{given.data.stem}-seed{settings.seed}"
    )
    if ranks.restarted() and (directory / "run.json").is_file():
        return runs.resume(directory).stop.code
    return runs.start(settings, directory).stop.code
