"""Products of experts: normal distributions of one variable, multiplied and normalised in closed
form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.constant_weights import ConstantWeights
from pixyz.distributions.core.named import Named
from pixyz.distributions.core.params import Formula, Forward, Params, look_at, repeat_rows
from pixyz.distributions.families.normal import Normal
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.plan import Scope, rules
from pixyz.plan.looks import Together
from pixyz.types import PixyzError, VariableError


class Experts(Named):
    """What products of experts answer by their experts, ``p``."""

    p: nn.ModuleList
    _declared: bool

    @property
    def feature_rank(self) -> int | None:
        if self._features_shape or self._declared:
            return len(self._features_shape)
        known = [len(e.features_shape) for e in self._experts() if e.features_shape]
        return known[0] if known else None

    @property
    def prob_factorized_text(self) -> str:
        return f"p({','.join(self.var)})" + "".join(e.prob_text for e in self._experts())

    @property
    def prob_joint_factorized_and_text(self) -> str:
        return rf"{self.prob_text} \propto {self.prob_factorized_text}"

    def _experts(self) -> list[Distribution]:
        return [e for e in self.p if isinstance(e, Distribution)]


def experts_of(p: Distribution | Sequence[Distribution]) -> list[Distribution]:
    """The experts, which are Normal and of one variable.

    Raises:
        PixyzError: there is none, or one of another family.
        VariableError: they are of several variables.
    """
    experts = [p] if isinstance(p, Distribution) else list(p)
    if not experts:
        raise PixyzError("a product of experts needs at least one expert, got an empty list")
    first = experts[0]
    for expert in experts:
        if expert.atom.family() is not Normal:
            got = f"{expert.prob_text} ({expert.distribution_name})"
            raise PixyzError(f"the experts are Normal, got {got}")
        if expert.var != first.var:
            both = f"{first.prob_text} and {expert.prob_text}"
            raise VariableError(f"experts are of one variable; {both} are not")
    return experts


class ProductOfNormal(Experts, ParametricDistribution, like=Normal):
    r"""A product of experts, :math:`p(z|x,y) \propto p(z)\,p(z|x)\,p(z|y)` with the prior expert
    :math:`p(z)=\mathcal{N}(0,1)`.

    It is the normal distribution with the precision :math:`w_0 + \sum_m w_m/\sigma_m^2` and the
    precision-weighted mean, so it has a density, entropy and KL.  An expert of which no condition
    is given is left out; with none given, a direct call (``p.sample()``) is the prior, and an
    expression names what is missing.

    Wu and Goodman 2018, *Multimodal generative models for scalable weakly-supervised learning*;
    Vedantam et al. 2017.

    Args:
        p: the experts, Normal distributions of one variable.
        weight_modalities: weights of the prior and of each expert (one more than experts); 1 if
            None.
        name, features_shape: see :class:`Distribution`.

    >>> experts = [Normal(var="z", cond_var=v, loc=v, scale=1.0, name="q") for v in ("x", "y")]
    >>> q = ProductOfNormal(experts, name="q")
    >>> {k: v.tolist() for k, v in q.get_params({"x": torch.ones(1, 1)}).items()}
    {'loc': [[0.5]], 'scale': [[0.7071067690849304]]}
    """

    def __init__(
        self,
        p: Distribution | Sequence[Distribution] = (),
        weight_modalities: Sequence[float] | None = None,
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        experts = experts_of(p)
        conditions = dict.fromkeys(c for expert in experts for c in expert.cond_var)
        super().__init__(experts[0].var, list(conditions), name, features_shape)
        weights = (
            [1.0] * (len(experts) + 1)
            if weight_modalities is None
            else [float(w) for w in weight_modalities]
        )
        if len(weights) != len(experts) + 1 or min(weights) < 0 or not any(weights):
            raise PixyzError(
                f"weight_modalities are numbers of at least 0, "
                f"of the prior and the {len(experts)} experts; "
                f"got {weight_modalities}"
            )
        self.weight_modalities = weights
        self.p = nn.ModuleList(experts)

    def params_from(self, scope: Scope, network: Forward) -> Params:
        builder = scope.builder

        def there(expert: Distribution) -> bool:
            known = [scope.bound(c) or builder.given(scope.outer_name(c)) for c in expert.cond_var]
            return any(known) or not known

        present = [
            (e, w)
            for e, w in zip(self._experts(), self.weight_modalities[1:], strict=True)
            if there(e)
        ]
        if not present and scope.mode.direct:
            return self._prior(scope)
        present = present or list(zip(self._experts(), self.weight_modalities[1:], strict=True))
        found = [(e if network is self else e.frozen()).lower_params(scope) for e, _ in present]
        weights = (self.weight_modalities[0], *(w for _, w in present))
        loc, scale = [f["loc"] for f in found], [f["scale"] for f in found]
        precision = builder.point(
            Precision(weights), *scale, label=f"precision of {self.prob_text}"
        )
        known = tuple(f"{n} of {e.prob_text}" for n in ("loc", "scale") for e, _ in present)
        builder.look(precision, Together(f"the experts of {self.prob_text}", known), *loc, *scale)
        for params in found:
            look_at(precision, params)
        mean = builder.point(
            WeightedMean(weights[1:]), precision, *loc, *scale, label=f"loc of {self.prob_text}"
        )
        spread = builder.point(spread_of, precision, mean, label=f"scale of {self.prob_text}")
        return Params(builder, {"loc": mean, "scale": spread}, self._derive)

    def _prior(self, scope: Scope) -> Params:
        builder, n = scope.builder, scope.mode.batch_n
        shape = self.features_shape or next(
            (e.features_shape for e in self._experts() if e.features_shape), ()
        )
        prior = StandardNormal(tuple(shape), self.weight_modalities[0], self)
        loc, scale = (
            builder.point(part, label=f"{n} of the prior", batch="one")
            for n, part in prior.parts().items()
        )
        if n is not None:
            loc, scale = (
                builder.point(repeat_rows, s, n, label="rows", batch="full") for s in (loc, scale)
            )
        return Params(builder, {"loc": loc, "scale": scale}, self._derive)


class ElementWiseProductOfNormal(Experts, ParametricDistribution, like=Normal):
    r"""A product of experts in which each element of one input is an expert; 0 means that it is
    absent: :math:`p(z|x) \propto p(z) \prod_{i: x_i \ne 0} p(z|x_i)`.

    The network is called once, on all elements of all rows, each alone in a vector of zeros.

    Args:
        p: a Normal with one condition ``x [B, D]``.
        name, features_shape: see :class:`Distribution`.

    >>> q = ElementWiseProductOfNormal(
    ...     Normal(var="z", cond_var="x", loc="x", scale=1.0, name="q"), name="q"
    ... )
    >>> q.get_params({"x": torch.tensor([[3.0, 0.0]])})["loc"]
    tensor([[1.5000, 0.0000]])
    """

    def __init__(
        self, p: Distribution, name: str = "p", features_shape: Sequence[int] | None = None
    ) -> None:
        if not isinstance(p, Distribution) or len(p.cond_var) != 1:
            raise VariableError(
                "an element-wise product of experts takes one Normal with one condition"
            )
        experts = experts_of(p)
        super().__init__(experts[0].var, experts[0].cond_var, name, features_shape)
        self.p = nn.ModuleList(experts)

    def params_from(self, scope: Scope, network: Forward) -> Params:
        x = scope.lookup(self._cond_var[0])
        call = ElementExperts(self._experts()[0].atom, network is not self)
        loc, scale = scope.builder.net(
            call, [x], ["loc", "scale"], f"experts of {self.prob_text}", key=None
        )
        return Params(scope.builder, {"loc": loc, "scale": scale}, self._derive)


@dataclass(frozen=True)
class Precision:
    """The precision of a product: of the prior and of each expert, weighted."""

    weights: tuple[float, ...]

    def __call__(self, *scales: Tensor) -> Tensor:
        total: Tensor | float = self.weights[0]
        for w, scale in zip(self.weights[1:], scales, strict=True):
            total = total + w * scale.square().reciprocal()
        return torch.as_tensor(total)


@dataclass(frozen=True)
class WeightedMean:
    """The mean of a product: the experts' means, weighted by precision."""

    weights: tuple[float, ...]

    def __call__(self, precision: Tensor, *values: Tensor) -> Tensor:
        count = len(self.weights)
        total: Tensor | float = 0.0
        for w, loc, scale in zip(self.weights, values[:count], values[count:], strict=True):
            total = total + w * loc / scale.square()
        return total / precision


def spread_of(precision: Tensor, loc: Tensor) -> Tensor:
    """The standard deviation of a precision, in the shape of the mean."""
    return precision.rsqrt().expand_as(loc)


class StandardNormal:
    """The prior expert alone, ``[1, *shape]``."""

    def __init__(self, shape: tuple[int, ...], weight: float, module: nn.Module) -> None:
        self.shape, self.weight, self.module = shape, weight, module

    def parts(self) -> dict[str, Formula]:
        """Its parameters as functions without arguments."""
        return {"loc": self._loc, "scale": self._scale}

    def _loc(self) -> Tensor:
        like = next(
            iter([*nn.Module.parameters(self.module), *nn.Module.buffers(self.module)]),
            torch.empty(0),
        )
        return torch.zeros((1, *self.shape), dtype=like.dtype, device=like.device)

    def _scale(self) -> Tensor:
        return torch.full_like(self._loc(), self.weight**-0.5)


class ElementExperts:
    """Parameters of a product in which each element of a row ``x [N, D]`` is an expert."""

    def __init__(self, expert: Distribution, constant: bool) -> None:
        self.expert, self.constant = expert, constant
        self.network: Forward = ConstantWeights(expert) if constant else expert

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count = x.shape[-1]
        alone = x.unsqueeze(0) * torch.eye(count, dtype=x.dtype, device=x.device).unsqueeze(1)
        loc, scale = self._params(alone.flatten(0, 1))
        loc, scale = (p.unflatten(0, (count, len(x))) for p in torch.broadcast_tensors(loc, scale))
        present = rules.lift((x != 0).T, loc)
        precision = torch.where(present, scale.square().reciprocal(), 0.0)
        total = 1.0 + precision.sum(0)
        return (precision * loc).sum(0) / total, total.rsqrt()

    def _params(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        expert = self.expert
        assert isinstance(expert, ParametricDistribution)
        found: dict[str, Tensor] = {key: rows for key in expert._bound}
        for key in expert._given:
            if key not in expert._bound:
                value = getattr(expert, key)
                found[key] = value.detach() if self.constant else value
        if len(found) < 2:
            found.update(self.network(**{expert.cond_var[0]: rows}))
        return found["loc"], found["scale"]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ElementExperts)
            and other.expert is self.expert
            and other.constant == self.constant
        )

    def __hash__(self) -> int:
        return hash((id(self.expert), self.constant))
