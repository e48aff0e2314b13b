"""World models: deep generative models of series, written as pixyz objectives.

    types       the protocols: SequenceModel, LatentDynamics; time-major convention
    rssm        RSSM, the recurrent state-space model of PlaNet and Dreamer
    decoder     the density of a dict of observations
    networks    dense, block-dense, recurrent and convolutional layers
"""

from worldmodels.decoder import Reconstruction, symexp, symlog
from worldmodels.rssm import RSSM, RSSMConfig
from worldmodels.types import LatentDynamics, Policy, SequenceModel, State

__all__ = ["RSSM", "LatentDynamics", "Policy", "RSSMConfig", "Reconstruction", "SequenceModel", "State", "symexp", "symlog"]
