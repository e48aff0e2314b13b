"""``pixyz completion SHELL``: a script that completes commands, options, configs and paths (by
shtab).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from agents.config import config_names
from agents.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
PREAMBLE = {
    "bash": '_pixyz_configs() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
    "zsh": "_pixyz_configs() {{ compadd -- {names}; _files; }}",
}
"""How names of configs are completed, beside files."""
FISH = '(echo "{lines}"; __fish_complete_path (commandline -ct))'


def add_arguments(parser: argparse.ArgumentParser, whole: argparse.ArgumentParser) -> None:
    """The arguments of the command.

    Args:
        parser: of this command.
        whole: of all commands; what is completed.
    """
    parser.description = 'In ~/.bashrc: eval "$(pixyz completion bash)"'
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(command=lambda given: completion(given, whole))


def completion(given: argparse.Namespace, whole: argparse.ArgumentParser) -> int:
    """Print the script."""
    try:
        shtab: Any = import_module("shtab")
    except ImportError:
        raise UsageError(
            "completion needs the package shtab, which is not installed: pip install shtab"
        ) from None
    names = config_names()
    configs = {shell: "_pixyz_configs" for shell in PREAMBLE} | {
        "fish": FISH.format(lines="\\n".join(names))
    }
    for action in _actions(whole):
        if action.dest == "config":
            action.complete = configs  # type: ignore[attr-defined]
        elif action.type is Path:
            action.complete = shtab.DIRECTORY if action.dest == "run" else shtab.FILE  # type: ignore[attr-defined]
    preamble = {shell: text.format(names=" ".join(names)) for shell, text in PREAMBLE.items()}
    print(shtab.complete(whole, given.shell, preamble=preamble))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
