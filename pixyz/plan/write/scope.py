"""Scope: which slot a variable name means at a place of an expression.

It is what every rule is given: names are looked up in it, and steps are written on its builder.
Shadowing is lexical, and a bound variable never leaves its scope.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from pixyz.plan.graph import Axis, Slot
from pixyz.plan.write.builder import Builder


@dataclass(frozen=True)
class Mode:
    """How everything in a scope is lowered.

    Args:
        mean: means in the place of draws.
        direct: a call of a distribution itself, not an expression.
        rows: the names of Parameters that are given with a batch, ``[B]``.
        batch_n: how many rows a distribution without inputs draws; None: one.
    """

    mean: bool = False
    direct: bool = False
    rows: frozenset[str] = frozenset()
    batch_n: Slot | None = None


class Scope:
    """Which slot a name means here.

    Args:
        builder: where steps are written; unbound names become inputs of its plan.
        values: names bound here.
        parent: the enclosing scope.
        rename: inner name -> outer name; look-ups of an inner name go to the parent under the
            outer name.

    ``mode`` says how everything in it is lowered.

    >>> builder = Builder()
    >>> scope = Scope(builder).renamed({"x": "y"})
    >>> scope.lookup("x") is builder.inputs["y"]
    True
    """

    def __init__(
        self,
        builder: Builder,
        values: Mapping[str, Slot] | None = None,
        parent: Scope | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self.builder = builder
        self.values: dict[str, Slot] = dict(values or {})
        self.parent = parent
        self.rename = dict(rename or {})
        self.keep: frozenset[Axis] = parent.keep if parent is not None else frozenset()
        self.masks: dict[Axis, Slot] = dict(parent.masks) if parent is not None else {}
        self.path: dict[str, tuple[Hashable, Slot]] = parent.path if parent is not None else {}
        self.particles: tuple[Axis, ...] = parent.particles if parent is not None else ()
        self.mode: Mode = parent.mode if parent is not None else Mode()

    def lookup(self, name: str) -> Slot:
        """The slot that ``name`` means; an unbound name becomes an input."""
        if self.rename:
            assert self.parent is not None
            return self.parent.lookup(self.rename.get(name, name))
        if name in self.values:
            return self.values[name]
        if self.parent is not None:
            return self.parent.lookup(name)
        return self.builder.input(name)

    def bound(self, name: str) -> bool:
        """Whether ``name`` means something else than an input."""
        if self.rename:
            assert self.parent is not None
            return self.parent.bound(self.rename.get(name, name))
        return name in self.values or (self.parent is not None and self.parent.bound(name))

    def child(self, values: Mapping[str, Slot] | None = None) -> Scope:
        """A scope inside this one."""
        return Scope(self.builder, values, parent=self)

    def renamed(self, rename: Mapping[str, str]) -> Scope:
        """This scope as seen by a distribution whose variables carry other names (inner ->
        outer).
        """
        return Scope(self.builder, parent=self, rename=rename) if rename else self

    def outer_name(self, name: str) -> str:
        """The name under which the enclosing expression knows ``name``."""
        if self.rename and self.parent is not None:
            return self.parent.outer_name(self.rename.get(name, name))
        return name
