"""How a plan calls a user's network: which of its results it reads, and why it may have to stay in
a loop.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from pixyz.distributions.core.base import Distribution
from pixyz.flows.flow import Flow
from pixyz.plan import Scope, Slot
from pixyz.plan.graph.formula import Fn, Network
from pixyz.plan.run.facts import Facts, Trial, Unsettled, call_once, current_trial
from pixyz.plan.run.probe import Probe
from pixyz.plan.structure import parts
from pixyz.types import PixyzError


class NetworkCall(Network):
    """``forward(**cond_var)`` of a distribution; returns the wanted values as a tuple.

    Args:
        module: what is called (the distribution itself, or a copy with constant weights).
        owner: the distribution, for messages; facts are noted of it.
        arguments: names of the values, in order.
        wanted: the keys to read.
        alternatives: key -> the key that may stand in its place (``probs`` -> ``logits``).
        spread: the results that a later step gives to each row; None if that is of no account.
    """

    __slots__ = ("_wanted", "alternatives", "arguments", "module", "owner", "spread")

    def __init__(
        self,
        module: Fn,
        owner: Distribution,
        arguments: Sequence[str],
        wanted: Sequence[str],
        alternatives: Mapping[str, str],
        spread: frozenset[str] | None = None,
    ) -> None:
        self.module, self.owner = module, owner
        self.arguments, self._wanted = tuple(arguments), tuple(wanted)
        self.alternatives = dict(alternatives)
        self.spread = spread

    @property
    def __name__(self) -> str:
        """What it is called in a plan's text."""
        return "".join(c for c in str(self.owner.name) if c.isalnum() or c == "_")

    def __call__(self, *values: object) -> tuple[Tensor, ...]:
        given = dict(zip(self.arguments, values, strict=True))
        if current_trial() is not None:
            found = self.checked(**given)
        elif not _answers(found := self.module(**given), self.wanted):
            raise Unsettled  # it returns something else than in the plan's trial
        return tuple([found[k] for k in self.wanted])

    def checked(self, **values: object) -> Mapping[str, Tensor]:
        """What the network returns, in a trial.

        Raises:
            Unsettled: not what the plan was written for; what it is, the trial notes.
            PixyzError: nothing that could be read.
        """
        trial = current_trial()
        own = isinstance(self.module, Tensors)
        found = self.module(**values) if own else call_once(self.module, **values)
        if trial is None:
            return found  # type: ignore[no-any-return]
        if not _answers(found, self.wanted) or len(found) != len(self.wanted):
            self._mismatch(found, trial)
        trial.answered[self.owner] = {_shown(k, self.alternatives): k for k in self.wanted}
        if not all(isinstance(v, Tensor) for v in found.values()):
            self._numbers(found, trial)
        self._note_rows(found, values, trial)
        return found  # type: ignore[no-any-return]

    def _numbers(self, found: Mapping[str, object], trial: Trial) -> NoReturn:
        """Numbers and arrays are turned into tensors; an error if it is something else."""
        known = (Tensor, numbers.Number, np.ndarray)
        wrong = {k: type(v).__name__ for k, v in found.items() if not isinstance(v, known)}
        if not wrong:
            trial.find("numbers", self.owner, True)
        kinds = ", ".join(f"{k!r}: {kind}" for k, kind in wrong.items())
        raise PixyzError(
            f"forward of {self.owner.prob_text} must return tensors or numbers, got {{{kinds}}}"
        )

    def _note_rows(
        self, found: Mapping[str, object], values: Mapping[str, object], trial: Trial
    ) -> None:
        """Note which results have no batch dimension (a learned scale ``[D]``, a number), and how
        many dimensions they would have with it.
        """
        shapes = {k: v.shape for k, v in found.items() if isinstance(v, Tensor)}
        rows = next((v.shape[0] for v in values.values() if isinstance(v, Tensor) and v.ndim), None)
        if rows is None or not shapes or self.spread is None:
            return
        matrix = {k: int(k in getattr(type(self.owner), "matrices", ())) for k in shapes}
        widest = max(len(s) - matrix[k] for k, s in shapes.items())
        if all(not s or s[0] not in (1, rows) for s in shapes.values()):
            widest += 1  # none has one
        news = {
            k: widest + matrix[k]
            for k, s in shapes.items()
            if len(s) < widest + matrix[k] or (s[0] == 1 and rows != 1)
        }
        if news.keys() - self.spread:
            known = trial.facts.rowless.get(self.owner, {})
            trial.find("rowless", self.owner, {**known, **news})

    def probe(self, rows: Sequence[bool], named: bool) -> Probe:
        """The call where its step has left a loop; ``named`` if the arguments are keywords."""
        parts = self.parts
        if named:
            return Probe(self.owner, self.module, self.checked, self.module, parts, rows)

        def bare(*values: object) -> list[Tensor]:
            found = self.module(**dict(zip(self.arguments, values, strict=True)))
            return [found[k] for k in self.wanted]

        return Probe(self.owner, self, self, bare, parts, rows)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The keys that are read."""
        return self._wanted

    @property
    def parts(self) -> list[nn.Module]:
        """The modules that hold its weights."""
        return [m for m in (self.module, self.owner) if isinstance(m, nn.Module)]

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names of the arguments, if they and the results' may stand in a plan's text; else
        nothing.
        """
        names = (*self.arguments, *self.wanted)
        plain = all([n.isidentifier() and not iskeyword(n) for n in names])
        return self.arguments if plain and "".join(names).isascii() else ()

    def _mismatch(self, found: object, trial: Trial) -> NoReturn:
        """Note what is returned in the place of what is wanted; an error if it cannot be read."""
        owner = self.owner
        optional = {*getattr(owner, "optional", ())} - {*getattr(owner, "_given", ())}
        if isinstance(found, Mapping):
            more = optional & set(found)
            if more != optional & set(self.wanted):
                trial.find("also", owner, tuple(sorted(more)))
            swap = self._swap(found)
            if swap is not None:
                trial.facts = trial.facts.having_returns(trial.answered)
                known = {**owner._returns, **trial.facts.returns.get(owner, {})}
                trial.find("returns", owner, {**known, **swap})
        keys = sorted(found) if isinstance(found, Mapping) else type(found).__name__
        shown = sorted(_shown(k, self.alternatives) for k in self.wanted)
        also = "".join(
            f" ({v!r} in the place of {k!r})" for k, v in self.alternatives.items() if k in shown
        )
        must = f"must return a dict with the keys {shown}{also}, got {keys}"
        raise PixyzError(f"forward of {owner.prob_text} {must}")

    def _swap(self, found: Mapping[str, object]) -> dict[str, str] | None:
        """What is returned for each wanted parameter, alternatives among it; None if that is not
        what is there.
        """
        if len(found) != len(self.wanted):
            return None
        pairs = {**self.alternatives, **{v: k for k, v in self.alternatives.items()}}
        swap = {k: k if k in found else pairs.get(k, k) for k in self.wanted}
        if not all(k in found for k in swap.values()):
            return None
        return {_shown(key, self.alternatives): actual for key, actual in swap.items()}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NetworkCall)
            and other.module == self.module
            and (other.arguments, other.wanted) == (self.arguments, self.wanted)
        )

    def __hash__(self) -> int:
        return hash((self.module, self.arguments, self.wanted))


def _answers(found: object, wanted: Sequence[str]) -> bool:
    """Whether a network returned a mapping with all that is wanted."""
    return isinstance(found, Mapping) and all(k in found for k in wanted)


def _shown(key: str, alternatives: Mapping[str, str]) -> str:
    return next((shown for shown, hidden in alternatives.items() if key in (shown, hidden)), key)


def _known(owner: Distribution, facts: Facts, alternatives: Mapping[str, str]) -> dict[str, str]:
    """What a network returns in the place of its parameters.  Of one that no trial has seen: what
    the last one returned that was seen.  Who writes logits writes them throughout, and a plan is
    not written again for each network.
    """
    guess: dict[str, str] = {}
    for found in facts.returns.values():
        guess |= {k: v for k, v in found.items() if v in (k, alternatives.get(k))}
    return {**guess, **owner._returns, **facts.returns.get(owner, {})}


def call_network(
    owner: Distribution,
    module: Fn,
    scope: Scope,
    wanted: Sequence[str],
    alternatives: Mapping[str, str] | None = None,
    label: str = "",
) -> dict[str, Slot]:
    """Write the step that calls ``module`` with the conditioning variables of ``owner``; its label
    is the text of ``owner``, if no other is given.
    """
    builder = scope.builder
    facts = builder.facts
    if owner in facts.numbers:
        module = Tensors(module, owner)
    known = _known(owner, facts, alternatives or {})
    keys = [known.get(k, k) for k in wanted]
    conditions = owner.cond_var
    args = [scope.lookup(v) for v in conditions]
    rowless = facts.rowless.get(owner, {})
    on_series = any([a.axes for a in args]) and hasattr(type(owner), "matrices")
    spread = frozenset(rowless) if on_series else None
    call = NetworkCall(module, owner, conditions, keys, alternatives or {}, spread)
    pinned = pinned_reason(owner, facts)
    if any([a.axes and a.batch == "none" for a in args]):
        pinned = "the number of the step"  # it has no rows: one number for all of them
    slots = builder.net(call, args, keys, label or owner.prob_text, key=None, pinned=pinned)
    if not args:
        for slot in slots:
            slot.batch = "one"
    for i, key in enumerate(keys) if rowless and on_series else ():
        like = next(
            (a for a in args if a.batch == slots[i].batch and a.axes == slots[i].axes), None
        )
        if key in rowless and like is not None:
            each = Spread(rowless[key])
            label = f"{key} of each row"
            slots[i] = builder.net(each, [slots[i], like], [key], label, key=None)[0]
    return dict(zip(keys, slots, strict=True))


@dataclass(frozen=True)
class Tensors:
    """Calls a network that returns numbers or arrays, ``{"loc": x, "scale": 0.01}``: they become
    tensors that broadcast.
    """

    module: Fn
    owner: Distribution

    def __call__(self, **values: object) -> object:
        found = call_once(self.module, **values)
        if not isinstance(found, Mapping):
            return found
        given = [v for v in (*found.values(), *values.values()) if isinstance(v, Tensor)]
        like = next(
            (v for v in given if v.is_floating_point()), given[0] if given else torch.zeros(())
        )
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        shape: tuple[int, ...] = ()
        # numbers alone: one density a row
        if not any(isinstance(v, Tensor) for v in found.values()):
            shape = (len(like) if like.ndim else 1, *self.owner.features_shape)

        def tensor(value: object) -> object:
            if not isinstance(value, (numbers.Number, np.ndarray)):
                return value
            made = torch.as_tensor(value, dtype=dtype, device=like.device)
            return made.expand(shape) if shape and not made.ndim else made

        return {k: tensor(v) for k, v in found.items()}


@dataclass(frozen=True)
class Spread:
    """A parameter without a batch dimension for each row; with one it would have ``ndim``
    dimensions.
    """

    ndim: int

    def __call__(self, x: Tensor, like: Tensor) -> tuple[Tensor]:
        if x.ndim < self.ndim:
            x = x.reshape((1,) * (self.ndim - x.ndim) + tuple(x.shape))
        return (x.expand(like.shape[0], *x.shape[1:]),)


def pinned_reason(module: nn.Module, facts: Facts) -> str:
    """Why a network may not leave its time loop, or an empty string.

    A network that keeps running statistics, mixes the rows of a batch, or has hooks is called once
    a step.  What this does not see, :mod:`pixyz.plan.run.probe` may.
    """
    for part in parts(module):
        kind, held = type(part), part.__dict__
        if issubclass(kind, _NormBase):
            if issubclass(kind, _BatchNorm):
                return "batch normalisation"
            if part.track_running_stats:
                return "running statistics"
        if issubclass(kind, Flow) and part.mixes_rows:
            return str(part.mixes_rows)
        if kind.__name__ in ("_SpectralNorm", "SpectralNorm"):
            return "spectral normalisation"
        if held["_forward_hooks"] or held["_forward_pre_hooks"]:
            return "hooks"
        if held["_backward_hooks"] or held["_backward_pre_hooks"]:
            return "hooks"
        if facts.pinned and (why := facts.pinned.get(part)):
            return why
    return ""
