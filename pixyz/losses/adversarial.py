"""Divergences by a discriminator that is trained beside the generator.

Each is two expressions: the generator's objective (what ``eval`` returns) and the critic's
(``loss.critic``, or ``eval(..., discriminator=True)``).  ``loss_train`` takes one step on the
critic's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.expression import Loss
from pixyz.losses.optimizer import make_optimizer
from pixyz.losses.sampled import SampledDivergence
from pixyz.plan import Builder, Scope, Slot, rules
from pixyz.plan.write.masks import valid_rows
from pixyz.types import PixyzError

if TYPE_CHECKING:
    import sympy

Term = Callable[[Tensor], Tensor]


class AdversarialLoss(SampledDivergence):
    """Base of the adversarial divergences of two distributions, either of which may be learned.

    Samples of ``p`` and ``q`` have pathwise gradients where these exist, whether they come from a
    function (:class:`pixyz.distributions.Deterministic`) or from an encoder such as a Normal.  The
    critic sees them detached.

    Args:
        p, q: distributions of the same variables.
        discriminator: a distribution ``d(t|x)``, mostly a Deterministic, that judges a sample.
        optimizer: the discriminator's optimiser class.
        optimizer_params: its arguments.

    Raises:
        VariableError: ``p`` and ``q`` are of different variables.
        PixyzError: the discriminator reads none of them.
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        discriminator: Distribution,
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(p, q)
        if not set(discriminator.input_var) & set(p.var):
            raise PixyzError(
                f"the discriminator {discriminator.prob_text} reads none of the "
                f"variables {p.var} that are compared"
            )
        self.d = discriminator
        self.d_optimizer = make_optimizer(
            optimizer, nn.Module.parameters(discriminator), optimizer_params
        )

    # ---------------------------------------------------------------- the two objectives

    def generator_terms(self) -> tuple[Term | None, Term | None]:
        """What the generator's objective takes of the discriminator's output on samples of ``p``
        and of ``q``.
        """
        raise NotImplementedError

    def critic_terms(self) -> tuple[Term, Term]:
        """What the critic's objective takes of the discriminator's output on samples of ``p`` and
        of ``q``.
        """
        raise NotImplementedError

    def critic_text(self) -> str:
        """The critic's objective in LaTeX."""
        raise NotImplementedError

    @property
    def critic(self) -> CriticLoss:
        """The critic's objective as an expression; what ``eval(..., discriminator=True)`` gives."""
        return CriticLoss(self)

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        if builder.given("discriminator"):
            return self.lower_critic(builder, scope)
        pairs = [
            (p, term)
            for p, term in zip((self.p, self.q), self.generator_terms(), strict=True)
            if term is not None
        ]
        draws = self.lower_draws(builder, scope, *[p for p, _ in pairs])
        judged = [self._judged(builder, scope, drawn) for drawn in draws]
        judged = [
            builder.detach(y) if p.distribution_name == "Data distribution" else y
            for (p, _), y in zip(pairs, judged)
        ]
        if type(self).g_loss is not AdversarialLoss.g_loss:
            return self._by_method(builder, scope, self.g_loss, judged)
        total: Slot | None = None
        for (_, term), y in zip(pairs, judged, strict=True):
            value = self._term(builder, scope, y, term)
            total = (
                value
                if total is None
                else builder.point(operator.add, total, value, label=type(self).__name__)
            )
        assert total is not None
        return total

    def lower_critic(self, builder: Builder, scope: Scope) -> Slot:
        """Write the critic's objective: no gradient reaches what is judged."""
        found = self.lower_draws(builder, scope, self.p, self.q, reparam=False)
        draws = [{v: builder.detach(slot) for v, slot in drawn.items()} for drawn in found]
        judged = [self._judged(builder, scope, drawn) for drawn in draws]
        if type(self).d_loss is not AdversarialLoss.d_loss:
            return self._by_method(builder, scope, self.d_loss, judged)
        on_p, on_q = (
            self._term(builder, scope, y, term)
            for y, term in zip(judged, self.critic_terms(), strict=True)
        )
        return builder.point(operator.add, on_p, on_q, label=f"critic of {type(self).__name__}")

    def g_loss(self, y_p: Tensor, *more: Any) -> Tensor:
        """The generator's objective from the discriminator's outputs ``(y_p, y_q, batch_n)``, or
        ``(y_p, batch_n)`` where ``q`` has no term.  A subclass that overrides it (or
        :meth:`d_loss`) is computed by it.
        """
        terms = [term for term in self.generator_terms() if term is not None]
        return torch.stack([term(y).mean() for term, y in zip(terms, (y_p, *more))]).sum()

    def d_loss(self, y_p: Tensor, y_q: Tensor, batch_n: int = 0) -> Tensor:
        """The critic's objective from the discriminator's outputs."""
        on_p, on_q = self.critic_terms()
        return on_p(y_p).mean() + on_q(y_q).mean()

    def _by_method(
        self, builder: Builder, scope: Scope, method: Callable[..., Tensor], judged: Sequence[Slot]
    ) -> Slot:
        if scope.keep or scope.masks:
            raise PixyzError(
                f"{type(self).__name__} overrides {method.__name__}, "
                f"which has no meaning at each step of a series"
            )

        def call(*ys: Tensor) -> tuple[Tensor]:
            return (method(*ys, ys[0].shape[0]),)

        slot = builder.opaque(call, judged, ["value"], method.__name__)[0]
        slot.axes, slot.batch = (), "none"
        return slot

    def _judged(self, builder: Builder, scope: Scope, drawn: Mapping[str, Slot]) -> Slot:
        return self.d.lower_sample(builder, scope.child(drawn))[self.d.var[0]]

    def _term(self, builder: Builder, scope: Scope, judged: Slot, term: Term) -> Slot:
        value = builder.point(term, judged, label=self.d.prob_text)
        axes = [a for a in value.axes if a not in scope.keep]
        mask = valid_rows(builder, scope, value.axes) if value.batch == "full" else None
        return builder.reduce(rules.reduce_mean, value, axes, batch=True, label="mean", mask=mask)

    # ---------------------------------------------------------------- training the critic

    def loss_train(self, train_x_dict: Any = None, **kwargs: Any) -> Tensor:
        """One step of the discriminator's optimiser; the critic's objective, without its graph."""
        self.d.train()
        self.d_optimizer.zero_grad()
        loss: Tensor = self.eval(train_x_dict, **{**kwargs, "discriminator": True})
        loss.backward()
        self.d_optimizer.step()
        return loss.detach()

    def loss_test(self, test_x_dict: Any = None, **kwargs: Any) -> Tensor:
        """The critic's objective in evaluation mode, without gradients."""
        self.d.eval()
        with torch.no_grad():
            return self.eval(test_x_dict, **{**kwargs, "discriminator": True})  # type: ignore[no-any-return]


class CriticLoss(Loss):
    """The critic's objective of an adversarial loss."""

    def __init__(self, adversarial: AdversarialLoss) -> None:
        super().__init__()
        self.adversarial = adversarial

    def symbol(self) -> sympy.Expr:
        return latex.leaf(self.adversarial.critic_text())

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        return self.adversarial.lower_critic(builder, scope)


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
        optimizer_params: Mapping[str, Any] | None = None,
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
        real, fake = _surprises(self.logits)
        return (
            (fake, real)
            if self.inverse_g_loss
            else (_negated(self.logits, 1), _negated(self.logits, 0))
        )

    def critic_terms(self) -> tuple[Term, Term]:
        return _surprises(self.logits)

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
        optimizer_params: Mapping[str, Any] | None = None,
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
        return _surprises(self.logits)

    def critic_text(self) -> str:
        return _log_odds_text(self)


class AdversarialWassersteinDistance(AdversarialJensenShannon):
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
        optimizer_params: Mapping[str, Any] | None = None,
        inverse_g_loss: bool = True,
    ) -> None:
        super().__init__(p, q, discriminator, optimizer, optimizer_params, inverse_g_loss)
        self.clip_value = clip_value

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

    def loss_train(self, train_x_dict: Any = None, **kwargs: Any) -> Tensor:
        loss = super().loss_train(train_x_dict, **kwargs)
        with torch.no_grad():
            for weight in nn.Module.parameters(self.d):
                weight.clamp_(-self.clip_value, self.clip_value)
        return loss


def same(y: Tensor) -> Tensor:
    """The output itself."""
    return y


def _cross_entropy(y: Tensor, target: float) -> Tensor:
    """``-log y`` or ``-log(1 - y)``, at most 100, in full precision also under autocast."""
    with torch.autocast(y.device.type, enabled=False):
        y = y if y.dtype == torch.float64 else y.float()
        return F.binary_cross_entropy(y, torch.full_like(y, target), reduction="none")


def minus_log(y: Tensor) -> Tensor:
    """:math:`-\\log d`."""
    return _cross_entropy(y, 1.0)


def minus_log_not(y: Tensor) -> Tensor:
    """:math:`-\\log (1 - d)`."""
    return _cross_entropy(y, 0.0)


def minus_log_of_logits(y: Tensor) -> Tensor:
    """:math:`-\\log d` from logits."""
    return F.softplus(-y)


def minus_log_not_of_logits(y: Tensor) -> Tensor:
    """:math:`-\\log (1 - d)` from logits."""
    return F.softplus(y)


def log_odds(y: Tensor) -> Tensor:
    """:math:`\\log d - \\log(1 - d)`."""
    return _cross_entropy(y, 0.0) - _cross_entropy(y, 1.0)


def log_of(y: Tensor) -> Tensor:
    """:math:`\\log d`."""
    return -minus_log(y)


def log_not(y: Tensor) -> Tensor:
    """:math:`\\log (1 - d)`."""
    return -minus_log_not(y)


def log_of_logits(y: Tensor) -> Tensor:
    """:math:`\\log d` from logits."""
    return F.logsigmoid(y)


def log_not_of_logits(y: Tensor) -> Tensor:
    """:math:`\\log (1 - d)` from logits."""
    return F.logsigmoid(-y)


def _surprises(logits: bool) -> tuple[Term, Term]:
    """:math:`-\\log d` and :math:`-\\log(1 - d)`."""
    return (minus_log_of_logits, minus_log_not_of_logits) if logits else (minus_log, minus_log_not)


def _negated(logits: bool, target: int) -> Term:
    """:math:`\\log d` (target 1) or :math:`\\log(1 - d)`."""
    pair = (log_not_of_logits, log_of_logits) if logits else (log_not, log_of)
    return pair[target]


def _log_odds_text(loss: AdversarialLoss) -> str:
    d = loss.d.prob_text
    return (
        rf"- \mathbb{{E}}_{{{loss.p.prob_text}}} \left[\log {d} \right] "
        rf"- \mathbb{{E}}_{{{loss.q.prob_text}}} \left[\log \left(1 - {d}\right) \right]"
    )
