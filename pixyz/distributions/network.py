"""How a plan calls a user's network: which of its results it reads, and why it may have to stay in a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from pixyz.distributions.probe import Probe, reason
from pixyz.flows.flow import Flow
from pixyz.plan import Builder, Scope, Slot
from pixyz.plan.program import Relower
from pixyz.types import PixyzError

_SEEN: WeakKeyDictionary[type, dict[str, str]] = WeakKeyDictionary()
"""What the last network of a class was seen to return: the first guess for others of the class."""


class NetworkCall:
    """``forward(**cond_var)`` of a distribution; returns the wanted values as a tuple.

    Args:
        module: what is called (the distribution itself, or a copy with constant weights).
        owner: the distribution, for messages and for remembering which of two alternative parameters it returns.
        arguments: names of the values, in order.
        wanted: the keys to read.
        alternatives: key -> the key that may stand in its place (``probs`` -> ``logits``).
    """

    __slots__ = ("alternatives", "arguments", "module", "owner", "spread", "wanted")

    def __init__(
        self, module: Any, owner: Any, arguments: Sequence[str], wanted: Sequence[str], alternatives: Mapping[str, str]
    ) -> None:
        self.module, self.owner = module, owner
        self.arguments, self.wanted = tuple(arguments), tuple(wanted)
        self.alternatives = dict(alternatives)
        self.spread: frozenset[str] | None = None
        """The results that a later step gives to each row; None if that is of no account."""

    @property
    def __name__(self) -> str:
        """What it is called in a plan's text."""
        return "".join(c for c in str(self.owner.name) if c.isalnum() or c == "_")

    def __call__(self, *values: Any) -> tuple[Tensor, ...]:
        found = self.checked(**dict(zip(self.arguments, values, strict=True)))
        return tuple([found[k] for k in self.wanted])

    def checked(self, **values: Any) -> Mapping[str, Tensor]:
        """What the network returns; an error that says what it should return, if it does not."""
        found = self.module(**values)
        try:
            right = len(found) == len(self.wanted) and all(k in found for k in self.wanted)
        except TypeError:
            right = False
        if not right:
            raise self._mismatch(found)
        self._note_rows(found, values)
        return found  # type: ignore[no-any-return]

    def _note_rows(self, found: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Remember which results have no batch dimension (a learned scale ``[D]``, a number), and how many it would have."""
        shapes = {k: v.shape for k, v in found.items() if isinstance(v, Tensor)}
        rows = next((v.shape[0] for v in values.values() if isinstance(v, Tensor) and v.ndim), None)
        if rows is None or not shapes or self.spread is None:
            return
        matrix = {k: int(k in self.owner.matrices) for k in shapes}
        widest = max(len(s) - matrix[k] for k, s in shapes.items())
        if all(not s or s[0] not in (1, rows) for s in shapes.values()):
            widest += 1  # none has one
        news = {k: widest + matrix[k] for k, s in shapes.items() if len(s) < widest + matrix[k] or (s[0] == 1 and rows != 1)}
        if news.keys() - self.spread:
            self.owner.without_rows.update(news)
            raise Relower

    def probe(self, rows: Sequence[bool], named: bool) -> Probe:
        """The call where its step has left a loop; ``named`` if the arguments are keywords."""
        parts = [m for m in (self.module, self.owner) if isinstance(m, nn.Module)]
        if named:
            return Probe(self.owner, self.module, self.checked, self.module, parts, rows)

        def bare(*values: Any) -> Any:
            found = self.module(**dict(zip(self.arguments, values, strict=True)))
            return [found[k] for k in self.wanted]

        return Probe(self.owner, self, self, bare, parts, rows)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names of the arguments, if they and the results' may stand in a plan's text; else nothing."""
        plain = all(n.isidentifier() and n.isascii() and not iskeyword(n) for n in (*self.arguments, *self.wanted))
        return self.arguments if plain else ()

    def _mismatch(self, found: Any) -> Exception:
        optional = {*getattr(self.owner, "optional", ())} - {*getattr(self.owner, "_given", ())}
        if isinstance(found, Mapping) and (more := optional & set(found)) != optional & set(self.wanted):
            self.owner.returns_also = tuple(sorted(more))
            return Relower()
        pairs = {**self.alternatives, **{v: k for k, v in self.alternatives.items()}}
        if isinstance(found, Mapping) and len(found) == len(self.wanted):
            swap = {k: k if k in found else pairs.get(k, k) for k in self.wanted}
            if all(k in found for k in swap.values()):
                for key, actual in swap.items():
                    self.owner.returns[self.alternatives and _shown(key, self.alternatives)] = actual
                _SEEN[type(self.owner)] = dict(self.owner.returns)
                return Relower()
        keys = sorted(found) if isinstance(found, Mapping) else type(found).__name__
        shown = sorted(_shown(k, self.alternatives) for k in self.wanted)
        also = "".join(f" ({v!r} in the place of {k!r})" for k, v in self.alternatives.items() if k in shown)
        return PixyzError(f"forward of {self.owner.prob_text} must return a dict with the keys {shown}{also}, got {keys}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NetworkCall)
            and other.module == self.module
            and (other.arguments, other.wanted) == (self.arguments, self.wanted)
        )

    def __hash__(self) -> int:
        return hash((self.module, self.arguments, self.wanted))


def _shown(key: str, alternatives: Mapping[str, str]) -> str:
    return next((shown for shown, hidden in alternatives.items() if key in (shown, hidden)), key)


def call_network(
    owner: Any, module: Any, builder: Builder, scope: Scope, wanted: Sequence[str],
    alternatives: Mapping[str, str] | None = None,
) -> dict[str, Slot]:
    """Write the step that calls ``module`` with the conditioning variables of ``owner``."""
    known = owner.returns or _SEEN.get(type(owner), owner.returns)
    keys = [known.get(k, k) for k in wanted]
    call = NetworkCall(module, owner, owner.cond_var, keys, alternatives or {})
    args = [scope.lookup(v) for v in owner.cond_var]
    slots = list(builder.net(call, args, keys, owner.prob_text, key=None, pinned=pinned_reason(owner)))
    if not args:
        for slot in slots:
            slot.batch = "one"
    if not slots[0].axes or not hasattr(owner, "without_rows"):
        return dict(zip(keys, slots, strict=True))
    slots[0].step.fn.spread = frozenset(owner.without_rows)  # type: ignore[union-attr]
    for i, key in enumerate(keys):
        like = next((a for a in args if a.batch == slots[i].batch and a.axes == slots[i].axes), None)
        if key in owner.without_rows and like is not None:
            spread = Spread(owner.without_rows[key])
            slots[i] = builder.net(spread, [slots[i], like], [key], f"{key} of each row", key=None)[0]
    return dict(zip(keys, slots, strict=True))


@dataclass(frozen=True)
class Spread:
    """A parameter without a batch dimension for each row; with one it would have ``ndim`` dimensions."""

    ndim: int

    def __call__(self, x: Tensor, like: Tensor) -> tuple[Tensor]:
        if x.ndim < self.ndim:
            x = x.reshape((1,) * (self.ndim - x.ndim) + tuple(x.shape))
        return (x.expand(like.shape[0], *x.shape[1:]),)


def pinned_reason(module: nn.Module) -> str:
    """Why a network may not leave its time loop, or an empty string.

    A network that keeps running statistics, mixes the rows of a batch, or has hooks is called once a step.  What this does
    not see, :mod:`pixyz.distributions.probe` may.
    """
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            return "batch normalisation"
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats:
            return "running statistics"
        if isinstance(part, Flow) and part.mixes_rows:
            return part.mixes_rows
        if type(part).__name__ in ("_SpectralNorm", "SpectralNorm"):
            return "spectral normalisation"
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks:
            return "hooks"
        if why := reason(part):
            return why
    return ""
