"""Functions that keep their digits at extremes: huge counts and degrees of freedom, tails, edges of
a support.

The textbook forms of many densities subtract numbers of the size of their parameters; in float32
nothing is left of a result near 1 where they are a million.  Here counts are compared with their
means first (Loader 2000, *Fast and accurate computation of binomial probabilities*).  All functions
take tensors of shapes that broadcast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)
LARGE = 8.0
"""From so large a count on, Stirling's series has all digits of float64."""


def log1p_square(y: Tensor) -> Tensor:
    r""":math:`\log(1 + y^2)`, without overflow."""
    size = y.abs()
    most = torch.where(size > 1.0, size, 1.0)  # a clamp's gradient at its bound is 1 or 0, by torch
    least = torch.where(size > 1.0, 1.0 / most, size)
    return 2.0 * most.log() + torch.log1p(least * least)


def power_log(k: Tensor, x: Tensor) -> Tensor:
    r""":math:`k \log x`, 0 where k is 0; gradients are finite there, at ``x = 0`` too."""
    return k * torch.where(k == 0, x.clamp(min=torch.finfo(x.dtype).tiny), x).log()


def power_log1m(k: Tensor, x: Tensor) -> Tensor:
    r""":math:`k \log(1 - x)`, 0 where k is 0; gradients are finite there, at ``x = 1`` too."""
    return k * torch.log1p(-torch.where(k == 0, x.clamp(max=1.0 - torch.finfo(x.dtype).eps / 2), x))


def stirling_rest(x: Tensor) -> Tensor:
    r"""What Stirling's formula leaves out of :math:`\log\Gamma(x)` and of :math:`\log x!`, for ``x
    >= 8``.
    """
    y = 1.0 / (x * x)
    series = 1 / 12 - y * (
        1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - y * (691 / 360360))))
    )
    return series / x


def deviance(x: Tensor, mean: Tensor, log_mean: Tensor | None = None) -> Tensor:
    r""":math:`x \log(x / m) + m - x` for positive x; of x and m that nearly agree, all digits."""
    near = (x - mean).abs() < 0.5 * mean
    m = torch.where(near, mean, 1.0)
    t = torch.where(near, (x - mean) / m, 0.0)
    close = m * ((1.0 + t) * torch.log1p(t) - t)
    log_mean = torch.where(near, 1.0, mean).log() if log_mean is None else log_mean
    return torch.where(near, close, x * (x.log() - log_mean) + mean - x)


def log_poisson(x: Tensor, mean: Tensor, log_mean: Tensor | None = None) -> Tensor:
    r""":math:`x \log m - m - \log\Gamma(x + 1)`, for ``x > -1`` (not a count, where a density is
    made of it).
    """
    large = x >= LARGE
    few, many = torch.where(large, 0.0, x), torch.where(large, x, LARGE)
    direct = (
        (power_log(few, mean) if log_mean is None else few * log_mean)
        - mean
        - torch.lgamma(few + 1.0)
    )
    mean = torch.where(large, mean, LARGE)
    return torch.where(
        large,
        -deviance(many, mean, log_mean) - stirling_rest(many) - 0.5 * (many.log() + LOG_2PI),
        direct,
    )


def log_binomial(
    x: Tensor,
    rest: Tensor,
    p: Tensor,
    q: Tensor,
    log_p: Tensor | None = None,
    log_q: Tensor | None = None,
) -> Tensor:
    r""":math:`\log \binom{n}{x} p^x q^{n-x}` with ``rest`` :math:`= n - x` and ``q`` :math:`= 1 -
    p`; n is positive.
    """
    n = x + rest
    log_n = n.log()
    hits = log_poisson(x, n * p, None if log_p is None else log_n + log_p)
    misses = log_poisson(rest, n * q, None if log_q is None else log_n + log_q)
    return hits + misses - log_poisson(n, n)


def log_gamma(x: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
    """The log-density of a gamma distribution."""
    large = concentration >= LARGE + 1.0
    few = torch.where(large, 1.0, concentration)
    direct = power_log(few - 1.0, x) + few * rate.log() - rate * x - torch.lgamma(few)
    many = torch.where(large, concentration - 1.0, LARGE)
    return torch.where(
        large, log_poisson(many, rate * torch.where(large, x, 1.0)) + rate.log(), direct
    )


def log_gamma_half(a: Tensor) -> Tensor:
    r""":math:`\log\Gamma(a + \frac12) - \log\Gamma(a) - \frac12 \log a`."""
    large = a >= LARGE
    few, many = torch.where(large, 1.0, a), torch.where(large, a, LARGE)
    stirling = (
        many * torch.log1p(0.5 / many) - 0.5 + stirling_rest(many + 0.5) - stirling_rest(many)
    )
    return torch.where(
        large, stirling, torch.lgamma(few + 0.5) - torch.lgamma(few) - 0.5 * few.log()
    )


def erfcx(x: Tensor) -> Tensor:
    r""":math:`e^{x^2} \mathrm{erfc}\, x`, of types below 32 bits too."""
    return (
        torch.special.erfcx(x)
        if x.dtype.itemsize >= 4
        else torch.special.erfcx(x.float()).to(x.dtype)
    )


def log_erfcx(x: Tensor) -> Tensor:
    r""":math:`\log(e^{x^2} \mathrm{erfc}\, x)`, for x not far below 0; its gradient keeps its
    digits too.
    """
    far = x > 20.0
    near, big = torch.where(far, 1.0, x), torch.where(far, x, 20.0)
    y = 0.5 / (big * big)
    series = -y * (1.0 - y * (3.0 - y * (15.0 - y * (105.0 - y * 945.0))))
    return torch.where(
        far, torch.log1p(series) - big.log() - 0.5 * math.log(math.pi), erfcx(near).log()
    )


def log_i0e(x: Tensor) -> Tensor:
    r""":math:`\log(e^{-x} I_0(x))` of the modified Bessel function, for ``x >= 0``."""
    far = x > 100.0
    near, big = torch.where(far, 1.0, x), torch.where(far, x, 100.0)
    y = 1.0 / (8.0 * big)
    series = y * (1.0 + y * (4.5 + y * (37.5 + y * 459.375)))
    return torch.where(
        far, torch.log1p(series) - 0.5 * (big.log() + LOG_2PI), torch.special.i0e(near).log()
    )


def log_gamma_draw(concentration: Tensor) -> Tensor:
    r"""The logarithm of a gamma draw, pathwise; below 1 by :math:`G(a) = G(a + 1)\,U^{1/a}`, which
    needs no small numbers.
    """
    a = concentration if concentration.dtype.itemsize >= 4 else concentration.float()
    small = a < 1.0
    drawn = torch._standard_gamma(torch.where(small, a + 1.0, a)).log()
    exponential = torch.empty_like(a).exponential_()
    found = drawn - torch.where(small, exponential / torch.where(small, a, 1.0), 0.0)
    return found.to(concentration.dtype)
