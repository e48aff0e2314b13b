"""``pixyz list``: the names that may be typed."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterator

from agents.build import KINDS, agent_class
from agents.config import CONFIGS, config_names
from agents.pretrain.settings import KINDS as MODELS
from envs.known import known_ids, missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("containing", nargs="?", default="", help="only names with this text")
    parser.set_defaults(command=list_names)


def list_names(given: argparse.Namespace) -> int:
    """Print names, with a word on each where there is one."""
    rows = [
        (name, text)
        for name, text in WHAT[given.what]()
        if given.containing.lower() in name.lower()
    ]
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:<{width}}  {text}".rstrip())
    if given.what == "envs":
        print(
            "or one of yours: module:Id, where importing the module registers the id, "
            "or module:Class"
        )
        for line in missing():
            print(f"more with: {line}")
    return 0 if rows else 2


def configs() -> Iterator[tuple[str, str]]:
    """The settings that ship, with the first sentence of each file."""
    for name in config_names():
        lines = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        said = " ".join(line[1:].strip() for line in lines if line.startswith("#"))
        base = next((line[5:].strip() for line in lines if line.startswith("base:")), "")
        first = re.split(r"[;:] |\. (?=[A-Z])", said)[0].rstrip(".")
        yield name, first or (f"on top of {base}" if base else "")


def agents() -> Iterator[tuple[str, str]]:
    """The agents that ship."""
    for name in KINDS:
        yield name, _first_line(agent_class(name).Config)


def models() -> Iterator[tuple[str, str]]:
    """What ``pixyz pretrain`` trains."""
    for name, settings in MODELS.items():
        yield name, _first_line(settings)


WHAT: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "envs": known_ids,
    "agents": agents,
    "models": models,
    "configs": configs,
}


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n")[0].rstrip(".")
