"""The states of torch's random generators: what was drawn in vain is drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def random_states() -> list[torch.Tensor]:
    """The states of torch's random generators that are in use."""
    states = [torch.get_rng_state()]
    return states + torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else states


def restore_random_states(states: Sequence[torch.Tensor]) -> None:
    """Undo draws since :func:`random_states`."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])
