"""A function that ``torch.compile`` compiles when it is first called; without a C++ compiler, or
Python's headers, it runs as it is.

Two kinds of functions of a plan are: the body of a time loop (:mod:`pixyz.plan.run.chunk`), and the
plan itself, in whose graphs these loops are calls of foreign functions.
"""

from __future__ import annotations

import sysconfig
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from pixyz.plan.graph.formula import Fn
from pixyz.plan.options import Options
from pixyz.plan.random import random_states, restore_random_states
from pixyz.types import Values

CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
"""Modes of ``torch.compile`` that keep results in memory which the next call of the graph writes
into.
"""

HEADER = Path(sysconfig.get_config_var("INCLUDEPY") or "include", "Python.h")
"""What compiled code includes; Debian's and Ubuntu's Python has it in a package of its own."""


class Owner(Protocol):
    """What a compiled function belongs to."""

    plain: bool
    """Whether there is no compiler here."""


class Compiled:
    """``torch.compile`` at the first call; without a C++ compiler the function itself, with one
    warning.

    Args:
        function: what is compiled.
        settings: of ``torch.compile``.
        owner: told when there is no compiler; itself if None.
    """

    def __init__(self, function: Fn, settings: Values, owner: Owner | None = None) -> None:
        self.function, self.settings, self.plain = function, settings, False
        self.owner: Owner = owner or self
        self.compiled: Fn | None = None

    def __call__(self, *args: object) -> Any:
        if self.owner.plain:
            return self.function(*args)
        if self.compiled is not None:
            return self.compiled(*args)
        # torch.compile switches it off for the process
        validated = torch.distributions.Distribution._validate_args
        compiled, drawn = torch.compile(self.function, **self.settings), random_states()
        try:
            found = compiled(*args)
        except Exception as error:
            if not (lacking := _lacking(error)):
                raise
            self.owner.plain = True
            restore_random_states(drawn)
            warnings.warn(
                f"not compiled, all runs as it is: {lacking}", RuntimeWarning, stacklevel=2
            )
            return self.function(*args)
        finally:
            torch.distributions.Distribution.set_default_validate_args(validated)
        self.compiled = compiled
        return found


def settings(options: Options, **more: object) -> dict[str, Any]:
    """Arguments of ``torch.compile``.

    Where no GPU is, kernels are called from C++ and not from Python, which at small sizes takes
    longer than the kernels do.
    """
    found: dict[str, object] = {"backend": options.backend}
    if options.backend != "inductor":
        return found if options.mode is None else found | {"mode": options.mode}
    chosen: dict[str, object] = {}
    if options.mode:
        from torch._inductor import list_mode_options  # a second of imports

        chosen = list_mode_options(options.mode)
    return found | {"options": {**chosen, "cpp_wrapper": not torch.cuda.is_available(), **more}}


def whole(function: Fn, options: Options) -> Compiled:
    """A plan's function, compiled but for its loops, which are compiled by themselves.

    Draws are torch's own (``fallback_random``), so one seed gives the numbers of the plan that is
    not compiled.  Lengths may change: the second length makes graphs that serve all.  CUDA graphs
    are for loops alone, whose results are copied.
    """
    if options.mode in CUDA_GRAPHS:
        options = replace(options, mode=None)
    return Compiled(function, settings(options, fallback_random=True))


def _lacking(error: BaseException | None) -> str:
    """What torch compiles with and is not here, as its own types of errors say; ``""`` for another
    error. Texts prove nothing, a network may raise anything.
    """
    while error is not None:
        kind = type(error)
        if kind.__module__ == "torch._inductor.exc":
            if kind.__name__ == "InvalidCxxCompiler":
                return (
                    "no C++ compiler is there; on Debian and Ubuntu: "
                    "apt-get install g++ python3-dev"
                )
            if kind.__name__ == "TritonMissing":
                return str(error)
            if kind.__name__ == "CppCompileError" and not HEADER.is_file():
                return f"no {HEADER}; on Debian and Ubuntu: apt-get install python3-dev"
        error = error.__cause__ or getattr(error, "inner_exception", None)
    return ""
