"""Rows that a replay can store as they come, and what every vector of environments shares.

A row holds the observation, and the reward and flags that arrive with it:

    call         reset()   step    step     step (action ignored)
    observation  first     ...     last     first of the next episode
    is_first     True      False   False    True
    is_last      False     False   True     False
    is_terminal  False     False   True unless the episode was only cut short (truncated)
    reward       0         r       r        0
    frames       0         k       k        0
    action       0         a       a        0           what was done (`Adapted.sent`)

A first row after a row that was not a last one says that the episode was abandoned: its environment
failed and was made anew, or could not be restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.options import check_count

Rows = dict[str, NDArray[Any]]


class Episode(NamedTuple):
    """A finished episode: its environment, its return, its length in actions and in environment
    steps.

    >>> Episode(env=0, ret=1.5, length=200, frames=400)
    Episode(env=0, ret=1.5, length=200, frames=400)
    """

    env: int
    ret: float
    length: int
    frames: int


class Failure(NamedTuple):
    """An environment that failed: which, how often without a finished episode, its traceback.

    >>> Failure(env=0, attempt=1, text="step: raised ValueError: the arm left its table").attempt
    1
    """

    env: int
    attempt: int
    text: str


class Vector(Protocol):
    """What an agent's loop asks of N environments. `VectorEnv` and `GymnasiumVector` have it.

    `out_of_bounds` counts, by observation, the rows with values far outside of the declared bounds.
    `time_limit` is the number of environment steps after which every episode has ended, None if one
    may go on for ever. `exact` says whether the last `load_state` restored all environments,
    `restarted` which it had to start anew.

    >>> import envs
    >>> all(
    ...     hasattr(envs.VectorEnv, name)
    ...     for name in ("reset", "step", "pop_episodes", "state", "close")
    ... )
    True
    """

    num_envs: int
    single_observation_space: spaces.Dict
    single_action_space: spaces.Box | spaces.Discrete
    out_of_bounds: dict[str, int]
    time_limit: int | None
    exact: bool
    restarted: tuple[int, ...]

    def reset(self, *, seed: int | None = None) -> Rows: ...
    def step(self, action: Any) -> Rows: ...
    def pop_episodes(self) -> list[Episode]: ...
    def pop_failures(self) -> list[Failure]: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: Mapping[str, Any], attempt: int = 1) -> Rows: ...
    def close(self) -> None: ...


class EpisodeLog:
    """Adds up the rows of N environments into finished episodes."""

    def __init__(self, num_envs: int) -> None:
        self._running = [(0.0, 0, 0)] * num_envs
        self._finished: list[Episode] = []

    def add(self, env: int, reward: float, frames: int, is_first: bool, is_last: bool) -> None:
        """Count one row. A first row starts anew: what ran before without an end is dropped."""
        if is_first:
            self._running[env] = (0.0, 0, 0)
            return
        ret, length, total = self._running[env]
        self._running[env] = ret, length, total = ret + reward, length + 1, total + frames
        if is_last:
            self._finished.append(Episode(env, ret, length, total))

    def pop(self) -> list[Episode]:
        """The episodes finished since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def state(self) -> dict[str, Any]:
        """The sums of running episodes, and finished ones that nobody has asked for."""
        return {
            "running": [list(sums) for sums in self._running],
            "finished": [list(each) for each in self._finished],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self._running = [
            (float(ret), int(length), int(total)) for ret, length, total in state["running"]
        ]
        self._finished = [
            Episode(int(i), float(r), int(n), int(k)) for i, r, n, k in state["finished"]
        ]


def derive_seeds(seed: int | None, num_envs: int) -> list[int] | list[None]:
    """The seed of each environment, a function of (seed, index) alone:
    adding one changes no other.
    """
    if seed is None:
        return [None] * num_envs
    check_count("seed", seed, least=0)
    return [int(np.random.SeedSequence([seed, i]).generate_state(1)[0]) for i in range(num_envs)]


def renewed_seed(seed: int | None, env: int, attempt: int, count: int) -> int | None:
    """The seed of an environment that starts anew for the `count`-th time in an `attempt` at a run.

    It is none of `derive_seeds`, nor that of another attempt or count.

    >>> renewed_seed(0, 0, 1, 1) != renewed_seed(0, 0, 1, 2) != derive_seeds(0, 1)[0]
    True
    """
    if seed is None:
        return None
    return int(np.random.SeedSequence([seed, env], spawn_key=(attempt, count)).generate_state(1)[0])


def check_state(state: Any, num_envs: int, kind: str) -> None:
    """Raise EnvError unless `state` is that of a vector of this kind and number of environments."""
    if not isinstance(state, Mapping) or state.get("kind") != kind:
        raise EnvError(
            f"load_state: expected what state() of a {kind} gave, "
            f"got {type(state).__name__} of another kind"
        )
    if state["num_envs"] != num_envs:
        raise EnvError(
            f"load_state: expected the state of {num_envs} environments, "
            f"got that of {state['num_envs']}; "
            "make as many as the run had"
        )
