"""The table of agents: a name in a config -> its dataclass and its class."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

from agents.agent import Agent
from agents.errors import ConfigError
from agents.process import Weighed
from agents.spaces import Interface

KINDS = {
    "dreamer_v1": "agents.dreamer.v1:DreamerV1",
    "dreamer_v2": "agents.dreamer.v2:DreamerV2",
    "dreamer_v3": "agents.dreamer.v3:DreamerV3",
    "planet": "agents.planet.agent:PlaNet",
    "sac": "agents.sac.agent:SAC",
    "tdmpc": "agents.tdmpc.agent:TDMPC",
}
"""Agents that ship; a line each."""

DEFAULT = "dreamer_v3"


def agent_class(kind: str) -> type[Any]:
    """The class of a name of the table, or of ``module:Class``.

    Raises:
        ConfigError: there is none, it cannot be imported, or it is no agent.

    >>> agent_class("dreamer_v3").__name__
    'DreamerV3'
    """
    place = KINDS.get(kind, kind)
    module, colon, name = place.partition(":")
    if not colon:
        near = get_close_matches(kind, KINDS, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise ConfigError(
            f"agent.kind: expected one of {', '.join(KINDS)}, or module:Class of yours, "
            f"got {kind!r}{hint}"
        )
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"agent.kind {kind!r}: cannot import {module} ({error}); the module must lie in the "
            f"current folder or be installed"
        ) from None
    except AttributeError:
        raise ConfigError(
            f"agent.kind {kind!r}: {sys.modules[module].__file__} has no {name}"
        ) from None
    config = getattr(found, "Config", None)
    if not is_dataclass(config) or "kind" not in {f.name for f in fields(config)}:
        raise ConfigError(
            f"agent.kind {kind!r}: expected a class with Config, "
            f"a frozen dataclass with the field `kind: str`, got {config!r}"
        )
    return cast("type[Any]", found)


def config_class(values: Mapping[str, Any]) -> type[Any]:
    """The dataclass of an agent's settings, by their ``kind``."""
    kind = values.get("kind", DEFAULT)
    if not isinstance(kind, str):
        raise ConfigError(f"agent.kind: expected text, got {kind!r}")
    return cast("type[Any]", agent_class(kind).Config)


def default_config() -> Any:
    """The settings of the default agent."""
    return agent_class(DEFAULT).Config()


def build(config: Any, interface: Interface) -> Agent:
    """The agent of settings, for what it sees and does.

    Raises:
        UsageError: its weights are more than half of the memory.
    """
    with Weighed():
        found: Agent = agent_class(config.kind)(interface.shapes, interface.action, config)
    return found
