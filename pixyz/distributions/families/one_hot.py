"""Families over one-hot vectors on the hot path: categorical, groups of one-hot variables, two-hot
numbers.

A one-hot sample takes one uniform number a categorical (cumulative sum and compare).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pixyz.distributions.core.base import Params
from pixyz.distributions.core.states import all_states
from pixyz.distributions.families.noise import class_noise
from pixyz.distributions.families.normal import one_of, unknown_shape
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.plan import Builder, Scope
from pixyz.plan.looks import WEIGHTS, Domain
from pixyz.types import PixyzError, VarSpec


class Categorical(ParametricDistribution):
    r"""The categorical distribution over one-hot vectors ``[..., K]``; ``probs`` or ``logits``.

    ``x`` is one-hot, or soft (a mixture of classes).

    :math:`p(x) = \prod_k \pi_k^{x_k}`.

    >>> p = Categorical("y", probs=torch.tensor([0.2, 0.8]))
    >>> p.get_log_prob({"y": torch.tensor([[0.0, 1.0]])}).exp()
    tensor([0.8000])
    """

    distribution_torch_class: ClassVar[Any] = torch.distributions.OneHotCategorical
    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    noise_shape = ("probs",)
    noise = staticmethod(class_noise)
    event_dims = 1
    domain = Domain(
        0.0, 1.0, 1.0, advice="give one-hot vectors (class numbers n: one_hot(n, classes))"
    )
    constraints: ClassVar[Mapping[str, Domain]] = {"probs": WEIGHTS}
    pathwise = False

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)

    @staticmethod
    def derive_probs_from_logits(logits: Tensor) -> Tensor:
        return torch.softmax(logits, -1)

    @staticmethod
    def derive_logits_from_probs(probs: Tensor) -> Tensor:
        return probs.clamp(min=torch.finfo(probs.dtype).tiny).log()

    @staticmethod
    def derive_log_probs(logits: Tensor) -> Tensor:
        # 0 * log 0 = 0
        return torch.log_softmax(logits, -1).clamp(min=torch.finfo(logits.dtype).min)

    def params_from(self, builder: Builder, scope: Scope, network: Any) -> Params:
        params = super().params_from(builder, scope, network)
        if "probs" in params:
            params.replace(
                "probs",
                builder.point(normalized, params["probs"], label=f"probs of {self.prob_text}"),
            )
        return params

    @staticmethod
    def draw(noise: Tensor, probs: Tensor) -> Tensor:
        return one_hot_sample(noise, probs)

    @staticmethod
    def log_density(x: Tensor, log_probs: Tensor) -> Tensor:
        return (x * log_probs).sum(-1)

    @staticmethod
    def mean_of(probs: Tensor) -> Tensor:
        return probs

    @staticmethod
    def variance_of(probs: Tensor) -> Tensor:
        return probs * (1.0 - probs)

    def states(self) -> Tensor | None:
        if not self.features_shape:
            raise unknown_shape(self, "classes")
        return all_states(torch.eye(self.features_shape[-1]), self.features_shape)

    @staticmethod
    def entropy_of(log_probs: Tensor, probs: Tensor) -> Tensor:
        return -(log_probs * probs).sum(-1)


class GroupedOneHot(Categorical):
    r"""A vector of ``groups`` one-hot variables of ``classes`` classes, flattened: ``[..., groups *
    classes]``.

    The latent of DreamerV2 and V3: gradients pass straight through the sample to the probabilities,
    and ``unimix`` mixes in the uniform distribution, :math:`p = (1-\epsilon)\,\mathrm{softmax}(l) +
    \epsilon/K`, inside the distribution, so that the KL sees it (Hafner et al. 2023).

    Args:
        groups, classes: the shape of the latent.
        unimix: the share of the uniform distribution.
        straight_through: pass gradients through samples.

    >>> p = GroupedOneHot(2, 3, "s", logits=torch.zeros(6))
    >>> s = p.sample(batch_n=4)["s"]
    >>> s.shape, s[0].sum().item()
    (torch.Size([4, 6]), 2.0)
    """

    params_keys = ("logits",)
    alternatives: ClassVar[Mapping[str, str]] = {}
    noise_shape = ("probs",)
    pathwise = True

    def __init__(
        self,
        groups: int,
        classes: int,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        logits: Any = None,
        unimix: float = 0.01,
        straight_through: bool = True,
    ) -> None:
        if not 0.0 <= unimix < 1.0:
            raise PixyzError(f"unimix must lie in [0, 1), got {unimix}")
        ParametricDistribution.__init__(
            self, var, cond_var, name, (groups * classes,), logits=logits
        )
        self.groups, self.classes = groups, classes
        self.unimix, self.straight_through = unimix, straight_through

    @property
    def has_reparam(self) -> bool:
        return self.straight_through

    def states(self) -> Tensor | None:
        return all_states(torch.eye(self.classes), self.features_shape)

    def value_domain(self) -> Domain | None:
        return replace(Categorical.domain, group=self.classes)

    def derive_probs(self, logits: Tensor) -> Tensor:
        probs = softmax_last(logits.unflatten(-1, (self.groups, self.classes)))
        return with_uniform(probs, self.unimix) if self.unimix else probs

    def derive_log_probs(self, probs: Tensor, logits: Tensor) -> Tensor:  # type: ignore[override]
        return (
            probs.log()
            if self.unimix
            else Categorical.derive_log_probs(logits.unflatten(-1, (self.groups, self.classes)))
        )

    def draw(self, noise: Tensor, probs: Tensor) -> Tensor:  # type: ignore[override]
        sample = one_hot_sample(noise, probs.detach())
        return (straight_through(sample, probs) if self.straight_through else sample).flatten(-2)

    def log_density(self, x: Tensor, log_probs: Tensor) -> Tensor:  # type: ignore[override]
        return (x.unflatten(-1, (self.groups, self.classes)) * log_probs).sum(-1)

    @staticmethod
    def mean_of(probs: Tensor) -> Tensor:
        return probs.flatten(-2)

    @staticmethod
    def variance_of(probs: Tensor) -> Tensor:
        return (probs * (1.0 - probs)).flatten(-2)

    def as_torch(self, **params: Tensor) -> torch.distributions.Distribution:
        base = torch.distributions.OneHotCategorical(probs=self.derive_probs(params["logits"]))
        return torch.distributions.Independent(base, 1)


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
    normalized: ClassVar[bool] = False
    pathwise = False
    bins: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        logits: Any = None,
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
        # one pass over all bins; a gather's gradient would be scattered, one by one
        if torch.compiler.is_compiling():
            bin_of, w = torch.arange(log_probs.shape[-1], device=x.device), weight.unsqueeze(-1)
            shares = torch.where(
                bin_of == below.unsqueeze(-1),
                1.0 - w,
                torch.where(bin_of == above.unsqueeze(-1), w, 0.0),
            )
            return (shares * log_probs).sum(-1)
        if torch._C._are_functorch_transforms_active():
            return Between.formula(
                log_probs, below.unsqueeze(-1), above.unsqueeze(-1), weight.unsqueeze(-1)
            ).squeeze(-1)
        found = Between.apply(
            log_probs, below.unsqueeze(-1), above.unsqueeze(-1), weight.unsqueeze(-1)
        )
        return found.squeeze(-1)  # type: ignore[no-any-return]

    def mean_of(self, probs: Tensor) -> Tensor:
        half = self.bins.shape[0] // 2
        low, high = probs[..., :half] * self.bins[:half], probs[..., -half:] * self.bins[-half:]
        return (low.flip(-1) + high).sum(-1, keepdim=True)

    @staticmethod
    def entropy_of(log_probs: Tensor, probs: Tensor) -> Tensor:
        return -(log_probs * probs).sum(-1)

    def as_torch(self, **params: Tensor) -> torch.distributions.Distribution:
        return torch.distributions.Categorical(logits=params["logits"])


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


FEW = 16
"""From so many classes on, kernels run over the classes."""


def normalized(probs: Tensor) -> Tensor:
    """Probabilities that sum to 1."""
    return probs / probs.sum(-1, keepdim=True)


def softmax_last(x: Tensor) -> Tensor:
    """Softmax over the last dimension; a short one is moved to the front, where CPUs vectorise (13
    times faster for 4).
    """
    if x.shape[-1] < FEW and x.device.type == "cpu" and not torch.compiler.is_compiling():
        return x.movedim(-1, 0).softmax(0).movedim(0, -1)
    return x.softmax(-1)


def with_uniform(probs: Tensor, share: float) -> Tensor:
    r""":math:`(1 - \epsilon) p + \epsilon / K`, by one kernel; the number is a tensor without
    dimensions, as kernels take it.
    """
    uniform = share / probs.shape[-1]
    if torch.compiler.is_compiling():
        return probs * (1.0 - share) + uniform
    return torch.add(torch.tensor(uniform, dtype=probs.dtype), probs, alpha=1.0 - share)


def one_hot_sample(u: Tensor, probs: Tensor) -> Tensor:
    """A one-hot sample from one uniform number: the first class whose cumulative probability
    exceeds ``u``.

    ``u`` is scaled by the total, so that rounding never leaves the range.
    """
    # sums and comparisons alone: one kernel
    if torch.compiler.is_compiling() and 1 < probs.shape[-1] < FEW:
        *steps, total = accumulate(probs.unbind(-1))
        below = (
            torch.stack([edge <= u.squeeze(-1) * total for edge in steps]).to(probs.dtype).sum(0)
        )
        return (torch.arange(probs.shape[-1], device=probs.device) == below.unsqueeze(-1)).to(
            probs.dtype
        )
    if probs.shape[-1] < FEW and u.ndim == probs.ndim:  # [K, ...] is vectorised
        edges = probs.detach().movedim(-1, 0).cumsum(0)
        bound = u.squeeze(-1) * edges[-1]
        below = probs.new_zeros((len(edges) + 1, *bound.shape))
        below[0] = 1.0
        torch.le(edges[:-1], bound, out=below[1:-1])
        return (below[:-1] - below[1:]).movedim(0, -1)
    edges = probs.cumsum(-1)
    index = (edges[..., :-1] <= u * edges[..., -1:]).sum(-1, keepdim=True)
    return probs.new_zeros((*index.shape[:-1], probs.shape[-1])).scatter_(-1, index, 1.0)


class StraightThrough(torch.autograd.Function):
    """A sample, with the gradient of its probabilities (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: Any, sample: Tensor, probs: Tensor) -> Tensor:
        return sample.view_as(sample)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad


def straight_through(sample: Tensor, probs: Tensor) -> Tensor:
    r""":math:`x + (p - \mathrm{sg}(p))`: the sample, with the gradient of its probabilities."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return sample + (probs - probs.detach())
    if not (probs.requires_grad and torch.is_grad_enabled()):
        return sample
    return StraightThrough.apply(sample, probs)  # type: ignore[no-any-return]


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
