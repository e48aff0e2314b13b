"""Module paths of pixyz 0.3.3 that are laid out otherwise here: ``from pixyz.losses.losses import
Loss`` works.

A package calls :func:`serve` when it has been imported; its old submodules are then there, and look
a name up in the module that holds it now when it is first asked for.  Old modules that still exist
are not listed: they hold their names themselves.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

_EXPRESSION, _DISTRIBUTIONS, _FLOWS = "pixyz.expression", "pixyz.distributions", "pixyz.flows"
_LOSSES = [
    "Loss",
    "ValueLoss",
    "Parameter",
    "ConstantVar",
    "LossOperator",
    "AddLoss",
    "SubLoss",
    "MulLoss",
    "DivLoss",
    "MinLoss",
    "MaxLoss",
    "LossSelfOperator",
    "NegLoss",
    "AbsLoss",
    "BatchMean",
    "BatchSum",
    "Detach",
    "Expectation",
]
_ADVERSARIAL = [
    "AdversarialJensenShannon",
    "AdversarialKullbackLeibler",
    "AdversarialWassersteinDistance",
]
_FAMILIES = [
    "Normal",
    "Bernoulli",
    "RelaxedBernoulli",
    "FactorizedBernoulli",
    "Categorical",
    "RelaxedCategorical",
    "Multinomial",
    "Dirichlet",
    "Beta",
    "Laplace",
    "Gamma",
]
_JOINTS = [
    "Distribution",
    "MultiplyDistribution",
    "ReplaceVarDistribution",
    "MarginalizeVarDistribution",
]

_UTILS = [
    "FrozenSampleDict",
    "Latex",
    "cache_maxsize",
    "convert_latex_name",
    "delete_dict_values",
    "detach_dict",
    "epsilon",
    "get_dict_values",
    "lru_cache_for_sample_dict",
    "print_latex",
    "replace_dict_keys",
    "replace_dict_keys_split",
    "set_cache_maxsize",
    "set_epsilon",
    "sum_samples",
    "tolist",
]

MOVED: dict[str, dict[str, str]] = {
    "pixyz.autoregressions": {},
    "pixyz.utils": dict.fromkeys(_UTILS, "pixyz.compat.utils"),
    "pixyz.losses.losses": {
        **dict.fromkeys(_LOSSES, _EXPRESSION),
        "Divergence": "pixyz.losses.sampled",
        "REINFORCE": "pixyz.losses.reinforce",
        "DataParalleledLoss": "pixyz.losses.parallel",
    },
    "pixyz.losses.pdf": dict.fromkeys(["LogProb", "Prob"], _EXPRESSION),
    "pixyz.losses.adversarial_loss": {
        "AdversarialLoss": "pixyz.losses.critic",
        **dict.fromkeys(_ADVERSARIAL, "pixyz.losses.adversarial"),
    },
    "pixyz.distributions.distributions": {
        **dict.fromkeys(_JOINTS, _DISTRIBUTIONS),
        "DistGraph": "pixyz.distributions.core.graph",
        "Factor": "pixyz.distributions.core.base:Distribution",
        "DistributionBase": "pixyz.distributions.families.parametric:ParametricDistribution",
    },
    "pixyz.distributions.exponential_distributions": dict.fromkeys(_FAMILIES, _DISTRIBUTIONS),
    "pixyz.distributions.special_distributions": dict.fromkeys(
        ["Deterministic", "EmpiricalDistribution"], _DISTRIBUTIONS
    ),
    "pixyz.distributions.custom_distributions": {"CustomProb": _DISTRIBUTIONS},
    "pixyz.distributions.mixture_distributions": {
        "MixtureModel": _DISTRIBUTIONS,
        "PosteriorMixtureModel": "pixyz.distributions.made.mixture_model",
    },
    "pixyz.distributions.poe": dict.fromkeys(
        ["ProductOfNormal", "ElementWiseProductOfNormal"], _DISTRIBUTIONS
    ),
    "pixyz.distributions.moe": {"MixtureOfNormal": _DISTRIBUTIONS},
    "pixyz.distributions.flow_distribution": dict.fromkeys(
        ["TransformedDistribution", "InverseTransformedDistribution"], _DISTRIBUTIONS
    ),
    "pixyz.flows.flows": dict.fromkeys(["Flow", "FlowList"], _FLOWS),
    "pixyz.flows.normalizing_flows": {"PlanarFlow": _FLOWS},
    "pixyz.flows.normalizations": dict.fromkeys(
        ["BatchNorm1d", "BatchNorm2d", "ActNorm2d"], _FLOWS
    ),
    "pixyz.layers.norm_util": {"WNConv2d": "pixyz.layers.weight_norm"},
}
"""Old module -> name -> the module that holds it, with ``:NAME`` where it is called otherwise."""


class MovedModule(ModuleType):
    """An old module; each name is found where it is now.

    Args:
        name: its full name.
        where: name -> module, or module:name.
    """

    def __init__(self, name: str, where: Mapping[str, str]) -> None:
        super().__init__(name, f"Names of pixyz 0.3.3's {name}; see pixyz.compat.")
        self.__dict__.update(_where=dict(where), __all__=list(where), __path__=[])

    def __getattr__(self, name: str) -> Any:
        where = self.__dict__["_where"].get(name)
        if where is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, _, renamed = where.partition(":")
        return getattr(importlib.import_module(module), renamed or name)

    def __dir__(self) -> list[str]:
        return sorted(self.__dict__["_where"])


def serve(package: ModuleType) -> None:
    """Put the old submodules of ``package`` in their place."""
    for name, where in MOVED.items():
        parent, _, leaf = name.rpartition(".")
        if parent == package.__name__ and name not in sys.modules:
            sys.modules[name] = MovedModule(name, where)
            setattr(package, leaf, sys.modules[name])
