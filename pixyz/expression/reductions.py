"""What an expression is taken over: the batch and time, or the draws of a distribution.

The operators of Suzuki, Kaneko and Matsuo (2023), section 4.2, on ``[B]`` or ``[T, B]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pixyz import latex
from pixyz.expression.loss import Loss, LossLike, as_loss, operation
from pixyz.expression.protocol import Draw
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.plan.graph.formula import Fn
from pixyz.plan.write.masks import valid_rows
from pixyz.types import sample_counts

if TYPE_CHECKING:
    import sympy


class _Reduction(Loss):
    """A reduction over batch and time."""

    word = ""
    reduction: Fn

    def __init__(self, loss1: LossLike) -> None:
        super().__init__()
        self.loss1 = as_loss(loss1)

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"{self.word} \left({self.loss1.loss_text} \right)")

    def lower(self, scope: Scope) -> Slot:
        arg = self.loss1.lower(scope)
        axes = [a for a in arg.axes if a not in scope.keep]
        mask = valid_rows(scope, arg.axes) if arg.batch == "full" else None
        return scope.builder.reduce(
            type(self).reduction, arg, axes, batch=True, label=self.word, mask=mask
        )


@operation("mean")
class BatchMean(_Reduction):
    r"""The mean over batch and time, :math:`\frac{1}{TB} \sum_{t,b} a_{tb}`.

    >>> import torch
    >>> BatchMean(torch.tensor([1.0, 3.0])).eval()
    tensor(2.)
    """

    word = "mean"
    reduction = staticmethod(rules.reduce_mean)


@operation("sum")
class BatchSum(_Reduction):
    r"""The sum over batch and time, :math:`\sum_{t,b} a_{tb}`.

    >>> import torch
    >>> BatchSum(torch.tensor([1.0, 3.0])).eval()
    tensor(4.)
    """

    word = "sum"
    reduction = staticmethod(rules.reduce_sum)


@operation("expectation")
class Expectation(Loss):
    r""":math:`\mathbb{E}_{p(z|x)}[f(x, z)]`, by samples of ``p``.

    Args:
        p: the distribution; ``p + q`` stands for the product.
        f: the expression.
        sample_shape: how many samples; they are a leading dimension of one vectorised evaluation.
        reparam: pathwise gradients through the draw.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=0.0, scale=1.0)
    >>> print(Expectation(p, p.log_prob()))
    \mathbb{E}_{p(x)} \left[\log p(x) \right]
    """

    def __init__(
        self, p: Any, f: LossLike, sample_shape: Sequence[int] | int = (1,), reparam: bool = True
    ) -> None:
        super().__init__()
        self.p = p.as_product() if hasattr(p, "as_product") else p
        self.f = as_loss(f)
        self.sample_shape = sample_counts(sample_shape)
        self.reparam = reparam

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"\mathbb{{E}}_{{{self.p.prob_text}}} \left[{self.f.loss_text} \right]")

    def lower(self, scope: Scope) -> Slot:
        p, path = self.p, scope.path
        particles = tuple([Axis("particle", n) for n in self.sample_shape])
        carried = bool(path) and any(scope.outer_name(v) in path for v in p.var)
        if carried and self.sample_shape == tuple(a.size for a in scope.particles):
            particles = scope.particles  # it is along the path that it draws
        inner = scope.child(drawn := p.lower_sample(scope, how=Draw(self.reparam, particles)))
        inner.keep = scope.keep | set(particles)
        inner.masks.update(getattr(drawn, "masks", {}))
        if not scope.keep and not particles:
            # whole series are returned from the outermost expectation only
            series = scope.parent is None
            scope.builder.returned.update(
                {k: drawn[k] for k in p.var if series or not drawn[k].axes}
            )
        return scope.builder.reduce(
            rules.reduce_mean,
            self.f.lower(inner),
            particles,
            batch=False,
            label="mean over samples",
        )


E = Expectation
