"""The base of divergences by a discriminator: the generator's objective, and the critic's."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn, optim

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.expression import Loss
from pixyz.losses.critic_terms import Term
from pixyz.losses.optimizer import make_optimizer
from pixyz.losses.sampled import Samples, of_same_variables
from pixyz.plan import Scope, Slot, rules
from pixyz.plan.write.masks import valid_rows
from pixyz.types import PixyzError

if TYPE_CHECKING:
    import sympy


class AdversarialLoss(Loss):
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
        optimizer_params: Mapping[str, object] | None = None,
    ) -> None:
        of_same_variables(type(self).__name__, p, q)
        super().__init__()
        self.p, self.q = p, q
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

    def lower(self, scope: Scope) -> Slot:
        builder = scope.builder
        if builder.given("discriminator"):
            return self.lower_critic(scope)
        pairs = [
            (p, term)
            for p, term in zip((self.p, self.q), self.generator_terms(), strict=True)
            if term is not None
        ]
        draws = self._samples().lower(scope, *[p for p, _ in pairs])
        judged = [self._judged(scope, drawn) for drawn in draws]
        judged = [builder.detach(y) if p.is_data else y for (p, _), y in zip(pairs, judged)]
        if type(self).g_loss is not AdversarialLoss.g_loss:
            return self._by_method(scope, self.g_loss, judged)
        total: Slot | None = None
        for (_, term), y in zip(pairs, judged, strict=True):
            value = self._term(scope, y, term)
            total = (
                value
                if total is None
                else builder.point(operator.add, total, value, label=type(self).__name__)
            )
        assert total is not None
        return total

    def _samples(self) -> Samples:
        return Samples(type(self).__name__, self.p, self.q)

    def lower_critic(self, scope: Scope) -> Slot:
        """Write the critic's objective: no gradient reaches what is judged."""
        found = self._samples().lower(scope, self.p, self.q, reparam=False)
        draws = [{v: scope.builder.detach(slot) for v, slot in drawn.items()} for drawn in found]
        judged = [self._judged(scope, drawn) for drawn in draws]
        if type(self).d_loss is not AdversarialLoss.d_loss:
            return self._by_method(scope, self.d_loss, judged)
        on_p, on_q = (
            self._term(scope, y, term) for y, term in zip(judged, self.critic_terms(), strict=True)
        )
        return scope.builder.point(
            operator.add, on_p, on_q, label=f"critic of {type(self).__name__}"
        )

    def g_loss(self, y_p: Tensor, *more: Tensor) -> Tensor:
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
        self, scope: Scope, method: Callable[..., Tensor], judged: Sequence[Slot]
    ) -> Slot:
        if scope.keep or scope.masks:
            raise PixyzError(
                f"{type(self).__name__} overrides {method.__name__}, "
                f"which has no meaning at each step of a series"
            )

        def call(*ys: Tensor) -> tuple[Tensor]:
            return (method(*ys, ys[0].shape[0]),)

        slot = scope.builder.opaque(call, judged, ["value"], method.__name__)[0]
        slot.axes, slot.batch = (), "none"
        return slot

    def _judged(self, scope: Scope, drawn: Mapping[str, Slot]) -> Slot:
        return self.d.lower_sample(scope.child(drawn))[self.d.var[0]]

    def _term(self, scope: Scope, judged: Slot, term: Term) -> Slot:
        value = scope.builder.point(term, judged, label=self.d.prob_text)
        axes = [a for a in value.axes if a not in scope.keep]
        mask = valid_rows(scope, value.axes) if value.batch == "full" else None
        return scope.builder.reduce(
            rules.reduce_mean, value, axes, batch=True, label="mean", mask=mask
        )

    # ---------------------------------------------------------------- training the critic

    def loss_train(self, train_x_dict: object = None, **kwargs: Any) -> Tensor:
        """One step of the discriminator's optimiser; the critic's objective, without its graph."""
        self.d.train()
        self.d_optimizer.zero_grad()
        loss: Tensor = self.eval(train_x_dict, **{**kwargs, "discriminator": True})
        loss.backward()
        self.d_optimizer.step()
        return loss.detach()

    def loss_test(self, test_x_dict: object = None, **kwargs: Any) -> Tensor:
        """The critic's objective in evaluation mode, without gradients."""
        self.d.eval()
        with torch.no_grad():
            made: Tensor = self.eval(test_x_dict, **{**kwargs, "discriminator": True})
            return made


class CriticLoss(Loss):
    """The critic's objective of an adversarial loss."""

    def __init__(self, adversarial: AdversarialLoss) -> None:
        super().__init__()
        self.adversarial = adversarial

    def symbol(self) -> sympy.Expr:
        return latex.leaf(self.adversarial.critic_text())

    def lower(self, scope: Scope) -> Slot:
        return self.adversarial.lower_critic(scope)
