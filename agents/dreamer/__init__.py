"""Dreamer: agents that learn behaviour inside a world model.

    config      sizes, weights and rates, with DreamerV3's published defaults
    heads       policy and value as distributions over the model's state
    returns     lambda-returns, weights and advantages as functions of whole series
    normalize   the range of returns, a running estimate
    optimizer   LaProp with adaptive gradient clipping
    v3          DreamerV3 (2024): all its losses as one expression; act and learn
"""

from agents.dreamer.config import DreamerV3Config
from agents.dreamer.v3 import DreamerV3

__all__ = ["DreamerV3", "DreamerV3Config"]
