"""The command ``pixyz``: train, pretrain, resume, evaluate, openloop, export, save, show, data,
list, doctor, completion.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agents.commands import (
    completion,
    data,
    doctor,
    evaluate,
    export,
    names,
    openloop,
    pretrain,
    report,
    robot,
    save,
    show,
    train,
)
from agents.errors import UsageError
from agents.replay import ReplayError
from agents.shadow import hidden_by_us
from envs import EnvError
from pixyz import __version__
from pixyz.types import PixyzError
from worldmodels import ranks

OURS = tuple(
    f"{Path(__file__).resolve().parents[1] / name}{os.sep}"
    for name in ("agents", "envs", "pixyz", "worldmodels")
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as every error of the command; exit code 2."""
        self.exit(2, f"pixyz: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 2 on bad input (one line says what), 130 when interrupted.

    The current folder joins the places where modules are looked for, behind all others, so that
    ``module:Id`` of one's own is found and no folder of one's own hides a package that is
    installed.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    given = read(arguments)
    as_before, warnings.formatwarning = warnings.formatwarning, in_a_line
    try:
        if ranks.join()[0]:  # of several processes one speaks
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        code: int = given.command(given)
    except (
        KeyboardInterrupt
    ):  # before a run was at work, or for the second time: what was saved stands
        print("pixyz: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our text has gone (pixyz show ... | head)
        sys.stdout = None  # type: ignore[assignment]
        return 0
    except (UsageError, EnvError, PixyzError, ReplayError, FloatingPointError) as error:
        print(f"pixyz: {' '.join(str(error).split())}{hidden_by_us(str(error))}", file=sys.stderr)
        return 2
    finally:
        ranks.leave()
        warnings.formatwarning = as_before
    return code


def read(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of a command; ``command`` is the function that takes them.

    Raises:
        SystemExit: with 2, behind a line that says what does not fit.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest:  # changes may stand behind options, where argparse does not take them
        odd = [text for text in rest if text.startswith("-") or "=" not in text]
        if odd or not hasattr(given, "overrides"):
            parser.error(f"unrecognized arguments: {' '.join(odd or rest)}")
        given.overrides = [*given.overrides, *rest]
    return given


def in_a_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning of ours without the line of code that gave it; of others, as Python writes it."""
    if category is UserWarning and filename.startswith(OURS):
        return f"pixyz: {' '.join(str(message).split())}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pixyz", description="Train world-model agents.")
    parser.add_argument("--version", action="version", version=f"pixyz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train.add_train(commands.add_parser("train", help="train an agent in a new run folder"))
    pretrain.add_arguments(
        commands.add_parser(
            "pretrain", help="train a world model on logs, and judge it in open loop"
        )
    )
    train.add_resume(commands.add_parser("resume", help="go on with a run"))
    evaluate.add_arguments(
        commands.add_parser("evaluate", help="episodes of a trained agent beside a random one's")
    )
    export.add_arguments(
        commands.add_parser(
            "export", help="a trained policy as a file that runs without this library"
        )
    )
    openloop.add_arguments(
        commands.add_parser(
            "openloop", help="what an agent's world model predicts, beside what came"
        )
    )
    save.add_arguments(
        commands.add_parser("save", help="what a run learned, as config.json and model.safetensors")
    )
    report.add_report(commands.add_parser("report", help="write report.html of a run"))
    report.add_compare(
        commands.add_parser("compare", help="runs beside each other: a table and curves")
    )
    show.add_arguments(
        commands.add_parser(
            "show", help="what a config means: settings, graphical model, objective, plan"
        )
    )
    robot.add_arguments(
        commands.add_parser("robot", help="check a robot, and let it learn: an actor and a learner")
    )
    data.add_arguments(
        commands.add_parser("data", help="look at a log, convert it, draw an episode")
    )
    names.add_arguments(
        commands.add_parser("list", help="the names of environments, agents, models and configs")
    )
    doctor.add_arguments(
        commands.add_parser("doctor", help="what is installed, what draws, what to type")
    )
    completion.add_arguments(
        commands.add_parser("completion", help="completion for a shell"), parser
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
