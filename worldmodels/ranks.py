"""Learners that move as one: processes of ``torchrun``, each with a shard of the data.

    torchrun --nproc-per-node 2 script.py

Every process draws its own batch; gradients are averaged before the optimizer's step, and so are
the numbers that say whether a step is made (:func:`agents.guard.backward`), so that all processes
make it or none does. Running estimates take in the batches of all. It is the mean that
``DistributedDataParallel`` takes, at the one place where every agent's gradients pass by: losses
here are expressions over several networks and optimizers, and not the ``forward`` of one module.
Where there is one process nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(days=1)
"""With a process that waits, say for an actor; one that ends is noticed by ``torchrun`` at once."""
STORE = timedelta(minutes=5)
"""Until the processes have found each other."""


def active() -> bool:
    """Whether there are several processes.

    >>> active()
    False
    """
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """The number of this process; 0 where there is one.

    >>> rank()
    0
    """
    return dist.get_rank() if active() else 0


def count() -> int:
    """How many processes there are.

    >>> count()
    1
    """
    return dist.get_world_size() if active() else 1


def join() -> tuple[int, int]:
    """Become one of the processes that ``torchrun`` started; where it did not, nothing happens.

    Returns:
        The number of this process, and of how many.

    >>> join()
    (0, 1)
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        store, number, size = next(dist.rendezvous("env://", timeout=STORE))
        store = dist.PrefixStore(_start(), store)
        dist.init_process_group(
            backend, timeout=PATIENCE, store=store, rank=number, world_size=size
        )
    return rank(), count()


def _start() -> str:
    """Under which name the processes tell each other where they are. ``torchrun`` keeps what they
    told: after a restart the address of a process that is gone would be read. On one machine all
    count the restarts alike; on several they may not, and share one name.
    """
    alone = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    return f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if alone else "start"


def restarted() -> bool:
    """Whether ``torchrun`` has started the processes again, after one of them ended.

    >>> restarted()
    False
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def leave() -> None:
    """Say goodbye to the others."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def wait() -> None:
    """Until all processes are here."""
    if active():
        dist.barrier()


@torch.no_grad()
def averaged(*tensors: Tensor) -> Sequence[Tensor]:
    """The mean of each tensor over all processes, the same bits in all of them.

    Every process must call it with tensors of the same shapes, in the same order.

    >>> averaged(torch.ones(2))
    (tensor([1., 1.]),)
    """
    if not active() or not tensors:
        return tensors
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    parts = (flat / count()).split([t.numel() for t in tensors])
    return [part.view_as(t) for t, part in zip(tensors, parts, strict=True)]


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Put the mean over all processes in the place of each tensor."""
    if active():
        for t, mean in zip(tensors, averaged(*tensors), strict=True):
            t.copy_(mean)


def least(value: int) -> int:
    """The smallest of the numbers that the processes give.

    >>> least(3)
    3
    """
    if not active():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    found = torch.tensor(value, device=device)
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return int(found)


@torch.no_grad()
def gathered(x: Tensor) -> Tensor:
    """The rows ``[N, ...]`` of all processes, ``[count N, ...]``; every process has as many.

    >>> gathered(torch.ones(2))
    tensor([1., 1.])
    """
    if not active():
        return x
    parts = [torch.empty_like(x) for _ in range(count())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


@torch.no_grad()
def begin_alike(module: nn.Module) -> None:
    """Give all processes the parameters and buffers of process 0."""
    if active():
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.data, 0)
