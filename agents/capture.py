"""An update's losses and gradients as one CUDA graph: one launch where there were thousands.

    batch -> the graph's own inputs -> replay: losses, backward -> one read (is all of it finite?)
    -> the optimizer's step

The read and the step stay outside: what is not finite must move nothing, and the step's rates
depend on how many there were. Nothing else of an update waits for the device, and its shapes are
those of its batch, so the rest can be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.plan.random import random_states, restore_random_states

Losses = Callable[[Mapping[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]
Replay = Callable[[], object]
WARMUP = 3


def cuda_graph(call: Callable[[], None]) -> Replay:
    """Record ``call`` after some runs on a stream of their own, as torch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def why_not(agent: nn.Module) -> str:
    """Why an agent's update cannot be captured where it is; empty if nothing is known against it.

    >>> why_not(nn.Linear(1, 1))
    'the agent is on cpu: CUDA graphs need a GPU of NVIDIA, agent.to("cuda")'
    """
    kind = next(agent.parameters()).device.type
    return (
        ""
        if kind == "cuda"
        else f'the agent is on {kind}: CUDA graphs need a GPU of NVIDIA, agent.to("cuda")'
    )


@contextmanager
def undone(parameters: Iterable[Tensor], buffers: Iterable[Tensor]) -> Iterator[None]:
    """After the context buffers and random generators are as before, and there is no gradient.

    >>> estimate = torch.zeros(1)
    >>> with undone([], [estimate]):
    ...     _ = estimate.add_(torch.rand(1))
    >>> estimate
    tensor([0.])
    """
    before, states = [(b, b.clone()) for b in buffers], random_states()
    try:
        yield
    finally:
        for buffer, copy in before:
            buffer.detach().copy_(copy)
        restore_random_states(states)
        for p in parameters:
            p.grad = None


class Captured:
    """Losses and gradients of batches of one shape.

    Args:
        losses: of a batch: the loss, and the named variables that an update reads.
        batch: an example.
        parameters: what gets a gradient.
        buffers: what the losses move (running estimates); they are put back after recording, and so
            are the random generators.
        record: makes a function that repeats a call; a graph of CUDA's.
    """

    def __init__(
        self,
        losses: Losses,
        batch: Mapping[str, Tensor],
        parameters: Sequence[Tensor],
        buffers: Sequence[Tensor],
        record: Callable[[Callable[[], None]], Replay] = cuda_graph,
    ) -> None:
        self._inputs = {k: v.clone() for k, v in batch.items()}
        self._parameters = [p for p in parameters if p.requires_grad]
        self._places = [p.data_ptr() for p in self._parameters]
        self._losses = losses
        self._held: dict[str, Any] = {}
        with undone(self._parameters, buffers):
            self._replay = record(self._compute)

    def _compute(self) -> None:
        for p in self._parameters:
            p.grad = None
        loss, found = self._losses(self._inputs)
        loss.backward()
        self._held = {
            "loss": loss.detach(),
            "found": {k: v.detach() for k, v in found.items()},
            "gradients": [p.grad for p in self._parameters],
        }

    def serves(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether the batch has the shapes that were recorded,
        and the weights are where they were.
        """
        same = batch.keys() == self._inputs.keys() and all(
            [
                v.shape == self._inputs[k].shape and v.dtype == self._inputs[k].dtype
                for k, v in batch.items()
            ]
        )
        return same and self._places == [p.data_ptr() for p in self._parameters]

    def __call__(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, without a graph of autograd's, and the variables; every parameter has its
        gradient.
        """
        for k, v in batch.items():
            self._inputs[k].copy_(v)
        self._replay()
        for p, gradient in zip(self._parameters, self._held["gradients"], strict=True):
            p.grad = gradient
        return self._held["loss"], {k: v.clone() for k, v in self._held["found"].items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copy of an agent has captured nothing."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(None), ())
