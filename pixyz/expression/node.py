"""Expression: a node of an objective; how it prints, how it is lowered, how its plan is run.

The tree is the paper's Loss API (Suzuki, Kaneko and Matsuo, 2023, section 4.2); the plan is this
library's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.debugging import debugging
from pixyz.plan import Pass, Plan, PlanCache, Scope, Slot
from pixyz.plan.random import drawing_from
from pixyz.plan.run.compare import compare
from pixyz.plan.run.facts import Unsettled
from pixyz.plan.structure import Clock, Structured
from pixyz.plan.write import Mode
from pixyz.types import Values, as_tensor_dict, names

if TYPE_CHECKING:
    import sympy

_NO_ROWS: frozenset[str] = frozenset()
_PLAIN = (False, _NO_ROWS)  # the key of the plan of a value alone


class Expression(Structured):
    r"""An expression over named variables; :class:`pixyz.expression.Loss` adds the arithmetic.

    A subclass defines :meth:`lower` and :meth:`symbol`; one written for pixyz 0.3.3, with
    ``forward(x_dict)`` and ``_symbol``, works too and runs as one step of the plan.

    Args:
        input_var: the variables that ``forward`` needs, for subclasses that define it; else found
            by lowering.

    :math:`f(x, y, \dots)`.

    >>> from pixyz.losses import LogProb
    >>> from pixyz.distributions import Normal
    >>> print(LogProb(Normal("x", loc=0.0, scale=1.0, features_shape=[2])).input_var)
    ['x']
    """

    variable: str | None = None
    """The input whose shape decides the plan: one number, or ``[B]``
    (:class:`pixyz.losses.Parameter`).
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls) and "lower" not in vars(cls):
            cls.lower = Expression.lower  # type: ignore[method-assign]  # whatever it extends, ``forward`` is what it computes

    def __init__(self, input_var: Sequence[str] | str | None = None) -> None:
        super().__init__()
        if input_var is not None and not isinstance(input_var, str):
            input_var = list(dict.fromkeys(input_var))  # two parts of a loss may read one variable
        self._input_var = None if input_var is None else names(input_var, "input_var")
        self._plans = PlanCache()
        self._parameter_names: frozenset[str] | None = None

    # ---------------------------------------------------------------- the two rules of a node

    def symbol(self) -> sympy.Expr:
        """The expression as sympy, unevaluated."""
        old = getattr(type(self), "_symbol", None)
        if old is not None:
            found = self._symbol
            return found if not isinstance(found, str) else latex.leaf(found)
        return latex.leaf(type(self).__name__)

    def lower(self, scope: Scope) -> Slot:
        """Write this node's steps; the slot that holds its value."""
        if type(self).forward is Expression.forward:
            raise NotImplementedError(f"{type(self).__name__} defines neither lower nor forward")
        variables = self.input_var

        def call(*values: object) -> tuple[Any]:
            return (self(dict(zip(variables, values, strict=True)))[0],)

        return scope.builder.opaque(
            call, [scope.lookup(v) for v in variables], ["value"], type(self).__name__
        )[0]

    # ---------------------------------------------------------------- reading

    @property
    def input_var(self) -> list[str]:
        """The variables that ``eval`` needs."""
        if self._input_var is not None:
            return list(self._input_var)
        if type(self).lower is Expression.lower:
            parts = [child for child in nn.Module.children(self) if isinstance(child, Expression)]
            return list(dict.fromkeys(v for part in parts for v in part.input_var))
        return [n for n in self.plan.inputs if not n.startswith("@")]

    @property
    def loss_text(self) -> str:
        """The LaTeX of the expression."""
        return latex.text(self.symbol())

    @property
    def plan(self) -> Plan:
        """The plan that ``eval`` runs when only required variables are given. ``print(loss.plan)``
        shows it.
        """
        if self._plans.seen != Clock.now and self._plans.refresh(self):
            self._parameter_names = None
        return self._plans.get(
            (False, frozenset()), {}, self._build(False, frozenset()), lambda: type(self).__name__
        )

    def __str__(self) -> str:
        return self.loss_text

    def __repr__(self) -> str:
        return self.loss_text

    def extra_repr(self) -> str:
        return self.loss_text

    # ---------------------------------------------------------------- running

    def eval(  # type: ignore[override]
        self,
        x_dict: object = None,
        return_dict: bool = False,
        return_all: bool = True,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> Any:
        """The value of the expression.

        Args:
            x_dict: values of the input variables: a dict, a tensor (the first input variable) or a
                list.
            return_dict: also return a dict of the variables that were drawn, named terms and
                returned series.
            return_all: with ``return_dict``: the inputs too.
            generator: where all draws come from, in the place of torch's own generator (which every
                thread shares).
            **kwargs: more variables, such as ``mask``, and flags, such as ``discriminator=True``;
                one that is None or False is as if it were not given.  ``sample_mean=True`` takes
                means in the place of draws.

        Returns:
            The loss, or ``(loss, dict)``.

        Raises:
            VariableError: a variable is missing.
        """
        if generator is not None:
            with drawing_from(
                generator, [*nn.Module.parameters(self), *self._values(x_dict, kwargs).values()]
            ):
                return self.eval(x_dict, return_dict, return_all, **kwargs)
        if self._plans.seen != Clock.now and self._plans.refresh(self):
            self._parameter_names = None
        quick = self._plans.quick.get(_PLAIN)
        if (
            quick is not None
            and type(x_dict) is dict
            and not (return_dict or kwargs or debugging())
            and (self._parameter_names or _NO_ROWS).isdisjoint(x_dict)
            and quick.serves(x_dict)
        ):
            try:
                value = quick.run(x_dict)[0]
                return value if isinstance(value, Tensor) else torch.tensor(float(value))
            except Unsettled:
                pass
            except (AttributeError, TypeError):
                self._values(x_dict, {})  # says so where a value is no tensor
                raise
        sample_mean = bool(kwargs) and bool(kwargs.pop("sample_mean", False))
        values = self._values(x_dict, kwargs)
        if type(self).forward is not Expression.forward and type(self).lower is Expression.lower:
            value, found = self(values)
            return (value, {**values, **found} if return_all else found) if return_dict else value
        if self._parameter_names is None:
            self._parameter_names = frozenset(
                [
                    m.variable
                    for m in nn.Module.modules(self)
                    if isinstance(m, Expression) and m.variable
                ]
            )
        rows = _NO_ROWS
        if self._parameter_names:
            rows = frozenset(
                [
                    n
                    for n in self._parameter_names
                    if isinstance(values.get(n), Tensor) and values[n].ndim
                ]
            )
        key: tuple[object, ...] = (
            (return_dict, rows, "sample_mean") if sample_mean else (return_dict, rows)
        )
        build = self._build(return_dict, rows, sample_mean)
        results = self._plans.run(key, values, build, lambda: type(self).__name__)
        value = results.pop("")
        if not isinstance(value, Tensor):
            value = torch.tensor(float(value))  # of numbers alone
        return (value, {**values, **results} if return_all else results) if return_dict else value

    def compile(  # type: ignore[override]
        self,
        chunk: int = 8,
        *,
        whole: bool = False,
        backend: Any = "inductor",
        mode: str | None = None,
    ) -> Self:
        """Compile time loops with ``torch.compile``, ``chunk`` steps at a time; with ``whole`` all
        the rest, too.

        What ``eval`` returns is the same up to rounding, whatever the length of the series: a graph
        of ``chunk`` steps and a graph of one step, for the remainder, serve all; a loop of known
        length is cut into equal pieces.  Another batch size makes new graphs.  The first evaluation
        and the first backward take a minute or more.  Without a C++ compiler or ``Python.h`` all
        runs as it is, and a warning says so.  On a GPU ``mode="reduce-overhead"`` records CUDA
        graphs of loops (not tested).

        ``whole`` pays where networks are small or densities are most of the work.  The first
        evaluation runs as it is and checks what networks return; the second compiles, in one to two
        minutes more, and the next length of a series does so once more.  There is no gradient of
        its gradient.

        Args:
            chunk: steps in a graph; 0 goes back to loops that are not compiled.
            whole: compile what is around the loops; not where a loop stays uncompiled, a note of
                the plan says so.
            backend, mode: see ``torch.compile``.

        Returns:
            The loss itself.
        """
        self._plans.set_options(chunk=chunk, whole=whole, backend=backend, mode=mode)
        return self

    def share(self, sharing: bool = True) -> Self:
        """Compute the parameters of a distribution once for all terms (the default), or again for
        each of them.

        The paper's memoization, as an option for measurements (Section 4.1).  Draws are shared in
        neither case.
        """
        self._plans.set_options(sharing=sharing)
        return self

    def in_slabs(self, max_rows: int) -> Self:
        """Call networks that left a time loop (decoders, heads) on at most ``max_rows`` rows at a
        time.

        All their rows, ``T * B`` of them, need memory together; in slabs only what they return is
        kept, and the backward pass computes the rest again, slab after slab.  Values and gradients
        are the same up to rounding; a training step takes longer by about one more forward pass of
        these networks.

        Args:
            max_rows: rows of a call, at least 2; 0 goes back to one call.

        Returns:
            The loss itself.
        """
        self._plans.set_options(max_rows=max_rows)
        return self

    def through(self, passes: Iterable[Pass] | None) -> Self:
        """Rewrite plans by these passes, in the place of :data:`pixyz.plan.PASSES`.

        ``loss.through(p for p in PASSES if p.name != "rows")`` leaves one out,
        ``loss.through([*PASSES, Mine()])`` adds one; None goes back.

        Returns:
            The loss itself.
        """
        self._plans.set_options(passes=None if passes is None else tuple(passes))
        return self

    def check(self, x_dict: object = None, rtol: float = 1e-3, **kwargs: object) -> None:
        """Compare the split time loop with the plain one on real data: value and gradients at the
        same noise.

        They differ where a network does not treat the rows of a batch one by one, or keeps state:
        set ``fission=False`` there.  A copy is evaluated; nothing changes here.

        Raises:
            PixyzError: the two forms differ by more than ``rtol`` of the largest entry.
        """
        twin, plain = copy.deepcopy(self), copy.deepcopy(self)
        # slabs would be computed again with the modules' weights
        for loss, changes in (
            (twin, {}),
            (plain, {"fission": False}),
        ):
            loss._plans.set_options(chunk=0, whole=False, max_rows=0, **changes)
        values = self._values(x_dict, kwargs)
        names = list(dict(nn.Module.named_parameters(self)))
        # both run with one set of weights, in two copies of the networks' state
        state: dict[str, Tensor] = dict(zip(names, nn.Module.parameters(twin), strict=True))
        compare(
            lambda: torch.func.functional_call(twin, state, (values,))[0],
            lambda: torch.func.functional_call(plain, state, (values,))[0],
            state.items(),
            rtol,
            "the split loop is not the plain one",
        )

    def forward(self, x_dict: object = None, **kwargs: Any) -> tuple[Tensor, dict[str, Any]]:
        """``eval`` with ``return_dict=True``: what DistributedDataParallel wraps."""
        value, found = self.eval(x_dict, return_dict=True, **kwargs)
        return value, found

    def _values(self, x_dict: object, kwargs: Values) -> dict[str, Any]:
        if x_dict is None:
            x_dict = {}
        known = () if type(x_dict) is dict or isinstance(x_dict, Mapping) else self.input_var
        values = as_tensor_dict(x_dict, known, "the loss")
        if kwargs:
            values.update({k: v for k, v in kwargs.items() if v is not None and v is not False})
        return values

    def _build(
        self, everything: bool, rows: frozenset[str], sample_mean: bool = False
    ) -> Callable[[Scope], dict[str, Slot]]:
        def build(scope: Scope) -> dict[str, Slot]:
            scope.mode = Mode(mean=sample_mean, rows=rows)
            value, builder = self.lower(scope), scope.builder
            return {"": value, **builder.returned, **builder.terms} if everything else {"": value}

        return build
