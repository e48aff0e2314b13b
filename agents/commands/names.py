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
        yield name, first_sentence(inspect.getdoc(agent_class(name).Config) or "")


def models() -> Iterator[tuple[str, str]]:
    """What ``pixyz pretrain`` trains."""
    for name, settings in MODELS.items():
        yield name, first_sentence(inspect.getdoc(settings) or "")


WHAT: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "envs": known_ids,
    "agents": agents,
    "models": models,
    "configs": configs,
}


ROLE = re.compile(r":\w+:`~?([^`]+)`|``([^`]+)``")


def first_sentence(text: str) -> str:
    """Of a docstring, as plain words.

    >>> first_sentence("The mean (Doe et al. 2018),\\nas :class:`Mean` has it.  More in ``here``.")
    'The mean (Doe et al. 2018), as Mean has it'
    """
    paragraph = " ".join(text.split("\n\n")[0].split())
    plain = ROLE.sub(lambda found: found[1] or found[2], paragraph)
    return re.split(r"\. (?=[A-Z])", plain)[0].rstrip(".")
