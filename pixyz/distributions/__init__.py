"""Distributions over named variables: networks inside, ``p * q`` for the joint.

Four rooms; each knows those before it.  ``core``: what every distribution answers, joints, views
(renamed, detached, frozen), marginals; it knows no family.  ``families``: how a network gives
parameters (``parametric``), whether a family is what it says (``declaration``), and the families by
kind.  ``series``: a recurrence and the Scan.  ``made``: of functions, of other distributions, of
flows, of the data.  Beside them ``kullback_leibler`` (its formulas; objectives import it from
``pixyz.losses``) and ``check`` (a family on trial).
"""

from pixyz import wings
from pixyz.distributions.check import check_family
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.marginal import MarginalizeVarDistribution
from pixyz.distributions.core.product import MultiplyDistribution
from pixyz.distributions.core.states import all_states
from pixyz.distributions.core.views import (
    DetachedDistribution,
    DrawnDistribution,
    FrozenDistribution,
    ReplaceVarDistribution,
)
from pixyz.distributions.families.bernoulli import Bernoulli, FactorizedBernoulli
from pixyz.distributions.families.categorical import (
    Categorical,
    Multinomial,
    OneHotCategoricalStraightThrough,
)
from pixyz.distributions.families.counts import Binomial, Geometric, NegativeBinomial, Poisson
from pixyz.distributions.families.gamma import Chi2, Gamma, InverseGamma
from pixyz.distributions.families.grouped import GroupedOneHot
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
    LowRankMultivariateNormal,
    MultivariateNormal,
)
from pixyz.distributions.families.normal import BoundedNormal, Normal, TanhNormal
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.positive import (
    Exponential,
    HalfCauchy,
    HalfNormal,
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
from pixyz.distributions.families.two_hot import TwoHot
from pixyz.distributions.made.custom import CustomProb
from pixyz.distributions.made.data import EmpiricalDistribution
from pixyz.distributions.made.deterministic import Deterministic, Gate
from pixyz.distributions.made.experts import ElementWiseProductOfNormal, ProductOfNormal
from pixyz.distributions.made.independent import Independent
from pixyz.distributions.made.mean import LogDensity, Mean
from pixyz.distributions.made.mixture_model import MixtureModel
from pixyz.distributions.made.mixture_of_normal import MixtureOfNormal
from pixyz.distributions.made.series_function import SeriesFunction
from pixyz.distributions.made.transformed import (
    InverseTransformedDistribution,
    TransformedDistribution,
)
from pixyz.distributions.made.zuko import ZukoDistribution
from pixyz.distributions.series.scan import Scan
from pixyz.expression.protocol import Draw, Score

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
    "Draw",
    "DrawnDistribution",
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
    "Score",
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

wings.complete(__name__)
