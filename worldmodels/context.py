"""Context: what a recurrent network reads in a whole sequence, frame by frame,
for ragged batches.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pixyz.distributions import SeriesFunction

Reads = Literal["right", "left", "both"]


def reading_order(mask: Tensor, backward: bool) -> Tensor:
    """The frames in the order in which a network reads them, ``[T, B]``: valid ones first, padding
    last.

    Args:
        mask: nonzero where a frame is valid, ``[T, B]``; valid frames need not be side by side.
        backward: from the last valid frame to the first.

    >>> reading_order(torch.tensor([[1, 1], [1, 0], [1, 1]]), backward=True).T
    tensor([[2, 1, 0],
            [2, 0, 1]])
    """
    steps = mask.shape[0]
    frame = torch.arange(steps, device=mask.device).unsqueeze(1).expand(mask.shape)
    rank = steps - 1 - frame if backward else frame
    return torch.argsort(torch.where(mask != 0, rank, steps + frame), 0)


class Context(SeriesFunction):
    r"""``h_t = RNN(x_{t:T})`` (``reads="right"``), ``RNN(x_{1:t})`` (``"left"``) or the sum of both
    (``"both"``).

    A GRU with a learned first state; it reads valid frames only, so ``h`` of a ragged batch equals
    that of each sequence alone.  ``x`` is ``[T, B, D]``, ``mask`` (where it is given) ``[T, B]``,
    ``h`` ``[T, B, H]``.

    Args:
        size: the size of a frame.
        hidden: the size of ``h``.
        reads: which frames.
        dropout: the probability that an input is dropped, in training.
        var, cond_var: the names of ``h`` and of ``x``.

    >>> q = Context(size=3, hidden=4)
    >>> q.sample({"x": torch.zeros(5, 2, 3)})["h"].shape
    torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        size: int,
        hidden: int,
        reads: Reads = "right",
        dropout: float = 0.0,
        var: str = "h",
        cond_var: str = "x",
    ) -> None:
        super().__init__(
            var, cond_var, name="f", series_var=[cond_var, "mask"], optional_var="mask"
        )
        self.reads, self.hidden = reads, hidden
        self.backward = {"right": [True], "left": [False], "both": [True, False]}[reads]
        self.cells = nn.ModuleList([nn.GRU(size, hidden) for _ in self.backward])
        self.first = nn.ParameterList([nn.Parameter(torch.zeros(hidden)) for _ in self.backward])
        self.dropout = nn.Dropout(dropout)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {self.var[0]: self.read(given[self.cond_var[0]], given.get("mask"))}

    def read(self, x: Tensor, mask: Tensor | None = None, start: Tensor | None = None) -> Tensor:
        """``h [T, B, H]``.

        Args:
            x: frames ``[T, B, D]``.
            mask: which of them are valid, ``[T, B]``; all if None.
            start: the state ``[B, H]`` of the forward network before the first frame; the learned
                one if None.
        """
        if mask is not None:
            x = torch.where(
                mask.unsqueeze(-1) != 0, x, torch.zeros((), dtype=x.dtype, device=x.device)
            )
        x = self.dropout(x)
        total: Tensor | None = None
        for cell, first, backward in zip(self.cells, self.first, self.backward, strict=True):
            begin = first.expand(x.shape[1], -1) if start is None or backward else start
            if mask is None:
                h = cell(x.flip(0) if backward else x, begin.unsqueeze(0).contiguous())[0]
                h = h.flip(0) if backward else h
            else:
                order = reading_order(mask, backward).unsqueeze(-1)
                h = cell(x.gather(0, order.expand_as(x)), begin.unsqueeze(0).contiguous())[0]
                h = h.gather(0, torch.argsort(order, 0).expand_as(h))
            total = h if total is None else total + h
        assert total is not None
        return total

    def read_each(self, x: Tensor) -> Tensor:
        """``h [T, B, H]`` where each frame is read as if it were a sequence of one."""
        return self.read(x.flatten(0, 1).unsqueeze(0)).squeeze(0).unflatten(0, x.shape[:2])

    def initial(self, batch: int) -> Tensor:
        """The state of the forward network before the first frame, ``[B, H]``."""
        return self.first[self.backward.index(False)].expand(batch, -1)
