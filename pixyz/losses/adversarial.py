"""Divergences by a discriminator that is trained beside the generator.

Each is two expressions: the generator's objective (what ``eval`` returns) and the critic's
(``loss.critic``, or ``eval(..., discriminator=True)``).  ``loss_train`` takes one step on the
critic's.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn, optim

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.losses.critic import AdversarialLoss
from pixyz.losses.critic_terms import Term, log_odds, negated, same, surprises

if TYPE_CHECKING:
    import sympy


class AdversarialJensenShannon(AdversarialLoss):
    r"""The Jensen-Shannon divergence by a discriminator (Goodfellow et al., Generative Adversarial
    Networks, 2014, eq. 1).

    .. math::
        \max_d \mathbb{E}_{p(x)}[\log d(x)] + \mathbb{E}_{q(x)}[\log (1-d(x))] = 2 D_{JS}[p||q]
            - 2 \log 2

    The critic minimises the negative of the left side.  The generator's objective is, with
    ``inverse_g_loss``, the one that does not saturate, :math:`-\mathbb{E}_p[\log(1-d)] -
    \mathbb{E}_q[\log d]`, else the left side itself. A term on the data is a constant for the
    generator and gets no gradient.

    Args:
        p, q, discriminator, optimizer, optimizer_params: see :class:`AdversarialLoss`; :math:`d(x)`
            is in (0, 1).
        inverse_g_loss: the generator's objective that does not saturate.
        logits: the discriminator returns :math:`\log d/(1-d)` in place of :math:`d`.

    >>> from torch import nn
    >>> from pixyz.distributions import Deterministic, EmpiricalDistribution, Normal
    >>> class D(Deterministic):
    ...     def __init__(self):
    ...         super().__init__(var="t", cond_var="x", name="d")
    ...         self.net = nn.Linear(2, 1)
    ...
    ...     def forward(self, x):
    ...         return {"t": self.net(x).sigmoid()}
    >>> loss = AdversarialJensenShannon(
    ...     Normal("x", loc=0.0, scale=1.0, features_shape=[2]), EmpiricalDistribution("x"), D()
    ... )
    >>> print(loss)
    mean(D_{JS}^{Adv} \left[p(x)||p_{data}(x) \right])
    >>> print(loss.critic)
    - \mathbb{E}_{p(x)} \left[\log d(t|x) \right] - \mathbb{E}_{p_{data}(x)} \left[\log \left(1 - d(t|x)\right) \right]
    >>> loss.loss_train({"x": torch.randn(8, 2)}).shape
    torch.Size([])
    """  # noqa: E501

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        discriminator: Distribution,
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        inverse_g_loss: bool = True,
        logits: bool = False,
    ) -> None:
        super().__init__(p, q, discriminator, optimizer, optimizer_params)
        self.inverse_g_loss, self.logits = inverse_g_loss, logits

    def symbol(self) -> sympy.Expr:
        return latex.leaf(
            rf"mean(D_{{JS}}^{{Adv}} \left[{self.p.prob_text}||{self.q.prob_text} \right])"
        )

    def generator_terms(self) -> tuple[Term | None, Term | None]:
        real, fake = surprises(self.logits)
        return (
            (fake, real)
            if self.inverse_g_loss
            else (negated(self.logits, 1), negated(self.logits, 0))
        )

    def critic_terms(self) -> tuple[Term, Term]:
        return surprises(self.logits)

    def critic_text(self) -> str:
        return _log_odds_text(self)


class AdversarialKullbackLeibler(AdversarialLoss):
    r"""The Kullback-Leibler divergence by the density ratio that a discriminator learns (Kim and
    Mnih, FactorVAE, 2018, eq. 3).

    .. math::
        D_{KL}[p||q] = \mathbb{E}_{p(x)}\left[\log \frac{d^*(x)}{1-d^*(x)}\right], \quad
        d^* = \arg\max_d \mathbb{E}_{p(x)}[\log d(x)] + \mathbb{E}_{q(x)}[\log (1-d(x))]

    Its gradient reaches ``p`` through the samples, also where ``p`` is an inference network; ``q``
    is only the critic's.

    Args:
        p, q, discriminator, optimizer, optimizer_params: see :class:`AdversarialLoss`; :math:`d(x)`
            is in (0, 1).
        logits: the discriminator returns :math:`\log d/(1-d)` in place of :math:`d`.

    >>> from torch import nn
    >>> from pixyz.distributions import Deterministic, Normal
    >>> class Critic(Deterministic):
    ...     def __init__(self):
    ...         super().__init__("t", "x", name="d")
    ...         self.net = nn.Linear(2, 1)
    ...
    ...     def forward(self, x):
    ...         return {"t": torch.sigmoid(self.net(x))}
    >>> p, q = (
    ...     Normal("x", loc=m, scale=1.0, features_shape=[2], name=n)
    ...     for m, n in ((0.0, "p"), (1.0, "q"))
    ... )
    >>> print(AdversarialKullbackLeibler(p, q, Critic()))
    mean(D_{KL}^{Adv} \left[p(x)||q(x) \right])
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        discriminator: Distribution,
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        logits: bool = False,
    ) -> None:
        super().__init__(p, q, discriminator, optimizer, optimizer_params)
        self.logits = logits

    def symbol(self) -> sympy.Expr:
        return latex.leaf(
            rf"mean(D_{{KL}}^{{Adv}} \left[{self.p.prob_text}||{self.q.prob_text} \right])"
        )

    def generator_terms(self) -> tuple[Term | None, Term | None]:
        return (same if self.logits else log_odds), None

    def critic_terms(self) -> tuple[Term, Term]:
        return surprises(self.logits)

    def critic_text(self) -> str:
        return _log_odds_text(self)


class AdversarialWassersteinDistance(AdversarialLoss):
    r"""The Wasserstein-1 distance by a critic with clipped weights (Arjovsky et al., Wasserstein
    GAN, 2017, eq. 2).

    .. math::
        W(p, q) = \sup_{||d||_{L} \leq 1} \mathbb{E}_{p(x)}[d(x)] - \mathbb{E}_{q(x)}[d(x)]

    Clipping holds the critic's Lipschitz constant below some number, so the distance is known up to
    a factor.

    Args:
        p, q, discriminator, optimizer, optimizer_params: see :class:`AdversarialLoss`; :math:`d(x)`
            is any number.
        clip_value: weights of the discriminator are held between ``-clip_value`` and
            ``clip_value``.

    >>> from torch import nn
    >>> from pixyz.distributions import Deterministic, Normal
    >>> class Critic(Deterministic):
    ...     def __init__(self):
    ...         super().__init__("t", "x", name="d")
    ...         self.net = nn.Linear(2, 1)
    ...
    ...     def forward(self, x):
    ...         return {"t": self.net(x)}
    >>> p, q = (
    ...     Normal("x", loc=m, scale=1.0, features_shape=[2], name=n)
    ...     for m, n in ((0.0, "p"), (1.0, "q"))
    ... )
    >>> print(AdversarialWassersteinDistance(p, q, Critic()))
    mean(W^{Adv} \left(p(x), q(x) \right))
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        discriminator: Distribution,
        clip_value: float = 0.01,
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        inverse_g_loss: bool = True,
    ) -> None:
        super().__init__(p, q, discriminator, optimizer, optimizer_params)
        self.clip_value, self.inverse_g_loss = clip_value, inverse_g_loss

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"mean(W^{{Adv}} \left({self.p.prob_text}, {self.q.prob_text} \right))")

    def generator_terms(self) -> tuple[Term | None, Term | None]:
        return same, operator.neg

    def critic_terms(self) -> tuple[Term, Term]:
        return operator.neg, same

    def critic_text(self) -> str:
        d = self.d.prob_text
        return (
            rf"- \mathbb{{E}}_{{{self.p.prob_text}}} \left[{d} \right] + "
            rf"\mathbb{{E}}_{{{self.q.prob_text}}} \left[{d} \right]"
        )

    def loss_train(self, train_x_dict: object = None, **kwargs: object) -> Tensor:
        loss = super().loss_train(train_x_dict, **kwargs)
        with torch.no_grad():
            for weight in nn.Module.parameters(self.d):
                weight.clamp_(-self.clip_value, self.clip_value)
        return loss


def _log_odds_text(loss: AdversarialLoss) -> str:
    d = loss.d.prob_text
    return (
        rf"- \mathbb{{E}}_{{{loss.p.prob_text}}} \left[\log {d} \right] "
        rf"- \mathbb{{E}}_{{{loss.q.prob_text}}} \left[\log \left(1 - {d}\right) \right]"
    )
