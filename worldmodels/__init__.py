"""World models: deep generative models of series, written as pixyz objectives.

types          the protocols: SequenceModel, Smoother, LatentDynamics; time-major convention
state_space    what the models have in common: filtering, smoothing, prediction, imagination,
               sampling, reconstruction
declared       what a model is made of, and its expressions; doors: the shapes that it reads;
               own_terms: those of others
imagination    a policy and a transition, as one scan
dmm, vrnn, td_vae, slac, hrssm, mrssm, newtonian_vae, rssm    one model a file, printed as
                                                              its paper's equation
overshooting   predictions of several steps against the filter's states
estimators     bounds, the importance-sampled likelihood, per frame; in pieces that fit into memory
               (pieces)
particles      particle filters (FIVO)
annealing      schedules of a weight
context        what a recurrent network reads in whole, ragged sequences
decoder        the density of a dict of observations
change         the same, for vectors predicted as changes of the last frames
emission       densities of a vector
pretrained     save_pretrained, from_pretrained: config.json and model.safetensors
check          check_model: the contract of models of series, for models of your own too
networks       dense, block-dense, recurrent and convolutional layers
"""

from worldmodels.annealing import Annealing
from worldmodels.check import check_model
from worldmodels.checked import ModelError
from worldmodels.context import Context
from worldmodels.decoder import Reconstruction, symexp, symlog
from worldmodels.dmm import DMM, DMMConfig
from worldmodels.estimators import Estimate, bounds, estimate, frames
from worldmodels.hrssm import HRSSM, HRSSMConfig
from worldmodels.mrssm import MRSSM, MRSSMConfig
from worldmodels.newtonian_vae import NewtonianVAE, NewtonianVAEConfig
from worldmodels.overshooting import overshooting
from worldmodels.particles import Filtered, particle_filter
from worldmodels.pretrained import from_pretrained, save_pretrained
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig
from worldmodels.slac import SLAC, SLACConfig
from worldmodels.state_space import StateSpaceModel
from worldmodels.td_vae import TDVAE, TDVAEConfig
from worldmodels.types import LatentDynamics, Policy, SequenceModel, Smoother, State
from worldmodels.vrnn import VRNN, VRNNConfig

__all__ = [
    "DMM",
    "HRSSM",
    "MRSSM",
    "RSSM",
    "SLAC",
    "TDVAE",
    "VRNN",
    "Annealing",
    "Context",
    "DMMConfig",
    "Estimate",
    "Filtered",
    "HRSSMConfig",
    "LatentDynamics",
    "MRSSMConfig",
    "ModelError",
    "NewtonianVAE",
    "NewtonianVAEConfig",
    "Policy",
    "RSSMConfig",
    "Reconstruction",
    "SLACConfig",
    "SequenceModel",
    "Smoother",
    "State",
    "StateSpaceModel",
    "TDVAEConfig",
    "VRNNConfig",
    "bounds",
    "check_model",
    "estimate",
    "frames",
    "from_pretrained",
    "overshooting",
    "particle_filter",
    "save_pretrained",
    "symexp",
    "symlog",
]
