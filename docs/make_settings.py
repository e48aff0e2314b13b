"""Writes ``docs/settings.md`` from the dataclasses: every key, its default, its range and its
meaning.

    python docs/make_settings.py

The documentation's site writes it anew when it is built (:func:`on_pre_build`).
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from agents.build import KINDS, agent_class
from agents.pretrain.settings import KINDS as LOGS
from agents.settings import (
    EnvSettings,
    OfflineSettings,
    ReplaySettings,
    RunSettings,
    ShownSettings,
)
from worldmodels.ranges import ranges

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

Written by `docs/make_settings.py` from the dataclasses; do not edit. Any key can be given to the
command (`pixyz train CONFIG seed=1 agent.lr=1e-4`), in a YAML file or in Python. `pixyz show
CONFIG` prints those of a config, `pixyz list configs` their names.
"""
ENTRY = re.compile(r"^    (\w[\w, ]*): (.*)$")
WRAPPED = re.compile(r"^(    \w+(?:, \w+)*,)\n +(?=\w+(?:, \w+)*:)", re.M)
"""Names of settings that share a meaning, on two lines."""


def page() -> str:
    """The page's text."""
    parts = [HEAD, "## A training run\n", *_table(RunSettings, skip=("agent", "env", "replay"))]
    parts += ["## `env`\n", *_table(EnvSettings, "env.")]
    parts += ["## `replay`\n", *_table(ReplaySettings, "replay.")]
    parts += ["## `offline`\n", _first(OfflineSettings), *_table(OfflineSettings, "offline.")]
    parts += ["## `shown`\n", _first(ShownSettings), *_table(ShownSettings, "shown.")]
    for kind in KINDS:
        config = agent_class(kind).Config
        parts += [
            f"## `agent`, kind `{kind}`\n",
            _first(config),
            *_table(config, "agent.", skip=("kind",)),
        ]
    first = next(iter(LOGS.values()))
    common = [
        f.name
        for f in fields(first)
        if all(f.name in {g.name for g in fields(c)} for c in LOGS.values())
    ]
    parts += ["## A pretraining run\n", "What all models of logs have in common.\n"]
    parts += _table(first, only=common, skip=("kind", "model"))
    for kind, settings in LOGS.items():
        own = [f.name for f in fields(settings) if f.name not in common]
        parts += [f"## `pixyz pretrain {kind}`\n", *_table(settings, only=own)]
        parts += _inside(next(f for f in fields(settings) if f.name == "model"), "")
    return "\n".join(parts).rstrip() + "\n"


def _table(
    cls: type[Any],
    path: str = "",
    skip: Sequence[str] = (),
    only: Sequence[str] | None = None,
    values: Any = None,
) -> Iterator[str]:
    """A row a setting; dataclasses inside are tables of their own. Defaults are those of
    ``values``, where given.
    """
    shown = [
        f for f in fields(cls) if f.init and f.name not in skip and (only is None or f.name in only)
    ]
    rows = [f for f in shown if not _is_inside(f)]
    if rows:
        meaning, bounds = _meanings(cls), {name: str(interval) for name, interval in ranges(cls)}
        yield "| key | default | range | meaning |\n|---|---|---|---|"
        for f in rows:
            words = meaning.get(f.name, "").replace("|", "\\|")
            default = str(_default(f) if values is None else getattr(values, f.name)) or "''"
            bound = bounds.get(f.name) or _choices(cls, f)
            yield f"| `{path}{f.name}` | `{default}` | {bound} | {words} |"
        yield ""
    for f in shown:
        if _is_inside(f):
            yield from _inside(f, path)


def _inside(f: Field[Any], path: str) -> Iterator[str]:
    values = _default(f)
    yield f"### `{path}{f.name}`: {type(values).__name__}\n"
    yield from _table(type(values), f"{path}{f.name}.", values=values)


def _is_inside(f: Field[Any]) -> bool:
    return is_dataclass(_default(f))


def _default(f: Field[Any]) -> Any:
    return f.default if f.default is not MISSING else f.default_factory()  # type: ignore[misc]


def _choices(cls: type[Any], f: Field[Any]) -> str:
    hint = typing.get_type_hints(cls)[f.name]
    literal = next(
        (h for h in (hint, *typing.get_args(hint)) if typing.get_origin(h) is typing.Literal), None
    )
    return ", ".join(f"`{v}`" for v in typing.get_args(literal)) if literal is not None else ""


def _first(cls: type[Any]) -> str:
    return _text((inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")) + "\n"


def _meanings(cls: type[Any]) -> dict[str, str]:
    """What the docstrings say of each argument, those of the classes above it too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        lines, names = WRAPPED.sub(r"\1 ", inspect.cleandoc(base.__doc__ or "")).split("\n"), []
        inside = False
        for line in lines:
            if line.strip() == "Args:":
                inside = True
            elif inside and line and not line.startswith("    "):
                inside = False
            elif inside and (entry := ENTRY.match(line)):
                names = [n.strip() for n in entry[1].split(",")]
                found.update(dict.fromkeys(names, _text(entry[2])))
            elif inside and line.strip():
                found.update({n: f"{found[n]} {_text(line)}" for n in names})
    return found


def _text(line: str) -> str:
    line = re.sub(r":(?:func|class|mod|meth|data|attr):`~?([^`]+)`", r"`\1`", line.strip())
    return re.sub(r"``([^`]+)``", r"`\1`", line)


def on_pre_build(config: Any) -> None:
    """What mkdocs calls first."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
