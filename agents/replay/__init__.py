"""The experience store: rows go in as environments give them, sequences ``[T, B, ...]`` come out.

    rows      RowSpec: keys, shapes and types of a row; the check at the door
    store     the arrays, in memory or memory-mapped files
    ring      Rings: one ring a stream; which rows are there, reading and writing them
    buffer    ReplayBuffer: the check, then the rings; uniform and fresh sequences, write-back, save
              and restore
    fill      episodes recorded elsewhere into a replay
    loader    to_tensors: numpy batches to tensors

A row is checked by ``rows``, written by ``ring`` into ``store``; ``buffer`` draws sequences and
numbers their rows (``index``), so that an agent's refreshed latents find their way back.
"""

from agents.replay.buffer import ReplayBuffer
from agents.replay.errors import ReplayError
from agents.replay.fill import fill
from agents.replay.loader import to_tensors
from agents.replay.rows import RowSpec

__all__ = ["ReplayBuffer", "ReplayError", "RowSpec", "fill", "to_tensors"]
