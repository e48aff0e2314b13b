"""Run the examples in the docstrings of pixyz 0.3.3 on this library, and print where the results
differ.

0.3.3 comes from PyPI (``old_pixyz.py``) and is only read.  Tensors are not compared: draws of most
families have other numbers.  docs/differences.md explains what is left.

    python benchmarks/doctests_033.py
"""

from __future__ import annotations

import ast
import doctest
import importlib
import sys
from collections.abc import Callable
from typing import Any

import torch
from old_pixyz import environment
from torch import nn
from torch.nn import functional as F

GATHERED = ("pixyz.distributions", "pixyz.losses", "pixyz.flows")


def names(module: str) -> dict[str, Any]:
    """What an example may use: the public names, and those of its own module."""
    found: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    for name in (*GATHERED, module):
        loaded = importlib.import_module(name)
        public = getattr(loaded, "__all__", None) or [
            n for n in dir(loaded) if not n.startswith("__")
        ]
        found.update({n: getattr(loaded, n) for n in public})
    return found


class Compare(doctest.DocTestRunner):
    """Counts examples, and prints those whose result is another one."""

    differ = 0

    def report_start(
        self, out: Callable[[str], Any], test: doctest.DocTest, example: doctest.Example
    ) -> None:
        """Say nothing."""

    def report_failure(
        self, out: Callable[[str], Any], test: doctest.DocTest, example: doctest.Example, got: str
    ) -> None:
        """Print a result that differs, unless both are tensors, or errors."""
        if ("tensor(" in example.want and "tensor(" in got) or (example.exc_msg and "Error" in got):
            return
        self._tell(test, example, example.want, got)

    def report_unexpected_exception(
        self,
        out: Callable[[str], Any],
        test: doctest.DocTest,
        example: doctest.Example,
        exc_info: Any,
    ) -> None:
        """Print an error that 0.3.3 does not raise."""
        if not example.exc_msg:
            self._tell(test, example, example.want, f"{exc_info[0].__name__}: {exc_info[1]}")

    def _tell(self, test: doctest.DocTest, example: doctest.Example, old: str, new: str) -> None:
        self.differ += 1
        text = (
            f"{test.name}\n>>> {example.source.rstrip()}\n0.3.3: {old.rstrip()}\nhere: "
            f" {new.rstrip()}\n"
        )
        print(text, file=sys.__stdout__)


def main() -> None:
    root = environment() / "pixyz"
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    runner, parser = Compare(optionflags=options, verbose=False), doctest.DocTestParser()
    for path in sorted(root.rglob("*.py")):
        module = ".".join(("pixyz", *path.relative_to(root).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = (
                ast.get_docstring(node)
                if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.Module))
                else None
            )
            if text and ">>>" in text:
                title = f"{module}.{getattr(node, 'name', '')}"
                runner.run(
                    parser.get_doctest(text, names(module), title, str(path), 0), out=lambda _: None
                )
    print(f"{runner.tries} examples, {runner.differ} differ")


if __name__ == "__main__":
    main()
