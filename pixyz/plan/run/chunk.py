"""A time loop whose body is compiled for a fixed number of steps at a time.

Compiling a whole loop takes minutes and is done again for every length.  Here ``torch.compile``
sees ``chunk`` steps, and a body of one step does the remainder, so two graphs serve every length::

    T = 20, chunk = 8:   steps 0-7, 8-15 by the chunk's graph; 16, 17, 18, 19 by the single step's

A loop whose length is known when the plan is built (imagination) is cut into equal pieces if it can
be, and one graph does it::

    steps = 15, chunk = 8:   steps 0-4, 5-9, 10-14

What would make a third graph is kept from it: carried values are contiguous and require a gradient
from the first step on, base noise is drawn for all steps before the loop, as it is where nothing is
compiled, series are contiguous in time-major order, and numbers come as tensors without dimensions,
on the device of what is carried.

With CUDA graphs (``mode="reduce-overhead"``) a call writes into the memory of the last one's
results, so these are copied. ``torch.compiler.cudagraph_mark_step_begin`` is left to the caller,
between training steps: here, a backward pass may still be to come for what ran before.  None of
this was run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pixyz.plan.graph.formula import Fn
from pixyz.plan.options import Options
from pixyz.plan.random import random_states, restore_random_states
from pixyz.plan.run.compiled import CUDA_GRAPHS, Compiled, settings

MOST_SHAPES = 64
"""Sets of shapes of the noise that are remembered."""


def piece(length: int | None, chunk: int) -> int:
    """The steps of a graph, at most ``chunk``: equal pieces of ``length`` if they are not much
    shorter.

    >>> [piece(length, 8) for length in (None, 64, 15, 13, 3)]
    [8, 8, 5, 8, 3]
    """
    if length is None or length % chunk == 0:
        return chunk
    if length < chunk:
        return length
    return next((n for n in range(chunk, (chunk - 1) // 2, -1) if length % n == 0), chunk)


@dataclass
class Draw:
    """Base noise of one site in the loop: how it is drawn, and the dimension that the steps have in
    the draw.
    """

    fn: Callable[..., Tensor]
    dim: int = 0

    def draw(self, length: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The noise of ``length`` steps of ``shape``, ``[T, ...]``."""
        return self.fn((*shape[: self.dim], length, *shape[self.dim :]), like).movedim(self.dim, 0)


@dataclass
class LoopText:
    """The text of a loop's body before it is known how many steps it does.

    Args:
        carries: names of the carried values, in and out.
        series: names of the series, ``[chunk, ...]`` each.
        noise: names of the base noise, ``[chunk, ...]`` each.
        constants: names of what does not change.
        lists: names of what is stacked.
        loose: those of them that are stacked by whoever reads them.
        index: name of the step's number.
        steps: lines of a step; ``probe`` those that also write down the shapes of the noise.
    """

    carries: list[str]
    series: list[str]
    noise: list[str]
    constants: list[str]
    lists: list[str]
    loose: Collection[str]
    index: str
    steps: list[str]
    probe: list[str]

    def function(self, name: str, chunk: int, reverse: bool) -> list[str]:
        """The body for ``chunk`` steps: carried values and stacked results from carried values,
        series, noise, constants.
        """
        text = [
            f"def {name}({', '.join([*self.carries, *self.series, *self.noise, *self.constants])}):"
        ]
        text += [f"    {s} = {s}.unbind(0)" for s in [*self.series, *self.noise]]
        text += [f"    {one} = []" for one in self.lists]
        order = f"range({chunk - 1}, -1, -1)" if reverse else f"range({chunk})"
        text.append(f"    for {self.index} in {order}:")
        text += self.steps
        order = "[::-1]" if reverse else ""
        results = self.carries + [
            f"tuple({one})" if one in self.loose else f"torch.stack({one}{order})"
            for one in self.lists
        ]
        return [*text, f"    return ({''.join(r + ', ' for r in results)})", ""]

    def shapes(self, name: str) -> list[str]:
        """One step that returns the shape and an example of each noise."""
        text = [f"def {name}({', '.join([*self.carries, *self.series, *self.constants])}):"]
        text += [f"    {one} = []" for one in ["found", *self.lists]]
        text += [f"    for {self.index} in range(1):", *self.probe]
        return [*text, "    return found", ""]


@dataclass(eq=False)
class ChunkedLoop:
    """Runs a loop by its compiled body.

    Args:
        options: how it is compiled.
        size: steps of the large graph.
        noise: the noise sites, in the order in which they are drawn.
        reverse: whether time runs backward.
        numbers: places of the constants that are values and no sizes.
    """

    options: Options
    size: int
    noise: Sequence[Draw]
    reverse: bool
    numbers: frozenset[int] = frozenset()
    __name__ = "loop"
    chunked: Callable[..., tuple[Tensor, ...]] | None = None
    single: Callable[..., tuple[Tensor, ...]] | None = None
    probe: Callable[..., list[tuple[tuple[int, ...], Tensor]]] | None = None
    plain: bool = False
    """Whether there is no compiler here."""
    _shapes: dict[Any, list[tuple[tuple[int, ...], Tensor]]] = field(default_factory=dict)

    def bind(self, chunked: Fn, single: Fn, probe: Fn) -> None:
        """Take the functions that the plan's text defines; compiled when they are first called."""
        how = {**settings(self.options), "dynamic": False}
        self.chunked, self.single = Compiled(chunked, how, self), Compiled(single, how, self)
        self.probe = probe

    def __call__(
        self,
        length: int,
        carries: Sequence[Tensor],
        series: Sequence[Tensor],
        constants: Sequence[object],
    ) -> tuple[Any, ...]:
        """The stacked results, ``[T, ...]`` each; lists of the steps for those that are loose."""
        assert self.chunked is not None and self.single is not None
        constants = self._tensors(carries, constants)
        whole, rest = divmod(length, self.size)
        sizes = [self.size] * whole + [1] * rest
        if self.reverse:
            sizes = sizes[::-1]
        noise = self._draw(length, carries, series, constants) if self.noise else []
        # strides that hold T would make new graphs
        series = [x if x[:1].is_contiguous() else x.contiguous() for x in series]
        pieces = list(zip(*(x.split(sizes) for x in [*series, *noise]), strict=True)) or [()] * len(
            sizes
        )
        order = range(len(sizes) - 1, -1, -1) if self.reverse else range(len(sizes))
        state = [_carried(c) for c in carries]
        found: list[tuple[Any, ...]] = []
        for i in order:
            step = self.chunked if sizes[i] > 1 else self.single
            out = step(*state, *pieces[i], *constants)
            # the next call writes into the memory of these results
            if self.options.mode in CUDA_GRAPHS:
                out = tuple(map(_kept, out))
            state = [c.contiguous() for c in out[: len(state)]]
            found.append(out[len(state) :])
        if self.reverse:
            found.reverse()
        return tuple(
            torch.cat(parts) if isinstance(parts[0], Tensor) else list(chain.from_iterable(parts))
            for parts in zip(*found, strict=True)
        )

    def _tensors(self, carries: Sequence[Tensor], constants: Sequence[object]) -> list[Any]:
        """The constants with numbers as tensors: a number would be part of the graph, and a new one
        make a new graph.
        """
        wide = any(c.dtype == torch.float64 for c in carries)
        dtype = torch.float64 if wide else torch.get_default_dtype()
        return [
            torch.tensor(c, dtype=dtype if isinstance(c, float) else None, device=carries[0].device)
            if i in self.numbers and isinstance(c, (int, float)) and not isinstance(c, bool)
            else c
            for i, c in enumerate(constants)
        ]

    def _draw(
        self,
        length: int,
        carries: Sequence[Tensor],
        series: Sequence[Tensor],
        constants: Sequence[object],
    ) -> list[Tensor]:
        """The noise of all steps, site after site.

        Its shapes follow from those of the arguments; a step tells them, the first time that such
        arguments come.
        """
        given = [*carries, *(x[0] for x in series), *constants]
        key = (
            tuple(
                (tuple(x.shape), x.dtype, x.device) if isinstance(x, Tensor) else x for x in given
            ),
            torch.is_autocast_enabled("cuda"),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
        )
        if key not in self._shapes:
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            assert self.probe is not None
            states = random_states()
            with torch.no_grad():
                self._shapes[key] = self.probe(*carries, *((x[0],) for x in series), *constants)
            restore_random_states(states)
        return [
            site.draw(length, shape, like)
            for site, (shape, like) in zip(self.noise, self._shapes[key], strict=True)
        ]


def note(
    found: list[tuple[tuple[int, ...], Tensor]],
    fn: Callable[..., Tensor],
    shape: Sequence[int],
    like: Tensor,
) -> Any:
    """Write down what a noise site would draw; the noise of this one step."""
    found.append((tuple(shape), like.new_empty(0)))
    return (fn((1, *shape), like)[0],)


def _kept(x: Any) -> Any:
    """A result in memory of its own."""
    if isinstance(x, tuple):
        return tuple(map(_kept, x))
    return x.clone() if _on_cuda(x) else x


def _on_cuda(x: Tensor) -> bool:
    return x.is_cuda


def _carried(x: Tensor) -> Tensor:
    """The first carried value in the form of all later ones: contiguous, with a gradient where
    there are gradients.
    """
    x = x.contiguous()
    if not torch.is_grad_enabled():
        return x.detach()
    if x.is_floating_point() and not x.requires_grad:
        x = x.detach().clone().requires_grad_()
    return x
