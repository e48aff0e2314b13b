"""The Kullback-Leibler divergence, and what registers formulas of it;
they lie beside the families.
"""

from pixyz.distributions.kullback_leibler import (
    AnalyticalKullbackLeibler,
    KullbackLeibler,
    kl_formula,
    register_kl,
)

__all__ = ["AnalyticalKullbackLeibler", "KullbackLeibler", "kl_formula", "register_kl"]
