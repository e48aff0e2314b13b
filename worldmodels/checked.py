"""A model under the laws of its contract: what is compared, and how it is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pixyz.expression import Loss
from pixyz.types import PixyzError
from worldmodels.types import State

Series = Mapping[str, Tensor]


class ModelError(PixyzError):
    """A model breaks a clause of the contract; the message says which, what was expected, and what
    to look at.

    >>> raise ModelError("resets: ...")
    Traceback (most recent call last):
        ...
    worldmodels.checked.ModelError: resets: ...
    """


class Checked:
    """A model, a batch, and how to compare."""

    def __init__(self, model: Any, batch: dict[str, Tensor]) -> None:
        self.model, self.batch = model, batch
        missing = [k for k in model.keys if k not in batch]
        if missing:
            raise PixyzError(
                f"the batch was expected to hold {model.keys}, got {sorted(batch)}; add {missing}"
            )
        self.steps, self.rows = batch[model.keys[0]].shape[:2]
        if self.steps < 4 or self.rows < 2:
            raise PixyzError(
                f"the batch was expected to have 4 frames of 2 sequences or more, "
                f"got {self.steps} of {self.rows}"
            )
        self.like = next(model.parameters())
        lengths = [self.steps, self.steps // 2, self.steps - 1, 2]
        self.lengths = [lengths[i % 4] for i in range(self.rows)]
        frame = torch.arange(self.steps, device=self.like.device).unsqueeze(1)
        self.mask = (frame < torch.tensor(self.lengths, device=self.like.device)).to(
            self.like.dtype
        )

    @property
    def name(self) -> str:
        return type(self.model).__name__

    def part(self, start: int, stop: int) -> dict[str, Tensor]:
        """Some frames; what comes before them is left out."""
        return {k: v[start:stop] for k, v in self.batch.items() if k != "action_prev"}

    def seeded(self, loss: Loss, batch: Series) -> Tensor:
        torch.manual_seed(1)
        found: Tensor = loss.eval(dict(batch))
        return found

    def same(self, law: str, found: Series, wanted: Series, advice: str) -> None:
        """Two states are equal up to rounding."""
        if set(found) != set(wanted):
            raise ModelError(
                f"{law}: expected the variables {sorted(wanted)}, got {sorted(found)}; {advice}"
            )
        exact = self.like.dtype == torch.float64
        for k, value in wanted.items():
            rtol, atol = (1e-7, 1e-9) if exact else (1e-3, 1e-4)
            if found[k].shape != value.shape or not torch.allclose(
                found[k], value, rtol, atol, equal_nan=True
            ):
                gap = (
                    ""
                    if found[k].shape != value.shape
                    else f", off by {(found[k] - value).abs().max().item():.3g}"
                )
                raise ModelError(
                    f"{law}: {k!r} of {self.name} was expected to be the same both ways, "
                    f"{list(value.shape)}, got {list(found[k].shape)}{gap}; {advice}"
                )


def face(protocol: type) -> list[str]:
    return sorted(
        n for n in {**protocol.__annotations__, **vars(protocol)} if not n.startswith("_")
    )


def name_of(law: Callable[[Checked], None]) -> str:
    return (law.__doc__ or "").split(":")[0]


def at(states: Series, t: int) -> State:
    """The state at a frame."""
    return {k: v[t] for k, v in states.items()}
