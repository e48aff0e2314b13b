"""Context: what a recurrent network reads in a whole sequence, frame by frame, for ragged batches."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pixyz.distributions import SeriesFunction

Reads = Literal["right", "left", "both"]


def reading_order(mask: Tensor, backward: bool) -> Tensor:
    """The frames in the order in which a network reads them, ``[T, B]``: valid ones first, padding last.

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
    r"""``h_t = RNN(x_{t:T})`` (``reads="right"``), ``RNN(x_{1:t})`` (``"left"``) or the sum of both (``"both"``).

    An LSTM with learned first states; it reads valid frames only, so ``h`` of a ragged batch equals that of each
    sequence alone.  ``x`` is ``[T, B, D]``, ``mask`` ``[T, B]``, ``h`` ``[T, B, H]``.

    Args:
        size: the size of a frame.
        hidden: the size of ``h``.
        reads: which frames.
        dropout: the probability that an input is dropped, in training.
        var, cond_var: the names of ``h`` and of ``x`` and ``mask``.
    """

    def __init__(
        self, size: int, hidden: int, reads: Reads = "right", dropout: float = 0.0, var: str = "h",
        cond_var: tuple[str, str] = ("x", "mask"),
    ) -> None:
        super().__init__(var, list(cond_var), name="f", series_var=list(cond_var))
        self.backward = {"right": [True], "left": [False], "both": [True, False]}[reads]
        self.cells = nn.ModuleList([nn.LSTM(size, hidden) for _ in self.backward])
        self.first = nn.ParameterList([nn.Parameter(torch.zeros(2, 1, 1, hidden)) for _ in self.backward])
        self.dropout = nn.Dropout(dropout)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        x, mask = (given[v] for v in self.cond_var)
        x = self.dropout(torch.where(mask.unsqueeze(-1) != 0, x, torch.zeros((), dtype=x.dtype, device=x.device)))
        total: Tensor | None = None
        for cell, first, backward in zip(self.cells, self.first, self.backward, strict=True):
            order = reading_order(mask, backward).unsqueeze(-1)
            start = first.expand(-1, -1, x.shape[1], -1).contiguous()
            read, _ = cell(x.gather(0, order.expand_as(x)), (start[0], start[1]))
            h = read.gather(0, torch.argsort(order, 0).expand_as(read))
            total = h if total is None else total + h
        assert total is not None
        return {self.var[0]: total}

    def initial(self, batch: int) -> tuple[Tensor, Tensor]:
        """The state before the first frame of the network that reads forward, ``[B, H]`` twice."""
        state = self.first[self.backward.index(False)].expand(-1, -1, batch, -1)
        return state[0, 0], state[1, 0]

    def advance(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One frame of the network that reads forward: the new state, of which the first part is ``h``."""
        cell = self.cells[self.backward.index(False)]
        _, (h, c) = cell(x.unsqueeze(0), (state[0].unsqueeze(0).contiguous(), state[1].unsqueeze(0).contiguous()))
        return h[0], c[0]
