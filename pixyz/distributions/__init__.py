"""Distributions over named variables: networks inside, ``p * q`` for the joint.

Four rooms; each knows those before it.  ``core``: what every distribution answers, joints, views
(renamed, detached, frozen), marginals; it knows no family.  ``families``: how a network gives
parameters (``parametric``), whether a family is what it says (``declaration``), and the families by
kind.  ``series``: a recurrence and the Scan.  ``made``: of functions, of other distributions, of
flows, of the data.  Beside them ``kullback_leibler`` (its formulas; objectives import it from
``pixyz.losses``) and ``check`` (a family on trial).
"""

from pixyz import compat
from pixyz.distributions.check import check_family
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.marginal import MarginalizeVarDistribution
from pixyz.distributions.core.product import MultiplyDistribution
from pixyz.distributions.core.states import all_states
from pixyz.distributions.core.views import (
    DetachedDistribution,
    FrozenDistribution,
    ReplaceVarDistribution,
)
from pixyz.distributions.families.discrete import (
    Binomial,
    FactorizedBernoulli,
    Geometric,
    Multinomial,
    NegativeBinomial,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from pixyz.distributions.families.interval import Beta, ContinuousBernoulli, Kumaraswamy, Uniform
from pixyz.distributions.families.location_scale import (
    Cauchy,
    Gumbel,
    Laplace,
    LogNormal,
    StudentT,
    VonMises,
)
from pixyz.distributions.families.multivariate import (
    Dirichlet,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
)
from pixyz.distributions.families.normal import Bernoulli, BoundedNormal, Normal, TanhNormal
from pixyz.distributions.families.one_hot import Categorical, GroupedOneHot, TwoHot
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.positive import (
    Chi2,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Pareto,
    Weibull,
)
from pixyz.distributions.families.relaxed import (
    ConcreteBernoulli,
    ConcreteCategorical,
    RelaxedBernoulli,
    RelaxedCategorical,
)
from pixyz.distributions.families.truncated import TruncatedNormal
from pixyz.distributions.made.custom import CustomProb
from pixyz.distributions.made.deterministic import (
    Deterministic,
    EmpiricalDistribution,
    Gate,
    LogDensity,
    Mean,
    SeriesFunction,
)
from pixyz.distributions.made.experts import ElementWiseProductOfNormal, ProductOfNormal
from pixyz.distributions.made.flow import (
    InverseTransformedDistribution,
    TransformedDistribution,
    ZukoDistribution,
)
from pixyz.distributions.made.mixture import MixtureModel, MixtureOfNormal
from pixyz.distributions.series.scan import Scan

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
