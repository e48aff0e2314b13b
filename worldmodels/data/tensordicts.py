"""Sequences as tensordicts in the form of torchrl, and back.

torchrl keeps a transition in a row: the observation, the action, and under ``next`` what it led to.
Here a row holds what arrived with it, so ``T`` rows are ``T - 1`` transitions, batch first.

    this library, [T, B]                    torchrl, [B, T - 1]
    x[t], action[t]                         x, action
    x[t + 1], reward[t + 1]                 next.x, next.reward
    is_last[t + 1], is_terminal[t + 1]      next.done, next.terminated, next.truncated
    is_first[t]                             is_init
    mask, and no step over an end           collector.mask
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodels.data.actions import classes_of
from worldmodels.data.episodes import FLAGS, NOT_OBSERVED, Array, Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.flags import flags_of
from worldmodels.data.folders import need
from worldmodels.data.log import make_episode
from worldmodels.data.names import variable

MASK = ("collector", "mask")
OWN = {
    "action",
    "reward",
    "done",
    "terminated",
    "truncated",
    "is_init",
    "next",
    "collector",
    "mask",
}
"""Keys of a tensordict that are no observations."""


def to_tensordict(batch: Mapping[str, Tensor | Array]) -> Any:
    """A ``TensorDict`` of the batch size ``[B, T - 1]`` from sequences ``[T, B, ...]``.

    Args:
        batch: observations, ``action``, ``reward``, the flags, and perhaps ``mask``: of
            :meth:`agents.replay.ReplayBuffer.sample`, :class:`worldmodels.data.Windows` or
            :func:`worldmodels.data.pad`.

    Raises:
        DataError: tensordict is not installed, there are fewer than 2 rows, or a flag or the reward
            is missing.
    """
    tensordict = need("tensordict", "a tensordict")
    given = {k: torch.as_tensor(v).transpose(0, 1) for k, v in batch.items()}
    lacking = [k for k in ("reward", *FLAGS) if k not in given]
    if lacking or given["is_first"].shape[1] < 2:
        raise DataError(
            f"to_tensordict: expected at least 2 rows [T, B] with reward and flags, "
            f"got {_shapes(batch)}"
        )
    last, terminal = (given[k][:, 1:].unsqueeze(-1) for k in ("is_last", "is_terminal"))
    observed = [k for k in given if k not in (*NOT_OBSERVED, "mask")]
    after = {k: given[k][:, 1:] for k in observed}
    after |= {
        "reward": given["reward"][:, 1:].unsqueeze(-1),
        "done": last,
        "terminated": terminal,
        "truncated": last & ~terminal,
    }
    there = ~given["is_first"][:, 1:]
    if "mask" in given:
        there = there & (given["mask"][:, :-1] * given["mask"][:, 1:]).bool()
    found: dict[str, Any] = {
        k: given[k][:, :-1] for k in [*observed, *(["action"] if "action" in given else [])]
    }
    found |= {
        "is_init": given["is_first"][:, :-1].unsqueeze(-1),
        "next": after,
        "collector": {"mask": there},
    }
    return tensordict.TensorDict(found, batch_size=there.shape)


def from_tensordict(found: Any, source: str = "tensordict") -> Episodes:
    """Episodes from trajectories of torchrl, of the batch size ``[T]`` or ``[B, T]``; cut where
    ``next.done`` is set.

    Args:
        found: a ``TensorDict`` of transitions; rows that ``("collector", "mask")`` leaves out are
            not read.  Boolean and whole one-hot actions become floats.
        source: for messages.

    Raises:
        DataError: another batch size, no ``next``, or nested observations.
    """
    size = tuple(found.batch_size)
    if len(size) not in (1, 2):
        raise DataError(
            f"{source}: expected a tensordict of the batch size [T] or [B, T], got {list(size)}"
        )
    names = list(found.keys())
    if "next" not in names:
        raise DataError(
            f"{source}: expected transitions with 'next', as torchrl's collectors give, "
            f"got {sorted(names)}"
        )
    nested = [k for k in names if k not in OWN and not isinstance(found.get(k), Tensor)]
    if nested:
        raise DataError(
            f"{source}: expected flat observations, got the nested {nested}; "
            f"flatten_keys() flattens them"
        )
    rows = found if len(size) == 2 else found.unsqueeze(0)
    action = rows.get("action", None)
    whole = action is not None and action.ndim == 2 and not action.dtype.is_floating_point
    classes = (classes_of([_array(action.flatten())], source) or 0) if whole else None
    called = [f"{source} {b}" if len(size) == 2 else source for b in range(rows.batch_size[0])]
    return Episodes(
        [e for b, name in enumerate(called) for e in _cut(rows[b], name, classes)], source=source
    )


def _cut(rows: Any, name: str, classes: int | None) -> Iterator[Episode]:
    """The episodes of one trajectory ``[T]``."""
    after = rows.get("next")
    there_after = set(after.keys())
    keys = [k for k in list(rows.keys()) if k not in OWN and k in there_after]
    there = rows.get(MASK, None)
    steps = (
        np.arange(rows.batch_size[0]) if there is None else np.flatnonzero(_flat(there, len(rows)))
    )
    terminated, truncated, done = (
        _flag(after, k, len(rows), name) for k in ("terminated", "truncated", "done")
    )
    terminal = terminated if "terminated" in there_after else done & ~truncated
    over = done | terminal | truncated
    ends = [
        i + 1
        for i, t in enumerate(steps)
        if over[t] or (i + 1 < len(steps) and steps[i + 1] != t + 1)
    ]
    bounds = [0, *ends, *([len(steps)] if not ends or ends[-1] != len(steps) else [])]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        if stop == start:
            continue
        part, at = steps[start:stop], int(steps[stop - 1])
        series = {
            variable(k): _array(torch.cat([rows.get(k)[part], after.get(k)[at : at + 1]]))
            for k in keys
        }
        action = rows.get("action", None)
        reward = after.get("reward", None)
        yield make_episode(
            f"{name}, episode {number}",
            series,
            action=None if action is None else _float(action[part]),
            reward=None if reward is None else _flat(reward[part], len(part)),
            terminal=bool(terminal[at]),
            last=bool(over[at]),
            actions=classes,
        )


def _flag(after: Any, key: str, rows: int, name: str) -> Array:
    value = after.get(key, None)
    if value is None:
        return np.zeros(rows, bool)
    return flags_of(_flat(value, rows), name, f"next.{key}")


def _flat(value: Tensor, rows: int) -> Array:
    return _array(value).reshape(rows, -1)[:, 0]


def _array(value: Tensor) -> Array:
    return value.detach().cpu().numpy()


def _float(action: Tensor) -> Array:
    """Actions ``[T, A]`` as floats; class numbers ``[T]`` as they are."""
    return _array(
        action if action.ndim == 1 and not action.dtype.is_floating_point else action.float()
    )


def _shapes(batch: Mapping[str, Any]) -> dict[str, list[int]]:
    return {k: list(v.shape) for k, v in batch.items()}
