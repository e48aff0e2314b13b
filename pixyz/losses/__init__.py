"""Objectives as symbolic expressions."""

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
from pixyz.losses.divergences import KullbackLeibler
from pixyz.losses.elbo import ELBO
from pixyz.losses.entropy import CrossEntropy, Entropy
from pixyz.losses.iteration import IterativeLoss

__all__ = [
    "ELBO",
    "ConstantVar",
    "CrossEntropy",
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
]
