"""Forms of a plan's text: with or without checks of networks, with or without looks at values."""

from __future__ import annotations

import contextlib
import linecache
import weakref
from collections import deque
from collections.abc import Callable
from functools import cached_property
from types import CodeType
from typing import Any

import torch

from pixyz.plan.emit.emitter import Text
from pixyz.plan.options import Options
from pixyz.plan.run.compiled import whole
from pixyz.plan.run.row_loop import RowLoop

Results = tuple[Any, ...]
Function = Callable[..., Results]
Namespace = dict[str, Any]
"""What the functions of a text read, by name; themselves among it."""
_GONE: deque[str] = deque()
"""Sources of plans that are gone; a collector may run while linecache goes through its entries, so
they leave it later.
"""


def forget_sources() -> None:
    """Take the sources of plans that are gone out of linecache; every new form does so."""
    with contextlib.suppress(IndexError):  # another thread may take the last one
        while _GONE:
            linecache.cache.pop(_GONE.popleft(), None)


def _register(filename: str, text: str) -> None:
    """Show the source in tracebacks."""
    forget_sources()
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)


class Forms:
    """The functions of a text, each compiled by Python when it is first asked for: a plan that a
    trial finds to be wrong needs one of them, and is gone.

    Args:
        text: what is compiled.
        filename: its name in tracebacks.
        options: of the plan.
        entire: whether all of it may be compiled by torch.
    """

    def __init__(self, text: Text, filename: str, options: Options, entire: bool) -> None:
        self.text, self.filename = text, filename
        self.options, self.entire = options, entire
        for name, loop in text.loops.items():
            parts = ("steps", "step", "shapes")
            loop.bind(*(self.namespace[f"{name}_{part}"] for part in parts))

    @cached_property
    def function(self) -> Function:
        """Networks are called as they are."""
        found: Function = self._whole() if self.entire else self.namespace["plan"]
        return found

    @cached_property
    def looking(self) -> Function:
        """The same, and what it reads is looked at."""
        found: Function = self._variant(checked=False, look=True)["look"]
        return found

    @cached_property
    def trial(self) -> Function:
        """Networks are called with checks, which note what they return."""
        found: Function = self._variant(checked=True, look=False)["plan"]
        return found

    @cached_property
    def looking_trial(self) -> Function:
        """Both."""
        found: Function = self._variant(checked=True, look=True)["look"]
        return found

    @cached_property
    def namespace(self) -> Namespace:
        """The names that :attr:`function` reads."""
        return self._variant(checked=False, look=False)

    @cached_property
    def _code(self) -> CodeType:
        return self._compile(self.text.source, self.filename)

    @cached_property
    def _looking_code(self) -> CodeType:
        return self._compile(self.text.looking, f"{self.filename}, looking")

    def _compile(self, source: str, filename: str) -> CodeType:
        code = compile(source, filename, "exec")
        _register(filename, source)
        weakref.finalize(self, _GONE.append, filename)
        return code

    def _variant(self, *, checked: bool, look: bool) -> Namespace:
        """The names that one form of the text has; its functions are among them."""
        space = dict(self.text.namespace)
        for name, one in self.text.networks.items():
            space[name] = one.checked if checked else one.module
        exec(self._looking_code if look else self._code, space)
        for name in self.text.rows:
            space[name] = RowLoop(space[f"{name}_{'look' if look else 'of'}"])
        return space

    def _whole(self) -> Function:
        """The function, compiled but for its loops, which are compiled by themselves."""
        space = self.namespace
        for name in self.text.rows:
            space[name] = RowLoop(whole(space[f"{name}_of"], self.options))
        for name in [*self.text.loops, *self.text.rows]:
            space[name] = torch.compiler.disable(space[name])
        return whole(space["plan"], self.options)
