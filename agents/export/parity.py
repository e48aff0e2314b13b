"""Whether an exported policy does what the loaded one does, and how long each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.errors import UsageError
from agents.export.draws import Recorded
from agents.export.files import Array, Function
from agents.export.step import Signature
from agents.policy import Policy
from pixyz.plan.random import random_states, restore_random_states

EPISODE = 8
LIMIT = 1e-5


class ParityError(UsageError):
    """An exported policy acts otherwise than the one that it was made from."""


@dataclass(frozen=True)
class Parity:
    """The largest differences over some steps.

    Args:
        steps: compared.
        action: of actions, as a share of half the range that the environment takes.
        state: of the state's numbers, as a share of 1 plus their size.

    >>> Parity(16, 0.0, 1e-7).text
    '16 steps: actions differ by 0 of their range, states by 1e-07'
    """

    steps: int
    action: float
    state: float

    @property
    def text(self) -> str:
        """A line."""
        return (
            f"{self.steps} steps: actions differ by {self.action:.2g} of their range, "
            f"states by {self.state:.2g}"
        )


def check_parity(
    policy: Policy,
    observation: Any,
    signature: Signature,
    function: Function,
    steps: int = 32,
    seed: int = 0,
    limit: float = LIMIT,
) -> Parity:
    """Compare an exported function with ``policy.act``, on the same observations and the same
    noise.

    Both keep their own memory; an episode begins every :data:`EPISODE` steps, and at its first step
    the exported function is given the old state with ``is_first``, while the policy is reset.

    Args:
        policy: of :func:`agents.load`, with the same ``explore``.
        observation: the space that the environment declares; observations are drawn from it.
        signature, function: of :func:`agents.export.read`.
        limit: of the differences.

    Raises:
        ParityError: they differ by more, or the function's result is not finite.
    """
    before = random_states()
    torch.manual_seed(seed)
    observation.seed(seed)
    memory = start(signature)
    worst = {"action": 0.0, "state": 0.0}
    try:
        for i in range(steps):
            seen, first = observation.sample(), i % EPISODE == 0
            if first:
                policy.reset()
            with Recorded() as recorded:
                expected = np.asarray(policy.act(seen))
            noise = [draw.value.numpy() for draw in recorded.draws]
            given = arranged(signature, policy.seen(seen), first, memory, noise)
            action, *following = function(given)
            memory = dict(zip(memory, following, strict=True))
            worst["action"] = max(worst["action"], _gap(action[0], expected, _half(signature)))
            for key, value in memory.items():
                mine = policy.memory[key].cpu().numpy()
                worst["state"] = max(worst["state"], _gap(value, mine, 1.0 + np.abs(mine)))
    finally:
        restore_random_states(before)
    found = Parity(steps, worst["action"], worst["state"])
    if not max(found.action, found.state) <= limit:
        raise ParityError(
            f"the exported {signature.exported} is not the one that was loaded, "
            f"in {found.text} (limit {limit:g})"
        )
    return found


def start(signature: Signature) -> dict[str, Array]:
    """A state before the first step; with ``is_first`` its numbers do not count."""
    slots = [s for s in signature.inputs if s.what == "state"]
    return {s.name.removeprefix("state_"): np.zeros(s.shape, s.dtype) for s in slots}


def arranged(
    signature: Signature,
    seen: Mapping[str, Array],
    first: bool,
    state: Mapping[str, Array],
    noise: Sequence[Array],
) -> list[Array]:
    """The inputs in their order.

    Raises:
        ParityError: another number of draws than the function takes.
    """
    names = signature.names("noise")
    if len(names) != len(noise):
        raise ParityError(
            f"expected {len(names)} draws in a step, got {len(noise)}: "
            f"the policy draws differently each time"
        )
    found = {f"obs_{k}": v for k, v in seen.items()} | {"is_first": np.array([first])}
    found |= {f"state_{k}": v for k, v in state.items()} | dict(zip(names, noise))
    return [found[slot.name] for slot in signature.inputs]


def latency(
    calls: Mapping[str, Callable[[], Any]], rounds: int = 200, warmup: int = 20
) -> dict[str, dict[str, float]]:
    """Milliseconds of each call, p50 and p99; the calls are made in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + warmup):
        for name, call in calls.items():
            began = time.perf_counter_ns()
            call()
            if i >= warmup:
                taken[name].append((time.perf_counter_ns() - began) / 1e6)
    cuts = {name: statistics.quantiles(values, n=100) for name, values in taken.items()}
    return {
        name: {"p50": round(parts[49], 4), "p99": round(parts[98], 4)}
        for name, parts in cuts.items()
    }


def _half(signature: Signature) -> Any:
    """Half of the range of each number of an action; 1 for choices."""
    plain = signature.action
    if "low" not in plain or "high" not in plain:
        return 1.0
    return np.maximum(
        (np.asarray(plain["high"], float) - np.asarray(plain["low"], float)) / 2, 1e-12
    )


def _gap(value: Array, expected: Array, scale: Any) -> float:
    if value.shape != expected.shape or not np.isfinite(value).all():
        return float("inf")
    return float(np.max(np.abs(value.astype(np.float64) - expected) / scale, initial=0.0))
