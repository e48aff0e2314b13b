"""Models: an objective, the distributions it trains, an optimiser."""

from pixyz.models.model import Model

__all__ = ["Model"]
