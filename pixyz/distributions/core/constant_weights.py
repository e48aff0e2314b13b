"""A module whose weights are constants: a copy of it that shares their memory."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from torch import Tensor, nn


class ConstantWeights:
    """Calls a module with its parameters detached; they share memory with the module's.

    The copy follows the module: its attributes, which mode it is in, which parts and parameters it
    has.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._made: tuple[nn.Module, list[_Part]] | None = None

    def __call__(self, **values: Tensor) -> Any:
        made = self._made
        if made is None or not _follow(made[1]):
            memo: dict[int, nn.Module] = {}
            twin = constant_copy(self.module, memo)
            sources = {id(m): m for m in nn.Module.modules(self.module)}
            parts = [_Part(sources[key], copy) for key, copy in memo.items()]
            made = self._made = (twin, parts)
        return made[0](**values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConstantWeights) and other.module is self.module

    def __hash__(self) -> int:
        return hash((ConstantWeights, id(self.module)))


_KEPT = nn.Module().__dict__.keys() - {"training", "_modules", "_parameters", "_buffers"}
"""Attributes of all modules that stay the same objects."""


class _Part:
    """A module and its copy, and what both held when they were compared."""

    __slots__ = ("at", "held", "ids", "inside", "own", "read", "twin", "weights")

    def __init__(self, module: nn.Module, twin: nn.Module) -> None:
        self.own, self.twin = module.__dict__, twin.__dict__
        self.note()
        self.inside = dict(module._modules)
        self.weights = dict(module._parameters)
        self.at = [None if p is None else p.data_ptr() for p in self.weights.values()]

    def note(self) -> None:
        """Note the attributes of the module."""
        self.held = dict(self.own)  # so that no other object gets an id of theirs
        self.read = itemgetter(*[name for name in self.own if name not in _KEPT])
        self.ids = [*map(id, self.read(self.own))]

    def follow(self) -> bool:
        """Give the copy what attributes of the module were set; False if these are its parts or
        parameters.
        """
        own, held, twin = self.own, self.held, self.twin
        for name, value in own.items():
            if name not in held or held[name] is not value:
                if name in ("_modules", "_parameters"):
                    return False
                twin[name] = value
        for name in held.keys() - own.keys():
            twin.pop(name, None)
        self.note()
        return True


def _follow(parts: list[_Part]) -> bool:
    """Give copies what attributes were set since; False if a module has other parts or parameters.

    This comes before each call: what is compared is compared by identity, most of it in C.
    """
    for part in parts:
        own = part.own
        try:
            same = len(own) == len(part.held) and [*map(id, part.read(own))] == part.ids
        except KeyError:  # one went, another came
            same = False
        if not same and not part.follow():
            return False
        if (now := own["_modules"]) or part.inside:
            inside = part.inside
            if [*now] != [*inside] or [*map(id, now.values())] != [*map(id, inside.values())]:
                return False
        if (now := own["_parameters"]) or part.weights:
            if [*map(id, now.values())] != [*map(id, part.weights.values())]:
                return False
            if [p if p is None else p.data_ptr() for p in now.values()] != part.at:
                return False
    return True


def constant_copy(module: nn.Module, memo: dict[int, nn.Module]) -> nn.Module:
    """A shallow copy of a tree of modules whose parameters are detached views of the original's."""
    if id(module) in memo:
        return memo[id(module)]
    twin: nn.Module = module.__class__.__new__(module.__class__)
    twin.__dict__.update(module.__dict__)
    memo[id(module)] = twin
    twin.__dict__["_parameters"] = {
        k: None if p is None else nn.Parameter(p.detach(), requires_grad=False)
        for k, p in module._parameters.items()
    }
    twin.__dict__["_modules"] = {
        k: None if m is None else constant_copy(m, memo) for k, m in module._modules.items()
    }
    return twin
