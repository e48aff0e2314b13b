"""Distributions over named variables: networks inside, ``p * q`` for the joint.

One idea a module: ``base`` (what every distribution answers), ``parametric`` (a network gives
parameters), ``families`` and ``one_hot`` (the densities on the hot path), ``location_scale``,
``positive``, ``interval``, ``truncated``, ``discrete``, ``multivariate``, ``relaxed`` (the others,
by kind, on ``torch_family``; ``special`` has their functions), ``custom``, ``deterministic``,
``product`` and ``graph`` (joints), ``mixture``, ``experts``, ``marginal`` with ``states``,
``views`` (renamed, detached, frozen), ``scan`` (distributions over series), ``transformed`` (a
prior through a flow), ``kullback_leibler`` (its formulas; objectives import it from
``pixyz.losses``), ``check`` and ``declaration`` (whether a family is what it says). Scripts for
pixyz 0.3.3: ``torch_object`` (``set_dist``), ``torch_formula`` (a family with a torch class),
``overrides`` (a class that overrides ``sample`` or ``get_log_prob``).
"""

from pixyz import compat
from pixyz.distributions.base import Distribution
from pixyz.distributions.check import check_family
from pixyz.distributions.custom import CustomProb
from pixyz.distributions.deterministic import (
    Deterministic,
    EmpiricalDistribution,
    Gate,
    LogDensity,
    Mean,
    SeriesFunction,
)
from pixyz.distributions.discrete import (
    Binomial,
    FactorizedBernoulli,
    Geometric,
    Multinomial,
    NegativeBinomial,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from pixyz.distributions.experts import ElementWiseProductOfNormal, ProductOfNormal
from pixyz.distributions.families import Bernoulli, BoundedNormal, Normal, TanhNormal
from pixyz.distributions.interval import Beta, ContinuousBernoulli, Kumaraswamy, Uniform
from pixyz.distributions.location_scale import (
    Cauchy,
    Gumbel,
    Laplace,
    LogNormal,
    StudentT,
    VonMises,
)
from pixyz.distributions.marginal import MarginalizeVarDistribution
from pixyz.distributions.mixture import MixtureModel, MixtureOfNormal
from pixyz.distributions.multivariate import (
    Dirichlet,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
)
from pixyz.distributions.one_hot import Categorical, GroupedOneHot, TwoHot
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.distributions.positive import (
    Chi2,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Pareto,
    Weibull,
)
from pixyz.distributions.product import MultiplyDistribution
from pixyz.distributions.relaxed import (
    ConcreteBernoulli,
    ConcreteCategorical,
    RelaxedBernoulli,
    RelaxedCategorical,
)
from pixyz.distributions.scan import Scan
from pixyz.distributions.states import all_states
from pixyz.distributions.transformed import (
    InverseTransformedDistribution,
    TransformedDistribution,
    ZukoDistribution,
)
from pixyz.distributions.truncated import TruncatedNormal
from pixyz.distributions.views import (
    DetachedDistribution,
    FrozenDistribution,
    ReplaceVarDistribution,
)

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "BoundedNormal",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ConcreteBernoulli",
    "ConcreteCategorical",
    "ContinuousBernoulli",
    "CustomProb",
    "DetachedDistribution",
    "Deterministic",
    "Dirichlet",
    "Distribution",
    "ElementWiseProductOfNormal",
    "EmpiricalDistribution",
    "Exponential",
    "FactorizedBernoulli",
    "FrozenDistribution",
    "Gamma",
    "Gate",
    "Geometric",
    "GroupedOneHot",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "InverseGamma",
    "InverseTransformedDistribution",
    "Kumaraswamy",
    "Laplace",
    "LogDensity",
    "LogNormal",
    "LowRankMultivariateNormal",
    "MarginalizeVarDistribution",
    "Mean",
    "MixtureModel",
    "MixtureOfNormal",
    "Multinomial",
    "MultiplyDistribution",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategoricalStraightThrough",
    "ParametricDistribution",
    "Pareto",
    "Poisson",
    "ProductOfNormal",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "ReplaceVarDistribution",
    "Scan",
    "SeriesFunction",
    "StudentT",
    "TanhNormal",
    "TransformedDistribution",
    "TruncatedNormal",
    "TwoHot",
    "Uniform",
    "VonMises",
    "Weibull",
    "ZukoDistribution",
    "all_states",
    "check_family",
]

compat.serve(__name__)
