"""Doors: the shapes of a model's series, looked at where they come in.

A flag (``mask``, ``is_first``) is one number a frame, ``[T, B]``; a reward or a vector of one
feature is ``[T, B, 1]``.  The other form of each is taken as meant, ``[T, B, 1]`` for a flag and
``[T, B]`` for one feature; any other shape is refused, since it would be broadcast to a number that
means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixyz.expression import Loss
from pixyz.plan import Scope, Slot
from pixyz.plan.domain import true
from pixyz.types import PixyzError, ShapeError, VariableError

if TYPE_CHECKING:
    import sympy

FLAG: tuple[int, ...] = ()
"""The features of what is one number a frame."""
FIRST = "is_first"
"""The flag of a frame that begins an episode."""
MADE = {"cont": ("is_terminal", "(~is_terminal).float().unsqueeze(-1)")}
"""Series that are made of one that logs and environments hold."""


@dataclass(frozen=True)
class Door:
    """The shapes that a model reads, by name.

    Args:
        lead: the series that says what ``[T, B]`` is.
        series: name -> the shape of one frame of one sequence, ``()`` for a flag; None where it is
            not known.
        rows: name -> the same for what is given for each sequence, ``[B, ...]``.
        whole: the name of a model that takes one episode a sequence; an episode that begins
            elsewhere is refused.
        least: how many frames there must be.

    >>> door = Door("x", {"x": (3,), "mask": ()})
    >>> door({"x": torch.zeros(5, 2, 3), "mask": torch.ones(5, 2, 1)})["mask"].shape
    torch.Size([5, 2])
    """

    lead: str
    series: Mapping[str, tuple[int, ...] | None]
    rows: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    whole: str = ""
    least: int = 1

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The batch with every series in its form; the batch itself where all are.

        Raises:
            ShapeError: a series has another shape than it is declared with, or than the others'
                ``[T, B]``; there are too few frames.
            PixyzError: an episode begins behind the first frame of a sequence, and the model takes
                one episode each. On a device, which is not waited for, frames are NaN from there.
        """
        first = batch.get(self.lead)
        if not isinstance(first, Tensor):
            return batch  # what evaluates it says what is missing
        ahead = tuple(first.shape[:2])
        changed = self._look(batch, self.series, ahead, first)
        if self.rows:
            changed.update(self._look(batch, self.rows, ahead[1:], first))
        if self.least > 1 and ahead[0] < self.least:
            raise ShapeError(
                f"expected {self.lead!r} of at least {self.least} frames, since what lies "
                f"{self.least - 1} frames ahead of one is read, got {list(first.shape)}; give "
                f"longer sequences, or look less far ahead"
            )
        if self.whole and FIRST not in self.series and isinstance(batch.get(FIRST), Tensor):
            changed.update(self._look(batch, {FIRST: FLAG}, ahead, first))
            changed.update(self._one_episode({**batch, **changed}))
        return {**batch, **changed} if changed else batch

    def _one_episode(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Series with what a flag of an episode says: no action before it, and none but the
        first.
        """
        first, action = batch[self.lead], batch.get("action_prev")
        begins, again = beginnings(batch[FIRST], batch.get("mask"))
        changed = {}
        if isinstance(action, Tensor):
            changed["action_prev"] = torch.where(begins.unsqueeze(-1), 0.0, action)
        if first.device.type != "cpu":
            wrong = again.reshape(*again.shape, *[1] * (first.ndim - 2))
            changed[self.lead] = torch.where(wrong, float("nan"), first)
        elif true(again.any()):
            t, b = again.nonzero()[0].tolist()
            raise PixyzError(
                f"{self.whole} takes one episode a sequence, and {FIRST!r} is set in frame {t} of "
                f"sequence {b}, behind its first one; give each episode as a sequence of its own "
                f"(padded, with 'mask'), or observe() frame by frame"
            )
        return changed

    def joined(self, other: Door) -> Door | None:
        """One that looks at what both do; None where they are of different models."""
        if replace(other, least=self.least) != self:
            return None
        return self if self.least >= other.least else other

    def frame(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same for one frame, ``[B, ...]``."""
        first = step.get(self.lead)
        if not isinstance(first, Tensor):
            return step
        shapes = {**({FIRST: FLAG} if self.whole else {}), **self.series, **self.rows}
        changed = self._look(step, shapes, tuple(first.shape[:1]), first)
        return {**step, **changed} if changed else step

    def _look(
        self,
        batch: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...] | None],
        ahead: tuple[int, ...],
        first: Tensor,
    ) -> dict[str, Tensor]:
        """The series that are in another form, in theirs."""
        changed: dict[str, Tensor] = {}
        count = len(ahead)
        for name, features in shapes.items():
            value = batch.get(name)
            if value is None or not isinstance(value, Tensor):
                continue
            if features is not None and value.shape == ahead + features:
                continue
            lead, rest = value.shape[:count], value.shape[count:]
            if lead == ahead and features is None:
                continue
            if lead == ahead and features == FLAG and rest == (1,):
                changed[name] = value.squeeze(-1)
            elif lead == ahead and features == (1,) and rest == ():
                changed[name] = value.unsqueeze(-1)
            else:
                raise ShapeError(self._refusal(name, value, features, ahead, first))
        return changed

    def _refusal(
        self,
        name: str,
        value: Tensor,
        features: tuple[int, ...] | None,
        ahead: tuple[int, ...],
        first: Tensor,
    ) -> str:
        more = ["..."] if features is None else [str(n) for n in features]
        axes = ", ".join([*["T", "B"][-len(ahead) :], *more])
        sizes = ", ".join([*map(str, ahead), *more])
        beside = "" if name == self.lead else f" as {self.lead!r} is {list(first.shape)},"
        said = (
            f"expected {name!r} of the shape [{axes}] = [{sizes}],{beside} got {list(value.shape)}"
        )
        if features is None or value.shape[: len(ahead)] != ahead:
            return f"{said}; give one row for each frame and sequence, time first"
        built, found = list(features), list(value.shape[len(ahead) :])
        return (
            f"{said}: the model was built for {built or 'one number'} a frame, this has "
            f"{found or 'one number'}; give it what it was built for, or build it for this"
        )


def beginnings(flag: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Whether an episode begins in a sequence's first valid frame, ``[B]``, and in which frames
    behind it one does, ``[T, B]``.

    Args:
        flag: ``is_first [T, B]``; what a masked frame holds does not count.
        mask: which frames are valid, ``[T, B]``; all if None.

    >>> begins, again = beginnings(torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1, 0], [1, 1]]))
    >>> begins.tolist(), again.any().item()
    ([True, True], False)
    """
    valid = torch.ones_like(flag, dtype=torch.bool) if mask is None else mask != 0
    set_, before = (flag != 0) & valid, valid.cumsum(0) - valid.long()
    return (set_ & (before == 0)).any(0), set_ & (before > 0)


class ModelLoss(Loss):
    """An expression :math:`L` of a model whose series are looked at (:class:`Door`) before it is
    evaluated.

    Sums and products with it are looked at, too.  Values are as those of ``inner``: one number,
    ``[B]`` or ``[T, B]`` (the evidence bounds of Suzuki et al. 2023, section 4.2).

    Args:
        inner: the expression.
        door: the shapes.
        readers: name of a series -> which term reads it, for the error where it is missing.

    Raises:
        ShapeError: at evaluation, a series of another shape.
        VariableError: at evaluation, a series that a term reads is missing.

    >>> from pixyz.losses import Parameter
    >>> loss = ModelLoss(Parameter("x"), Door("x", {"x": (), "mask": ()}))
    >>> (2 * loss).eval({"x": torch.ones(3, 2), "mask": torch.ones(2, 3)})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    pixyz.types.ShapeError: expected 'mask' of the shape [T, B] = [3, 2], as 'x' is [3, 2], got [2, 3]; ...
    """  # noqa: E501

    def __init__(self, inner: Loss, door: Door, readers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.inner, self.door, self.readers = inner, door, dict(readers or {})

    def symbol(self) -> sympy.Expr:
        return self.inner.symbol()

    def lower(self, scope: Scope) -> Slot:
        return self.inner.lower(scope)

    def eval(  # type: ignore[override]
        self,
        x_dict: Any = None,
        return_dict: bool = False,
        return_all: bool = True,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> Any:
        """The value; see :meth:`pixyz.losses.Loss.eval`."""
        if x_dict is not None and not isinstance(x_dict, Mapping):
            x_dict = self._values(x_dict, {})
        given = {k: v for k, v in kwargs.items() if isinstance(v, Tensor)}
        x_dict = self.door({**(x_dict or {}), **given} if given else x_dict or {})
        kwargs = {k: v for k, v in kwargs.items() if k not in given}
        for name, reader in self.readers.items():
            if name not in x_dict:
                raise VariableError(
                    f"the term {reader!r} reads {name!r}, "
                    f"which no step of the model holds and the batch "
                    "lacks: "
                    f"add {name!r} of [T, B, ...] to the batch, or read one of the model's; "
                    f"given are "
                    f"{sorted(x_dict)}"
                )
        try:
            return super().eval(x_dict, return_dict, return_all, generator=generator, **kwargs)
        except VariableError as error:
            for name, (source, how) in MADE.items():
                if f"'{name}'" in str(error) and name not in x_dict and source in x_dict:
                    raise VariableError(f"{error}; {name!r} is {how}") from None
            raise

    def _with(self, found: Loss, other: object = None) -> Loss:
        if not isinstance(other, ModelLoss):
            return ModelLoss(found, self.door, self.readers)
        door = self.door.joined(other.door)
        return found if door is None else ModelLoss(found, door, {**other.readers, **self.readers})

    def __add__(self, other: Any) -> Loss:
        return self._with(super().__add__(other), other)

    def __radd__(self, other: Any) -> Loss:
        return self._with(super().__radd__(other), other)

    def __sub__(self, other: Any) -> Loss:
        return self._with(super().__sub__(other), other)

    def __rsub__(self, other: Any) -> Loss:
        return self._with(super().__rsub__(other), other)

    def __mul__(self, other: Any) -> Loss:
        return self._with(super().__mul__(other), other)

    def __rmul__(self, other: Any) -> Loss:
        return self._with(super().__rmul__(other), other)

    def __truediv__(self, other: Any) -> Loss:
        return self._with(super().__truediv__(other), other)

    def __neg__(self) -> Loss:
        return self._with(super().__neg__())

    def mean(self) -> Loss:
        return self._with(super().mean())

    def sum(self) -> Loss:
        return self._with(super().sum())
