"""Numbers of any size as two neighbouring bins of a categorical."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributions as td
from torch.autograd.function import once_differentiable

from pixyz.distributions.families.given import Value
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.types import PixyzError, VarSpec

MANY = 2**17
"""From so many log-probabilities on, one pass over them for a gradient is worth a call of Python's
on a CPU.
"""


class TwoHot(ParametricDistribution):
    r"""A categorical over bins whose mean is the prediction, for returns of any size (Hafner et al.
    2023, eq. 9-10).

    The log-density of a number ``x [..., 1]`` is :math:`\mathrm{twohot}(x)^T
    \log\mathrm{softmax}(l)` with the weight of ``x`` shared by the two nearest bins; the mean is
    :math:`\sum_i p_i b_i`, added from the outside in pairs so that uniform logits give exactly 0.
    It is a proper objective, not a density over ``x``.

    Args:
        bins: the bins ``[K]``, increasing, symmetric about 0 (default: symexp of 255 points in
            [-20, 20]).

    >>> p = TwoHot("r", logits=torch.zeros(1, 5), bins=5)
    >>> p.sample_mean({}).shape
    torch.Size([1, 1, 1])
    """

    params_keys = ("logits",)
    event_dims = 1
    own_width = True
    normalized = False
    pathwise = False
    bins: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        logits: Value = None,
        bins: Tensor | int = 255,
    ) -> None:
        found = symexp_bins(bins) if isinstance(bins, int) else bins
        if not ((found.diff() > 0).all() and torch.equal(found, -found.flip(0))):
            raise PixyzError(
                f"the bins must be increasing and symmetric about 0, got {found.tolist()}"
            )
        super().__init__(var, cond_var, name, logits=logits)
        self._features_shape = torch.Size([1])
        self.register_buffer("bins", found)

    @property
    def feature_rank(self) -> int | None:
        return None  # logits [B, S, K] are densities of S numbers

    @staticmethod
    def derive_log_probs(logits: Tensor) -> Tensor:
        return torch.log_softmax(logits, -1)

    @staticmethod
    def derive_probs(logits: Tensor) -> Tensor:
        return torch.softmax(logits, -1)

    def log_density(self, x: Tensor, log_probs: Tensor) -> Tensor:
        if x.shape[:-1] != log_probs.shape[:-1]:
            rows = torch.broadcast_shapes(x.shape[:-1], log_probs.shape[:-1])
            x, log_probs = x.expand(*rows, 1), log_probs.expand(*rows, log_probs.shape[-1])
        below, above, weight = two_hot(x.squeeze(-1), self.bins)
        if torch.compiler.is_compiling():
            bin_of, w = torch.arange(log_probs.shape[-1], device=x.device), weight.unsqueeze(-1)
            shares = torch.where(
                bin_of == below.unsqueeze(-1),
                1.0 - w,
                torch.where(bin_of == above.unsqueeze(-1), w, 0.0),
            )
            return (shares * log_probs).sum(-1)
        few = log_probs.is_cpu and log_probs.numel() < MANY
        plain = few or torch._C._are_functorch_transforms_active()
        between = Between.formula if plain else Between.apply
        made: Tensor = between(
            log_probs, below.unsqueeze(-1), above.unsqueeze(-1), weight.unsqueeze(-1)
        ).squeeze(-1)
        return made

    def mean_of(self, probs: Tensor) -> Tensor:
        half = self.bins.shape[0] // 2
        low, high = probs[..., :half] * self.bins[:half], probs[..., -half:] * self.bins[-half:]
        return (low.flip(-1) + high).sum(-1, keepdim=True)

    @staticmethod
    def entropy_of(log_probs: Tensor, probs: Tensor) -> Tensor:
        return -(log_probs * probs).sum(-1)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return td.Categorical(logits=params["logits"])


class Between(torch.autograd.Function):
    """``(1 - w) x[i] + w x[j]`` for ``x [..., K]``, ``i, j, w [..., 1]``; the gradient is one
    tensor ``[..., K]``, not two.
    """

    @staticmethod
    def formula(x: Tensor, i: Tensor, j: Tensor, w: Tensor) -> Tensor:
        """As torch differentiates it."""
        return torch.lerp(x.gather(-1, i), x.gather(-1, j), w)

    @staticmethod
    def forward(ctx: Any, x: Tensor, i: Tensor, j: Tensor, w: Tensor) -> Tensor:
        low, high = x.gather(-1, i), x.gather(-1, j)
        ctx.save_for_backward(i, j, w, high - low if ctx.needs_input_grad[3] else None)
        ctx.classes = x.shape[-1]
        return torch.lerp(low, high, w)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        i, j, w, gap = ctx.saved_tensors
        upper = grad * w
        found = (
            grad.new_zeros((*grad.shape[:-1], ctx.classes))
            .scatter_(-1, i, grad - upper)
            .scatter_add_(-1, j, upper)
        )
        return found, None, None, None if gap is None else gap * grad


def symexp_bins(count: int) -> Tensor:
    """Bins that are dense near 0: symexp of ``count`` equal steps in [-20, 20], exactly symmetric;
    ``count`` is odd.
    """
    if count < 3 or count % 2 == 0:
        raise PixyzError(f"the number of bins must be odd and at least 3 (a bin at 0), got {count}")
    half = torch.linspace(-20.0, 0.0, (count + 1) // 2, dtype=torch.float64)
    low = -torch.expm1(-half)
    return torch.cat([low, -low[:-1].flip(0)]).float()


def two_hot(x: Tensor, bins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two bins around ``x`` and the weight of the upper one;
    values outside go to the last bin.
    """
    bins = bins.to(x.dtype)
    above = torch.searchsorted(bins, x.detach().contiguous(), right=True).clamp(
        1, bins.shape[0] - 1
    )
    below = above - 1
    low, high = bins[below], bins[above]
    return below, above, ((x - low) / (high - low)).clamp(0.0, 1.0)
