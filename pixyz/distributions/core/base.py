"""Distribution: what every distribution answers, and the vocabulary in which rooms speak of them.

A distribution writes the steps of its samples and of its log-density into a plan; ``sample``,
``get_log_prob`` and the like build such a plan once and run it (``direct``).  Nothing of a call is
kept, so any distribution can be copied and pickled at any time.  What operators make (``p * q``,
``p.detach()``) is said by the modules that define it (``hooks``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pixyz.distributions.core import direct
from pixyz.distributions.core.argument import ProductArgument
from pixyz.distributions.core.foreign import refuse
from pixyz.distributions.core.graph import DistGraph
from pixyz.distributions.core.hooks import make, tell
from pixyz.distributions.core.named import Named
from pixyz.distributions.core.params import Formula, Forward, Params, formula_of
from pixyz.distributions.core.path import on_path
from pixyz.expression import LogProb, Prob
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import PlanCache, Scope, Slot
from pixyz.plan.random import drawing_from
from pixyz.plan.structure import Clock, Structured
from pixyz.plan.write import Mode
from pixyz.types import VariableError, VarSpec, as_tensor_dict, names


class Distribution(Named, Structured):
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

    composite: ClassVar[bool] = False
    """Whether ``detach`` and ``frozen`` are made of its parts (it has no parameters of its own)."""
    has_network: ClassVar[bool] = False
    """Whether a network, or constants, give what it draws from (:meth:`params_by`)."""
    over_time: ClassVar[bool] = False
    """Whether it reads whole series, not one frame of them."""
    _returns: dict[str, str]
    """What its network is declared to return in the place of a parameter, where it has one."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        tell(cls)

    def __init__(
        self,
        var: VarSpec,
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self._var, self._cond_var = names(var), names(cond_var, "cond_var")
        if both := set(self._var) & set(self._cond_var):
            what = f"{sorted(both)} in var and in cond_var of {name!r}"
            raise VariableError(f"{what}; a variable cannot depend on itself")
        self._name = name
        self._features_shape = torch.Size(features_shape or ())
        self._declared = features_shape is not None
        self._plans = PlanCache()

    def _describe(self) -> str:
        return nn.Module.__repr__(self)

    # ---------------------------------------------------------------- structure

    @property
    def graph(self) -> DistGraph[Distribution]:
        """The graph of its factors."""
        return DistGraph(self.factors())

    def factors(self) -> list[Distribution]:
        """The factors of the joint, parents last."""
        return [self]

    def factors_as_multiplied(self) -> list[Distribution]:
        """The factors in the order in which they were multiplied."""
        return self.factors()

    def identity(self) -> tuple[Hashable, ...]:
        """Equal for two factors that are the same distribution of the same variables."""
        return (id(self), tuple(self.var), tuple(self.cond_var))

    @property
    def atom(self) -> Distribution:
        """The distribution under renamings and stop-gradients."""
        return self

    @classmethod
    def family(cls) -> type[Distribution]:
        """The class that defines the formulas (a user's subclass only adds a network)."""
        return cls

    @property
    def under_renaming(self) -> Distribution:
        """What a renaming of it renames: itself, or what a renamed one renames."""
        return self

    def renames(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """A renaming of it as one of :attr:`under_renaming`."""
        return dict(mapping)

    def renamed_inside(self, mapping: Mapping[str, str]) -> Distribution | None:
        """The same with its parts renamed, to be printed; None where nothing inside is printed."""
        return None

    def states(self) -> Tensor | None:
        """All values of its variable, ``[S, *features_shape]``; None if it is not finite.

        A marginal sums over them.
        """
        return None

    def formula(self, name: str) -> Formula:
        """A formula of the family, by name."""
        return formula_of(self.atom, name)

    @property
    def has_reparam(self) -> bool:
        """Whether samples have pathwise gradients."""
        return True

    @property
    def is_data(self) -> bool:
        """Whether a sample of it is what was given."""
        return False

    @property
    def is_random(self) -> bool:
        """Whether two samples differ, as far as is known."""
        return True

    @property
    def drawn_by_parameters(self) -> bool:
        """Whether :meth:`sample_from` its parameters is all of a draw."""
        return False

    # ---------------------------------------------------------------- lowering

    def lower_params(self, scope: Scope) -> Params:
        """The parameters, from the conditioning variables."""
        raise NotImplementedError(f"{self.prob_text} has no parameters")

    def params_by(self, scope: Scope, network: Forward) -> Params | None:
        """The parameters by ``network`` in the place of its own; None where it has none."""
        return None

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        """Draw, given the parameters."""
        raise NotImplementedError(f"{self.prob_text} cannot be sampled")

    def log_prob_from(self, scope: Scope, params: Params, how: Score) -> Slot:
        """The log-density, given the parameters."""
        raise NotImplementedError(f"{self.prob_text} has no log-density")

    def entropy_from(self, scope: Scope, params: Params) -> Slot | None:
        """The entropy from parameters, features not summed; None if there is no formula."""
        return None

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        """The slots of a sample. On the path of a loop, the slots that were drawn there."""
        found = on_path(self, scope, how.reparam)
        if found is not None:
            return found
        return self.sample_from(scope, self.lower_params(scope), how=how)

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        """The slot of the log-density."""
        return self.log_prob_from(scope, self.lower_params(scope), how=how)

    def lower_entropy(self, scope: Scope) -> Slot | None:
        """The slot of the entropy where there is a formula, features not summed; else None."""
        return None

    # ---------------------------------------------------------------- direct use

    def sample(
        self,
        x_dict: object = None,
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
            A dict of variables, each ``[*sample_shape, B, ...]``, of series ``[T, *sample_shape,
            B, ...]``.
        """
        values, drawn = direct.sample(
            self, x_dict, batch_n, sample_shape, reparam, sample_mean, generator
        )
        return {**values, **drawn} if return_all else drawn

    def sample_mean(self, x_dict: object = None) -> Tensor:
        """The mean of the (first) variable."""
        return self.sample(x_dict, sample_mean=True, reparam=True, return_all=False)[self.var[0]]

    def sample_variance(self, x_dict: object = None) -> Tensor:
        """The variance of the variable."""
        return direct.variance(self, x_dict)

    def get_log_prob(
        self,
        x_dict: object,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The log-density ``[B]`` at values of ``var`` and ``cond_var``; of draws ``[K, B, ...]``
        ``[K, B]``.

        Features are known from ``features_shape``, from constants, or from the parameters' shape.

        Args:
            x_dict: the values.
            sum_features: sum over feature dimensions.
            feature_dims: which dimensions, counted as in ``[B, ...]``; all behind the batch if
                None.  With 0 among them the first dimension is summed too, whatever it is.
            generator: where an estimate (a marginal's, by a proposal) is drawn from.
        """
        dims = None if feature_dims is None else tuple(feature_dims)
        return direct.log_prob(self, x_dict, sum_features, dims, generator)

    def get_params(self, params_dict: object = None, **kwargs: object) -> dict[str, Tensor]:
        """The parameters at given values of ``cond_var``."""
        return direct.params(self, params_dict)

    def get_entropy(
        self,
        x_dict: object = None,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
    ) -> Tensor:
        """The entropy ``[B]``, by formula."""
        dims = None if feature_dims is None else tuple(feature_dims)
        return direct.entropy(self, x_dict, Score(sum_features, dims))

    def log_prob(
        self, sum_features: bool = True, feature_dims: Sequence[int] | None = None
    ) -> LogProb:
        """The log-density as an expression."""
        return LogProb(self, sum_features=sum_features, feature_dims=feature_dims)

    def prob(self, sum_features: bool = True, feature_dims: Sequence[int] | None = None) -> Prob:
        """The density as an expression."""
        return Prob(self, sum_features=sum_features, feature_dims=feature_dims)

    def _values(self, x_dict: object, variables: Sequence[str] | None = None) -> dict[str, Any]:
        given = {} if x_dict is None else x_dict
        known = () if isinstance(given, dict) else variables or self.input_var
        # the text takes longer than a small network
        return as_tensor_dict(given, known, lambda: self.prob_text)

    def _run(
        self,
        key: Hashable,
        values: Mapping[str, object],
        build: Callable[[Scope], Mapping[str, Slot]],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        if generator is not None:
            with drawing_from(generator, [*nn.Module.parameters(self), *values.values()]):
                return self._run(key, values, build)
        if self._plans.seen != Clock.now:
            self._plans.refresh(self)

        def build_direct(scope: Scope) -> Mapping[str, Slot]:
            scope.mode = Mode(direct=True)
            return build(scope)

        return self._plans.run(key, values, build_direct, lambda: self.prob_text)

    # ---------------------------------------------------------------- operators

    def __mul__(self, other: Distribution) -> Distribution:
        return make("product", self, other)

    def __add__(self, other: Distribution) -> ProductArgument[Distribution]:
        return ProductArgument(self, other)

    def replace_var(self, /, **replace_dict: str) -> Distribution:
        """The same distribution with other variable names: ``p.replace_var(x="y")``; all at
        once.
        """
        return make("renamed", self, replace_dict)

    def at(self, /, **replace_dict: str) -> Distribution:
        """The same distribution read at other variables: ``value.at(h="h_all")``."""
        return self.replace_var(**replace_dict)

    def marginalize_var(self, marginalize_list: VarSpec) -> Distribution:
        """The marginal: some variables are drawn and not returned."""
        return make("marginal", self, marginalize_list)

    def drawn_with(self, how: Draw) -> Distribution:
        """The same distribution, drawn with further options: ``p.drawn_with(how)``."""
        return make("drawn", self, how)

    def detach(self) -> Distribution:
        """The same distribution without gradient to its parameters: ``KL(q.detach(), p)``."""
        refuse(self.atom, "detach()", ("lower_sample", "lower_log_prob"))
        return make("detached", self)

    def frozen(self) -> Distribution:
        """The same distribution with its weights as constants: gradients flow through it, not into
        it.
        """
        if self.atom.has_network:
            refuse(self.atom, "frozen()", ("lower_sample", "lower_log_prob", "lower_params"))
        return make("frozen", self)
