"""A contract test for environments: run it on your own before an agent does."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Env, spaces

from envs.errors import ContractError, ObservationError
from envs.guard import ActionGuard, Observation, ObservationGuard, check_flag, check_reward
from envs.state import Restorable
from envs.wire import WireError, decode, encode


def check_env(env: Env[Any, Any], *, steps: int = 100, seed: int = 0) -> None:
    """Check that `env` keeps the contract: run it in two passes of `steps` steps from one seed, and
    compare.

    Checks the spaces, the types, shapes, dtypes and finiteness of everything returned, that a seed
    repeats, that returned arrays are not overwritten later, and that it goes on after the end of an
    episode. Where it offers its state (`envs.Restorable`): that the state is plain data which later
    steps leave alone, and that from it the same actions lead to the same rows. Leaves `env` open.
    Raises ContractError, SpaceError or ObservationError at the first broken promise.

    Example:
        >>> from envs import check_env, make
        >>> check_env(make("Pendulum-v1"), steps=20)
    """
    guard, actions = ObservationGuard(env.observation_space), ActionGuard(env.action_space)
    for name, got, expected in (
        ("observation_space", env.observation_space, guard.space),
        ("action_space", env.action_space, actions.space),
    ):
        if got != expected:
            raise ContractError(
                f"{name}: expected {expected}, got {got}; wrap the environment in envs.adapt"
            )
    first, second = (_rollout(env, guard, steps, seed, *_reset(env, guard, seed)) for _ in range(2))
    _compare(
        first,
        second,
        f"seed {seed}",
        "draw all randomness from a generator that reset(seed=...) seeds",
    )
    if isinstance(env, Restorable) and getattr(env, "restorable", True):
        _check_state(env, guard, steps, seed)


def _check_state(env: Any, guard: ObservationGuard, steps: int, seed: int) -> None:
    """Save, go on, load, go on: two times the same rows, from a state in the middle and one after a
    reset.
    """
    for before in (0, 5):
        raw, kept = _reset(env, guard, seed)
        rows = _rollout(env, guard, before, seed, raw, kept)
        over = bool(rows[-1].get("terminated") or rows[-1].get("truncated"))
        state = env.save_state()
        saved = _written(state)
        first = _rollout(env, guard, steps, seed + 1, None, {}, over)
        if _written(state) != saved:
            raise ContractError(
                "save_state: expected a copy, got data that later steps changed; return copies"
            )
        env.load_state(decode(saved))
        second = _rollout(env, guard, steps, seed + 1, None, {}, over)
        _compare(
            first,
            second,
            "one saved state",
            "save all that a later step depends on, generators too",
        )


def _written(state: Any) -> bytes:
    try:
        return encode(state)
    except WireError as error:
        raise ContractError(
            f"save_state: expected plain data (see envs.Restorable); {error}"
        ) from error


def _compare(
    first: list[dict[str, Any]], second: list[dict[str, Any]], origin: str, cure: str
) -> None:
    for t, (one, two) in enumerate(zip(first, second, strict=True)):
        for key in one:
            if not np.array_equal(one[key], two[key]):
                raise ContractError(
                    f"key {key!r}: expected the same values from {origin}, step {t}, in two runs, "
                    f"got {one[key]} and {two[key]}; {cure}"
                )


def _rollout(
    env: Env[Any, Any],
    guard: ObservationGuard,
    steps: int,
    seed: int,
    raw: Any,
    kept: Observation,
    over: bool = False,
) -> list[dict[str, Any]]:
    """The rows of one pass. Each returned observation is looked at again after the call that
    follows it.
    """
    draw = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = [dict(kept)]
    for t in range(steps):
        before = raw, kept
        if over:
            raw, kept = _reset(env, guard, None)
            over, row = False, dict(kept)
        else:
            raw, kept, row = _step(env, guard, _draw(env.action_space, draw))
            over = bool(row["terminated"] or row["truncated"])
        _check_kept(*before, t)
        rows.append(row)
    return rows


def _step(
    env: Env[Any, Any], guard: ObservationGuard, action: Any
) -> tuple[Any, Observation, dict[str, Any]]:
    result = env.step(action)
    if not isinstance(result, tuple) or len(result) != 5 or not isinstance(result[4], dict):
        raise ContractError(
            f"step: expected (obs, reward, terminated, truncated, info), info a dict, "
            f"got {result!r}"
        )
    raw, reward, terminated, truncated, _ = result
    kept = _exact(raw, guard)
    signals = {
        "reward": check_reward(reward),
        "terminated": check_flag(terminated, "terminated"),
        "truncated": check_flag(truncated, "truncated"),
    }
    return raw, kept, {**kept, **signals}


def _reset(
    env: Env[Any, Any], guard: ObservationGuard, seed: int | None
) -> tuple[Any, Observation]:
    result = env.reset(seed=seed)
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise ContractError(f"reset: expected (obs, info), info a dict, got {result!r}")
    return result[0], _exact(result[0], guard)


def _exact(observation: Any, guard: ObservationGuard) -> Observation:
    """The checked observation; refuses what the guard would convert."""
    checked = guard.one(observation)
    for key, value in observation.items():
        box = guard.space[key]
        if (
            not isinstance(value, np.ndarray)
            or value.dtype != box.dtype
            or value.shape != box.shape
        ):
            got = (
                f"{value.dtype} {value.shape}"
                if isinstance(value, np.ndarray)
                else type(value).__name__
            )
            raise ObservationError(
                f"key {key!r}: expected an array {box.dtype} {box.shape}, got {got}"
            )
    return checked


def _check_kept(raw: Any, kept: Observation, step: int) -> None:
    for key, value in kept.items():
        if not np.array_equal(raw[key], value):
            raise ContractError(
                f"key {key!r}: expected an array that stays as it was returned, "
                f"got one that step {step} overwrote; return a copy"
            )


def _draw(space: spaces.Space[Any], draw: np.random.Generator) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(draw.integers(int(space.start), int(space.start) + int(space.n)))
    return draw.uniform(-1.0, 1.0, space.shape).astype(np.float32)
