"""Several environments stepped together, in this process or in others, with the rows of
`envs.rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.guard import ActionGuard
from envs.host import Recipe, Row, Source
from envs.options import check_count, check_seconds
from envs.pool import Pool, Seat
from envs.rows import Episode, EpisodeLog, Failure, Rows, check_state, derive_seeds


class VectorEnv:
    """N environments of one kind, stepped one after the other in this process, or at once in
    `workers` processes.

    An environment that raises an error of its own or returns NaN costs its own episode only: it is
    closed and made anew with a new seed, and its row is a first one, whatever the row before was.
    So it is when a worker process hangs or dies; then all environments of that process are made
    anew. `pop_failures` tells what happened.

    Args:
        envs: a factory without arguments, or an id for `make`, for each environment. What a factory
            returns is adapted to the contract (`envs.adapt`) when it is not yet. In workers: ids.
        seed: environment i gets `derive_seeds(seed, N)[i]` at the first reset, whatever N is; None:
            not repeatable.
        workers: processes that share the environments; 0: this one. The rows are the same, bit for
            bit.
        strikes: failures of one environment without a finished episode in between that end it all.
        step_timeout: seconds that one step or reset may take in a worker.

    Raises:
        SpaceError: when the environments' spaces differ, naming the first that differs.
        EnvFailure: when an environment cannot be made.
        EnvError: for a bad option.

    Example:
        >>> with VectorEnv(["Pendulum-v1"] * 2, seed=0) as vector:
        ...     rows = vector.reset()
        ...     rows = vector.step(np.zeros((2, 1), np.float32))
        >>> rows["observation"].shape, rows["is_first"].tolist()
        ((2, 3), [False, False])
    """

    def __init__(
        self,
        envs: Sequence[Source],
        *,
        seed: int | None = None,
        workers: int = 0,
        strikes: int = 3,
        step_timeout: float = 60.0,
    ) -> None:
        self.num_envs = check_count("number of environments", len(envs))
        check_count("workers", workers, least=0)
        check_count("strikes", strikes)
        self._seed = seed
        self._pool = Pool(
            list(envs), seed, workers, strikes, check_seconds("step_timeout", step_timeout)
        )
        self.time_limit: int | None = self._pool.time_limit
        self.single_observation_space: spaces.Dict = self._pool.spaces[0]
        self._actions = ActionGuard(self._pool.spaces[1])
        self.single_action_space: spaces.Box | spaces.Discrete = self._actions.space
        self._rows: list[Row] | None = None
        self._log = EpisodeLog(self.num_envs)
        self.out_of_bounds = dict.fromkeys(self.single_observation_space.spaces, 0)
        self.exact = True
        self.restarted: tuple[int, ...] = ()

    def reset(self, *, seed: int | None = None) -> Rows:
        """Start every environment anew and return their first rows.

        `seed` seeds them all again; without it the first reset uses the constructor's and later
        ones go on drawing.
        """
        if seed is None:
            seed, self._seed = self._seed, None
        else:
            self._pool.base = seed
        seeds = derive_seeds(seed, self.num_envs)
        self._rows = None
        return self._stack(self._pool.collect({i: ("reset", own) for i, own in enumerate(seeds)}))

    def step(self, action: Any) -> Rows:
        """Take one action an environment and return one row each.

        Args:
            action: [N, A] (Box [-1, 1]; clipped) or [N] (Discrete). Ignored where the previous row
                was a last one: there the next episode starts.

        Returns:
            The observation keys [N, ...], and reward [N] float32, is_first, is_last, is_terminal
                [N] bool,
            frames [N] int64 (environment steps made). Where the environments say what they did
            (info["envs.sent"]), also action [N, A]: it, and not the one given, led here; 0 in first
            rows, and left out where all are first ones.

        Raises:
            ActionError: before any environment is stepped.
            ObservationError: an environment broke the contract; named with the key.
            EnvFailure: an environment failed for the third time (`strikes`). After this or the
                former, call reset().
        """
        self.begin(action)
        return self.finish()

    @property
    def apart(self) -> bool:
        """Whether environments step in processes of their own, also between `begin` and
        `finish`.
        """
        return self._pool.apart

    def begin(self, action: Any) -> None:
        """The first half of `step`: take the actions. Where `apart`, the environments are at work
        when it returns; else they work in `finish`.

        Raises:
            ActionError: before any environment is stepped.
        """
        if self._rows is None:
            raise EnvError(
                "step: expected a call of reset() first; also after an error of an environment"
            )
        ended = [row.is_last for row in self._rows]
        actions = self._actions.batch(action, ~np.array(ended))
        self._rows = None
        own = enumerate(actions)
        self._pool.begin(
            {i: ("reset", None) if ended[i] else ("step", action) for i, action in own}
        )

    def finish(self) -> Rows:
        """The second half of `step`: wait, and return one row each.

        Raises:
            EnvError: nothing was begun, or as `step` does.
        """
        if not self._pool.begun:
            raise EnvError("finish: expected a call of begin() first")
        return self._stack(self._pool.finish())

    def pop_episodes(self) -> list[Episode]:
        """The episodes finished since the last call, in the order of their ends."""
        return self._log.pop()

    def pop_failures(self) -> list[Failure]:
        """The environments that failed since the last call, with their tracebacks."""
        failures, self._pool.failures = self._pool.failures, []
        return failures

    # ---------------------------------------------------------------- state

    def state(self) -> dict[str, Any]:
        """All that later rows depend on, as plain data: nested dicts and lists of arrays, numbers
        and text.

        An environment that has no state to save, or fails while it saves, is left out; `load_state`
        starts it anew. Raises EnvError when no environments are running.
        """
        if self._rows is None:
            raise EnvError("state: expected running environments, got none; call reset() first")
        replies = self._pool.ask(
            {i: ("save",) for i, seat in enumerate(self._pool.seats) if seat.made}
        )
        for i, reply in replies.items():
            if reply.kind == "broken":
                self._pool.refuse(i, reply, "save_state")
            self._pool.note(i, reply, "save_state")
        return {
            "kind": "VectorEnv",
            "num_envs": self.num_envs,
            "seed": self._pool.base,
            "first_seed": self._seed,
            "seats": [asdict(seat) for seat in self._pool.seats],
            "envs": [replies[i].value if i in replies else None for i in range(self.num_envs)],
            "rows": self._stacked(self._rows),
            "log": self._log.state(),
            "out_of_bounds": dict(self.out_of_bounds),
        }

    def load_state(self, state: Mapping[str, Any], attempt: int = 1) -> Rows:
        """Go on from `state()`, of this vector or of another of the same environments, and return
        the current rows.

        An environment that cannot be restored starts an episode with a new seed, which depends on
        the run's seed, its index and `attempt` (count it up with every load of one run); its row is
        a first one, and `restarted` names it. Raises EnvError for the state of another kind or
        number of environments.
        """
        check_state(state, self.num_envs, "VectorEnv")
        pool, self._rows = self._pool, None
        rows = self._unstacked(state["rows"])
        pool.base, self._seed = state["seed"], state["first_seed"]
        pool.restore_seats([Seat(**seat) for seat in state["seats"]])
        self._log.load_state(state["log"])
        self.out_of_bounds = {key: int(count) for key, count in state["out_of_bounds"].items()}
        saved = dict(enumerate(state["envs"]))
        replies = pool.ask(
            {
                i: ("load", each)
                for i, each in saved.items()
                if each is not None and pool.seats[i].made
            }
        )
        for i, reply in replies.items():
            pool.note(i, reply, "load_state")
        # made anew by the next step, as it would be
        at_rest = {i for i, seat in enumerate(pool.seats) if not seat.made}
        gone = {
            j for i, reply in replies.items() if reply.kind == "lost" for j in pool.neighbours(i)
        }
        loaded = {i for i, reply in replies.items() if reply.kind == "ok"} - gone
        self.restarted = tuple(i for i in range(self.num_envs) if i not in at_rest | loaded)
        self.exact = not self.restarted
        for i in self.restarted:
            pool.seats[i].line, pool.seats[i].strikes = check_count("attempt", attempt, least=0), 0
        for i, row in pool.collect({i: ("reset", pool.renew(i)) for i in self.restarted}).items():
            self._count(i, row)
            rows[i] = row
        self._rows = rows
        return self._stacked(rows)

    # ---------------------------------------------------------------- closing

    def close(self) -> None:
        """Close all environments. Returns within seconds, whatever they do in workers."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- rows

    def _stack(self, found: dict[int, Row]) -> Rows:
        rows = [found[i] for i in range(self.num_envs)]
        for i, row in enumerate(rows):
            self._count(i, row)
        self._rows = rows
        return self._stacked(rows)

    def _count(self, i: int, row: Row) -> None:
        self._log.add(i, row.reward, row.frames, row.is_first, row.is_last)
        if row.is_last:
            self._pool.seats[i].strikes = 0
        for key in row.outside:
            self.out_of_bounds[key] += 1

    def _stacked(self, rows: list[Row]) -> Rows:
        observations, rewards, first, last, terminal, frames, _, sent = zip(*rows, strict=True)
        return {
            **self._sent(sent, first),
            **{
                key: np.stack([each[key] for each in observations])
                for key in self.single_observation_space.spaces
            },
            "reward": np.array(rewards, np.float32),
            "is_first": np.array(first, np.bool_),
            "is_last": np.array(last, np.bool_),
            "is_terminal": np.array(terminal, np.bool_),
            "frames": np.array(frames, np.int64),
        }

    def _sent(self, sent: tuple[Any, ...], first: tuple[bool, ...]) -> Rows:
        if all(each is None for each in sent):
            return {}
        silent = [i for i, each in enumerate(sent) if each is None and not first[i]]
        if silent:
            raise EnvError(
                "step: expected the action that was sent, as others say it, got none", env=silent[0]
            )
        return {"action": np.stack([self._actions.null if each is None else each for each in sent])}

    def _unstacked(self, rows: Mapping[str, NDArray[Any]]) -> list[Row]:
        keys = list(self.single_observation_space.spaces)
        if {*keys, "reward", "is_first", "is_last", "is_terminal", "frames"} != rows.keys() - {
            "action"
        }:
            raise EnvError(
                f"load_state: expected rows with the observations {keys}, got {sorted(rows)}"
            )
        flags = [
            rows[key].tolist() for key in ("reward", "is_first", "is_last", "is_terminal", "frames")
        ]
        observations = [{key: np.array(rows[key][i]) for key in keys} for i in range(self.num_envs)]
        parts = zip(observations, *flags, strict=True)
        return [
            Row(
                seen,
                reward,
                first,
                last,
                end,
                count,
                (),
                rows["action"][i] if "action" in rows else None,
            )
            for i, (seen, reward, first, last, end, count) in enumerate(parts)
        ]


def make_vector(
    env_id: str,
    num_envs: int,
    *,
    seed: int | None = None,
    action_repeat: int = 1,
    time_limit: int | None = None,
    workers: int = 0,
    strikes: int = 3,
    step_timeout: float = 60.0,
    **kwargs: Any,
) -> VectorEnv:
    """`num_envs` environments made by `make(env_id, ...)`, each with its own seed derived from
    `seed`.

    `workers`, `strikes` and `step_timeout` are those of `VectorEnv`; `workers=1` keeps a failing
    simulator out of this process. Options for workers must be plain data.
    """
    check_count("num_envs", num_envs)
    recipe = Recipe(env_id, {"action_repeat": action_repeat, "time_limit": time_limit, **kwargs})
    return VectorEnv(
        [recipe] * num_envs, seed=seed, workers=workers, strikes=strikes, step_timeout=step_timeout
    )
