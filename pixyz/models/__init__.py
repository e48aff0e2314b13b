"""Models: an objective, what it trains, and an optimiser."""

from pixyz.models.gan import GAN
from pixyz.models.ml import ML
from pixyz.models.model import Model
from pixyz.models.vae import VAE
from pixyz.models.vi import VI

__all__ = ["GAN", "ML", "VAE", "VI", "Model"]
