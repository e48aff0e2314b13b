"""What a run learned, in a folder of two files that anybody can read: ``config.json`` and
``model.safetensors``.

    save_pretrained(run, folder)    a trained agent, or the world model of ``pixyz pretrain``
    from_pretrained(folder)         a policy that acts, or a model that predicts; no run, no
                                    environment, no log is needed

Optimizers, replay and log stay in the run. World models by themselves:
:mod:`worldmodels.pretrained`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.build import KINDS as AGENTS
from agents.build import build, config_class
from agents.config import load_config, to_dict
from agents.errors import UsageError
from agents.policy import Policy, load_model, read_settings
from agents.pretrain.models import PretrainModel
from agents.pretrain.models import build as build_model
from agents.pretrain.settings import KINDS
from agents.run import read_part
from agents.rundir import open_run, read_interface
from agents.settings import RunSettings
from agents.spaces import Interface
from envs import ActionGuard, ObservationGuard
from envs.plain import space_from_plain
from worldmodels.pretrained import Saved, read_folder, write_folder

OF_A_LOG = ("kind", "model", "predicts", "action_scale")
"""The settings of a pretraining run that its model depends on."""


def save_pretrained(run: str | Path, folder: str | Path) -> Path:
    """Write what a run learned into an empty or new folder, whole or not at all.

    Args:
        run: of ``pixyz train`` or ``pixyz pretrain``.
        folder: of the files.

    Raises:
        RunError, CheckpointError: it is no run, or has no sound checkpoint.
        UsageError: the agent has no weights of torch.
    """
    directory = Path(run)
    config, _ = open_run(directory)
    load = "import agents\n\n{} = agents.from_pretrained(FOLDER)\n{}"
    if "kind" in config:
        about = {
            "log": {k: config[k] for k in OF_A_LOG if k in config},
            **read_interface(directory),
        }
        lines = load.format("model", "model.forecast(seen, action, steps)  # in the log's units")
        return write_folder(folder, about, load_model(directory).state_dict(), lines)
    at, state = read_part(directory, "agent")
    weights = state.get("weights") if isinstance(state, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise UsageError(
            f"{directory}: expected an agent whose state holds 'weights' by name, "
            f"as a TorchAgent's does"
        )
    found = {
        "agent": to_dict(read_settings(directory, "cpu").agent),
        "steps": at,
        **read_interface(directory),
    }
    lines = load.format(
        "policy", "action = policy.act(observation)  # policy.reset() before each episode"
    )
    return write_folder(folder, found, weights, lines)


def from_pretrained(
    source: str | Path, *, device: str = "cpu", explore: bool = False, own: bool = False
) -> Policy | PretrainModel:
    """A policy, or a model of a log, from a folder of :func:`save_pretrained` or from the Hugging
    Face Hub (``OWNER/NAME``).

    Args:
        source: the folder, or the name.
        device: where it computes.
        explore: draw actions as in training; else the best ones.
        own: import an agent of ``module:Class``, where the folder names one.

    Raises:
        PixyzError: it is no such folder, or damaged.
        UsageError: it does not fit this version, or names a module and ``own`` is not set.
    """
    saved = read_folder(source)
    if not {"agent", "log"} & saved.about.keys():
        raise UsageError(
            f"{source}: expected an agent or a model of a log, got "
            f"{saved.about.get('model', 'neither')!r}; a model "
            "of series by itself is worldmodels.from_pretrained"
        )
    try:
        if "log" in saved.about:
            return _model(saved).to(device).eval()
        return _policy(saved, str(source), device, explore, own)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"{source}: does not fit this version: {' '.join(str(error).split())[:300]}"
        ) from None


def _model(saved: Saved) -> PretrainModel:
    about = saved.about
    shapes = {k: tuple(s) for k, s in about["shapes"].items()}
    settings = load_config(KINDS[about["log"]["kind"]], about["log"])
    model = build_model(settings, shapes, int(about["action_size"]))
    model.load_state_dict(saved.weights)
    return model


def _policy(saved: Saved, source: str, device: str, explore: bool, own: bool) -> Policy:
    about = saved.about
    if about["agent"].get("kind") not in AGENTS and not own:
        raise UsageError(
            f"{source}: its agent is {about['agent'].get('kind')!r}, which would be imported; "
            f"give own=True if it is yours"
        )
    config_class(about["agent"])  # a kind that is not there, in one line
    config = load_config(RunSettings, {"agent": about["agent"]}).agent
    see = ObservationGuard(space_from_plain(about["observation"]), about.get("image_size"))
    do = ActionGuard(space_from_plain(about["action"]))
    agent: Any = build(config, Interface.from_spaces(see.space, do.space))
    agent.load_state_dict(saved.weights)
    if isinstance(agent, torch.nn.Module):
        agent.to(device).eval()
    return Policy(agent, see, do, explore=explore)
