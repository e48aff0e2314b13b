"""Save the state of an environment in the middle of an episode, and go on from it with the same
last bit.

An environment, or a wrapper, offers its state through two methods (`Restorable`). Those of
gymnasium and dm_control do not have them; they are known here: classic control, toy text, MuJoCo,
and the wrappers that hold no state, a counter, or the last observations. A chain of wrappers can be
saved when each of its layers can; a wrapper that has the two methods speaks for all that it wraps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from envs.errors import EnvError
from envs.physics import load_simulation, save_simulation

_KNOWN = ("gymnasium.envs.classic_control.", "gymnasium.envs.toy_text.", "gymnasium.envs.mujoco.")
_STATELESS = (
    "ClipAction",
    "DiscretizeAction",
    "RescaleAction",
    "ClipReward",
    "DtypeObservation",
    "FilterObservation",
    "FlattenObservation",
    "GrayscaleObservation",
    "ReshapeObservation",
    "RescaleObservation",
    "ResizeObservation",
    "AddRenderObservation",
)
_COUNTERS: dict[str, tuple[str, ...]] = (
    {  # wrappers of gymnasium, and what they keep from one step to the next
        "TimeLimit": ("_elapsed_steps",),
        "OrderEnforcing": ("_has_reset",),
        "DelayObservation": ("observation_queue",),
        "FrameStackObservation": ("obs_queue",),
        "StickyAction": ("last_action", "is_sticky_actions", "num_sticky_actions_remaining"),
    }
    | dict.fromkeys(_STATELESS, ())
)


@runtime_checkable
class Restorable(Protocol):
    """An environment, or a wrapper, whose state can be saved and loaded.

    `save_state` returns all that a later step, or a reset without a seed, depends on: nested dicts
    and lists of numpy arrays, numbers and text, none of which later steps change. After
    `load_state` of it, in another instance of the same environment too, the same actions give the
    same observations, rewards and flags, bit for bit. `check_env` tries it.

    >>> import envs
    >>> isinstance(envs.make("Pendulum-v1"), Restorable)
    True
    """

    def save_state(self) -> Mapping[str, Any]: ...
    def load_state(self, state: Any) -> None: ...


def restorable(env: gymnasium.Env[Any, Any]) -> bool:
    """True when every layer of `env` can be saved."""
    return all(_ways(layer) is not None for layer in _layers(env))


def save_layers(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """The states of the layers of `env`, from the outermost. Raises EnvError naming the one that
    has none.
    """
    return [{"layer": type(layer).__name__, "state": _need(layer)[0]()} for layer in _layers(env)]


def load_layers(env: gymnasium.Env[Any, Any], saved: Any) -> None:
    """Bring the layers of `env` into saved states. Raises EnvError when they are others."""
    layers = _layers(env)
    names = [type(layer).__name__ for layer in layers]
    found = [each["layer"] for each in saved]
    if names != found:
        raise EnvError(
            f"load_state: expected the state of {' / '.join(names)}, "
            f"got that of {' / '.join(found)}"
        )
    for layer, each in zip(layers, saved, strict=True):
        _need(layer)[1](each["state"])


Ways = tuple[Callable[[], Any], Callable[[Any], None]]


def _layers(env: gymnasium.Env[Any, Any]) -> list[gymnasium.Env[Any, Any]]:
    """The wrappers and the environment, down to the first that has the two methods."""
    layers = [env]
    while isinstance(env, gymnasium.Wrapper) and not isinstance(env, Restorable):
        env = env.env
        layers.append(env)
    return layers


def _need(layer: Any) -> Ways:
    ways = _ways(layer)
    if ways is None:
        raise EnvError(
            f"save_state: expected an environment whose state can be saved, "
            f"got {type(layer).__name__}; "
            "give it the methods save_state() and load_state(state) (see envs.Restorable)"
        )
    return ways


def _ways(layer: Any) -> Ways | None:
    """How to save and load one layer, without what it wraps."""
    if isinstance(layer, Restorable):
        return (layer.save_state, layer.load_state) if getattr(layer, "restorable", True) else None
    kind = type(layer)
    if kind is gymnasium.wrappers.PassiveEnvChecker:
        return dict, (lambda state: _end_checks(layer))
    if isinstance(layer, gymnasium.Wrapper):
        keys = (
            _COUNTERS.get(kind.__name__)
            if kind.__module__.startswith("gymnasium.wrappers.")
            else None
        )
        if keys is None:
            return None
        return (lambda: _kept(layer, keys)), (lambda state: _put_back(layer, state))
    if kind.__module__.startswith(_KNOWN) and "vector" not in kind.__module__:
        return (lambda: _save_env(layer)), (lambda state: _load_env(layer, state))
    return None


def _end_checks(layer: Any) -> None:
    """What it looks at in the first calls of an environment is over in the middle of an episode."""
    for key in ("checked_reset", "checked_step", "checked_data_reuse"):
        setattr(layer, key, True)


def _kept(layer: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    state = {"attributes": {key: plain(getattr(layer, key)) for key in keys if hasattr(layer, key)}}
    if odd := [key for key, value in state["attributes"].items() if value is _OTHER]:
        raise EnvError(
            f"save_state: expected numbers and arrays in {', '.join(odd)} of "
            f"{type(layer).__name__}, got {getattr(layer, odd[0])!r:.80}"
        )
    generator = layer.__dict__.get("_np_random")
    return state if generator is None else {**state, "generator": save_generator(generator)}


def _put_back(layer: Any, state: Any) -> None:
    load_attributes(layer, state["attributes"])
    if "generator" in state:
        layer._np_random = load_generator(state["generator"])


def _save_env(env: Any) -> dict[str, Any]:
    """All plain attributes of a known environment, its generator, and its simulation when it has
    one.
    """
    state: dict[str, Any] = {
        "attributes": save_attributes(env),
        "generator": save_generator(env._np_random),
    }
    if hasattr(env, "model") and hasattr(env, "data"):
        state["simulation"] = save_simulation(env.model, env.data)
    return state


def _load_env(env: Any, state: Any) -> None:
    load_attributes(env, state["attributes"])
    env._np_random = load_generator(state["generator"])
    if "simulation" in state:
        load_simulation(env.model, env.data, state["simulation"])


_OTHER = object()


def plain(value: Any) -> Any:
    """A copy of numbers, text, arrays, and lists, tuples and dicts of them, a queue as a list;
    `_OTHER` of anything else.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return value.copy() if value.dtype.kind in "biuf" else _OTHER
    if type(value) is deque:
        return plain(list(value))
    if type(value) in (list, tuple):
        parts = [plain(each) for each in value]
        return _OTHER if any(each is _OTHER for each in parts) else type(value)(parts)
    if type(value) is dict and all(type(key) is str for key in value):
        found = {key: plain(each) for key, each in value.items()}
        return _OTHER if any(each is _OTHER for each in found.values()) else found
    return _OTHER


def save_attributes(owner: Any) -> dict[str, Any]:
    """The plain attributes of an object but its texts, which are settings."""
    found = {key: plain(value) for key, value in vars(owner).items() if not isinstance(value, str)}
    return {key: value for key, value in found.items() if value is not _OTHER}


def load_attributes(owner: Any, saved: Mapping[str, Any]) -> None:
    """Put saved attributes back; what is a view of other memory is written in place."""
    for key, value in saved.items():
        current = vars(owner).get(key)
        if (
            isinstance(current, np.ndarray)
            and current.base is not None
            and current.shape == np.shape(value)
        ):
            current[...] = value
        elif isinstance(current, deque):
            setattr(owner, key, deque(plain(value), current.maxlen))
        else:
            setattr(owner, key, plain(value))


def save_generator(generator: Any) -> Any:
    """The state of a numpy Generator or RandomState as plain data; None where there is none."""
    if generator is None:
        return None
    if isinstance(generator, np.random.RandomState):
        kind, keys, position, has_gauss, cached = generator.get_state()
        return {
            "kind": kind,
            "keys": np.array(keys),
            "at": int(position),
            "gauss": [int(has_gauss), float(cached)],
        }
    return generator.bit_generator.state


def load_generator(state: Any, into: np.random.RandomState | None = None) -> Any:
    """A Generator in a saved state; or `into`, a RandomState, brought into it."""
    if into is not None:
        has_gauss, cached = state["gauss"]
        into.set_state(
            (state["kind"], np.asarray(state["keys"], np.uint32), state["at"], has_gauss, cached)
        )
        return into
    if state is None:
        return None
    kind = getattr(np.random, str(state["bit_generator"]), None)
    if not (isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)):
        raise EnvError(
            f"load_state: expected the state of a generator of numpy, "
            f"got {state['bit_generator']!r}"
        )
    bits = kind()
    bits.state = state
    return np.random.Generator(bits)
