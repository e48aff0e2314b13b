"""Formulas: functions that know how a plan writes them; networks: functions that may be tried.

What a step calls is any function of tensors.  One that is a :class:`Formula` is written into the
text as an expression, ``torch.addcmul(v3, v4, v7)`` or ``v3 + v4``, in the place of a call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from torch import nn

Fn = Callable[..., Any]
"""A function that a step calls: of tensors, or the user's."""
F = TypeVar("F", bound=Fn)
Naming = Callable[[object], str]
"""The name of an object in a plan's text."""


class Written:
    """Abstract: what a step calls, and how it is written in its place."""

    __slots__ = ()

    def text(self, args: Sequence[str], name: Naming) -> str:
        """The expression in a plan's text; ``name`` gives objects that it reads a name there."""
        raise NotImplementedError


class Formula(Written):
    """A function of tensors and its texts; ``{0}``, ``{1}`` are its arguments in order.

    Args:
        fn: the function.
        inline: the text; it may read ``torch``.
        like: of base noise: the text where the shape is that of a tensor ``{0}``.
        total: the shorter form for where only the sum of all elements is read: from the same
            arguments, that sum
            and the number of rows (the first dimension).

    >>> import operator
    >>> Formula(operator.add, "{0} + {1}").text(["a", "b"], str)
    'a + b'
    """

    def __init__(
        self,
        fn: Fn,
        inline: str = "",
        like: str = "",
        total: Fn | None = None,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.inline, self.like, self.total = fn, inline, like, total

    def __call__(self, *args: object) -> Any:
        return self.fn(*args)

    def text(self, args: Sequence[str], name: Naming) -> str:
        return self.inline.format(*args) if self.inline else f"{name(self.fn)}({', '.join(args)})"


def formula_of(fn: Fn) -> Formula:
    """``fn`` as a formula."""
    return fn if isinstance(fn, Formula) else Formula(fn)


def inline(text: str) -> Callable[[F], F]:
    """Let a plan write a formula as an expression: ``{0}``, ``{1}`` are its arguments in order."""

    def keep(fn: F) -> F:
        return cast(F, _changed(fn, inline=text))

    return keep


def inline_like(text: str) -> Callable[[F], F]:
    """The same for base noise of the shape of a tensor ``{0}``, where that is known to be the
    shape.
    """

    def keep(fn: F) -> F:
        return cast(F, _changed(fn, like=text))

    return keep


def with_total(total: Fn) -> Callable[[F], F]:
    """Give a formula a shorter form for where only the sum of all its elements is read.

    ``total`` takes the formula's arguments and returns that sum and the number of rows (the first
    dimension).
    """

    def keep(fn: F) -> F:
        return cast(F, _changed(fn, total=total))

    return keep


def _changed(fn: Fn, **changes: Any) -> Formula:
    old = formula_of(fn)
    texts = {"inline": old.inline, "like": old.like, "total": old.total}
    return Formula(old.fn, **{**texts, **changes})


class Network:
    """Abstract: user code that a step calls with one batch dimension, and that may be tried
    outside of its loop.
    """

    __slots__ = ()

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names of the arguments, if they and those of the results may stand in a plan's text;
        else nothing.
        """
        return ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """The keys of the results that are read, where it returns a mapping."""
        return ()

    @property
    def parts(self) -> Sequence[nn.Module]:
        """The modules that hold its weights."""
        return ()

    def __call__(self, *values: Any) -> tuple[object, ...]:
        raise NotImplementedError
