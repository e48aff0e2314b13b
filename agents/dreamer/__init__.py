"""Dreamer: agents that learn behaviour inside a world model.

latent_agent  what all of them share: the world model, its state as memory, one objective
v1            Dreamer (2020): a policy that climbs the returns' own gradient
v2            DreamerV2 (2021): balanced KL, both gradients of the policy, a target critic
v3            DreamerV3 (2024): all its losses as one expression; act and learn
config, config_v1, config_v2    sizes, weights and rates, with the published defaults
heads         policies as distributions over the model's state
returns       lambda-returns, weights and advantages as functions of whole series
normalize     the range of returns, a running estimate
optimizer     LaProp with adaptive gradient clipping; Adam that clips each group
"""

from agents.dreamer.config import DreamerV3Config
from agents.dreamer.config_v1 import DreamerV1Config
from agents.dreamer.config_v2 import DreamerV2Config
from agents.dreamer.v1 import DreamerV1
from agents.dreamer.v2 import DreamerV2
from agents.dreamer.v3 import DreamerV3

__all__ = [
    "DreamerV1",
    "DreamerV1Config",
    "DreamerV2",
    "DreamerV2Config",
    "DreamerV3",
    "DreamerV3Config",
]
