"""A device that is not the CPU: torch takes it for an accelerator, its numbers are held on the CPU.

``register`` tells torch of it (for the whole process, so these tests run in one of their own).  A
tensor on it is a :class:`Made`: what is computed with it takes the way that real numbers take, and
ends as on the CPU, bit for bit, since draws come from the CPU's generator. :class:`Watch` notes,
where the library's own code caused it:

* ``strays``: tensors with rows or features that come to be on the CPU, or meet one that is on the
  device;
* ``reads``: what makes the CPU wait until the device has come so far (a value, a shape that depends
  on values, a copy back);
* ``uploads``: copies to the device, before which CUDA waits as well unless the memory is pinned.

Numbers on the CPU (no dimension) are no strays: a kernel takes them as arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

NAME = "madeup"
ROOT = Path(__file__).resolve().parent.parent
OWN = (*(f"{ROOT / part}/" for part in ("pixyz", "worldmodels", "agents")), "<pixyz plan")
VALUES = {  # results, or shapes of results, that depend on values: on an accelerator these wait
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "nonzero",
    "nonzero_numpy",
    "argwhere",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "_linalg_check_errors",
    "normal.Tensor_Tensor",
    "normal.float_Tensor",
    "normal.Tensor_float",
    "repeat_interleave.Tensor",
    "repeat_interleave.self_Tensor",
}


def register() -> torch.device:
    """The device; torch knows of it from the first call on."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
        LIBRARIES.append(torch.library.Library("_", "IMPL", "AutocastPrivateUse1"))
        LIBRARIES[-1].fallback(torch.library.fallthrough_kernel)
        LIBRARIES.append(torch.library.Library("aten", "IMPL"))
        # called for recurrent networks on accelerators only
        for cell in (
            _thnn_fused_gru_cell,
            _thnn_fused_lstm_cell,
        ):
            LIBRARIES[-1].impl(cell.__name__, cell, "AutogradPrivateUse1")
    return torch.device(NAME, 0)


LIBRARIES: list[torch.library.Library] = []
"""What was registered; torch forgets it with them."""


def _thnn_fused_gru_cell(
    x: Tensor, h: Tensor, hx: Tensor, x_bias: Any = None, h_bias: Any = None
) -> tuple[Tensor, Tensor]:
    x, h = x if x_bias is None else x + x_bias, h if h_bias is None else h + h_bias
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, 1), h.chunk(3, 1)
    new = torch.tanh(xn + torch.sigmoid(hr + xr) * hn)
    return (hx - new) * torch.sigmoid(hz + xz) + new, torch.empty_like(hx)


def _thnn_fused_lstm_cell(
    x: Tensor, h: Tensor, cx: Tensor, x_bias: Any = None, h_bias: Any = None
) -> tuple[Tensor, Tensor, Tensor]:
    i, f, g, o = (
        (x if x_bias is None else x + x_bias) + (h if h_bias is None else h + h_bias)
    ).chunk(4, 1)
    cy = f.sigmoid() * cx + i.sigmoid() * g.tanh()
    return o.sigmoid() * cy.tanh(), cy, torch.empty_like(cx)


class Backend:
    """What torch asks of a backend; under autocast nothing is cast."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        """Draws come from the CPU's generator."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class Made(Tensor):
    """A tensor on the made-up device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Made:
        made: Made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Made({self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()  # one copy, as on any device

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the held numbers; where its results lie is torch's rule."""
    given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    device, some = kwargs.get("device"), any(isinstance(x, Made) for x in given)
    there = torch.device(device).type == NAME if device is not None else some
    if not there and not some:
        return func(*args, **kwargs)
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain, named = tree_map_only(Made, lambda x: x.held, (tuple(args), kwargs))
    if torch.Tag.inplace_view in func.tags:  # the same change of the outer shape
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)
    found = func(*plain, **named)
    written = _written(func, args, kwargs)
    if written:
        return written[0] if len(written) == 1 else tuple(written)
    return tree_map_only(Tensor, Made, found) if there else found


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operation in place returns."""
    found = []
    for result in func._schema.returns:
        if result.alias_info is None or not result.alias_info.is_write:
            continue
        for i, wanted in enumerate(func._schema.arguments):
            if (
                wanted.alias_info is not None
                and wanted.alias_info.before_set == result.alias_info.before_set
            ):
                found.append(args[i] if i < len(args) else kwargs[wanted.name])
    return found


class Watch(TorchDispatchMode):
    """Computes as :class:`Made` does, also where tensors are made from nothing, and notes what an
    accelerator would not like.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strays: list[str] = []
        self.reads: list[str] = []
        self.uploads: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = compute(func, args, kwargs or {})
        name = f"{func._schema.name.removeprefix('aten::')}.{func._overloadname}".removesuffix(
            ".default"
        )
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        results = [x for x in tree_flatten(found)[0] if isinstance(x, Tensor)]
        copied = name.split(".")[0] in ("_to_copy", "copy_")
        reads = (
            {name, name.split(".")[0]} & VALUES
            or _by_mask(name, args)
            or (copied and not isinstance(results[0], Made))
        )
        if any(isinstance(x, Made) for x in given) and reads:
            self.reads.append(f"{name} at {place()}")
        elif (
            copied and isinstance(results[0], Made) and not all(isinstance(x, Made) for x in given)
        ):
            self.uploads.append(f"{name} at {place()}")
        elif any(map(_strays, results)) or (
            any(map(_strays, given)) and any(isinstance(x, Made) for x in results)
        ):
            self.strays.append(f"{name} at {place()}")
        return found

    def clear(self) -> None:
        """Forget what was noted."""
        for notes in (self.strays, self.reads, self.uploads):
            notes.clear()


def _strays(x: Tensor) -> bool:
    """More than a number, on the CPU."""
    return not isinstance(x, Made) and x.ndim > 0 and x.numel() > 0


def _by_mask(name: str, args: Any) -> bool:
    """Rows chosen by a mask: how many is read; writing one number by a mask is not."""
    if not name.startswith(("index.", "index_put", "_index_put")):
        return False
    masks = any(
        isinstance(i, Made) and i.dtype in (torch.bool, torch.uint8)
        for i in tree_flatten(args[1])[0]
    )
    return masks and (name.startswith("index.") or args[2].numel() > 1)


def place() -> str:
    """Where the library's own code is, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OWN):
            return f"{file.removeprefix(f'{ROOT}/')}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "outside"


def to_device(what: Any) -> Any:
    """Tensors in lists and dicts, on the device."""
    return tree_map_only(
        Tensor, lambda x: x if isinstance(x, Made) else Made(x.detach().clone()), what
    )


def move(module: nn.Module) -> nn.Module:
    """What ``.to(device)`` does: parameters and buffers, the same objects as before, are on the
    device, and nothing else is.

    Recurrent networks of torch get other objects: they hold weak references to theirs.
    """
    for network in (m for m in module.modules() if isinstance(m, nn.RNNBase)):
        for name, weight in network._parameters.items():
            if not isinstance(weight, Made):
                setattr(network, name, nn.Parameter(Made(weight.detach().clone())))  # type: ignore[arg-type,union-attr]
    for tensor in {x for x in (*module.parameters(), *module.buffers()) if not isinstance(x, Made)}:
        made: Tensor = Made(tensor.detach().clone())
        torch.utils.swap_tensors(
            tensor,
            nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made,
        )
    return module


@contextmanager
def watched() -> Iterator[Watch]:
    """Everything within is computed as on the device, and noted."""
    register()
    # torch.tensor(..., device=) is seen as the copy that it is
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with Watch() as watch:
            yield watch
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


def compare(
    build: Callable[[], tuple[Any, Any]],
    question: Callable[[Any], Callable[[Any], Any]],
    reads: Mapping[str, int] | None = None,
) -> None:
    """What is asked is on the device, as on the CPU, and the second time without a stray, a read or
    an upload.

    Args:
        build: what is asked (modules, in lists and dicts) and tensors for it; called for each
            device.
        question: from what is asked, a function of the tensors, which gives tensors (in lists and
            dicts).
        reads: those that are known and must be there: the beginning of a note -> how many, 0 for
            any number.
    """
    register()
    torch.manual_seed(0)
    what, given = build()
    ask = question(what)
    torch.manual_seed(1)
    expected = ask(given), ask(given)
    torch.manual_seed(0)
    what, given = build()
    for module in (m for m in tree_flatten(what)[0] if isinstance(m, nn.Module)):
        move(module)
    ask = question(what)
    with watched() as watch:
        given = to_device(given)
        torch.manual_seed(1)
        first = ask(given)
        watch.clear()
        found = first, ask(given)
    assert not watch.strays and not watch.uploads, (watch.strays, watch.uploads)
    wanted = reads or {}
    counts = {known: sum(note.startswith(known) for note in watch.reads) for known in wanted}
    assert sum(counts.values()) == len(watch.reads), watch.reads
    assert all(counts[k] == n if n else counts[k] > 0 for k, n in wanted.items()), (counts, wanted)
    for there, here in zip(tree_flatten(found)[0], tree_flatten(expected)[0], strict=True):
        if isinstance(here, Tensor):
            assert isinstance(there, Made), "the result is on the CPU"
            torch.testing.assert_close(there.held, here, equal_nan=True)
        else:
            assert there == here
