r"""What the states of an RSSM without a decoder are learned from: embeddings of what was seen.

.. math::
    C = \frac{1}{N} \sum_n \hat z_n z_n^T, \quad
    L_{barlow} = \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2

    L_{infonce} = -\frac{1}{N} \sum_n
        \log \frac{\exp \hat e_n \cdot \bar e_n}{\sum_m \exp \hat e_n \cdot \bar e_m}

over all ``N`` valid frames of a batch, where :math:`\hat e` is a linear map of a state,
:math:`\bar e` the frame's embedding without gradient, and :math:`\hat z, z` are both, feature by
feature less their mean and over their standard deviation. (R2-Dreamer, 2026: Barlow twins, Zbontar
et al. 2021; InfoNCE, van den Oord et al. 2018.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic, SeriesFunction

Representation = Literal["reconstruction", "barlow", "infonce", "next_embedding"]
SCALES = {"barlow": 0.05, "infonce": 1.0, "next_embedding": 0.05}
"""The published weights."""
EPS, TINY = 1e-8, 1e-30


class Projection(Deterministic):
    """``e_hat [N, E]``: a linear map of a state.

    Args:
        cond_var: the variables of the state, ``size`` features together.
        out: E.
    """

    def __init__(self, cond_var: Sequence[str], size: int, out: int) -> None:
        super().__init__("e_hat", list(cond_var), r"\hat e", features_shape=[out])
        self.net = nn.Linear(size, out, bias=False)

    def forward(self, **state: Tensor) -> dict[str, Tensor]:
        return {"e_hat": self.net(torch.cat([state[v] for v in self.cond_var], -1))}


class Alignment(SeriesFunction):
    """Abstract: ``align [T, N]``, what frames cost by ``e_hat`` and ``embed [T, N, E]``; a final
    class says how much. Its mean over valid frames is the loss.

    Args:
        name: of the function.
        past: the state saw no frame of its own: frames that begin an episode do not count.
    """

    def __init__(self, name: str, past: bool = False) -> None:
        flags = ["is_first"] if past else []
        super().__init__(
            "align", ["e_hat", "embed", *flags], name, series_var=flags, optional_var=["mask"]
        )

    def forward(
        self,
        e_hat: Tensor,
        embed: Tensor,
        is_first: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        counts = torch.ones_like(e_hat[..., 0])
        if mask is not None:
            counts = counts * (mask != 0).to(counts.dtype).reshape(counts.shape)
        if is_first is not None:
            counts = counts * (is_first == 0).to(counts.dtype).reshape(counts.shape)
        found = self.cost(e_hat.flatten(0, 1), embed.detach().flatten(0, 1), counts.flatten(0, 1))
        return {"align": found.expand(counts.numel()).unflatten(0, counts.shape)}

    def cost(self, guess: Tensor, embed: Tensor, counts: Tensor) -> Tensor:
        """One number, or one a row ``[N]``, from rows ``[N, E]`` of which some count, ``[N]``."""
        raise NotImplementedError


class Barlow(Alignment):
    """Guess and embedding are to agree in each feature, and features to differ from each other.

    Args:
        redundancy: lambda.
        past: see :class:`Alignment`.

    >>> x = torch.tensor([[[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]])
    >>> Barlow(1.0).forward(x, x)["align"].round(decimals=3).tolist()
    [[0.125, 0.125, 0.125, 0.125]]
    """

    def __init__(self, redundancy: float, past: bool = False) -> None:
        super().__init__(r"L_{barlow}", past)
        self.redundancy = redundancy

    def cost(self, guess: Tensor, embed: Tensor, counts: Tensor) -> Tensor:
        n = counts.sum().clamp(min=2.0)
        each = [_standardized(x, counts, n) for x in (guess, embed)]
        c = each[0].T @ each[1] / n
        diagonal = c.diagonal()
        off = c.square().sum() - diagonal.square().sum()
        return (1.0 - diagonal).square().sum() + self.redundancy * off


class InfoNCE(Alignment):
    """A state is to tell its own frame's embedding from those of all others in the batch."""

    def __init__(self) -> None:
        super().__init__(r"L_{infonce}")

    def cost(self, guess: Tensor, embed: Tensor, counts: Tensor) -> Tensor:
        logits = guess @ embed.T
        others = logits.masked_fill(counts == 0, -torch.inf)
        return (others.logsumexp(-1) - logits.diagonal()) * counts


def _standardized(x: Tensor, counts: Tensor, n: Tensor) -> Tensor:
    """``[N, E]`` less the mean and over the standard deviation of the rows that count; else 0."""
    w = counts.unsqueeze(-1)
    centred = (x - (x * w).sum(0) / n) * w
    return centred / ((centred.square().sum(0) / (n - 1.0)).clamp(min=TINY).sqrt() + EPS)


def build_alignment(kind: Representation, redundancy: float) -> Alignment:
    """The alignment of a representation that is no reconstruction."""
    if kind == "infonce":
        return InfoNCE()
    return Barlow(redundancy, past=kind == "next_embedding")
