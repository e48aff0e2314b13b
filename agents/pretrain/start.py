"""An agent that starts from a pretrained world model, or from an agent that learned elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.config import load_config
from agents.errors import RunError
from agents.pretrain.settings import RSSMSettings
from agents.pretrain.trainer import best_weights
from agents.run import read_part
from agents.rundir import open_run
from agents.settings import RunSettings
from worldmodels.rssm import RSSM

PREFIX = "model."


def start_settings(settings: RunSettings, run: Path) -> RunSettings:
    """The settings with the run's world model, or with its agent, and where they came from.

    Raises:
        RunError: ``run`` is neither a pretraining run of an RSSM nor a run of an agent.
    """
    config, _ = open_run(run)
    if "agent" in config:
        found = load_config(RunSettings, {**config, "device": settings.device, "threads": 0})
        return replace(settings, agent=found.agent, start=str(run))
    if config.get("kind") != "rssm":
        raise RunError(
            f"{run}: expected a run of `pixyz pretrain rssm`, got "
            f"{config.get('kind', 'a training run')!r}"
        )
    pretrained = load_config(RSSMSettings, config)
    return replace(settings, agent=replace(settings.agent, model=pretrained.model), start=str(run))


def start_from(agent: Any, run: Path) -> None:
    """Give the agent the weights of the best validation bound of a run of ``pixyz pretrain rssm``,
    or those of the agent of another run, whose optimizers are left behind.

    Of a pretrained model the observations must have the keys and shapes of the log, and the log's
    actions must be the agent's: of the same size and in [-1, 1], or pretrained with the
    ``action_scale`` that brings them there (one-hot for discrete ones).

    Raises:
        RunError: keys, shapes or action sizes differ, the log's actions had another scale, or the
            agent has no ``model`` that is an RSSM; another agent, or one for another robot.
    """
    if "agent" in open_run(run)[0]:
        _take(agent, run)
        return
    if not isinstance(getattr(agent, "model", None), RSSM):
        raise RunError(
            f"{run}: expected an agent whose `model` is an RSSM, got {type(agent).__name__}; "
            f"it cannot start from it"
        )
    found = best_weights(run)
    scale, given = found.get("action_scale"), open_run(run)[0].get("action_scale")
    if scale is not None and not given and bool((scale > 1.0 + 1e-3).any()):
        raise RunError(
            f"{run}: the log's actions reach {scale.tolist()}, an agent's lie in [-1, 1]; "
            f"pretrain with the "
            "environment's bound as action_scale"
        )
    weights = {k.removeprefix(PREFIX): v for k, v in found.items() if k.startswith(PREFIX)}
    _check(run, weights, agent.model.state_dict())
    agent.model.load_state_dict(weights)


def _take(agent: Any, run: Path) -> None:
    """The weights of another run's agent."""
    weights = read_part(run, "agent")[1].get("weights")
    if not isinstance(weights, Mapping) or not hasattr(agent, "load_state_dict"):
        raise RunError(f"{run}: expected an agent with weights of torch, got another")
    _check(run, weights, agent.state_dict())
    agent.load_state_dict(dict(weights))


def _check(run: Path, weights: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise RunError where weights have other names or shapes than an agent's own."""
    differ = [
        k
        for k in {**own, **weights}
        if k not in own or k not in weights or own[k].shape != weights[k].shape
    ]
    if differ:
        k = differ[0]
        there, here = (list(d[k].shape) if k in d else "nothing" for d in (weights, own))
        raise RunError(
            f"{run} does not fit this environment: {len(differ)} weights differ, such as {k} "
            f"({there} there, {here} here); the log must have the environment's observation keys, "
            "shapes and actions"
        )
