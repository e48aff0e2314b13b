"""PlaNet: planning by the cross-entropy method in the latent state of an RSSM.

config      sizes, weights and rates, with the published defaults
agent       PlaNet: its losses as one expression; act and learn
"""

from agents.planet.agent import PlaNet
from agents.planet.config import PlaNetConfig

__all__ = ["PlaNet", "PlaNetConfig"]
