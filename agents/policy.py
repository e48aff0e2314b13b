"""A trained agent that acts on observations as the environment gives them; a pretrained world
model.

policy = load("runs/my_run")
action = policy.act(observation)        # the environment's own units, in and out
policy.reset()                          # before the next episode
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.agent import Actor, State
from agents.build import build
from agents.chosen import compiled as compiled_actor
from agents.config import load_config
from agents.errors import RunError
from agents.pretrain.models import PretrainModel
from agents.pretrain.models import build as build_model
from agents.pretrain.settings import KINDS
from agents.pretrain.trainer import best_weights
from agents.process import keep_compiled
from agents.run import read_part
from agents.rundir import open_run, read_interface
from agents.settings import RunSettings
from agents.spaces import Interface, Rows
from envs import ActionGuard, ObservationGuard
from envs.plain import space_from_plain
from pixyz.plan.random import random_states, restore_random_states

REHEARSALS = 3
"""Actions before the first one that counts: one makes plans or code, one meets what it remembers,
one finds all made.
"""


class Policy:
    """One actor for one environment; it keeps its memory between calls.

    Args:
        actor: acts.
        observations: checks and converts what the environment gives.
        actions: converts to what the environment takes.
        explore: draw actions as in training; else the best ones.

    >>> from agents.spaces import ActionSpec
    >>> from agents.build import build, default_config
    >>> from gymnasium import spaces
    >>> see, do = (
    ...     ObservationGuard(spaces.Box(-1.0, 1.0, (3,))),
    ...     ActionGuard(spaces.Box(-2.0, 2.0, (1,))),
    ... )
    >>> from worldmodels import RSSMConfig
    >>> from agents.dreamer.config import DreamerV3Config
    >>> config = DreamerV3Config(
    ...     RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8), units=8
    ... )
    >>> policy = Policy(build(config, Interface({"observation": (3,)}, {}, ActionSpec(1))), see, do)
    >>> policy.act([0.0, 1.0, 0.0]).shape
    (1,)
    """

    def __init__(
        self,
        actor: Actor,
        observations: ObservationGuard,
        actions: ActionGuard,
        *,
        explore: bool = False,
    ) -> None:
        self.actor, self.explore = actor, explore
        if (reads := getattr(actor, "reads", None)) is not None:
            observations = observations.only(reads)
        self._observations, self._actions = observations, actions
        self.interface = Interface.from_spaces(observations.space, actions.space)
        self.reset()

    def reset(self) -> None:
        """Forget: an episode begins."""
        self._state = self.actor.initial(1)
        self._first = True

    def act(self, observation: Any) -> Any:
        """The action after an observation, in the environment's units: an array, or an int.

        Args:
            observation: as the environment gives it. What the agent does not read to act, such as
                a target of a loss in training, may be left out.

        Raises:
            ObservationError: keys, shapes or types are not those that the environment declares, or
                a number is not finite; the policy's memory is as before.
        """
        chosen = self._choose(self.seen(observation)).float().cpu().numpy()
        return self._actions.one(self.interface.native(chosen, self._actions.space)[0])

    def _choose(self, seen: Rows) -> Tensor:
        rows = {**seen, "is_first": np.array([self._first])}
        given = self.interface.tensors(rows, self.actor.device)
        action, self._state = self.actor.act(given, self._state, explore=self.explore)
        self._first = False
        return action

    def seen(self, observation: Any) -> Rows:
        """What the actor sees of an observation, key -> ``[1, ...]``; see :meth:`act`."""
        return self.interface.observation(
            {k: v[None] for k, v in self._observations.one(observation).items()}
        )

    def compile(self) -> None:
        """Act by compiled code from now on. It is made here, by a few actions on made
        observations, so that no later action waits: half a minute, seconds where an earlier
        process has made the same.

        The same draws follow from the same seed; numbers differ in their last digits. An episode
        begins.

        Raises:
            UsageError: what the agent acts with cannot be compiled.
        """
        keep_compiled()
        drawn = random_states()
        self._rehearse()  # plans are made
        self.actor = compiled_actor(self.actor)
        self._rehearse()  # and compiled
        restore_random_states(drawn)

    def _rehearse(self) -> None:
        self.reset()
        for _ in range(REHEARSALS):
            made = self._observations.space.sample()
            self._choose(self.interface.observation({k: v[None] for k, v in made.items()}))
        self.reset()

    @property
    def memory(self) -> State:
        """What the actor remembers of this episode, ``[1, ...]``."""
        return self._state

    def acted(self, action: Any) -> None:
        """Say that another action was done than the last one that :meth:`act` gave, in the agent's
        units ``[A]``.
        """
        done = torch.as_tensor(np.asarray(action, np.float32)).reshape(1, -1)
        self._state = self.actor.acted(self._state, done.to(self.actor.device))


def load(
    run: str | Path,
    *,
    device: str | None = None,
    explore: bool = False,
    compiled: bool = False,
) -> Policy:
    """The agent of a training run, from its newest sound checkpoint. No environment is made.

    Args:
        run: the run's folder.
        device: where it computes; as in training if None.
        explore: draw actions as in training; else the best ones.
        compiled: act by compiled code, which is made here (:meth:`Policy.compile`).

    Raises:
        RunError, CheckpointError: it is no training run, or has no sound checkpoint.
        UsageError: what the agent acts with cannot be compiled.
    """
    directory = Path(run)
    settings = read_settings(directory, device)
    see, do = guards(directory)
    agent: Any = build(settings.agent, Interface.from_spaces(see.space, do.space))
    agent.load_state(read_part(directory, "agent")[1])
    if isinstance(agent, torch.nn.Module):
        agent.to(settings.device).eval()
    policy = Policy(agent, see, do, explore=explore)
    if compiled:
        policy.compile()
    return policy


def read_settings(directory: Path, device: str | None = None) -> RunSettings:
    """The settings of a training run, on a machine that need not have the device and the cores that
    it was trained with.

    Args:
        directory: of the run.
        device: in place of the one that it was trained on.

    Raises:
        RunError, ConfigError: it is no training run, or the device is not there.
    """
    config, _ = open_run(directory)
    if "kind" in config:
        raise RunError(
            f"{directory}: expected a training run, got one of `pixyz pretrain`; take load_model"
        )
    most = 4 * (os.cpu_count() or 1)
    threads = config.get("threads")
    fewer = {"threads": most} if isinstance(threads, int) and threads > most else {}
    return load_config(
        RunSettings, {**config, **fewer, **({} if device is None else {"device": device})}
    )


def guards(directory: Path) -> tuple[ObservationGuard, ActionGuard]:
    """What the environment of a training run declares, as checks and conversions."""
    observation, action = declared(directory)
    size = read_interface(directory).get("image_size")
    return ObservationGuard(observation, size), ActionGuard(action)


def declared(directory: Path) -> tuple[Any, Any]:
    """The spaces that the environment of a training run declares: of observations,
    and of actions.
    """
    found = read_interface(directory)
    if "observation" not in found:
        raise RunError(
            f"{directory}: expected a training run, got one of `pixyz pretrain`; take load_model"
        )
    return space_from_plain(found["observation"]), space_from_plain(found["action"])


def load_model(run: str | Path, *, device: str = "cpu") -> PretrainModel:
    """The world model of a run of ``pixyz pretrain``, with the weights of its best validation
    bound.

    ``model.forecast(seen, action, steps)`` predicts in the log's units; ``model.model`` is the
    model of series itself.

    Raises:
        RunError, CheckpointError: it is no such run, or no validation was made.
    """
    directory = Path(run)
    config, _ = open_run(directory)
    if config.get("kind") not in KINDS:
        raise RunError(
            f"{directory}: expected a run of `pixyz pretrain`, got a training run; take load"
        )
    settings = load_config(KINDS[config["kind"]], {**config, "device": device, "threads": 0})
    found = read_interface(directory)
    shapes = {k: tuple(s) for k, s in found["shapes"].items()}
    model = build_model(settings, shapes, int(found["action_size"]))
    model.load_state_dict(best_weights(directory))
    return model.to(device).eval()
