"""SAC: a policy and critics on observations, without a model. The baseline of every learning curve.

config      sizes and rates, with the published defaults
heads       observation, critics, target, temperature and policy as distributions
agent       SAC: all its losses as one expression; act and learn
"""

from agents.sac.agent import SAC
from agents.sac.config import SACConfig

__all__ = ["SAC", "SACConfig"]
