"""TD-MPC: planning on a latent model without a decoder, with a value learned by temporal
differences.

config      sizes, weights and rates, with TD-MPC2's published defaults
networks    linear, layer norm, SiLU; ensembles; simplicial latents
heads       encoder, dynamics, reward, critics, continuation and policy as distributions
targets     what they are to predict, and what a step counts
acting      a plan on the model
agent       TD-MPC: all its losses as one expression; learns, and acts by a plan
"""

from agents.tdmpc.agent import TDMPC
from agents.tdmpc.config import TDMPCConfig

__all__ = ["TDMPC", "TDMPCConfig"]
