"""Record the public names and signatures of pixyz 0.3.3, from the installed package itself.

It runs in a process that sees 0.3.3 in the place of this library (``old_pixyz.py``).  A module's
own classes and functions are recorded with their parameters and defaults, a class with its bases,
constructor, public methods and properties.

    python benchmarks/signatures_033.py        # writes tests/pixyz/signatures_033.json
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from old_pixyz import run_under_old

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "tests" / "pixyz" / "signatures_033.json"
SPECIAL = (
    "__init__",
    "__call__",
    "__mul__",
    "__add__",
    "__sub__",
    "__truediv__",
    "__neg__",
    "__radd__",
    "__rsub__",
    "__rmul__",
    "__rtruediv__",
    "__str__",
)


def modules() -> Iterator[Any]:
    """All modules of the installed package."""
    pixyz = importlib.import_module("pixyz")
    for found in sorted(pkgutil.walk_packages(pixyz.__path__, "pixyz."), key=lambda m: m.name):
        yield importlib.import_module(found.name)


def signature(function: Callable[..., Any], bound: bool) -> list[str]:
    """The parameters as they are written (``name``, ``name=default``, ``*args``, ``**kwargs``),
    without ``self``.
    """
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    return [
        stars.get(p.kind, "") + p.name + ("" if p.default is p.empty else f"={p.default!r}")
        for p in found
    ]


def own_members(cls: type) -> dict[str, Any]:
    """The public members that a class defines itself: name -> parameters, or "property"."""
    known: dict[str, Any] = {}
    for name, value in sorted(vars(cls).items()):
        if name.startswith("_") and name not in SPECIAL:
            continue
        if isinstance(value, property):
            known[name] = "property"
        elif inspect.isroutine(value):
            known[name] = signature(
                getattr(cls, name), bound=not isinstance(value, (staticmethod, classmethod))
            )
    return known


def names(module: Any) -> dict[str, Any]:
    """A module's own classes (bases, members) and functions (parameters); of a package, what it
    gathers.
    """
    if hasattr(module, "__path__"):
        return {name: "" for name in getattr(module, "__all__", ())}
    found: dict[str, Any] = {}
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            bases = [
                f"{c.__module__}.{c.__name__}"
                for c in value.__mro__[1:]
                if c.__module__.startswith("pixyz.")
            ]
            found[name] = {"bases": bases, "members": own_members(value)}
        elif callable(value):
            found[name] = signature(value, bound=False)
    return found


def record() -> None:
    """In the process of 0.3.3: read all and write."""
    found = {m.__name__: names(m) for m in modules()}
    blocks = []
    for module, inside in found.items():
        lines = ",\n".join(f"  {json.dumps(n)}: {json.dumps(v)}" for n, v in inside.items())
        blocks.append(
            f"{json.dumps(module)}: {{\n{lines}\n}}" if lines else f"{json.dumps(module)}: {{}}"
        )
    RESULT.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")
    print(sum(map(len, found.values())), "names in", len(found), "modules")


if __name__ == "__main__":
    run_under_old(record, __file__)
