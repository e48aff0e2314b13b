"""The states of torch's random generators: what was drawn in vain is drawn again, and draws from a
given generator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import torch

from pixyz.types import PixyzError


def random_states() -> list[torch.Tensor]:
    """The states of torch's random generators that are in use: the CPU's,
    then those of its GPUs.
    """
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():
        return states + torch.cuda.get_rng_state_all()
    return [*states, torch.mps.get_rng_state()] if torch.backends.mps.is_available() else states


def restore_random_states(states: Sequence[torch.Tensor]) -> None:
    """Undo draws since :func:`random_states`."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states[1])
    elif len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])


@contextlib.contextmanager
def drawing_from(generator: torch.Generator, used: Iterable[object]) -> Iterator[None]:
    """Within the context everything that is drawn on the generator's device comes from it; torch's
    own stays as it was.

    Dropout and foreign samplers, which take no generator, are in this: for the time of the context
    torch's own generator has the state of this one.  It is one for all threads of the process.

    Args:
        generator: where draws come from; it moves on.
        used: what is computed with; the tensors among it tell the device.

    Raises:
        PixyzError: it is no generator, or one of a device on which nothing is computed.
    """
    if not isinstance(generator, torch.Generator):
        raise PixyzError(
            f"generator must be a torch.Generator, got {type(generator).__name__}: "
            f"torch.Generator().manual_seed(0)"
        )
    device, there = generator.device, {x.device.type for x in used if isinstance(x, torch.Tensor)}
    if device.type not in ("cpu", "cuda") or (there and device.type not in there):
        raise PixyzError(
            f"the generator draws on {device}, the computation is on {sorted(there)}: "
            f"give one of that device"
        )
    own = (
        torch.default_generator
        if device.type == "cpu"
        else torch.cuda.default_generators[device.index or 0]
    )
    before = own.get_state()
    own.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(own.get_state())
        own.set_state(before)
