"""Distributions over named variables: networks inside, ``p * q`` for the joint.

One idea a module: ``base`` (what every distribution answers), ``parametric`` (a network gives parameters),
``families`` (the densities), ``deterministic``, ``product`` and ``graph`` (joints), ``views`` (renamed, marginal,
detached, frozen), ``scan`` (distributions over series), ``transformed`` (a prior through a flow).
"""

from pixyz import compat
from pixyz.distributions.base import Distribution
from pixyz.distributions.deterministic import Deterministic, EmpiricalDistribution, Mean, SeriesFunction
from pixyz.distributions.families import (
    Bernoulli,
    BoundedNormal,
    Categorical,
    GroupedOneHot,
    Normal,
    TanhNormal,
    TwoHot,
)
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.distributions.product import MultiplyDistribution
from pixyz.distributions.scan import Scan
from pixyz.distributions.transformed import InverseTransformedDistribution, TransformedDistribution, ZukoDistribution
from pixyz.distributions.views import (
    DetachedDistribution,
    FrozenDistribution,
    MarginalizeVarDistribution,
    ReplaceVarDistribution,
)

__all__ = [
    "Bernoulli", "BoundedNormal", "Categorical", "DetachedDistribution", "Deterministic", "Distribution",
    "EmpiricalDistribution", "FrozenDistribution", "GroupedOneHot", "InverseTransformedDistribution",
    "MarginalizeVarDistribution", "Mean", "MultiplyDistribution", "Normal", "ParametricDistribution",
    "ReplaceVarDistribution", "Scan", "SeriesFunction", "TanhNormal", "TransformedDistribution", "TwoHot",
    "ZukoDistribution",
]

compat.serve(__name__)
