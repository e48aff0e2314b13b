"""Distribution: what every distribution answers, and how its answers are lowered.

A distribution writes the steps of its samples and of its log-density into a plan
(:meth:`Distribution.lower_sample`, :meth:`Distribution.lower_log_prob`); ``sample``,
``get_log_prob`` and the like build such a plan once and run it. Nothing of a call is kept on the
object, so any distribution can be copied and pickled at any time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.distributions import overrides
from pixyz.distributions.core.params import Params, apply
from pixyz.distributions.core.path import on_path
from pixyz.expression import LogProb, Prob
from pixyz.plan import Axis, Builder, PlanCache, Scope, Slot, rules
from pixyz.plan.random import drawing_from
from pixyz.plan.structure import Clock, Structured
from pixyz.types import PixyzError, ShapeError, VariableError, VarSpec, as_tensor_dict, names

if TYPE_CHECKING:
    from pixyz.distributions.core.graph import DistGraph
    from pixyz.distributions.core.product import MultiplyDistribution, ProductArgument

BATCH = "@batch_n"


class Distribution(Structured):
    """Base of all distributions over named variables, :math:`p(x|z)`.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=0.0, scale=1.0, features_shape=[2])
    >>> p.prob_text, p.sample(batch_n=3)["x"].shape, p.log_prob().eval({"x": torch.zeros(1, 2)})
    ('p(x)', torch.Size([3, 2]), tensor([-1.8379]))

    Args:
        var: the variables; ``"x"`` and ``["x"]`` mean the same.
        cond_var: the variables that it depends on.
        name: the letter in formulas.
        features_shape: the shape of one sample; ``[]`` declares one number a row, None leaves it
            open.

    Raises:
        VariableError: a name is in both ``var`` and ``cond_var``, or may not be used.
    """

    _returns_numbers: bool = False
    """Whether its network was seen to return Python numbers or arrays."""
    composite: ClassVar[bool] = False
    """Whether ``detach`` and ``frozen`` are made of its parts (it has no parameters of its own)."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        overrides.adopt(cls)

    def __init__(
        self,
        var: VarSpec,
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self._var, self._cond_var = names(var), names(cond_var, "cond_var")
        both = set(self._var) & set(self._cond_var)
        if both:
            raise VariableError(
                f"{sorted(both)} in var and in cond_var of {name!r}; "
                f"a variable cannot depend on itself"
            )
        self._name = name
        self._features_shape = torch.Size(features_shape or ())
        self._declared = features_shape is not None
        self._plans = PlanCache()

    # ---------------------------------------------------------------- names and text

    @property
    def var(self) -> list[str]:
        """The variables that it is a density of."""
        return list(self._var)

    @property
    def cond_var(self) -> list[str]:
        """The variables that it depends on."""
        return list(self._cond_var)

    @property
    def input_var(self) -> list[str]:
        """The variables that must be given to draw a sample."""
        return self.cond_var

    @property
    def name(self) -> str:
        """The letter in formulas."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        if not isinstance(name, str):
            raise VariableError(f"a distribution's name is a string, got {name!r}")
        self._name = name

    @property
    def features_shape(self) -> torch.Size:
        """The shape of one sample, where it is declared."""
        return self._features_shape

    @property
    def distribution_name(self) -> str:
        """The name of the family."""
        return ""

    @property
    def prob_text(self) -> str:
        """``p(x|z)``."""
        return latex.conditional(self._name, self.var, self.cond_var)

    @property
    def prob_factorized_text(self) -> str:
        """The product of factors, as it is drawn from right to left."""
        return self.prob_text

    @property
    def prob_joint_factorized_and_text(self) -> str:
        """``p(x,z) = p(x|z)p(z)``, or just ``p(x)`` where both sides are the same."""
        if self.prob_factorized_text == self.prob_text:
            return self.prob_text
        return f"{self.prob_text} = {self.prob_factorized_text}"

    @property
    def graph(self) -> DistGraph:
        """The graph of its factors."""
        from pixyz.distributions.core.graph import DistGraph

        return DistGraph(self.factors())

    def __str__(self) -> str:
        body = "\n".join("  " + line for line in self._describe().split("\n"))
        return (
            f"Distribution:\n  {self.prob_joint_factorized_and_text}\nNetwork architecture:\n{body}"
        )

    def _describe(self) -> str:
        return nn.Module.__repr__(self)

    def _describe_factor(self) -> str:
        return f"{self.prob_joint_factorized_and_text}:\n{self._describe()}"

    def extra_repr(self) -> str:
        parts = [
            f"name={latex.latex_name(self.name)}, distribution_name={self.distribution_name},",
            f"var={self.var}, cond_var={self.cond_var}, input_var={self.input_var}, "
            f"features_shape={self.features_shape}",
        ]
        parts += [
            f"({n}): {b.shape}"
            for n, b in [*self._buffers.items(), *self._parameters.items()]
            if b is not None
        ]
        return "\n".join(parts)

    # ---------------------------------------------------------------- structure

    def factors(self) -> list[Distribution]:
        """The factors of the joint, parents last."""
        return [self]

    def identity(self) -> Hashable:
        """Equal for two factors that are the same distribution of the same variables."""
        return (id(self), tuple(self.var), tuple(self.cond_var))

    @property
    def atom(self) -> Distribution:
        """The distribution under renamings and stop-gradients."""
        return self

    def renamed_inside(self, mapping: Mapping[str, str]) -> Distribution | None:
        """The same with its parts renamed, to be printed; None where nothing inside is printed."""
        return None

    # ---------------------------------------------------------------- lowering

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        """The parameters, from the conditioning variables."""
        raise NotImplementedError(f"{self.prob_text} has no parameters")

    def sample_from(
        self,
        builder: Builder,
        scope: Scope,
        params: Params,
        *,
        reparam: bool,
        particles: tuple[Axis, ...],
        mean: bool,
    ) -> dict[str, Slot]:
        """Draw, given the parameters."""
        raise NotImplementedError(f"{self.prob_text} cannot be sampled")

    def log_prob_from(
        self,
        builder: Builder,
        scope: Scope,
        params: Params,
        *,
        sum_features: bool,
        feature_dims: Sequence[int] | None,
    ) -> Slot:
        """The log-density, given the parameters."""
        raise NotImplementedError(f"{self.prob_text} has no log-density")

    def lower_sample(
        self,
        builder: Builder,
        scope: Scope,
        *,
        reparam: bool = True,
        particles: tuple[Axis, ...] = (),
        mean: bool = False,
    ) -> dict[str, Slot]:
        """The slots of a sample. On the path of a loop, the slots that were drawn there."""
        found = on_path(self, scope, reparam)
        if found is not None:
            return found
        params = self.lower_params(builder, scope)
        return self.sample_from(
            builder, scope, params, reparam=reparam, particles=particles, mean=mean
        )

    def lower_log_prob(
        self,
        builder: Builder,
        scope: Scope,
        *,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Slot:
        """The slot of the log-density."""
        params = self.lower_params(builder, scope)
        return self.log_prob_from(
            builder, scope, params, sum_features=sum_features, feature_dims=feature_dims
        )

    def lower_entropy(self, builder: Builder, scope: Scope) -> Slot | None:
        """The slot of the entropy where there is a formula, features not summed; else None."""
        return None

    # ---------------------------------------------------------------- direct use

    def sample(
        self,
        x_dict: Any = None,
        batch_n: int | None = None,
        sample_shape: Sequence[int] = torch.Size(),
        return_all: bool = True,
        reparam: bool = False,
        sample_mean: bool = False,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Draw a sample.

        Args:
            x_dict: values of ``input_var``: a dict, a tensor or a list.
            batch_n: how many, for a distribution without a batch in its inputs.
            sample_shape: leading dimensions of independent samples.
            return_all: also return what was given.
            reparam: keep pathwise gradients through random draws; functions always keep theirs.
            sample_mean: the mean instead of a draw.
            generator: where it is drawn from, in the place of torch's own generator.

        Returns:
            A dict of variables, each ``[*sample_shape, B, ...]``, of series ``[T, *sample_shape, B,
                ...]``.
        """
        values = self._sample_values(x_dict, batch_n)
        shape = tuple(int(n) for n in sample_shape)

        def build(builder: Builder) -> dict[str, Slot]:
            lower = overrides.library_lowering(self, "lower_sample")
            particles = tuple(Axis("particle", n) for n in reversed(shape))
            builder.batch_n = builder.input(BATCH, "none") if builder.given(BATCH) else None
            drawn = lower(
                builder, Scope(builder), reparam=reparam, particles=particles, mean=sample_mean
            )
            return {name: drawn[name] for name in self.var}

        drawn = self._run(("sample", shape, reparam, sample_mean), values, build, generator)
        values.pop(BATCH, None)
        return {**values, **drawn} if return_all else drawn

    def sample_mean(self, x_dict: Any = None) -> Tensor:
        """The mean of the (first) variable."""
        return self.sample(x_dict, sample_mean=True, reparam=True, return_all=False)[self.var[0]]

    def sample_variance(self, x_dict: Any = None) -> Tensor:
        """The variance of the variable."""

        def build(builder: Builder) -> dict[str, Slot]:
            params = self.lower_params(builder, Scope(builder))
            return {"variance": apply(builder, self.formula("variance_of"), params, "variance")}

        return self._run("variance", self._values(x_dict), build)["variance"]

    def get_log_prob(
        self,
        x_dict: Any,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The log-density ``[B]`` at given values of ``var`` and ``cond_var``; of several draws
        ``[K, B, ...]`` it is ``[K, B]``.

        Features are known from ``features_shape``, from constants, or from the parameters' shape.

        Args:
            x_dict: the values.
            sum_features: sum over feature dimensions.
            feature_dims: which dimensions, counted as in ``[B, ...]``; all behind the batch if
                None.  With 0 among them the first dimension is summed too, whatever it is.
            generator: where an estimate (a marginal's, by a proposal) is drawn from.
        """
        dims = None if feature_dims is None else tuple(feature_dims)
        # as in 0.3.3, where dimensions count as given
        if sum_features and dims is not None and 0 in dims:
            return self.get_log_prob(x_dict, sum_features=False, generator=generator).sum(dims)

        def build(builder: Builder) -> dict[str, Slot]:
            lower = overrides.library_lowering(self, "lower_log_prob")
            slot = lower(builder, Scope(builder), sum_features=sum_features, feature_dims=dims)
            return {"log_prob": slot}

        values = self._values(x_dict, [*self.var, *self.cond_var])
        return self._run(("log_prob", sum_features, dims), values, build, generator)["log_prob"]

    def get_params(self, params_dict: Any = None, **kwargs: Any) -> dict[str, Tensor]:
        """The parameters at given values of ``cond_var``."""

        def build(builder: Builder) -> dict[str, Slot]:
            lower = overrides.library_lowering(self, "lower_params")
            return dict(lower(builder, Scope(builder)))

        return self._run("params", self._values(params_dict), build)

    def get_entropy(
        self,
        x_dict: Any = None,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Tensor:
        """The entropy ``[B]``, by formula."""
        dims = None if feature_dims is None else tuple(feature_dims)

        def build(builder: Builder) -> dict[str, Slot]:
            slot = self.lower_entropy(builder, Scope(builder))
            if slot is None:
                raise NotImplementedError(
                    f"no formula for the entropy of {self.prob_text}; use Entropy(p, "
                    f"analytical=False)"
                )
            return {"entropy": sum_over(builder, slot, sum_features, dims, "entropy")}

        return self._run(("entropy", sum_features, dims), self._values(x_dict), build)["entropy"]

    def states(self) -> Tensor | None:
        """All values of its variable, ``[S, *features_shape]``, which a marginal sums over; None if
        it is not finite.
        """
        return None

    def formula(self, name: str) -> Callable[..., Any]:
        """A formula of the family, by name."""
        cls: type[Distribution] = type(self.atom)
        if getattr(cls, name, None) is None:
            raise NotImplementedError(
                f"{self.distribution_name or type(self).__name__} has no {name.removesuffix('_of')}"
            )
        # the class's: an object's attribute may be called so
        found = inspect.getattr_static(cls, name)
        return found.__get__(self.atom, cls) if hasattr(found, "__get__") else found  # type: ignore[no-any-return]

    def log_prob(
        self, sum_features: bool = True, feature_dims: Sequence[int] | None = None
    ) -> LogProb:
        """The log-density as an expression."""
        return LogProb(self, sum_features=sum_features, feature_dims=feature_dims)

    def prob(self, sum_features: bool = True, feature_dims: Sequence[int] | None = None) -> Prob:
        """The density as an expression."""
        return Prob(self, sum_features=sum_features, feature_dims=feature_dims)

    @property
    def has_reparam(self) -> bool:
        """Whether samples have pathwise gradients."""
        return True

    over_time: ClassVar[bool] = False
    """Whether it reads whole series, not one frame of them."""

    @property
    def is_random(self) -> bool:
        """Whether two samples differ, as far as is known."""
        return True

    def _values(self, x_dict: Any, variables: Sequence[str] | None = None) -> dict[str, Any]:
        given = {} if x_dict is None else x_dict
        known = () if isinstance(given, dict) else variables or self.input_var
        # the text takes longer than a small network
        return as_tensor_dict(given, known, lambda: self.prob_text)

    def _sample_values(self, x_dict: Any, batch_n: int | None) -> dict[str, Any]:
        values = self._values(x_dict)
        if isinstance(batch_n, bool):
            raise PixyzError(
                f"batch_n is a number of rows, got {batch_n}; give return_all={batch_n} by its name"
            )
        if batch_n is not None:
            values.update({v: _rows(values[v], batch_n, v) for v in self.input_var if v in values})
            values[BATCH] = batch_n
        return values

    def _run(
        self,
        key: Hashable,
        values: Mapping[str, Any],
        build: Callable[[Builder], Mapping[str, Slot]],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        if generator is not None:
            with drawing_from(generator, [*nn.Module.parameters(self), *values.values()]):
                return self._run(key, values, build)
        if self._plans.seen != Clock.now:
            self._plans.refresh(nn.Module.modules(self))

        def build_direct(builder: Builder) -> Mapping[str, Slot]:
            builder.direct = True
            return build(builder)

        return self._plans.run(key, values, build_direct, lambda: self.prob_text)

    # ---------------------------------------------------------------- new distributions from this
    # one

    def __mul__(self, other: Distribution) -> MultiplyDistribution:
        from pixyz.distributions.core.product import MultiplyDistribution

        return MultiplyDistribution(self, other)

    def __add__(self, other: Distribution) -> ProductArgument:
        from pixyz.distributions.core.product import ProductArgument

        return ProductArgument(self, other)

    def replace_var(self, /, **replace_dict: str) -> Distribution:
        """The same distribution with other variable names: ``p.replace_var(x="y")``;
        all at once.
        """
        from pixyz.distributions.core.views import ReplaceVarDistribution

        return ReplaceVarDistribution(self, replace_dict)

    def at(self, /, **replace_dict: str) -> Distribution:
        """The same distribution read at other variables: ``value.at(h="h_all")``."""
        return self.replace_var(**replace_dict)

    def marginalize_var(self, marginalize_list: VarSpec) -> Distribution:
        """The marginal: some variables are drawn and not returned."""
        from pixyz.distributions.core.marginal import MarginalizeVarDistribution

        return MarginalizeVarDistribution(self, marginalize_list)

    def detach(self) -> Distribution:
        """The same distribution without gradient to its parameters: ``KL(q.detach(), p)``."""
        from pixyz.distributions.core.views import DetachedDistribution

        overrides.refuse(self.atom, "detach()")
        return DetachedDistribution(self)

    def frozen(self) -> Distribution:
        """The same distribution with its weights as constants: gradients flow through it, not into
        it.
        """
        from pixyz.distributions.core.views import FrozenDistribution

        overrides.refuse(self.atom, "frozen()")
        return FrozenDistribution(self)


def _rows(x: Tensor, n: int, name: str) -> Tensor:
    """``x`` with a batch of ``n``: one row is repeated."""
    if x.ndim and x.shape[0] not in (1, n):
        raise ShapeError(f"batch_n={n}, but {name!r} has the batch {x.shape[0]}; leave batch_n out")
    return x.expand(n, *x.shape[1:]) if x.ndim else x


def sum_over(
    builder: Builder, slot: Slot, sum_features: bool, feature_dims: Sequence[int] | None, label: str
) -> Slot:
    """Sum feature dimensions: all behind the batch, or the named ones."""
    if not sum_features:
        return slot
    if feature_dims is None:
        return builder.features(rules.sum_features, slot, label)
    dims = tuple(feature_dims)
    if not dims:
        return slot
    if 0 in dims:
        raise PixyzError(
            "feature_dims counts as in [B, ...]; 0 is the batch and cannot be summed; use .sum()"
        )

    return builder.features(rules.SumOver(dims), slot, label)
