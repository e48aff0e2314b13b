"""What a plan looks at when it runs on inputs of new shapes: nothing broadcasts by accident, values
are possible ones.

A step may have *looks* (:meth:`pixyz.plan.Builder.look`): functions of values that are
there when it runs.  They stand in a second text of the plan, which runs in the place of the first
where the inputs have other numbers of dimensions, or a size of 1 in other places, than in any run
before; so later runs pay nothing.  Under :func:`pixyz.debug` they run each time.

A value comes as a pair: the tensor, and how many leading dimensions (time, particles) it has.  What
is behind them is the batch dimension and the features: ``x [T, B, D]`` with one leading dimension
has the tail ``(B, D)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixyz.plan.domain import BITS, CONSTRAINTS, POSITIVE, WEIGHTS, Domain, true
from pixyz.plan.random import random_states, restore_random_states
from pixyz.types import PixyzError, ShapeError

__all__ = [
    "BITS",
    "CONSTRAINTS",
    "POSITIVE",
    "WEIGHTS",
    "Divergence",
    "Domain",
    "Flag",
    "Parameters",
    "Read",
    "Rows",
    "Scored",
    "Together",
]

Seen = tuple[object, int]
"""A value and how many leading dimensions it has; None where nothing but the look needs it."""
Tail = tuple[int, ...]


def tail(seen: Seen) -> Tail:
    """The batch dimension and the features of a value; nothing for a number."""
    value, lead = seen
    return tuple(value.shape[lead:]) if isinstance(value, Tensor) else ()


def fits(tails: Sequence[Tail]) -> bool:
    """Whether values may be combined element by element: one of them has the features of the
    result.

    Those with fewer dimensions than others have no batch dimension of their own, and stand for
    features.

    >>> fits([(4, 3), (4, 1), (3,)]), fits([(4,), (4, 1)])
    (True, False)
    """
    rank = max(map(len, tails), default=0)
    wide = [t[1:] for t in tails if len(t) == rank]
    features = tuple(max(sizes, key=lambda n: n != 1) for sizes in zip(*wide, strict=True))
    if wide and features not in wide:
        return False
    return all(covers(features, t) for t in tails if len(t) < rank)


def covers(features: Tail, other: Tail) -> bool:
    """Whether ``other`` broadcasts to ``features``, of which it has no more dimensions."""
    return all(n in (1, m) for n, m in zip(reversed(other), reversed(features), strict=False))


def listed(names: Sequence[str], tails: Sequence[Tail]) -> str:
    """Names with shapes, for messages."""
    return (
        ", ".join(f"{n} {list(t)}" for n, t in zip(names, tails, strict=True))
        + " (batch, then features)"
    )


# ---------------------------------------------------------------- looks


@dataclass(frozen=True, repr=False)
class Together:
    """The arguments of a formula that works element by element.

    Args:
        what: what they are, for the message.
        names: theirs.
        strict: each has a batch dimension of its own (or is one number).
        constants: which of them are tensors that were given with the formula, where it is computed
            again in each step of a loop or for each sample: there they have no dimension for that.
    """

    what: str
    names: tuple[str, ...]
    strict: bool = False
    constants: tuple[bool, ...] = ()
    __name__ = "look_together"

    def __call__(self, *seen: Seen) -> None:
        tails = [tail(s) for s in seen]
        rank = max(map(len, tails), default=0)
        if any(self.constants):
            values = [len(t) for t, c in zip(tails, self.constants, strict=True) if not c]
            if values and max(values) < rank:
                raise ShapeError(
                    f"{self.what}: {listed(self.names, tails)}: a constant is the same in each "
                    f"step of a loop and for each sample; give what differs between steps as a "
                    f"series, Parameter('w') with series_var"
                )
        if not fits(tails) or (self.strict and any(len(t) < rank and set(t) - {1} for t in tails)):
            raise ShapeError(
                f"{self.what}: {listed(self.names, tails)} would broadcast against each other; "
                f"give them "
                "the same number of dimensions, as by x.unsqueeze(-1) or x.squeeze(-1)"
            )


@dataclass(frozen=True, repr=False)
class Parameters:
    """The parameters of a distribution: they belong together, and lie where they must.

    Args:
        of: the distribution.
        family: its family.
        names: of the parameters.
        domains: where they must lie, in the order of ``names``; None for anywhere.
        matrices: those with a further dimension.
    """

    of: str
    family: str
    names: tuple[str, ...]
    domains: tuple[Domain | None, ...]
    matrices: tuple[bool, ...]
    __name__ = "look_parameters"

    def __hash__(self) -> int:
        return hash((self.of, self.names))  # of all fields it takes long, here and below

    def __call__(self, *seen: Seen) -> None:
        names, tails = self.shapes(seen)
        if not fits(tails):
            raise ShapeError(
                f"{self.of}: the parameters {listed(names, tails)} would broadcast "
                f"against each other; give them "
                "the same number of dimensions"
            )
        found = {n: s[0] for n, s in zip(self.names, seen, strict=True) if isinstance(s[0], Tensor)}
        for name, domain, matrix in zip(self.names, self.domains, self.matrices, strict=True):
            if domain is None or name not in found:
                continue
            if wrong := domain.misfit(
                found[name].diagonal(dim1=-2, dim2=-1) if matrix else found[name]
            ):
                raise PixyzError(
                    f"{self.of}: {'the diagonal of ' * matrix}{name!r} of {self.family} {wrong}"
                )
        if {"low", "high"} <= found.keys() and true((found["low"] > found["high"]).any()):
            raise PixyzError(
                f"{self.of}: 'low' of {self.family} must be below 'high'; exchange them"
            )

    def shapes(self, seen: Sequence[Seen]) -> tuple[list[str], list[Tail]]:
        """The names and tails of those that are there, matrices without their further dimension."""
        parts = zip(self.names, seen, self.matrices, strict=True)
        there = [
            (n, tail(s)[:-1] if matrix else tail(s)) for n, s, matrix in parts if s[0] is not None
        ]
        return [n for n, _ in there], [t for _, t in there]

    def value(self, name: str, seen: Sequence[Seen]) -> Any:
        """A parameter by its name; None if it is not there."""
        return next((s[0] for n, s in zip(self.names, seen, strict=True) if n == name), None)


@dataclass(frozen=True, repr=False)
class Divergence:
    """Two distributions of one variable, by formula: their parameters belong together.

    Args:
        what: for the message.
        p, q: what looks at their parameters.
        impossible: the probabilities of ``q`` that make it infinite, unless ``p`` has the same.
    """

    what: str
    p: Parameters
    q: Parameters
    impossible: tuple[float, ...] = ()
    __name__ = "look_divergence"

    def __hash__(self) -> int:
        return hash((self.what, self.p.of, self.q.of))

    def __call__(self, *seen: Seen) -> None:
        of_p, of_q = seen[: len(self.p.names)], seen[len(self.p.names) :]
        names, tails = [], []
        for look, part in ((self.p, of_p), (self.q, of_q)):
            own, shapes = look.shapes(part)
            names += [f"{n} of {look.of}" for n in own]
            tails += shapes
        if not fits(tails):
            raise ShapeError(
                f"{self.what}: {listed(names, tails)} would broadcast against each other; "
                "give both distributions samples of one shape"
            )
        p, q = self.p.value("probs", of_p), self.q.value("probs", of_q)
        for value in self.impossible if isinstance(q, Tensor) else ():
            never = q == value if p is None else (q == value) & (p != value)
            if true(never.any()):
                raise PixyzError(
                    f"{self.what} is infinite: "
                    f"'probs' of {self.q.of} is {value:g} where that of {self.p.of} is "
                    f"not; give {self.q.of} probabilities between 0 and 1 there"
                )


@dataclass(frozen=True, repr=False)
class Scored:
    """A value under a density: it has the features of the parameters, and lies in the support.

    Args:
        variable: of the value.
        params: what looks at the parameters.
        own_width: the last dimension of a value is 1, that of parameters is not compared.
        grid: features are neither summed nor scored together, and may broadcast where dimensions
            are as many.
        domain: where the value must lie; None where the formula says so itself.
    """

    variable: str
    params: Parameters
    own_width: bool = False
    grid: bool = False
    domain: Domain | None = None
    __name__ = "look_scored"

    def __hash__(self) -> int:
        return hash((self.variable, self.params.of))

    def __call__(self, x: Seen, *seen: Seen) -> None:
        if not isinstance(x[0], Tensor):
            return
        own, of = tail(x), self.params.of
        names, tails = self.params.shapes(seen)
        if not all(self._under(own, t) for t in tails):
            one_hot = self.domain is not None and self.domain.total is not None
            advice = self.domain.advice if self.domain is not None and one_hot else ""
            raise ShapeError(
                f"{self.variable!r} has the shape {list(own)}, but the parameters of {of} are "
                f"{listed(names, tails)}; "
                + (advice or f"give {self.variable!r} the shape of a sample")
            )
        if self.domain is not None and (wrong := self.domain.misfit(x[0])):
            raise PixyzError(f"{self.variable!r} in log {of} {wrong}")

    def _under(self, own: Tail, other: Tail) -> bool:
        if not own:  # one number
            return True
        # one sample without a batch dimension, as far as nothing is summed
        if len(own) < len(other):
            return self.grid and covers(other, own)
        if self.own_width and own[-1:] != (1,):
            return False
        if self.own_width:
            own, other = own[:-1], other[:-1]
        alike = len(own) == len(other)
        return (self.grid and alike) or covers(own[alike:], other[alike:])


@dataclass(frozen=True, repr=False)
class Read:
    """A value that a function or a formula reads: it lies where it must."""

    variable: str
    of: str
    domain: Domain
    __name__ = "look_read"

    def __call__(self, x: Seen) -> None:
        if isinstance(x[0], Tensor) and (wrong := self.domain.misfit(x[0])):
            raise PixyzError(f"{self.variable!r} in {self.of} {wrong}")


@dataclass(frozen=True, repr=False)
class Rows:
    """What a network, or a function of the user's, makes of rows: no result has one feature a row.

    Where it looks so, it is called again on all rows but one.

    Args:
        network: called with the arguments in order.
        what: it is, for the message.
        names: of the arguments.
    """

    network: Callable[..., Sequence[Tensor]]
    what: str
    names: tuple[str, ...]
    __name__ = "look_rows"

    def __call__(self, found: Sequence[Tensor], *args: Tensor) -> None:
        tails = [tail((x, 0)) for x in args]
        rows = max((t[0] for t in tails if t), default=0)
        square = [
            i for i, x in enumerate(found) if tail((x, 0))[:1] == tail((x, 0))[1:][-1:] == (rows,)
        ]
        if rows < 2 or not square or fits(tails):
            return
        states = random_states()
        try:
            with torch.no_grad():
                cut = [x[1:] if t[:1] == (rows,) else x for x, t in zip(args, tails, strict=True)]
                fewer = self.network(*cut)
        except Exception:  # made for batches of one size
            return
        finally:
            restore_random_states(states)
        if any(fewer[i].shape[-1] == rows - 1 for i in square):
            raise ShapeError(
                f"{self.what}: the arguments {listed(self.names, tails)} broadcast "
                f"against each other inside it, a "
                f"result is {list(found[square[0]].shape)}; "
                f"give them the same number of dimensions"
            )


@dataclass(frozen=True, repr=False)
class Flag:
    """A mask or a reset: one for each frame."""

    name: str
    __name__ = "look_flag"

    def __call__(self, x: Seen) -> None:
        if len(own := tail(x)) > 1:
            raise ShapeError(
                f"the flags {self.name!r} have the further dimensions {list(own[1:])}; "
                f"give one for each frame, "
                "[T, B], as by x.squeeze(-1)"
            )
