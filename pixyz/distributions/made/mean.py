"""The mean and the log-density of a distribution as variables."""

from __future__ import annotations

from typing import ClassVar

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.params import Params, apply, none_derived
from pixyz.expression.protocol import Draw
from pixyz.plan import Scope, Slot


class Mean(Distribution):
    r"""The mean of another distribution as a variable: ``Mean(reward, "r")`` reads
    :math:`\mathbb{E}[reward]`.

    Parameters are shared with every other use of that distribution.

    >>> import torch
    >>> from pixyz.distributions import Bernoulli
    >>> reward = Bernoulli("r", probs=torch.tensor([0.25]))
    >>> Mean(reward, "mean_r").sample(batch_n=1)["mean_r"]
    tensor([[0.2500]])
    """

    prefix: ClassVar[str] = r"\bar"

    def __init__(self, p: Distribution, var: str) -> None:
        super().__init__(var, p.cond_var, f"{self.prefix}{{{latex.latex_name(p.name)}}}")
        self.p = p

    @property
    def distribution_name(self) -> str:
        return "Mean"

    @property
    def is_random(self) -> bool:
        return False

    def lower_params(self, scope: Scope) -> Params:
        params = self.p.lower_params(scope)
        slot = apply(self.p.formula("mean_of"), params, f"mean of {self.p.prob_text}")
        return Params(scope.builder, {self._var[0]: slot}, none_derived)

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        return {self._var[0]: params[self._var[0]]}


class LogDensity(Distribution):
    r"""The log-density of another distribution as a variable, ``[N]``: :math:`l = \log p(x|z)`,
    features summed.

    What reads it may be a network, such as a target of soft values (Haarnoja et al. 2018). A draw
    is scored by its noise, as in :class:`pixyz.losses.LogProb`.

    >>> import torch
    >>> from pixyz.distributions import Normal
    >>> LogDensity(Normal("x", loc=0.0, scale=1.0), "l").sample({"x": torch.zeros(1)})["l"]
    tensor([-0.9189])
    """

    def __init__(self, p: Distribution, var: str) -> None:
        super().__init__(var, [*p.var, *p.cond_var], rf"\log {latex.latex_name(p.name)}")
        self.p = p

    @property
    def distribution_name(self) -> str:
        return "Log-density"

    @property
    def is_random(self) -> bool:
        return False

    def lower_params(self, scope: Scope) -> Params:
        return Params(
            scope.builder,
            {self._var[0]: self.p.lower_log_prob(scope)},
            none_derived,
        )

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        return {self._var[0]: params[self._var[0]]}
