"""The experience store: rows go in as environments give them, sequences ``[T, B, ...]`` come out.

    rows        RowSpec: keys, shapes and types of a row; the check at the door
    codecs      latents in fewer bytes: choices as bytes, numbers as bfloat16
    store       the arrays, in memory or memory-mapped files
    ring        Rings: one ring a stream; which rows are there, reading and writing them
    fresh       rows that no sequence has shown yet, each once
    samplers    which sequences are drawn: uniform, recent, mixed
    priorities  sequences around rows that surprised
    buffer      ReplayBuffer: the check, then the rings; sequences, write-back, save and restore
    size        a capacity in bytes
    fill        episodes recorded elsewhere into a replay
    loader      to_tensors: numpy batches to tensors

A row is checked by ``rows``, written by ``ring`` into ``store``; ``buffer`` draws sequences and
numbers their rows (``index``), so that an agent's refreshed latents find their way back.
"""

from agents.replay.buffer import ReplayBuffer
from agents.replay.codecs import BFloat16, OneHot
from agents.replay.errors import ReplayError
from agents.replay.fill import fill
from agents.replay.loader import to_tensors
from agents.replay.priorities import Prioritized
from agents.replay.rows import RowSpec
from agents.replay.samplers import Mixed, Recent, Sampler, Uniform

__all__ = [
    "BFloat16",
    "Mixed",
    "OneHot",
    "Prioritized",
    "Recent",
    "ReplayBuffer",
    "ReplayError",
    "RowSpec",
    "Sampler",
    "Uniform",
    "fill",
    "to_tensors",
]
