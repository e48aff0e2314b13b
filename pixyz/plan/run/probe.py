"""May a network leave its time loop? The first run of a plan tries it.

A network that was moved out of a loop sees the rows of all steps at once, ``[T*B, ...]``.  That
changes nothing if each row of its results follows from the same row of its arguments, and if the
network keeps nothing from one call to the next. When a plan runs for the first time, each such
network is tried on its real arguments: a few rows alone must give the same rows, and its buffers
must be what they were.  If not, the plan is built again with the network in its loop, and a note
says why.  A single row proves nothing: a network that has seen one is tried again until two come.
Later runs try nothing, so what is seen is the mode (training or not) of the first run; what a
network keeps in plain Python attributes is not seen, nor is a hook or a part that comes later: call
``touch()`` on the loss then.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.plan.graph.formula import Fn
from pixyz.plan.once import one_run
from pixyz.plan.random import random_states, restore_random_states
from pixyz.plan.run.facts import current_trial
from pixyz.plan.run.slabs import count_rows, cut_rows

MOST_ROWS = 8
"""Rows that are tried alone."""


class Probe:
    """A call that is tried once; ``checked`` stands in the plan's text until the plan has run,
    ``module`` from then on.

    Args:
        subject: what is kept in its loop if the trial fails.
        module: what is called.
        checked: what is called in a first run.
        bare: the same without checks, for trials.
        parts: where buffers are looked for.
        rows: which arguments have rows.
    """

    def __init__(
        self,
        subject: Hashable,
        module: Fn,
        checked: Fn,
        bare: Fn,
        parts: Sequence[nn.Module],
        rows: Sequence[bool],
    ) -> None:
        self.subject, self.module, self._call, self._bare = subject, module, checked, bare
        self._parts, self._rows = parts, rows
        self._key = (subject, tuple(rows))

    def checked(self, *values: object, **named: object) -> Any:
        """The call's result, after the trial.

        Raises:
            Unsettled: the network must stay in its loop.
        """
        trial = current_trial()
        if trial is None or self in trial.facts.tried:
            return self._call(*values, **named)
        parts = [m for p in self._parts for m in nn.Module.modules(p)]
        before = [
            (m, n, b, b.clone()) for m in parts for n, b in m._buffers.items() if b is not None
        ]
        found = self._call(*values, **named)
        changed = any(m._buffers.get(n) is not b or not _equal(b, old) for m, n, b, old in before)
        why = (
            "its buffers change when it is called" if changed else self._mixed(found, values, named)
        )
        if why and self.subject not in trial.facts.pinned:
            self._restore(before)
            trial.calls.forget()
            trial.find("pinned", self.subject, why)
        trial.saw(self, count_rows([*values, *named.values()], self._rows))
        return found

    def _mixed(self, found: object, values: tuple[object, ...], named: dict[str, object]) -> str:
        """Whether a few rows alone give other rows; no answer for random networks and those that
        take no few rows.
        """
        given = [*values, *named.values()]
        rows = count_rows(given, self._rows)
        few = min(rows // 2, MOST_ROWS)
        if not few:
            return ""

        def call(n: int) -> list[Tensor]:
            cut = cut_rows(given, self._rows, rows, slice(n))
            plain, rest = cut[: len(values)], cut[len(values) :]
            return _results(self._bare(*plain, **dict(zip(named, rest, strict=True))))

        after = random_states()
        try:
            with torch.no_grad(), one_run():  # leaves nothing for the run that it is part of
                alone, whole = call(few), _results(found)
                if all(
                    same(a, w[:few] if a.ndim and len(a) == few else w)
                    for a, w in zip(alone, whole, strict=True)
                ):
                    return ""
                # on other random numbers: a random network gives other rows in any case
                again = call(rows)
                return "its rows depend on one another" if all(map(same, again, whole)) else ""
        except Exception:  # made for batches of one size
            return ""
        finally:
            if not all(map(torch.equal, after, random_states())):
                restore_random_states(after)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Probe) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @staticmethod
    def _restore(before: Sequence[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
        with torch.no_grad():
            for module, name, held, old in before:
                held.copy_(old)
                module._buffers[name] = held


def _results(found: Any) -> list[Tensor]:
    values = (
        list(found.values())
        if hasattr(found, "values") and not isinstance(found, Tensor)
        else list(found)
    )
    return [v.detach() for v in values if isinstance(v, Tensor)]


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two results are equal but for rounding."""
    if a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    finite = b[b.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    close = torch.finfo(a.dtype).eps ** (1 / 3)
    return torch.allclose(a.double(), b.double(), rtol=close, atol=close * scale, equal_nan=True)
