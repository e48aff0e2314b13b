"""The maximum mean discrepancy of two distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.losses.sampled import Divergence, Samples, of_same_variables
from pixyz.plan import Scope, Slot
from pixyz.plan.graph import order_axes
from pixyz.plan.write.masks import valid_rows
from pixyz.types import PixyzError, ShapeError, VariableError

if TYPE_CHECKING:
    import sympy

Kernel = Callable[..., Tensor]


class MMD(Divergence):
    r"""The squared maximum mean discrepancy (Gretton et al., A Kernel Two-Sample Test, JMLR 2012,
    eq. 3): one number.

    .. math::
        D_{MMD^2}[p||q] = \mathbb{E}_{p(x), p(x')}[k(x, x')] + \mathbb{E}_{q(x), q(x')}[k(x, x')]
        - 2\mathbb{E}_{p(x), q(x')}[k(x, x')]

    The estimator is unbiased: means over all pairs of different rows, with gradients to both
    distributions.  It can be negative.  All features of a row count as one vector.  In a step of a
    time loop the rows are those of each step, valid ones only under a mask; a step with fewer than
    two of them gives 0.

    Args:
        p, q: distributions of the same variable.
        kernel: ``"gaussian"``, ``"inv-multiquadratic"``, or a function ``k(x, y, **kernel_params)``
            from ``[..., N, D]`` and ``[..., M, D]`` to ``[..., N, M]``.
        **kernel_params: arguments of the kernel, such as ``sigma_sqr`` (2 if not given).

    Raises:
        VariableError: ``p`` and ``q`` are of different variables, or of several.
        ShapeError: samples of different shape, or a batch of one row: there is no pair.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("z", "x", loc="x", scale=1.0, name="p")
    >>> q = Normal("z", loc=0.0, scale=1.0, features_shape=[3], name="q")
    >>> print(MMD(p, q))
    D_{MMD^2} \left[p(z|x)||q(z) \right]
    >>> MMD(p, q, kernel="inv-multiquadratic", sigma_sqr=6.0).eval({"x": torch.zeros(8, 3)}).shape
    torch.Size([])
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        kernel: str | Kernel = "gaussian",
        **kernel_params: object,
    ) -> None:
        of_same_variables(type(self).__name__, p, q)
        super().__init__(p, q)
        if len(p.var) != 1:
            raise VariableError(
                f"MMD is of one variable, {p.prob_text} is of {p.var}; marginalize the others"
            )
        if isinstance(kernel, str):
            if kernel not in KERNELS:
                raise PixyzError(
                    f"kernel must be one of {sorted(KERNELS)} or a function, got {kernel!r}"
                )
            kernel = KERNELS[kernel]
        self.kernel, self.kernel_params = kernel, kernel_params

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"D_{{MMD^2}} \left[{self.p.prob_text}||{self.q.prob_text} \right]")

    def lower(self, scope: Scope) -> Slot:
        builder = scope.builder
        p, q, name = self.p, self.q, self.p.var[0]
        x, y = (
            builder.features(flat_features, drawn[name], name)
            for drawn in Samples(type(self).__name__, p, q).lower(scope, p, q)
        )
        mask = valid_rows(scope, [*x.axes, *y.axes])
        if mask is not None:
            x, y = (builder.point(with_flag, s, mask, label=name) for s in (x, y))
        axes = order_axes({*x.axes, *y.axes})
        if axes != x.axes:
            x = builder.expand(x, x, axes)
        every = _Estimate(self, mask is not None)
        return builder.reduce(
            every, x, [a for a in axes if a not in scope.keep], batch=True, label="MMD", mask=y
        )

    def estimate(self, x: Tensor, y: Tensor) -> Tensor:
        """The unbiased estimate ``[...]`` from rows ``[..., N, D]`` of ``p`` and ``[..., M, D]`` of
        ``q``.
        """
        if x.shape[-1] != y.shape[-1]:
            raise ShapeError(
                f"MMD of samples of {x.shape[-1]} and of {y.shape[-1]} features; they must be equal"
            )
        if min(x.shape[-2], y.shape[-2]) < 2:
            raise ShapeError(
                "MMD compares pairs of rows and needs a batch of two or more, got one row"
            )
        cross = self.kernel(x, y, **self.kernel_params).mean((-2, -1))
        return self._within(x) + self._within(y) - 2 * cross

    def _within(self, x: Tensor) -> Tensor:
        """The mean over pairs of different rows."""
        n = x.shape[-2]
        k = self.kernel(x, x, **self.kernel_params)
        return (k.sum((-2, -1)) - k.diagonal(dim1=-2, dim2=-1).sum(-1)) / (n * (n - 1))

    def estimate_of_some(self, x: Tensor, y: Tensor, valid: Tensor) -> Tensor:
        """The same over the rows that are ``valid``, ``[..., N]``;
        0 where they are fewer than two.
        """
        w = valid.to(x.dtype)
        n = w.sum(-1)
        pairs = w.unsqueeze(-1) * w.unsqueeze(-2)
        other = pairs * (1 - torch.eye(w.shape[-1], dtype=w.dtype, device=w.device))
        within = sum(
            ((self.kernel(s, s, **self.kernel_params) * other).sum((-2, -1)) for s in (x, y)),
            torch.zeros_like(n),
        )
        cross = (self.kernel(x, y, **self.kernel_params) * pairs).sum((-2, -1))
        found = within / (n * (n - 1)).clamp(min=1) - 2 * cross / n.square().clamp(min=1)
        return torch.where(n > 1, found, torch.zeros_like(found))


class _Estimate:
    """The estimate as a reduction over the batch; the second sample stands where a reduction has
    its mask.

    Args:
        loss: whose estimate.
        flagged: the last feature says whether the row is valid.
    """

    def __init__(self, loss: MMD, flagged: bool) -> None:
        self.loss, self.flagged = loss, flagged

    def __call__(
        self, x: Tensor, dims: tuple[int, ...] | None, tail: int | None, y: Tensor
    ) -> Tensor:
        if not self.flagged:
            return self._mean(self.loss.estimate(x, y), dims)
        (x, y), valid = (s[..., :-1] for s in (x, y)), x[..., -1] != 0
        return self._mean(self.loss.estimate_of_some(x, y, valid), dims)

    @staticmethod
    def _mean(found: Tensor, dims: tuple[int, ...] | None) -> Tensor:
        return found.mean() if dims is None else found.mean(dims) if dims else found


def with_flag(x: Tensor, flag: Tensor) -> Tensor:
    """Rows with a flag ``[..., B]`` as a further feature; other rows are 0."""
    row = flag.unsqueeze(-1).expand(*torch.broadcast_shapes(x.shape[:-1], flag.shape), 1)
    return torch.cat(
        [torch.where(row, x, torch.zeros((), dtype=x.dtype, device=x.device)), row.to(x.dtype)], -1
    )


def flat_features(x: Tensor, lead: int) -> Tensor:
    """All features as one dimension."""
    return x.unsqueeze(-1) if x.ndim == lead else x.flatten(lead)


def pairwise_distance_matrix(x: Tensor, y: Tensor, metric: str = "euclidean") -> Tensor:
    """Squared distances ``[..., N, M]`` of all rows of ``x`` to all rows of ``y``, in the memory of
    the result.
    """
    if metric != "euclidean":
        raise PixyzError(f"metric must be 'euclidean', got {metric!r}")
    middle = x.mean(-2, keepdim=True).detach()  # distances do not change; less is lost to rounding
    x, y = x - middle, y - middle
    squares = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
    return (squares - 2 * x @ y.transpose(-2, -1)).clamp(min=0)


def gaussian_rbf_kernel(x: Tensor, y: Tensor, sigma_sqr: float = 2.0, **kwargs: object) -> Tensor:
    r""":math:`k(x, y) = \exp(-||x-y||^2 / \sigma^2)`."""
    return torch.exp(-pairwise_distance_matrix(x, y) / sigma_sqr)


def inverse_multiquadratic_rbf_kernel(
    x: Tensor, y: Tensor, sigma_sqr: float = 2.0, **kwargs: object
) -> Tensor:
    r""":math:`k(x, y) = \sigma^2 / (||x-y||^2 + \sigma^2)`."""
    return sigma_sqr / (pairwise_distance_matrix(x, y) + sigma_sqr)


KERNELS: dict[str, Kernel] = {
    "gaussian": gaussian_rbf_kernel,
    "inv-multiquadratic": inverse_multiquadratic_rbf_kernel,
}
