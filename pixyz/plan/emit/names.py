"""Names in a plan's text: of values, and of what it calls.

Variables are ``v7_z`` (outside) or ``u7_z`` (inside a loop), functions ``q_3``: a user's names
appear only where they are plain words, with a number that makes them unique.
"""

from __future__ import annotations

from typing import Any

import torch


class Names:
    """Fresh names for values, and one name for each object that the text reads."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"torch": torch, "no_grad": torch.no_grad}
        self.values: set[str] = set()
        """Names of values, not of what is called."""
        self._objects: dict[object, str] = {}
        self._alive: list[object] = []
        self._count = 0

    def fresh(self, prefix: str, label: str = "") -> str:
        """A new name; it ends on the variable's where that is a plain word."""
        plain = label.isidentifier() and label.isascii() and len(label) <= 24
        suffix = f"_{label}" if plain else ""
        name = ""
        while not name or name in self.namespace:
            self._count += 1
            name = f"{prefix}{self._count}{suffix}"
        self.values.add(name)
        return name

    def reserved(self, base: str) -> str:
        """The name of something that will be there when the text runs."""
        return self.of(_Reserved(base))

    def of(self, value: object) -> str:
        """The name of a function or another object that is there when the text runs."""
        key = value if isinstance(value, str) else id(value)
        found = self._objects.get(key)
        if found is None:
            base = "k"
            if callable(value):
                base = getattr(value, "__name__", type(value).__name__).lstrip("_")
            base = base if base.isidentifier() and base.isascii() else "f"
            found = f"{base}_{len(self._objects)}"
            while found in self.values:
                found += "f"
            self._objects[key] = found
            self.namespace[found] = value
            self._alive.append(value)
        return found


class _Reserved:
    """Stands for an object that is made for each form of a text."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self) -> None:
        raise NotImplementedError
