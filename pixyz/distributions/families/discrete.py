"""Counts, and what Bernoulli and categorical variables become with another density or another
gradient.

Formulas as in Johnson, Kemp and Kotz, *Univariate Discrete Distributions* (3rd ed. 2005).
Parameters and counts are ``[B, ...]``, a density each; classes are the last dimension, ``[B, ...,
K]``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions.families.normal import Bernoulli, one_of
from pixyz.distributions.families.one_hot import Categorical, one_hot_sample
from pixyz.distributions.families.special import log_binomial, log_poisson
from pixyz.distributions.families.torch_family import (
    OddsFamily,
    TorchFamily,
    exponential_noise,
    shape_only,
)
from pixyz.plan.looks import Domain
from pixyz.types import PixyzError, VarSpec

WHOLE = Domain(whole=True, advice="densities of counts are 0 elsewhere")
COUNTS = Domain(0.0, whole=True, advice="give counts of the classes")


class FactorizedBernoulli(Bernoulli):
    r"""A Bernoulli whose density counts only what is there: :math:`\log p(x) = \sum_{i: x_i = 1}
    \log p_i`.

    It is no density, but the score of a set of attributes of which the absent ones are unknown
    (Vedantam et al. 2017, *Generative models of visually grounded imagination*).

    >>> p = FactorizedBernoulli(var="x", probs=torch.tensor([0.5, 0.1]))
    >>> p.get_log_prob({"x": torch.tensor([[1.0, 0.0]])})
    tensor([-0.6931])
    """

    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    normalized: ClassVar[bool] = False
    minus_log_density = None  # type: ignore[assignment]

    @staticmethod
    def log_density(x: Tensor, logits: Tensor) -> Tensor:
        return torch.where(x == 0, 0.0, Bernoulli.log_density(x, logits))


class OneHotCategoricalStraightThrough(Categorical):
    r"""A categorical whose samples pass the gradient of the probabilities: the value is one-hot,
    :math:`\partial x/\partial\theta = \partial p/\partial\theta` (Bengio et al. 2013).

    ``probs`` or ``logits``, ``[..., K]``.  The gradient is biased.

    >>> logits = torch.zeros(1, 3, requires_grad=True)
    >>> p = OneHotCategoricalStraightThrough(var="x", cond_var="l", logits="l")
    >>> p.sample({"l": logits}, reparam=True)["x"].requires_grad
    True
    """

    distribution_torch_class = td.OneHotCategoricalStraightThrough
    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    pathwise = True

    @staticmethod
    def draw(noise: Tensor, probs: Tensor) -> Tensor:
        return one_hot_sample(noise, probs.detach()) + (probs - probs.detach())


class Multinomial(Categorical):
    r"""Counts of the classes in n draws, :math:`p(x) = \frac{n!}{\prod_k x_k!} \prod_k p_k^{x_k}`;
    ``probs`` or ``logits``.

    The coefficient is that of the counts given, so rows of other totals may be scored.

    Args:
        total_count: the number of draws n of a sample.

    >>> Multinomial(2, var="x", probs=torch.tensor([0.5, 0.5])).get_log_prob(
    ...     {"x": torch.tensor([[1.0, 1.0]])}
    ... )
    tensor([-0.6931])
    """

    distribution_torch_class = td.Multinomial
    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    noise = staticmethod(shape_only)
    domain = COUNTS
    entropy_of = None  # type: ignore[assignment]
    total_count: int

    def __init__(
        self,
        total_count: int = 1,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        if not isinstance(total_count, int) or total_count < 0:
            raise PixyzError(
                f"total_count is the number of draws, a whole number of at least 0; "
                f"got {total_count!r}"
            )
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)
        self.total_count = total_count

    def draw(self, noise: Tensor, probs: Tensor) -> Tensor:  # type: ignore[override]
        rows = probs.detach().expand(noise.shape).reshape(-1, noise.shape[-1])
        if not self.total_count:
            return torch.zeros_like(rows).reshape(noise.shape)
        found = torch.multinomial(rows, self.total_count, replacement=True)
        return (
            torch.zeros_like(rows)
            .scatter_add_(-1, found, torch.ones_like(found, dtype=rows.dtype))
            .reshape(noise.shape)
        )

    @staticmethod
    def log_density(x: Tensor, log_probs: Tensor) -> Tensor:
        n = x.sum(-1, keepdim=True)
        some = n.clamp(min=1.0)
        each = log_poisson(x, some * log_probs.exp(), some.log() + log_probs).sum(-1)
        return torch.where(n > 0, each.unsqueeze(-1) - log_poisson(some, some), 0.0).squeeze(-1)

    def states(self) -> Tensor | None:
        return None

    def mean_of(self, probs: Tensor) -> Tensor:  # type: ignore[override]
        return self.total_count * probs

    def variance_of(self, probs: Tensor) -> Tensor:  # type: ignore[override]
        return self.total_count * probs * (1.0 - probs)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return td.Multinomial(self.total_count, **params)  # type: ignore[arg-type]


class Poisson(TorchFamily):
    r"""The Poisson distribution, :math:`p(x) = \lambda^x e^{-\lambda} / x!`; parameter ``rate``
    (:math:`\lambda`).

    >>> Poisson(var="x", rate=2.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-2.])
    """

    params_keys = ("rate",)
    noise_shape = ("rate",)
    torch_family = td.Poisson
    support = (0.0, math.inf)
    domain = WHOLE

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        rate: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, rate=rate)

    @staticmethod
    def log_density(x: Tensor, rate: Tensor) -> Tensor:
        return log_poisson(x, rate)


class Binomial(OddsFamily):
    r"""The binomial distribution, :math:`p(x) = \binom{n}{x} p^x (1-p)^{n-x}`; ``total_count`` (n),
    ``probs`` or ``logits``.

    >>> Binomial(var="x", total_count=2, probs=0.5).get_log_prob({"x": torch.ones(1)})
    tensor([-0.6931])
    """

    params_keys = ("total_count", "probs")
    noise_shape = ("total_count", "probs")
    torch_family = td.Binomial
    torch_keys = ("total_count", "logits")
    domain = WHOLE
    entropy_of = None

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(
            var, cond_var, name, features_shape, total_count=total_count, probs=probs, logits=logits
        )

    @staticmethod
    def log_density(x: Tensor, total_count: Tensor, logits: Tensor) -> Tensor:
        inside = (x >= 0) & (x <= total_count)
        x, n = (
            torch.where(inside & (total_count > 0), x, 0.0),
            torch.where(total_count > 0, total_count, 1.0),
        )
        found = log_binomial(x, n - x, *odds(logits))
        return torch.where(inside, torch.where(total_count > 0, found, 0.0), -math.inf)


class NegativeBinomial(OddsFamily):
    r"""Successes before the r-th failure, :math:`p(x) = \frac{\Gamma(x+r)}{x!\,\Gamma(r)} p^x
    (1-p)^r`.

    ``total_count`` (r, any positive number), ``probs`` (of a success) or ``logits``, as in torch;
    SciPy's p is ``1 - probs``.

    >>> NegativeBinomial(var="x", total_count=1.0, probs=0.5).get_log_prob({"x": torch.zeros(1)})
    tensor([-0.6931])
    """

    params_keys = ("total_count", "probs")
    noise_shape = ("total_count", "probs")
    torch_family = td.NegativeBinomial
    torch_keys = ("total_count", "logits")
    support = (0.0, math.inf)
    domain = WHOLE

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        total_count: Any = None,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(
            var, cond_var, name, features_shape, total_count=total_count, probs=probs, logits=logits
        )

    @staticmethod
    def log_density(x: Tensor, total_count: Tensor, logits: Tensor) -> Tensor:
        return log_binomial(x, total_count, *odds(logits)) - torch.log1p(x / total_count)


class Geometric(OddsFamily):
    r"""Failures before the first success, :math:`p(x) = (1-p)^x p`; ``probs`` (of a success) or
    ``logits``.

    >>> Geometric(var="x", probs=0.5).get_log_prob({"x": torch.ones(1)})
    tensor([-1.3863])
    """

    params_keys = ("probs",)
    noise_shape = ("logits",)
    torch_family = td.Geometric
    torch_keys = ("logits",)
    support = (0.0, math.inf)
    domain = WHOLE
    pathwise = False
    noise = staticmethod(exponential_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)

    @staticmethod
    def draw(noise: Tensor, logits: Tensor) -> Tensor:
        return torch.floor(noise / F.softplus(logits))  # softplus(l) = -log(1 - p)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor) -> Tensor:
        return logits - (x + 1.0) * F.softplus(logits)


def odds(logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The probability, its complement, and the logarithms of both."""
    return (
        torch.sigmoid(logits),
        torch.sigmoid(-logits),
        F.logsigmoid(logits),
        F.logsigmoid(-logits),
    )
