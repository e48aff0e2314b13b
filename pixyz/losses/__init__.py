"""Objectives as symbolic expressions."""

from pixyz import wings
from pixyz.distributions.kullback_leibler import KullbackLeibler
from pixyz.expression import (
    ConstantVar,
    E,
    Expectation,
    LogProb,
    Loss,
    MaxLoss,
    MinLoss,
    Parameter,
    Prob,
    ValueLoss,
)
from pixyz.losses import torch_divergences as _torch_divergences  # noqa: F401 (it registers formulas)
from pixyz.losses.adversarial import (
    AdversarialJensenShannon,
    AdversarialKullbackLeibler,
    AdversarialWassersteinDistance,
)
from pixyz.losses.elbo import ELBO, IWAE
from pixyz.losses.entropy import CrossEntropy, Entropy
from pixyz.losses.iteration import IterativeLoss
from pixyz.losses.mmd import MMD
from pixyz.losses.parallel import DataParalleledLoss
from pixyz.losses.reinforce import REINFORCE
from pixyz.losses.sampled import Divergence
from pixyz.losses.wasserstein import WassersteinDistance

__all__ = [
    "ELBO",
    "IWAE",
    "MMD",
    "REINFORCE",
    "AdversarialJensenShannon",
    "AdversarialKullbackLeibler",
    "AdversarialWassersteinDistance",
    "ConstantVar",
    "CrossEntropy",
    "DataParalleledLoss",
    "Divergence",
    "E",
    "Entropy",
    "Expectation",
    "IterativeLoss",
    "KullbackLeibler",
    "LogProb",
    "Loss",
    "MaxLoss",
    "MinLoss",
    "Parameter",
    "Prob",
    "ValueLoss",
    "WassersteinDistance",
]

wings.complete(__name__)
