"""Environments and an actor: rows for a replay."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from agents.agent import Actor, Nested
from agents.replay.loader import to_arrays
from agents.spaces import FLAGS, Interface, Rows
from envs import EnvError


class Store(Protocol):
    """Where rows go: a replay, or a channel to one.

    >>> from agents.replay import ReplayBuffer
    >>> all(hasattr(ReplayBuffer, name) for name in ("add", "mark_abandoned"))
    True
    """

    def add(self, rows: Mapping[str, Any]) -> None:
        """One row of each environment, key -> ``[N, ...]``."""
        ...

    def mark_abandoned(self, streams: Any = None) -> None:
        """The last row of these environments ended its episode: it was cut short."""
        ...


@dataclass(frozen=True)
class Moved:
    """What a step did.

    Args:
        frames: environment steps.
        actions: rows that were acted after, one of each environment; they make updates due.
        episodes: that ended.
        failures: environments that failed and began anew.
        resets: of the rows those that ended an episode: there the environment began the next one,
            and took no action.

    >>> Moved(frames=2, actions=1, episodes=[]).failures
    []
    """

    frames: int
    actions: int
    episodes: list[Any]
    failures: list[Any] = field(default_factory=list)
    resets: int = 0


@dataclass
class Begun:
    """A step that environments are at: where an episode had ended before it, and its rows, or what
    it raised, once they are there.

    >>> Begun(np.zeros(1, bool)).following is None
    True
    """

    ended: np.ndarray
    following: Rows | None = None
    error: EnvError | None = None


class Moves(Protocol):
    """What the loop acts by: a driver, here or in another process.

    >>> hasattr(Driver, "step")
    True
    """

    def step(self, *, random: bool = False) -> Moved:
        """One action of each environment; ``random``: uniform ones."""
        ...


@runtime_checkable
class MovesApart(Moves, Protocol):
    """A driver whose environments can be at work while something else is done.

    >>> isinstance(Driver, MovesApart)
    True
    """

    @property
    def apart(self) -> bool:
        """Whether a step may be begun."""
        ...

    @property
    def stepping(self) -> bool:
        """Whether a step was begun, and not ended."""
        ...

    def begin(self) -> Moved:
        """The first half of a step; returns its actions and resets."""
        ...

    def end(self) -> Moved:
        """The second half; its actions are not counted again."""
        ...


class Driver:
    """Steps environments under an actor and stores what happened.

    A row holds the observation, what was done after it (the action that the environment says it
    took, where it says so: a robot's safety layer may change it), and reward and flags that arrived
    with it. An environment that begins anew without an end (it failed, or could not be restored)
    has its episode marked as cut short.

    Args:
        envs: a vector of environments (:class:`envs.Vector`).
        actor: acts.
        store: takes the rows.
        seed: of random actions, and of environments that must begin anew after a stop.
        hold: actions for which a random one is kept.

    >>> from agents.replay import ReplayBuffer
    >>> from envs import make_vector
    >>> envs = make_vector("Pendulum-v1", 2, seed=0)
    >>> driver = Driver(envs, None, ReplayBuffer(Interface.of(envs).spec({}), 20, 2))
    >>> driver.step(random=True).frames
    2
    """

    def __init__(
        self, envs: Any, actor: Actor | None, store: Store, seed: int = 0, hold: int = 1
    ) -> None:
        self.envs, self.actor, self.store = envs, actor, store
        self.interface = Interface.of(envs)
        self.count: int = envs.num_envs
        self._seed = seed
        self._rng = np.random.default_rng([seed, 1])
        self._hold, self._kept, self._held = hold, 0, np.empty(0, np.float32)
        self._rows: Rows | None = None
        self._memory = {} if actor is None else actor.initial(self.count)
        self._begun: Begun | None = None
        self._silent = False
        self.restarted: tuple[int, ...] = ()
        """The environments that the last :meth:`load_state` could not put back, and that began a
        new episode.
        """

    def step(self, *, random: bool = False) -> Moved:
        """One action of each environment.

        Args:
            random: uniform actions; the actor sees the observations and is told what was done.

        Raises:
            EnvError: an environment broke its contract; nothing was stored.
        """
        row, memory = self._chosen(random)
        following = dict(self.envs.step(self.interface.to_env(row["action"], self.envs)))
        if "action" in following:
            row["action"] = np.asarray(following.pop("action"), np.float32)
            memory = self._told(memory, row["action"])
        elif not following["is_first"].all():
            self._silent = True
        self.store.add(row)
        self._memory = memory
        return self._moved(following, row["is_last"])

    @property
    def apart(self) -> bool:
        """Whether :meth:`begin` can be used: environments that are processes of their own, and have
        been seen not to say which action they took (a row is stored before they have taken it).
        """
        return self._silent and getattr(self.envs, "apart", False)

    @property
    def stepping(self) -> bool:
        """Whether a step was begun, and not ended."""
        return self._begun is not None

    def begin(self) -> Moved:
        """The first half of :meth:`step`: actions are chosen, rows are stored, and the environments
        are at work when it returns.

        Returns:
            Its actions and resets.
        """
        row, self._memory = self._chosen(random=False)
        self.envs.begin(self.interface.to_env(row["action"], self.envs))
        self._begun = Begun(row["is_last"])
        self.store.add(row)
        return Moved(0, self.count, [], resets=int(row["is_last"].sum()))

    def end(self) -> Moved:
        """The second half of :meth:`step`: what came of it; no action is counted again.

        Raises:
            EnvError: an environment broke its contract.
        """
        assert self._begun is not None, "expected begin() before end()"
        begun, self._begun = self._begun, None
        following = self._following(begun)
        if "action" in following:
            raise EnvError(
                "step: expected environments that say from their first row on which action they "
                "took, or never; set env.workers=0"
            )
        return replace(self._moved(following, begun.ended), actions=0, resets=0)

    def _following(self, begun: Begun) -> Rows:
        if begun.error is not None:
            raise begun.error
        if begun.following is None:
            try:
                begun.following = dict(self.envs.finish())
            except EnvError as error:
                begun.error = error
                raise
        return begun.following

    def _chosen(self, random: bool) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """The newest rows with the actions after them, and the memory after those."""
        if self._rows is None:
            self._rows = self.envs.reset()
        rows, memory = self._rows, self._memory
        chosen, kept = None, {}
        # what remembers nothing need not see what random actions lead to
        if self.actor is not None and not (random and getattr(self.actor, "memoryless", False)):
            obs = self.interface.tensors(rows, self.actor.device)
            action, memory = self.actor.act(obs, memory, explore=True)
            kept = to_arrays(
                {"action": action, **{k: memory[k] for k in self.actor.stored}}, lead=1
            )
            chosen = kept.pop("action")
        if random or chosen is None:
            chosen = self._random()
            memory = self._told(memory, chosen)
        seen, flags = self.interface.observation(rows), {k: rows[k] for k in FLAGS}
        return {**seen, "action": chosen, "reward": rows["reward"], **flags, **kept}, memory

    def _moved(self, following: Rows, ended: np.ndarray) -> Moved:
        self._rows = following
        self._cut(following["is_first"] & ~ended)
        failures = self.envs.pop_failures() if hasattr(self.envs, "pop_failures") else []
        frames, resets = int(following["frames"].sum()), int(ended.sum())
        return Moved(frames, self.count, self.envs.pop_episodes(), failures, resets)

    def finish(self) -> None:
        """Store the newest rows where no step will follow, with actions of zeros; the next step
        begins new episodes.

        Raises:
            EnvError: the actor cannot take the observations.
        """
        rows, self._rows = self._rows, None
        if rows is None:
            return
        kept: dict[str, np.ndarray] = {}
        if self.actor is not None:
            _, memory = self.actor.act(
                self.interface.tensors(rows, self.actor.device), self._memory
            )
            kept = to_arrays({k: memory[k] for k in self.actor.stored}, lead=1)
        nothing = np.zeros((self.count, self.interface.action.size), np.float32)
        flags, seen = {k: rows[k] for k in FLAGS}, self.interface.observation(rows)
        self.store.add({**seen, "action": nothing, "reward": rows["reward"], **flags, **kept})
        self._cut(~rows["is_last"])

    def _random(self) -> np.ndarray:
        """Uniform actions ``[N, A]``, each for as long as it is held."""
        if self._kept == 0:
            self._held = self.interface.random(self.count, self._rng)
        self._kept = (self._kept + 1) % self._hold
        return self._held

    def _told(self, memory: dict[str, torch.Tensor], action: np.ndarray) -> dict[str, torch.Tensor]:
        if self.actor is None:
            return memory
        return self.actor.acted(memory, torch.from_numpy(action).to(self.actor.device))

    def _cut(self, which: np.ndarray) -> None:
        if which.any():
            self.store.mark_abandoned(np.flatnonzero(which).tolist())

    # ---------------------------------------------------------------- saving

    def state(self) -> Nested:
        """The environments, where they can say it, the actor's memory, the newest rows and random
        actions' generator.
        """
        envs = None
        if self._rows is not None and hasattr(self.envs, "state"):
            with suppress(EnvError):  # after an error of theirs nothing runs that could be saved
                if self._begun is not None:
                    self._following(self._begun)
                envs = self.envs.state()
        return {
            "envs": envs,
            "memory": self._memory,
            "rng": self._rng.bit_generator.state,
            "held": [self._kept, self._held],
            "begun": self._rows is not None,
            "stepping": self._begun is not None,
            "last": None if self._rows is None else self._rows["is_last"],
        }

    def load_state(self, state: Nested, attempt: int = 1) -> None:
        """Be as it was; environments that could not be saved begin a new episode.

        Args:
            attempt: how often the run was started, so that new episodes get seeds that no part of
                it has used.
        """
        self._rng.bit_generator.state = state["rng"]
        self._kept, self._held = int(state["held"][0]), np.asarray(state["held"][1], np.float32)
        memory = state["memory"]
        self._memory = (
            memory
            if self.actor is None
            else {k: v.to(self.actor.device) for k, v in memory.items()}
        )
        if not state["begun"]:
            return
        if state["envs"] is not None:
            self._rows = self.envs.load_state(state["envs"], attempt)
            self.restarted = tuple(self.envs.restarted)
        else:
            self.restarted = tuple(range(self.count))
            fresh = np.random.SeedSequence([self._seed, 7, attempt]).generate_state(1)[0]
            self._rows = self.envs.reset(seed=int(fresh))
        assert self._rows is not None
        last = np.asarray(state["last"], np.bool_)
        if state.get("stepping"):
            self._begun = Begun(last, self._rows)
        else:
            self._cut(self._rows["is_first"] & ~last)
