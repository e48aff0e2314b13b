"""Mixtures: one component is chosen by a hidden categorical variable,
which is summed out exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.params import Params
from pixyz.distributions.core.path import on_path
from pixyz.distributions.families.noise import class_noise
from pixyz.distributions.families.normal import Normal
from pixyz.distributions.families.one_hot import Categorical, one_hot_sample
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.overrides import adopted
from pixyz.plan import Axis, Builder, Scope, Slot, rules
from pixyz.types import PixyzError, VariableError


class Mixture(Distribution):
    """Base of the mixtures: components of the same variables and the
    logarithms of their weights.
    """

    composite = True

    def __init__(
        self,
        components: Sequence[Distribution],
        cond_var: Sequence[str],
        name: str,
        features_shape: Sequence[int] | None,
    ) -> None:
        if not components:
            raise PixyzError("a mixture needs at least one component, got an empty list")
        var = components[0].var
        for part in components:
            if set(part.var) != set(var):
                raise VariableError(
                    f"the components of a mixture draw the same variables; "
                    f"{components[0].prob_text} and {part.prob_text} do not"
                )
        conditions = dict.fromkeys([*(c for part in components for c in part.cond_var), *cond_var])
        super().__init__(var, list(conditions), name, features_shape)

    def components(self) -> list[Distribution]:
        """The components."""
        raise NotImplementedError

    def lower_log_weights(self, builder: Builder, scope: Scope) -> Slot:
        """The slot of the logarithms of the weights, ``[..., K]``."""
        raise NotImplementedError

    def lower_scores(
        self,
        builder: Builder,
        scope: Scope,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Slot:
        r""":math:`\log p(x|z=k) + \log p(z=k)` of all components, ``[..., K]``."""
        found = [
            part.lower_log_prob(
                builder, scope, sum_features=sum_features, feature_dims=feature_dims
            )
            for part in self.components()
        ]
        stacked = builder.point(
            stack_last, *found, label=f"log of the components of {self.prob_text}"
        )
        weights = self.lower_log_weights(builder, scope)
        return builder.point(add_last, stacked, weights, label=f"log joint of {self.prob_text}")

    def lower_log_prob(
        self,
        builder: Builder,
        scope: Scope,
        *,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Slot:
        scores = self.lower_scores(builder, scope, sum_features, feature_dims)
        return builder.point(logsumexp_last, scores, label=f"log {self.prob_text}")

    def lower_draw(
        self,
        builder: Builder,
        scope: Scope,
        *,
        reparam: bool,
        particles: tuple[Axis, ...],
        mean: bool,
    ) -> tuple[dict[str, Slot], Slot]:
        """A sample and the component it came from, one-hot."""
        mean = mean or builder.sample_mean
        rows_of = self._rows(builder, scope)
        parts = []
        for part in self.components():
            if (
                isinstance(part.atom, ParametricDistribution)
                and not mean
                and not adopted(part.atom, "sample")
            ):
                params = part.lower_params(builder, scope)
                # each row draws from each component, also from one that has no conditions
                if rows_of is not None:
                    params = params.expanded(rows_of)
                parts.append(
                    part.sample_from(
                        builder, scope, params, reparam=reparam, particles=particles, mean=mean
                    )
                )
            else:
                parts.append(
                    part.lower_sample(
                        builder, scope, reparam=reparam, particles=particles, mean=mean
                    )
                )
        rows = [
            builder.features(first_feature, part[v], f"rows of {v}")
            for part in parts
            for v in self.var
        ]
        log_weights = builder.point(
            weights_of_rows, self.lower_log_weights(builder, scope), *rows, label="weights"
        )
        if mean:
            weights = builder.point(torch.exp, log_weights, label=f"weights of {self.prob_text}")
            drawn = {
                v: builder.point(weighted, weights, *[p[v] for p in parts], label=f"mean of {v}")
                for v in self.var
            }
            return drawn, weights
        noise = builder.noise(
            class_noise, [log_weights], (), f"noise of the component of {self.prob_text}"
        )
        chosen = builder.point(choose, noise, log_weights, label=f"component of {self.prob_text}")
        drawn = {
            v: builder.point(
                select, chosen, *[p[v] for p in parts], label=f"{v} ~ {self.prob_text}"
            )
            for v in self.var
        }
        return drawn, chosen

    def _rows(self, builder: Builder, scope: Scope) -> Slot | None:
        """Something with the leading dimensions of the conditions; None if there are none."""
        given = [scope.lookup(c) for c in self._cond_var]
        rows = [builder.features(first_feature, g, "rows") for g in given if g.batch == "full"]
        return builder.point(joint_rows, *rows, label=f"rows of {self.prob_text}") if rows else None

    def lower_sample(
        self,
        builder: Builder,
        scope: Scope,
        *,
        reparam: bool = True,
        particles: tuple[Axis, ...] = (),
        mean: bool = False,
    ) -> dict[str, Slot]:
        found = on_path(self, scope, reparam)
        if found is not None:
            return found
        return self.lower_draw(builder, scope, reparam=reparam, particles=particles, mean=mean)[0]


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
        if not isinstance(prior.atom, Categorical) or len(prior.var) != 1:
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
        for k, part in enumerate(self.distributions):
            assert isinstance(part, Distribution)
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
        return list(self.distributions)  # type: ignore[arg-type]

    def lower_log_weights(self, builder: Builder, scope: Scope) -> Slot:
        return self.prior.lower_params(builder, scope)["log_probs"]

    def detach(self) -> Distribution:
        return MixtureModel([d.detach() for d in self.components()], self.prior.detach(), self.name)

    def frozen(self) -> Distribution:
        return MixtureModel([d.frozen() for d in self.components()], self.prior.frozen(), self.name)

    def posterior(self, name: str | None = None) -> PosteriorMixtureModel:
        """The distribution of the hidden variable given the others."""
        return PosteriorMixtureModel(self, name)

    def sample(
        self,
        x_dict: Any = None,
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
        values, shape = self._sample_values(x_dict, batch_n), tuple(int(n) for n in sample_shape)

        def build(builder: Builder) -> dict[str, Slot]:
            particles = tuple(Axis("particle", n) for n in reversed(shape))
            builder.batch_n = (
                builder.input("@batch_n", "none") if builder.given("@batch_n") else None
            )
            drawn, chosen = self.lower_draw(
                builder, Scope(builder), reparam=reparam, particles=particles, mean=sample_mean
            )
            drawn[self.hidden_var[0]] = chosen
            return drawn

        drawn = self._run(
            ("sample with hidden", shape, reparam, sample_mean), values, build, generator
        )
        values.pop("@batch_n", None)
        return {**values, **drawn} if return_all else drawn

    def get_log_prob(
        self,
        x_dict: Any,
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
        dims = None if feature_dims is None else tuple(feature_dims)

        def build(builder: Builder) -> dict[str, Slot]:
            return {"log_prob": self.lower_scores(builder, Scope(builder), sum_features, dims)}

        values = self._values(x_dict, [*self.var, *self.cond_var])
        return self._run(("log_prob with hidden", sum_features, dims), values, build)[
            "log_prob"
        ].movedim(-1, 0)


class PosteriorMixtureModel(Categorical):
    r"""The posterior of a mixture's hidden variable, :math:`p(z=k|x) = p_k(x) p(z=k) / \sum_j
    p_j(x) p(z=j)`.

    A categorical distribution: it can be sampled, and has entropies and KLs.  Where ``z`` is not
    given its log-density is that of all components, ``[K, B]``.

    Args:
        p: the mixture.
        name: the letter in formulas; the mixture's if None.
    """

    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    composite = True

    def __init__(self, p: MixtureModel, name: str | None = None) -> None:
        super().__init__(
            p.hidden_var,
            [*p.var, *p.cond_var],
            p.name if name is None else name,
            (len(p.distributions),),
        )
        self.p = p

    @classmethod
    def family(cls) -> type[Categorical]:
        return Categorical

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

    def params_from(self, builder: Builder, scope: Scope, network: Any) -> Params:
        logits = self.p.lower_scores(builder, scope)
        return Params(builder, {"logits": logits}, self._derive)

    def detach(self) -> Distribution:
        return PosteriorMixtureModel(_mixture(self.p.detach()), self.name)

    def frozen(self) -> Distribution:
        return PosteriorMixtureModel(_mixture(self.p.frozen()), self.name)

    def lower_log_prob(
        self,
        builder: Builder,
        scope: Scope,
        *,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Slot:
        z = self.var[0]
        if not scope.bound(z) and not builder.given(scope.outer_name(z)):
            count = len(self.p.distributions)
            scope = scope.child(
                {z: builder.states(OneHots(count, self.p), Axis("particle", count), f"all {z}")}
            )
        return super().lower_log_prob(
            builder, scope, sum_features=sum_features, feature_dims=feature_dims
        )


class MixtureOfNormal(Mixture):
    r"""A mixture of experts, :math:`p(z|x,y) = \sum_m w_m\,p(z|x_m)` (Shi et al. 2019, the MMVAE's
    posterior).

    Each row draws its own expert.  With ``reparam`` the gradient passes through the drawn expert,
    which is unbiased since the weights are fixed.

    Args:
        p: the experts, Normal distributions of one variable.
        weight_modalities: their weights, scaled to sum to 1; equal if None.
        name, features_shape: see :class:`Distribution`.

    >>> parts = [Normal(var="z", cond_var=v, loc=v, scale=1.0) for v in ("x", "y")]
    >>> p = MixtureOfNormal(parts)
    >>> p.get_log_prob({"z": torch.zeros(1, 2), "x": torch.zeros(1, 2), "y": torch.zeros(1, 2)})
    tensor([-1.8379])
    """

    log_weights: Tensor

    def __init__(
        self,
        p: Distribution | Sequence[Distribution] = (),
        weight_modalities: Sequence[float] | Tensor | None = None,
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        experts = [p] if isinstance(p, Distribution) else list(p)
        for expert in experts:
            if not isinstance(expert.atom, Normal):
                raise PixyzError(
                    f"the experts are Normal, got {expert.prob_text} ({expert.distribution_name})"
                )
        super().__init__(experts, (), name, features_shape)
        weights = (
            torch.ones(len(experts))
            if weight_modalities is None
            else torch.as_tensor(weight_modalities).float()
        )
        if weights.shape != (len(experts),) or not bool((weights > 0).all()):
            raise PixyzError(
                f"weight_modalities must be {len(experts)} positive numbers, "
                f"got {weight_modalities}"
            )
        self.p = nn.ModuleList(experts)
        self.register_buffer("log_weights", (weights / weights.sum()).log().unsqueeze(0))

    @property
    def weight_modalities(self) -> Tensor:
        """The weights, ``[K]``."""
        return self.log_weights[0].exp()

    @property
    def distribution_name(self) -> str:
        return "Mixture of Normal"

    @property
    def prob_factorized_text(self) -> str:
        shares = [f"{w:.3g}" for w in self.weight_modalities.tolist()]
        return " + ".join(
            f"{w} {part.prob_text}" for w, part in zip(shares, self.components(), strict=True)
        )

    def components(self) -> list[Distribution]:
        return list(self.p)  # type: ignore[arg-type]

    def lower_log_weights(self, builder: Builder, scope: Scope) -> Slot:
        return builder.attribute(self, "log_weights", f"weights of {self.prob_text}")

    def detach(self) -> Distribution:
        return MixtureOfNormal(
            [d.detach() for d in self.components()],
            self.weight_modalities,
            self.name,
            self.features_shape,
        )

    def frozen(self) -> Distribution:
        return MixtureOfNormal(
            [d.frozen() for d in self.components()],
            self.weight_modalities,
            self.name,
            self.features_shape,
        )


class OneHots:
    """All one-hot vectors, ``[K, K]``, of the type and on the device of a module's weights."""

    def __init__(self, count: int, module: nn.Module) -> None:
        self.count, self.module = count, module

    def __call__(self) -> Tensor:
        held = [*nn.Module.parameters(self.module), *nn.Module.buffers(self.module)]
        like = next((w for w in held if w.is_floating_point()), torch.empty(0))
        return torch.eye(self.count, dtype=like.dtype, device=like.device)


def _mixture(p: Distribution) -> MixtureModel:
    assert isinstance(p, MixtureModel)
    return p


def stack_last(*xs: Tensor) -> Tensor:
    """Values along a new last dimension."""
    return torch.stack(torch.broadcast_tensors(*xs), -1)


def add_last(scores: Tensor, weights: Tensor) -> Tensor:
    """``[*lead, ..., K] + [*lead, K]``."""
    return scores + weights.reshape(
        *weights.shape[:-1], *(1,) * (scores.ndim - weights.ndim), weights.shape[-1]
    )


def logsumexp_last(x: Tensor) -> Tensor:
    return torch.logsumexp(x, -1)


def first_feature(x: Tensor, lead: int) -> Tensor:
    """The leading dimensions of ``x`` alone, as zeros."""
    return x.new_zeros(()).expand(x.shape[:lead])


def joint_rows(*rows: Tensor) -> Tensor:
    return (
        torch.zeros_like(rows[0])
        if len(rows) == 1
        else sum(torch.broadcast_tensors(*rows), torch.zeros_like(rows[0]))
    )


def weights_of_rows(log_weights: Tensor, *rows: Tensor) -> Tensor:
    """Normalised log-weights ``[*rows, K]``."""
    shape = torch.broadcast_shapes(log_weights.shape[:-1], *[r.shape for r in rows])
    return torch.log_softmax(log_weights, -1).expand(*shape, log_weights.shape[-1])


def choose(noise: Tensor, log_weights: Tensor) -> Tensor:
    """A one-hot component."""
    return one_hot_sample(noise, log_weights.detach().exp())


def select(chosen: Tensor, *xs: Tensor) -> Tensor:
    """The value of the chosen component in each row: ``chosen [*lead, K]``, values ``[*lead,
    ...]``.
    """
    result = xs[0]
    for k, x in enumerate(xs[1:], 1):
        result = torch.where(rules.lift(chosen[..., k] > 0, x), x, result)
    return result


def weighted(weights: Tensor, *xs: Tensor) -> Tensor:
    """The mean of values by weights ``[*lead, K]``."""
    return torch.stack([rules.lift(weights[..., k], x) * x for k, x in enumerate(xs)]).sum(0)
