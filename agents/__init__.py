"""Agents that learn from simulated or real robots.

agent       the contract: Actor, Agent, Window, Learned;  check: a checker for agents of your own
build       the table of agents
latent      acting in a world model's latent state: what the Dreamers share
dreamer/    DreamerV3
replay/     the experience store
run/        the loops, made of parts: driver, learner, schedule, run; from settings: Trainer
pretrain/   the same loop over windows of a log
pretrained  save_pretrained, from_pretrained: config.json and model.safetensors
policy      load: a trained agent that acts on observations as the environment gives them
runs        start and resume: a run from beginning to end, with display and report
cli         the ``pixyz`` command
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.shadow import check_neighbours

if TYPE_CHECKING:
    from agents.agent import Actor, Agent, Learned, Learns, Saves, Window
    from agents.check import check_agent
    from agents.config import load_config
    from agents.dreamer.jax_weights import load_jax
    from agents.guard import NotFinite
    from agents.policy import Policy, load, load_model
    from agents.pretrained import from_pretrained, save_pretrained
    from agents.run import Driver, Judge, Learner, Offline, Online, Run, Trainer, train
    from agents.runs import resume, start
    from agents.settings import EnvSettings, RunSettings

_HOMES = {
    "Actor": "agent",
    "Agent": "agent",
    "Learned": "agent",
    "Learns": "agent",
    "Saves": "agent",
    "Window": "agent",
    "check_agent": "check",
    "load_config": "config",
    "load_jax": "dreamer.jax_weights",
    "NotFinite": "guard",
    "from_pretrained": "pretrained",
    "save_pretrained": "pretrained",
    "Policy": "policy",
    "load": "policy",
    "load_model": "policy",
    "Driver": "run",
    "Judge": "run",
    "Learner": "run",
    "Offline": "run",
    "Online": "run",
    "Run": "run",
    "Trainer": "run",
    "train": "run",
    "resume": "runs",
    "start": "runs",
    "EnvSettings": "settings",
    "RunSettings": "settings",
}

__all__ = [
    "Actor",
    "Agent",
    "Driver",
    "EnvSettings",
    "Judge",
    "Learned",
    "Learner",
    "Learns",
    "NotFinite",
    "Offline",
    "Online",
    "Policy",
    "Run",
    "RunSettings",
    "Saves",
    "Trainer",
    "Window",
    "check_agent",
    "from_pretrained",
    "load",
    "load_config",
    "load_jax",
    "load_model",
    "resume",
    "save_pretrained",
    "start",
    "train",
]

check_neighbours()


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agents' has no attribute {name!r}")
    value = getattr(import_module(f"agents.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
