"""An agent that starts from a pretrained world model, or from an agent that learned elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from agents.config import flat, load_config, merge, parse_yaml, parted, said_by, to_dict
from agents.errors import RunError
from agents.pretrain.settings import RSSMSettings
from agents.pretrain.trainer import best_weights
from agents.run import read_part
from agents.rundir import open_run
from agents.settings import RunSettings
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig

FROM = (
    "a run to start from: of `pixyz pretrain rssm`, which gives its world model, or of an agent of "
    "the same kind, which gives its weights and agent.* settings; what the command, or a file of "
    "your own, says of agent.* counts above them, but for what shapes weights"
)
"""What ``--from`` takes."""
PREFIX = "model."
COSTS = ("free_nats", "dyn_scale", "rep_scale", "align_scale", "redundancy")
"""Of a world model's settings those that say what it pays for: the others say what its weights are,
and are those that it was pretrained with.
"""


def start_settings(
    settings: RunSettings, run: Path, overrides: Sequence[str] = (), source: str | Path = ""
) -> RunSettings:
    """The settings with the run's world model, or with its agent's settings, and where they came
    from; what a file of one's own and a command say of ``agent`` counts above what is found.

    Args:
        settings: of the command, overrides applied.
        run: of an agent of the same kind, or of ``pixyz pretrain rssm``.
        overrides: of the command.
        source: the config that the command names; one that ships gives way to what is found.

    Raises:
        RunError: ``run`` is neither, or of an agent of another kind; the agent has no such world
            model; or an override asks for another one.
        ConfigError: an override does not fit what was found.
    """
    config, _ = open_run(run)
    if "agent" in config:
        found = _agent(config["agent"])
        if found.kind != settings.agent.kind:
            raise RunError(
                f"{run} has an agent of the kind {found.kind!r}, asked for is "
                f"{settings.agent.kind!r}: take a config of {found.kind!r}, or a run of an agent "
                f"of the kind {settings.agent.kind!r}"
            )
    elif config.get("kind") == "rssm":
        if not isinstance(getattr(settings.agent, "model", None), RSSMConfig):
            raise RunError(
                f"{run} is the world model of a Dreamer or PlaNet, asked for is an agent of the "
                f"kind {settings.agent.kind!r}; take a config such as dreamer_v3/fast"
            )
        found = replace(settings.agent, model=load_config(RSSMSettings, config).model)
    else:
        raise RunError(
            f"{run}: expected a run of `pixyz pretrain rssm`, or of an agent, got one of "
            f"{config.get('kind', 'nothing that is known')!r}"
        )
    agent = _agent(merge(to_dict(found), _told(overrides, source)))
    if isinstance(getattr(found, "model", None), RSSMConfig):
        _check_model(run, found.model, agent.model)
    return replace(settings, agent=agent, start=str(run))


def _agent(values: Mapping[str, Any]) -> Any:
    return load_config(RunSettings, {"agent": values}).agent


def _told(overrides: Sequence[str], source: str | Path = "") -> dict[str, Any]:
    """What a file of one's own says of ``agent``, and overrides above it.

    >>> _told(["agent.lr=1e-3", "steps=9", "agent.model={free_nats: 2.0}"])
    {'lr': 0.001, 'model': {'free_nats': 2.0}}
    """
    found: dict[str, Any] = {}
    for text in overrides:
        key, (first, *path), value = parted(text)
        if first == "agent":
            told = parse_yaml(value, key)
            for name in reversed(path):
                told = {name: told}
            found = merge(found, told)
    own = (said_by(source).get("agent") if source else None) or {}
    if own and "kind" in found and load_config(RunSettings, source).agent.kind != found["kind"]:
        own = {}  # said of another agent
    return merge(own, found)


def _check_model(run: Path, found: RSSMConfig, given: RSSMConfig) -> None:
    """Raise RunError where another model is asked for than the run has."""
    for name, (there, here) in _differing(to_dict(found), to_dict(given)).items():
        if name not in COSTS:
            raise RunError(
                f"agent.model.{name}={here}: the world model of {run} has {there}; leave it out, "
                f"or start from a run that has {here}"
            )


def _differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, by their names."""
    a, b = flat(one), flat(two)
    return {k: (a.get(k), b.get(k)) for k in {**a, **b} if a.get(k) != b.get(k)}


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
    needs = "the environment must have the log's observation keys, shapes and actions"
    _check(run, weights, agent.model.state_dict(), needs)
    agent.model.load_state_dict(weights)


def _take(agent: Any, run: Path) -> None:
    """The weights of another run's agent."""
    weights = read_part(run, "agent")[1].get("weights")
    if not isinstance(weights, Mapping) or not hasattr(agent, "load_state_dict"):
        raise RunError(f"{run}: expected an agent with weights of torch, got another")
    config = getattr(agent, "config", None)
    own = to_dict(config) if is_dataclass(config) else {}
    settings = _differing(to_dict(_agent(open_run(run)[0]["agent"])), own) if own else {}
    said = [f"agent.{k} ({there} there, {here} here)" for k, (there, here) in settings.items()]
    needs = (
        f"what shapes weights must be as there, of {', '.join(said)}"
        if said
        else "it must have that run's observation keys, shapes and actions"
    )
    _check(run, weights, agent.state_dict(), needs)
    agent.load_state_dict(dict(weights))


def _check(run: Path, weights: Mapping[str, Any], own: Mapping[str, Any], needs: str) -> None:
    """Raise RunError where weights have other names or shapes than an agent's own.

    Args:
        needs: what cures it.
    """
    differ = [
        k
        for k in {**own, **weights}
        if k not in own or k not in weights or own[k].shape != weights[k].shape
    ]
    if differ:
        k = differ[0]
        there, here = (list(d[k].shape) if k in d else "nothing" for d in (weights, own))
        raise RunError(
            f"{run} does not fit: {len(differ)} weights differ, "
            f"such as {k} ({there} there, {here} here); {needs}"
        )
