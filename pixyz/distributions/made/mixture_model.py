"""A mixture with a learned prior, and its posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.distributions.core import direct
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.params import Forward, Params
from pixyz.distributions.families.categorical import (
    Categorical,
    OneHotCategoricalStraightThrough,
    all_one_hots,
)
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.relaxed import ConcreteCategorical, RelaxedCategorical
from pixyz.distributions.made.mixture import Mixture
from pixyz.expression.protocol import SCORE, Draw, Score
from pixyz.plan import Axis, Scope, Slot
from pixyz.types import PixyzError, VariableError

PRIORS = (
    Categorical,
    OneHotCategoricalStraightThrough,
    RelaxedCategorical,
    ConcreteCategorical,
)
"""The families that choose a component."""


class MixtureModel(Mixture):
    r"""A mixture, :math:`p(x) = \sum_k p_k(x)\,p(z=k)`.

    The density and the posterior :math:`p(z|x)` are exact; the latter is a distribution like others
    (:meth:`posterior`), so EM is ``E(p.posterior().detach(), log p(x, z))`` or just the gradient of
    ``log_prob()``.

    Args:
        distributions: the components, all of the same variable; they may be conditional.
        prior: a categorical distribution of the hidden variable with as many classes.  Where it has
            the name of what the components draw (both may have the default name), the hidden
            variable is called ``z``, ``k`` or ``component``.
        name: the letter in formulas.

    Raises:
        PixyzError: the prior is not categorical, or has another number of classes.
        VariableError: the components draw different variables.

    >>> from pixyz.distributions import Normal
    >>> parts = [
    ...     Normal(var="x", loc=loc, scale=1.0, name=f"p_{i}") for i, loc in enumerate((-1.0, 1.0))
    ... ]
    >>> prior = Categorical(var="z", probs=torch.tensor([0.5, 0.5]), name="prior")
    >>> p = MixtureModel(parts, prior)
    >>> p.get_log_prob({"x": torch.zeros(1)})
    tensor([-1.4189])
    >>> p.posterior().get_params({"x": torch.zeros(1)})["logits"].softmax(-1)
    tensor([[0.5000, 0.5000]])
    """

    def __init__(
        self, distributions: Sequence[Distribution], prior: Distribution, name: str = "p"
    ) -> None:
        if prior.atom.family() not in PRIORS or len(prior.var) != 1:
            raise PixyzError(
                f"the prior of a mixture is a Categorical, "
                f"got {prior.prob_text} ({prior.distribution_name})"
            )
        super().__init__(list(distributions), prior.cond_var, name, ())
        known = prior.atom.features_shape
        if known and tuple(known) != (len(distributions),):
            raise PixyzError(
                f"a mixture of {len(distributions)} components needs a prior of as many classes, "
                f"got {list(known)}"
            )
        taken = {*self.var, *self.cond_var}
        if prior.var[0] in taken - set(self.var):
            raise VariableError(
                f"the hidden variable {prior.var[0]!r} is also a condition of the components; "
                f"rename one"
            )
        free = (name for name in (prior.var[0], "z", "k", "component") if name not in taken)
        self._hidden = next(free, "hidden_component")
        self.distributions = nn.ModuleList(distributions)
        self.prior = prior

    @property
    def hidden_var(self) -> list[str]:
        """The variable that says which component."""
        return [self._hidden]

    @property
    def distribution_name(self) -> str:
        return "Mixture Model"

    @property
    def prob_factorized_text(self) -> str:
        hidden = latex.latex_name(self.hidden_var[0])
        terms = []
        for k, part in enumerate(self.components()):
            given = ",".join([*map(latex.latex_name, part.cond_var), f"{hidden}={k}"])
            weight = ",".join(map(latex.latex_name, self.prior.cond_var))
            drawn = ",".join(map(latex.latex_name, part.var))
            terms.append(
                f"{latex.latex_name(part.name)}({drawn}|{given}){latex.latex_name(self.prior.name)}({hidden}={k}"
                f"{'|' + weight if weight else ''})"
            )
        return " + ".join(terms)

    @property
    def has_reparam(self) -> bool:
        fixed = not self.prior.cond_var and not any(True for _ in nn.Module.parameters(self.prior))
        return fixed and all(part.has_reparam for part in self.components())

    def components(self) -> list[Distribution]:
        return [d for d in self.distributions if isinstance(d, Distribution)]

    def lower_log_weights(self, scope: Scope) -> Slot:
        return self.prior.lower_params(scope)["log_probs"]

    def detach(self) -> MixtureModel:
        return MixtureModel([d.detach() for d in self.components()], self.prior.detach(), self.name)

    def frozen(self) -> MixtureModel:
        return MixtureModel([d.frozen() for d in self.components()], self.prior.frozen(), self.name)

    def posterior(self, name: str | None = None) -> PosteriorMixtureModel:
        """The distribution of the hidden variable given the others."""
        return PosteriorMixtureModel(self, name)

    def sample(
        self,
        x_dict: object = None,
        batch_n: int | None = None,
        sample_shape: Sequence[int] = torch.Size(),
        return_all: bool = True,
        reparam: bool = False,
        sample_mean: bool = False,
        return_hidden: bool = False,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Draw a sample (see :meth:`Distribution.sample`), with ``return_hidden`` also the
        component, one-hot ``[B, K]``.
        """
        if not return_hidden:
            return super().sample(
                x_dict,
                batch_n,
                sample_shape,
                return_all,
                reparam,
                sample_mean,
                generator=generator,
                **kwargs,
            )

        def lower(scope: Scope, how: Draw) -> dict[str, Slot]:
            drawn, chosen = self.lower_draw(scope, how)
            return {**drawn, self.hidden_var[0]: chosen}

        key = "sample with hidden"
        values, drawn = direct.sample(
            self, x_dict, batch_n, sample_shape, reparam, sample_mean, generator, lower, key
        )
        return {**values, **drawn} if return_all else drawn

    def get_log_prob(
        self,
        x_dict: object,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
        return_hidden: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        r"""The log-density ``[B]``; with ``return_hidden`` :math:`\log p(x, z=k)` of all
        components, ``[K, B]``.
        """
        if not return_hidden:
            return super().get_log_prob(x_dict, sum_features, feature_dims, **kwargs)
        how = Score(sum_features, None if feature_dims is None else tuple(feature_dims))

        def build(scope: Scope) -> dict[str, Slot]:
            return {"log_prob": self.lower_scores(scope, how)}

        values = self._values(x_dict, [*self.var, *self.cond_var])
        found = self._run(("log_prob with hidden", how), values, build)["log_prob"]
        return found.movedim(-1, 0)


class PosteriorMixtureModel(ParametricDistribution, like=Categorical):
    r"""The posterior of a mixture's hidden variable, :math:`p(z=k|x) = p_k(x) p(z=k) / \sum_j
    p_j(x) p(z=j)`.

    A categorical distribution: it can be sampled, and has entropies and KLs.  Where ``z`` is not
    given its log-density is that of all components, ``[K, B]``.

    Args:
        p: the mixture.
        name: the letter in formulas; the mixture's if None.
    """

    composite = True

    def __init__(self, p: MixtureModel, name: str | None = None) -> None:
        super().__init__(
            p.hidden_var,
            [*p.var, *p.cond_var],
            p.name if name is None else name,
            (len(p.distributions),),
        )
        self.p = p

    @property
    def hidden_var(self) -> list[str]:
        """The variable that says which component."""
        return self.p.hidden_var

    @property
    def distribution_name(self) -> str:
        return "Mixture Model (Posterior)"

    @property
    def prob_factorized_text(self) -> str:
        joint = latex.conditional(self.name, [*self.var, *self.p.var], self.p.cond_var)
        return rf"\frac{{{joint}}}{{{latex.conditional(self.name, self.p.var, self.p.cond_var)}}}"

    def states(self) -> Tensor | None:
        return all_one_hots(self)

    def params_from(self, scope: Scope, network: Forward) -> Params:
        logits = self.p.lower_scores(scope)
        return Params(scope.builder, {"logits": logits}, self._derive)

    def detach(self) -> Distribution:
        return PosteriorMixtureModel(self.p.detach(), self.name)

    def frozen(self) -> Distribution:
        return PosteriorMixtureModel(self.p.frozen(), self.name)

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        z = self.var[0]
        if not scope.bound(z) and not scope.builder.given(scope.outer_name(z)):
            count = len(self.p.distributions)
            scope = scope.child(
                {
                    z: scope.builder.states(
                        OneHots(count, self.p), Axis("particle", count), f"all {z}"
                    )
                }
            )
        return super().lower_log_prob(scope, how=how)


class OneHots:
    """All one-hot vectors, ``[K, K]``, of the type and on the device of a module's weights."""

    def __init__(self, count: int, module: nn.Module) -> None:
        self.count, self.module = count, module

    def __call__(self) -> Tensor:
        held = [*nn.Module.parameters(self.module), *nn.Module.buffers(self.module)]
        like = next((w for w in held if w.is_floating_point()), torch.empty(0))
        return torch.eye(self.count, dtype=like.dtype, device=like.device)
