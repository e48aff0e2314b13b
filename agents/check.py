"""A contract test for agents: run it on your own before a loop does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.agent import Agent, State
from agents.checkpoint import flatten_state, unflatten_state
from agents.errors import AgentError
from agents.guard import NotFinite
from agents.replay.loader import to_tensors
from agents.spaces import FLAGS, Interface

ROWS = 3


def check_agent(agent: Agent, interface: Interface, *, seed: int = 0) -> None:
    """Check that ``agent`` keeps the contract of :mod:`agents.agent`; it has learned from random
    rows afterwards.

    Acting: shapes, ranges, what is remembered and what is stored; that it neither trains nor
    changes what it was given; that a first row clears the memory; that one seed gives one action.
    Learning: metrics, refreshed values, that numbers which are not finite move nothing. Saving:
    what was saved and loaded learns the same, bit for bit (on a CPU).

    Args:
        agent: for environments of this interface.
        interface: what it sees and does.
        seed: of the rows and of its draws.

    Raises:
        AgentError: the first broken promise.

    >>> from agents.build import build
    >>> from agents.config import load_config
    >>> from agents.settings import RunSettings
    >>> small = ["agent.batch=2", "agent.length=4", "agent.horizon=3"]
    >>> from envs import make_vector
    >>> interface = Interface.of(make_vector("Pendulum-v1", 1))
    >>> check_agent(
    ...     build(load_config(RunSettings, "dreamer_v3/fast", small).agent, interface), interface
    ... )
    """
    missing = [name for name in _names() if not hasattr(agent, name)]
    _need(
        not missing,
        f"expected an agent with {', '.join(_names())}; "
        f"{type(agent).__name__} lacks {', '.join(missing)}",
    )
    rng = np.random.default_rng(seed)
    _check_acting(agent, interface, rng, seed)
    _check_stored(agent)
    _check_learning(agent, interface, rng, seed)


def _names() -> list[str]:
    return [
        "stored",
        "device",
        "initial",
        "act",
        "acted",
        "window",
        "acting",
        "learn",
        "state",
        "load_state",
    ]


def _check_acting(agent: Agent, interface: Interface, rng: np.random.Generator, seed: int) -> None:
    before = _flat(agent)
    for explore in (False, True):
        obs = _rows(interface, agent, rng, (ROWS,), first=False)
        state = agent.initial(ROWS)
        for name, value in state.items():
            _need(
                isinstance(value, Tensor) and len(value) == ROWS and value.device == agent.device,
                f"initial({ROWS}): expected tensors [{ROWS}, ...] on {agent.device}, "
                f"got {_show(value)} as {name!r}",
            )
        given = {k: v.clone() for k, v in state.items()}
        action, following = _act(agent, obs, state, explore, seed)
        _check_action(action, interface)
        _need(
            _equal(state, given),
            "act: expected the state that was handed in to stay as it was; return a new one",
        )
        _need(
            _shapes(following) == _shapes(state),
            f"act: expected a state {_shapes(state)} as initial gives it, got {_shapes(following)}",
        )
        again, _ = _act(agent, obs, state, explore, seed)
        _need(
            torch.equal(action, again),
            f"act(explore={explore}): expected one action for one seed of torch, got two",
        )
        first = {**obs, "is_first": torch.ones_like(obs["is_first"])}
        clean, _ = _act(agent, first, state, explore, seed)
        spoiled = {
            k: torch.full_like(v, math.nan) if v.is_floating_point() else v
            for k, v in following.items()
        }
        fresh, _ = _act(agent, first, spoiled, explore, seed)
        _need(
            torch.equal(clean, fresh),
            "act: expected that is_first clears the state; use masked_fill, a product keeps NaN",
        )
        told = agent.acted(following, action)
        _need(
            _shapes(told) == _shapes(state),
            f"acted: expected a state {_shapes(state)}, got {_shapes(told)}",
        )
    _need(
        _equal(before, _flat(agent)),
        "act: expected weights and estimates that stay as they were; it never trains",
    )


def _check_action(action: Tensor, interface: Interface) -> None:
    size, discrete = interface.action.size, interface.action.discrete
    _need(
        tuple(action.shape) == (ROWS, size),
        f"act: expected actions {(ROWS, size)}, got {tuple(action.shape)}",
    )
    inside = bool(torch.isfinite(action).all()) and bool((action.abs() <= 1).all())
    if discrete:
        inside = inside and bool((action.sum(-1) == 1).all()) and bool((action.amax(-1) == 1).all())
    _need(
        inside,
        f"act: expected {'one-hot choices' if discrete else 'numbers in [-1, 1]'}, "
        f"got {action.tolist()}",
    )


def _check_stored(agent: Agent) -> None:
    shapes = {k: s[1:] for k, s in _shapes(agent.initial(ROWS)).items()}
    for name, shape in agent.stored.items():
        _need(
            shapes.get(name) == tuple(shape),
            f"stored: expected keys of the state {shapes}, got {name!r} of {tuple(shape)}",
        )


def _check_learning(
    agent: Agent, interface: Interface, rng: np.random.Generator, seed: int
) -> None:
    w = agent.window
    batch = _rows(interface, agent, rng, (w.rows, w.batch), first=True)
    tensors, plain = flatten_state(agent.state())
    saved = unflatten_state({k: v.clone() for k, v in tensors.items()}, plain)
    torch.manual_seed(seed)
    learned = agent.learn(batch)
    bad = [k for k, v in learned.metrics.items() if type(v) is not float or not math.isfinite(v)]
    _need(
        not bad, f"learn: expected metrics that are finite floats, got others in {', '.join(bad)}"
    )
    for name, value in learned.stored.items():
        expected = (w.length, w.batch, *agent.stored.get(name, ()))
        _need(
            name in agent.stored and tuple(value.shape) == expected,
            f"learn: expected refreshed values of {sorted(agent.stored)}, as {expected}, got "
            f"{name!r} {tuple(value.shape)}",
        )
    ranked, priority = getattr(agent, "ranks", ""), learned.priority
    if ranked:
        said = (w.length if ranked == "rows" else 1, w.batch)
        _need(
            priority is not None and tuple(priority.shape) == said and bool((priority >= 0).all()),
            f"learn: expected priorities of {ranked} {said}, at least 0, got "
            f"{None if priority is None else tuple(priority.shape)}",
        )
    after = _flat(agent)
    _need(
        not _equal(_flat_of(saved), after),
        "learn: expected weights that move, got the same after an update",
    )
    agent.load_state(saved)
    torch.manual_seed(seed)
    again = agent.learn(batch)
    _need(
        again.metrics == learned.metrics and _equal(after, _flat(agent)),
        "state, load_state: expected the same update after loading, bit for bit, got another; "
        "save all that an update changes",
    )
    for key in [*interface.shapes, "reward"]:
        if batch[key].is_floating_point():
            _check_refusal(agent, {**batch, key: torch.full_like(batch[key], math.nan)}, key)
    weights = agent.acting.state_dict()
    _need(
        bool(weights),
        "acting: expected a module with the weights that act reads, got one without any",
    )


def _check_refusal(agent: Agent, batch: Mapping[str, Tensor], key: str) -> None:
    before = _flat(agent)
    try:
        agent.learn(batch)
    except NotFinite:
        pass
    else:
        raise AgentError(
            f"learn: expected NotFinite for NaN in {key!r}, got an update; "
            f"look before the optimizer's step"
        )
    _need(
        _equal(before, _flat(agent)),
        f"learn: expected that NaN in {key!r} moves nothing, got other weights or estimates",
    )


def _rows(
    interface: Interface, agent: Agent, rng: np.random.Generator, lead: tuple[int, ...], first: bool
) -> dict[str, Tensor]:
    rows: dict[str, Any] = {}
    for key, shape in interface.shapes.items():
        size = (*lead, *shape)
        # images lie in [0, 1]
        drawn = rng.random(size) if len(shape) == 3 else rng.normal(size=size)
        rows[key] = (
            rng.integers(0, 256, size) if interface.dtypes[key] == np.uint8 else drawn
        ).astype(interface.dtypes[key])
    if not first:
        return to_tensors({**rows, "is_first": np.zeros(lead, np.bool_)}, agent.device)
    rows["action"] = interface.random(int(np.prod(lead)), rng).reshape(*lead, interface.action.size)
    rows["reward"] = rng.normal(size=lead).astype(np.float32)
    rows |= {k: np.zeros(lead, np.bool_) for k in FLAGS}
    rows["is_first"][0] = True
    rows |= {k: np.zeros((*lead, *s), np.float32) for k, s in agent.stored.items()}
    return to_tensors(rows, agent.device)


def _act(
    agent: Agent, obs: Mapping[str, Tensor], state: State, explore: bool, seed: int
) -> tuple[Tensor, State]:
    torch.manual_seed(seed)
    return agent.act(obs, state, explore=explore)


def _flat(agent: Agent) -> dict[str, Tensor]:
    return _flat_of(agent.state())


def _flat_of(state: Any) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in flatten_state(state)[0].items()}


def _equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in state.items()}


def _show(value: Any) -> str:
    return (
        f"{tuple(value.shape)} on {value.device}"
        if isinstance(value, Tensor)
        else type(value).__name__
    )


def _need(kept: bool, text: str) -> None:
    if not kept:
        raise AgentError(text)
