"""What an actor needs of its agent, as arrays: taken from one, checked, and put into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.errors import UsageError
from agents.online.message import DamagedError
from agents.online.sending import Arrays


class Weights:
    """The weights and buffers of ``agent.acting``.

    Args:
        module: of the agent.

    Raises:
        UsageError: a tensor is of a type that numpy has not.

    >>> one, two = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> Weights(two).put(Weights(one).take())
    >>> torch.equal(one.weight, two.weight)
    True
    """

    def __init__(self, module: nn.Module) -> None:
        self._tensors: dict[str, Tensor] = module.state_dict(keep_vars=True)
        try:
            self._types = {k: v.detach().cpu().numpy().dtype for k, v in self._tensors.items()}
        except TypeError as error:
            raise UsageError(
                f"the weights of an actor: expected types that numpy has: {error}; "
                f"take precision=float32"
            ) from None

    @property
    def about(self) -> dict[str, Any]:
        """Name -> shape and type, as plain data."""
        return {k: [list(v.shape), self._types[k].str] for k, v in self._tensors.items()}

    def take(self) -> dict[str, Any]:
        """Copies of them all."""
        return {k: np.array(v.detach().cpu().numpy()) for k, v in self._tensors.items()}

    def check(self, arrays: Mapping[str, Any]) -> None:
        """Raise DamagedError for arrays of other names, shapes or types, or with numbers that are
        not finite.
        """
        if arrays.keys() != self._tensors.keys():
            raise DamagedError(
                f"expected the weights {sorted(self._tensors)[:4]}..., got {sorted(arrays)[:4]}..."
            )
        for name, tensor in self._tensors.items():
            array = arrays[name]
            if (
                not isinstance(array, np.ndarray)
                or array.shape != tensor.shape
                or array.dtype != self._types[name]
            ):
                raise DamagedError(
                    f"weight {name}: expected {tuple(tensor.shape)} of {self._types[name]}"
                )
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DamagedError(f"weight {name}: expected finite numbers")

    @torch.no_grad()
    def put(self, arrays: Arrays) -> None:
        """Act with these from now on. They are not copied, so that it takes no longer for a large
        agent.
        """
        for name, tensor in self._tensors.items():
            tensor.data = torch.from_numpy(np.asarray(arrays[name])).to(tensor.device)
