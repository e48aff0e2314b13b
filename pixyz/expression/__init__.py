"""Objectives as symbolic expressions, and the few that speak of densities only.

A :class:`Loss` is a tree.  It prints as a formula and is lowered, once for each structure, to a
plan that runs (:mod:`pixyz.plan`).  Here are its operators, :class:`LogProb`, :class:`Prob` and
:class:`Expectation`, which know a distribution only as a
:class:`pixyz.expression.protocol.Density`; everything else is in :mod:`pixyz.losses`.

``node``: a node of the tree and how its plan is run; ``loss``: its arithmetic; ``operators``,
``reductions``, ``extremes``: what that makes (sums, means, expectations, min and max);
``parameter``: a variable as a term; ``density``: log-density and density.

    >>> from pixyz.distributions import Normal
    >>> q = Normal(var="z", cond_var="x", loc="x", scale=1.0, name="q")
    >>> p = Normal(var="z", loc=0.0, scale=1.0)
    >>> print((Expectation(q, LogProb(q) - LogProb(p))).mean())
    mean \\left(\\mathbb{E}_{q(z|x)} \\left[\\log q(z|x) - \\log p(z) \\right] \\right)
"""

from pixyz.expression.density import LogProb, Prob
from pixyz.expression.extremes import MaxLoss, MinLoss
from pixyz.expression.loss import Loss, LossLike, as_loss, walk
from pixyz.expression.node import Expression
from pixyz.expression.operators import (
    AbsLoss,
    AddLoss,
    Clamp,
    ConstantVar,
    Detach,
    DivLoss,
    LossOperator,
    LossSelfOperator,
    MulLoss,
    Named,
    NegLoss,
    SubLoss,
    ValueLoss,
)
from pixyz.expression.parameter import Parameter
from pixyz.expression.reductions import BatchMean, BatchSum, E, Expectation

__all__ = [
    "AbsLoss",
    "AddLoss",
    "BatchMean",
    "BatchSum",
    "Clamp",
    "ConstantVar",
    "Detach",
    "DivLoss",
    "E",
    "Expectation",
    "Expression",
    "LogProb",
    "Loss",
    "LossLike",
    "LossOperator",
    "LossSelfOperator",
    "MaxLoss",
    "MinLoss",
    "MulLoss",
    "Named",
    "NegLoss",
    "Parameter",
    "Prob",
    "SubLoss",
    "ValueLoss",
    "as_loss",
    "walk",
]
