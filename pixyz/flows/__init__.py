"""Flows: invertible functions with the log-determinant of their Jacobian.

One idea a module: ``flow`` (what a flow answers, lists of flows), ``coupling``, ``operations``
(squeezing, permuting, preprocessing), ``normalization``, ``planar``, ``conv``; made of these:
``compositions`` (NICE, RealNVP), ``multiscale`` (RealNVP and Glow of images); ``zuko`` (flows of
another library). A flow and a prior make a distribution:
:class:`pixyz.distributions.TransformedDistribution`,
:class:`pixyz.distributions.InverseTransformedDistribution`.
"""

from pixyz import wings
from pixyz.flows.autoregressive import InverseAutoregressive
from pixyz.flows.compositions import NICE, DiagonalScale, RealNVP
from pixyz.flows.conv import ChannelConv
from pixyz.flows.coupling import AdditiveCoupling, AffineCoupling
from pixyz.flows.flow import Flow, FlowList
from pixyz.flows.multiscale import FactorOut, Glow, RealNVP2d
from pixyz.flows.normalization import ActNorm2d, BatchNorm1d, BatchNorm2d
from pixyz.flows.operations import (
    Flatten,
    Permutation,
    Preprocess,
    Reverse,
    Shuffle,
    Squeeze,
    Unsqueeze,
)
from pixyz.flows.planar import PlanarFlow
from pixyz.flows.zuko import ZukoFlow

__all__ = [
    "NICE",
    "ActNorm2d",
    "AdditiveCoupling",
    "AffineCoupling",
    "BatchNorm1d",
    "BatchNorm2d",
    "ChannelConv",
    "DiagonalScale",
    "FactorOut",
    "Flatten",
    "Flow",
    "FlowList",
    "Glow",
    "InverseAutoregressive",
    "Permutation",
    "PlanarFlow",
    "Preprocess",
    "RealNVP",
    "RealNVP2d",
    "Reverse",
    "Shuffle",
    "Squeeze",
    "Unsqueeze",
    "ZukoFlow",
]

wings.complete(__name__)
