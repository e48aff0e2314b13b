"""Pieces of a batch of sequences: what estimators evaluate at once, so that a long song fits into
memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixyz.types import PixyzError
from worldmodels.doors import Door

Batch = Mapping[str, Tensor]
"""Named series ``[T, B, ...]``; ``mask [T, B]`` where they are ragged; names that end in ``_prev``,
and what is ``[B]``, are rows ``[B, ...]``; anything else is the same for all (``beta``).
"""
Progress = Callable[[int, int], None]
"""Is told how much is done, of how much."""
MEMORY = 1e9
"""Bytes, about, that an estimator's intermediate values may take."""


def is_series(name: str, value: object) -> bool:
    """Whether a variable has an axis of time; what is carried into the first frame has none, nor
    has one number for each sequence, or for all.
    """
    return _dimensions(value) > 1 and not name.endswith("_prev")


def _dimensions(value: object) -> int:
    return value.ndim if isinstance(value, Tensor) else 0


def looked_at(expression: object, batch: Batch) -> Batch:
    """The batch in the forms that ``expression`` reads, of a model or of expressions of one: its
    door has looked. ``mask`` is ``[T, B]`` for any other, too.
    """
    door = getattr(expression, "door", None)
    if isinstance(door, Door):
        return door(batch)
    mask = batch.get("mask")
    squeezed = isinstance(mask, Tensor) and mask.ndim == 3 and mask.shape[-1] == 1
    return {**batch, "mask": mask.squeeze(-1)} if squeezed and mask is not None else batch


def size_of(batch: Batch) -> tuple[int, int]:
    """Frames and sequences.

    Raises:
        PixyzError: there is no series.
    """
    series = next((v for k, v in batch.items() if is_series(k, v)), None)
    if series is None:
        raise PixyzError(f"expected series [T, B, ...], got {sorted(batch)}")
    return series.shape[0], series.shape[1]


def rows(batch: Batch, start: int, stop: int) -> dict[str, Tensor]:
    """Some sequences of a batch, without the padding that only the others need."""
    axes, places = _axes(batch), slice(start, stop)
    part = {
        k: v if k not in axes else v[:, places] if axes[k] else v[places] for k, v in batch.items()
    }
    if "mask" in part:
        valid = (part["mask"] != 0).any(1).nonzero()
        steps = int(valid.max()) + 1 if len(valid) else 1
        part = {k: v[:steps] if is_series(k, v) else v for k, v in part.items()}
    return part


def _axes(batch: Batch) -> dict[str, int]:
    """Where sequences lie side by side, by name: 1 of series, 0 of rows; neither of what is the
    same for all.
    """
    _, count = size_of(batch)
    return {
        k: int(is_series(k, v))
        for k, v in batch.items()
        if _dimensions(v) > 1 or k.endswith("_prev") or (_dimensions(v) == 1 and len(v) == count)
    }


def times(batch: Batch, start: int, stop: int) -> dict[str, Tensor]:
    """Some frames of a batch; what is carried into the first frame belongs to the first piece."""
    return {
        k: v[start:stop] if is_series(k, v) else v
        for k, v in batch.items()
        if not start or not k.endswith("_prev")
    }


def repeated(batch: Batch, many: int) -> dict[str, Tensor]:
    """Each sequence ``many`` times, side by side."""
    axes = _axes(batch)
    return {k: v.repeat_interleave(many, axes[k]) if k in axes else v for k, v in batch.items()}


def last_action(batch: Batch) -> Tensor:
    """The action that the frame behind a piece reads, ``[B, A]``: 0 where the last frame is masked,
    as within a piece.
    """
    action = batch["action"][-1]
    if "mask" not in batch:
        return action
    valid = (batch["mask"][-1] != 0).unsqueeze(-1)
    return torch.where(valid, action, torch.zeros_like(action))


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Starts and stops of pieces of ``size``."""
    for start in range(0, count, size):
        yield start, min(start + size, count)


def check_memory(memory: float) -> None:
    """Raises a :class:`PixyzError` where ``memory`` is no number of bytes."""
    if not memory > 0:
        raise PixyzError(f"expected memory as a number of bytes above 0, got {memory}")


class _Live(TorchDispatchMode):
    """The most bytes of new tensors that are there together."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.held: dict[int, int] = {}  # a storage -> how many tensors hold it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {_storage(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in (x for x in tree_leaves(out) if isinstance(x, Tensor)):
            place, size = _storage(x), x.untyped_storage().nbytes()
            if place in self.held:
                self.held[place] += 1
            elif place not in given:
                self.held[place] = 1
                self.now += size
            else:  # a view of what was there before
                continue
            weakref.finalize(x, self._gone, place, size)
        self.most = max(self.most, self.now)
        return out

    def _gone(self, place: int, size: int) -> None:
        self.held[place] -= 1
        if not self.held[place]:
            del self.held[place]
            self.now -= size


def _storage(x: Tensor) -> int:
    """Which storage a tensor has; where its values lie is not always known (fake tensors, backends
    written in Python).
    """
    return int(x.untyped_storage()._cdata)


def bytes_a_frame(run: Callable[[dict[str, Tensor]], object], batch: Batch) -> float:
    """Bytes that a run needs for each row and frame, on a few of them; the random generators are
    put back.
    """
    few = times(rows(batch, 0, 1), 0, 8)
    devices = sorted({v.get_device() for v in few.values() if _dimensions(v) and v.is_cuda})
    with torch.random.fork_rng(devices):
        run(repeated(few, 2))  # the plan is built, which takes memory once
        with _Live() as live:
            run(repeated(few, 2))
    steps, _ = size_of(few)
    return max(1.0, live.most / (2 * steps))
