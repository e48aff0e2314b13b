r"""Formulas with weights whose backward pass is written out: fewer kernels, and the weights'
gradients once a run.

A network in a time loop of :math:`T` steps is called :math:`T` times.  Its gradient by the chain
rule, as autograd makes it, is a sum over steps of small products, :math:`dW = \sum_t x_t^\top g_t`:
a product, and an addition of all weights, a step. Here a step's backward pass only finds the
gradients of its inputs, and keeps the rows :math:`(x_t, g_t)`; of many rows together, :math:`X^\top
G` is one product::

    weights --- Shared ---> token ---> Call (step 1) ---> ...          forward
                                  `--> Call (step 2) ---> ...
    dW <------- Shared <--- rows <---- Call (step 2), Call (step 1)    backward

The token, which every call reads, is how autograd knows when all are through; it has no elements
and no gradient.  What is shared lasts for a run of a plan (:mod:`pixyz.plan.once`); outside of one,
each call has its own.  Without gradients the first call of a run is :mod:`worldmodels.straight`: an
action calls each network once, and packing weights for that would not pay.

A formula is an :class:`Operation`.  It equals its form in ``torch.nn`` (which compilers, transforms
of ``torch.func``, and modules with hooks or parametrizations get), has one derivative and no
second, and obeys autocast as that form does: products in the lower precision, all else in the
weights' type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pixyz.plan.once import RUNNING
from worldmodels.straight import plain, transformed

any_autocast = torch._C._is_any_autocast_enabled
ROWS = 1024
"""From so many rows on they are turned into the weights' gradients, while the backward pass goes
on.
"""

Tensors = tuple[Tensor, ...]


class Operation:
    """Abstract: a formula of inputs ``[B, ...]`` and weights."""

    saves: int
    """How many tensors a call keeps for its backward pass."""
    keeps: int
    """How many tensors of rows it then keeps for the weights' gradients."""

    def pack(self, weights: Sequence[Tensor], low: torch.dtype | None) -> Any:
        """What is made of the weights once a run;
        ``low`` is the type of products under autocast.
        """
        raise NotImplementedError

    def run(self, inputs: Tensors, packed: Any, low: torch.dtype | None) -> tuple[Tensor, Tensors]:
        """The result ``[B, ...]``, and what the backward pass needs."""
        raise NotImplementedError

    def pull(
        self, grad: Tensor, saved: Tensors, packed: Any, needed: Sequence[bool]
    ) -> tuple[list[Tensor | None], Tensors]:
        """The gradients of the inputs, where ``needed``; and the rows ``[B, ...]`` from which those
        of the weights follow.
        """
        raise NotImplementedError

    def gather(self, rows: Tensors) -> list[Tensor]:
        """The gradients of the weights, from the rows of some calls."""
        raise NotImplementedError


Places = list[tuple[nn.Module, str]]
"""Where an operation's weights are: modules, and the names of their parameters."""


class Fusible(Protocol):
    """A module that an operation may stand for."""

    def fused(self, sizes: tuple[int, ...]) -> tuple[Operation, Places] | None:
        """The operation for inputs of these last dimensions, and where its weights are; None if
        parts were changed.
        """
        ...

    def straight(self, parts: Tensors) -> Tensor | None:
        """The same without gradients, kernel by kernel (:mod:`worldmodels.straight`); None if
        parts were changed.
        """
        ...


def weights_at(places: Places) -> list[Tensor] | None:
    """The weights; None if one is no parameter (it is computed from others)."""
    found = [m._parameters.get(name) for m, name in places]
    return None if any([w is None for w in found]) else found  # type: ignore[return-value]


def hooked(module: nn.Module) -> bool:
    """Whether a part of a module has hooks; its own run around it."""
    return any(
        [
            m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
            for m in nn.Module.modules(module)
            if m is not module
        ]
    )


class Uses:
    """All calls of an operation with the same weights in one run."""

    def __init__(
        self,
        operation: Operation,
        places: Places,
        weights: list[Tensor],
        low: torch.dtype | None,
        grad: bool,
    ) -> None:
        self.operation, self.low, self.weights = operation, low, weights
        held = [(m._parameters, name) for m, name in places]
        self._at = [(*at, weight) for at, weight in zip(held, weights, strict=True)]
        self._task = -1
        self._rows, self._count, self._sums = list[Tensors](), 0, list[Tensor]()
        with torch.no_grad():
            self.packed = operation.pack(weights, low)
        self.wanted = grad and any([w.requires_grad for w in weights])
        # those that were made in inference mode have none
        self._versions = [w._version for w in weights] if self.wanted else []
        self.token = Shared.apply(self, *weights) if self.wanted else weights[0].new_empty(0)

    def current(self) -> bool:
        """Whether the modules still hold these weights (``functional_call`` puts others in their
        place).
        """
        return not any([held[name] is not weight for held, name, weight in self._at])

    def keep(self, rows: Tensors) -> None:
        """Keep a step's rows; those of a backward pass that did not ask for the weights' gradients
        are dropped.
        """
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task, self._rows, self._count, self._sums = task, [], 0, []
        if len(rows[0]) >= ROWS:
            self._gather(rows)
            return
        self._rows.append(rows)
        self._count += len(rows[0])
        if self._count >= ROWS:
            self._gather_kept()

    def _gather_kept(self) -> None:
        rows, self._rows, self._count = self._rows, [], 0
        one = len(rows) == 1
        self._gather(rows[0] if one else tuple([torch.cat(r) for r in zip(*rows, strict=True)]))

    def _gather(self, rows: Tensors) -> None:
        found = self.operation.gather(rows)
        if self._sums:
            torch._foreach_add_(self._sums, found)
        else:
            self._sums = found

    def gradients(self) -> Sequence[Tensor | None]:
        """Those of the weights, from the rows of this backward pass."""
        if [w._version for w in self.weights] != self._versions:
            raise RuntimeError(
                "weights were changed in place between a forward pass and its backward pass; step "
                "the optimizer after backward()"
            )
        mine = self._task == torch._C._current_graph_task_id()
        if mine and self._rows:
            self._gather_kept()
        found = (
            [g.to(w.dtype) for g, w in zip(self._sums, self.weights, strict=True)] if mine else []
        )
        self._task, self._rows, self._count, self._sums = -1, [], 0, []
        return found or [None] * len(self.weights)


class Shared(torch.autograd.Function):
    """The weights, as all calls read them."""

    @staticmethod
    def forward(ctx: Any, uses: Uses, *weights: Tensor) -> Tensor:
        ctx.uses = uses
        ctx.set_materialize_grads(False)
        return weights[0].new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, token: Any) -> Any:
        return (None, *exactly(ctx.uses.weights[0], ctx.uses.gradients))


class Call(torch.autograd.Function):
    """One call of an operation."""

    @staticmethod
    def forward(ctx: Any, uses: Uses, token: Tensor, *inputs: Tensor) -> Tensor:
        out, saved = uses.operation.run(inputs, uses.packed, uses.low)
        ctx.uses = uses
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _refusing(ctx, grad) if torch.is_grad_enabled() else _backward(ctx, grad)


def _backward(ctx: Any, grad: Tensor) -> Any:
    return (None, None, *exactly(grad, _pull, ctx, grad))


_refusing = once_differentiable(_backward)
"""The same where a second derivative is asked for: it raises when that is computed."""


def _pull(ctx: Any, grad: Tensor) -> list[Tensor | None]:
    uses: Uses = ctx.uses
    found, rows = uses.operation.pull(
        grad, ctx.saved_tensors, uses.packed, ctx.needs_input_grad[2:]
    )
    if uses.wanted:
        uses.keep(rows)
    return found


def exactly(like: Tensor, function: Any, *args: Any) -> Any:
    """``function(*args)`` without autocast."""
    if not any_autocast():
        return function(*args)
    with torch.autocast(like.device.type, enabled=False):
        return function(*args)


def lower(like: Tensor) -> torch.dtype | None:
    """The type of products under autocast; None without."""
    if not any_autocast():
        return None
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def fused(module: Any, inputs: Tensors) -> Tensor | None:
    """What ``module`` returns for inputs ``[..., D]``, by its operation; None where its form in
    ``torch.nn`` must do.

    Args:
        module: a :class:`Fusible`.
    """
    if torch.compiler.is_compiling():
        return None
    grad, held = torch.is_grad_enabled(), RUNNING.held
    # one call, as in acting, does not pay for packing
    if not grad and (held is None or module not in held):
        if held is not None:
            held[module] = None
        return module.straight(inputs) if plain() else None  # type: ignore[no-any-return]
    if transformed():
        return None
    low = lower(inputs[0])
    key = (module, grad, low, *[x.size(-1) for x in inputs])
    uses = None if held is None else held.get(key)
    if uses is None or not uses.current():
        found = None if hooked(module) else module.fused(key[3:])
        weights = None if found is None else weights_at(found[1])
        if found is None or weights is None:
            return None
        uses = exactly(inputs[0], Uses, *found, weights, low, grad)
        if held is not None:
            held[key] = uses
    if inputs[0].ndim == 2:
        return call(uses, inputs, grad)
    lead = inputs[0].shape[:-1]
    out = call(uses, tuple([x.reshape(-1, x.shape[-1]) for x in inputs]), grad)
    return out.reshape(*lead, out.shape[-1])


def call(uses: Uses, inputs: Tensors, grad: bool) -> Tensor:
    """An operation's result for inputs ``[B, D]``."""
    if grad and (uses.wanted or any([x.requires_grad for x in inputs])):
        found = exactly(inputs[0], Call.apply, uses, uses.token, *inputs)
    else:
        found = exactly(inputs[0], uses.operation.run, inputs, uses.packed, uses.low)[0]
    return found  # type: ignore[no-any-return]
