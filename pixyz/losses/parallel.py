"""An objective evaluated on several devices or by several processes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel, parallel_apply

from pixyz.expression import Loss
from pixyz.types import PixyzError

if TYPE_CHECKING:
    import sympy


class DataParalleledLoss(Loss):
    r"""An objective whose batch is shared out; used as the objective itself.

    With ``distributed``, it is wrapped in DistributedDataParallel: each process evaluates its own
    batch, and gradients are averaged in ``backward``.  Else the batch is cut into equal parts for
    copies on several devices of one process.

    Args:
        loss: the objective; ``[B]`` where the batch is cut, so that ``.mean()`` after it is the
            mean of all rows.
        distributed: wrap in DistributedDataParallel; ``torch.distributed`` must be initialised.
        **kwargs: of DistributedDataParallel; or ``device_ids``, all CUDA devices (the CPU without
            them) if not given.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=0.0, scale=1.0)
    >>> DataParalleledLoss(p.log_prob(), device_ids=["cpu", "cpu"]).mean().eval(
    ...     {"x": torch.zeros(4)}
    ... )
    tensor(-0.9189)

    The mean over the batch is the mean of the parts' means: :math:`L = \frac{1}{R} \sum_r L_r`.
    """

    def __init__(self, loss: Loss, distributed: bool = False, **kwargs: Any) -> None:
        super().__init__(loss.input_var)
        self.paralleled = (
            DistributedDataParallel(loss, **kwargs)
            if distributed
            else DeviceParallel(loss, **kwargs)
        )

    def symbol(self) -> sympy.Expr:
        return self.loss.symbol()

    @property
    def loss(self) -> Loss:
        """The objective itself."""
        return self.paralleled.module  # type: ignore[return-value]

    def forward(self, x_dict: object = None, **kwargs: object) -> tuple[Tensor, dict[str, Any]]:
        return self.paralleled(x_dict, **kwargs)  # type: ignore[no-any-return]


class DeviceParallel(nn.Module):
    """Calls copies of a module on several devices with parts of the batch; gradients reach the
    module's weights.

    Args:
        module: called as ``module(dict)``, returns a value and a dict.
        device_ids: the devices; the first one gets the result.
    """

    def __init__(
        self, module: nn.Module, device_ids: Sequence[int | str | torch.device] | None = None
    ) -> None:
        super().__init__()
        self.module = module
        if device_ids is None:
            device_ids = list(range(torch.cuda.device_count())) or ["cpu"]
        if not device_ids:
            raise PixyzError("device_ids names no device; leave it out to use all")
        self.devices = [
            torch.device("cuda", d) if isinstance(d, int) else torch.device(d) for d in device_ids
        ]
        self._copies: list[nn.Module] = []

    def forward(
        self, x_dict: Mapping[str, object], **kwargs: object
    ) -> tuple[Tensor, dict[str, Any]]:
        if len(self.devices) == 1:
            return self.module(x_dict, **kwargs)  # type: ignore[no-any-return]
        parts = self._scatter(x_dict)
        if not self.__dict__["_copies"]:  # not submodules: they hold no weights of their own
            self.__dict__["_copies"] = [copy.deepcopy(self.module).to(d) for d in self.devices]
        states = [
            {k: v.to(d) for k, v in _tensors(self.module).items()}
            for d in self.devices[: len(parts)]
        ]
        calls = [_Call(c, self.module.training) for c in self.__dict__["_copies"][: len(parts)]]
        inputs = list(zip(states, parts, strict=True))
        if all(d.type == "cuda" for d in self.devices):
            found = parallel_apply(calls, inputs, [kwargs] * len(parts), self.devices[: len(parts)])
        else:
            found = [call(*each, **kwargs) for call, each in zip(calls, inputs, strict=True)]
        first = self.devices[0]
        values = [value.to(first) for value, _ in found]
        return (torch.cat(values) if values[0].ndim else torch.stack(values)), _gather(
            [d for _, d in found], first
        )

    def _scatter(self, x_dict: Mapping[str, object]) -> list[dict[str, object]]:
        rows = {v.shape[0] for v in x_dict.values() if isinstance(v, Tensor) and v.ndim}
        if len(rows) > 1:
            raise PixyzError(
                f"the batch is cut along dimension 0, "
                f"but the variables have the sizes {sorted(rows)} there"
            )
        cut = {
            k: v.chunk(len(self.devices))
            for k, v in x_dict.items()
            if isinstance(v, Tensor) and v.ndim
        }
        n = min([len(c) for c in cut.values()], default=1)
        pieces = []
        for i, device in enumerate(self.devices[:n]):
            piece = {k: cut[k][i] if k in cut else v for k, v in x_dict.items()}
            pieces.append(
                {k: v.to(device) if isinstance(v, Tensor) else v for k, v in piece.items()}
            )
        return pieces

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copies": []}


class _Call(nn.Module):
    """A module called with weights that are given."""

    def __init__(self, module: nn.Module, training: bool) -> None:
        super().__init__()
        self.target = module
        module.train(training)

    def forward(self, state: dict[str, Tensor], x_dict: dict[str, object], **kwargs: object) -> Any:
        return torch.func.functional_call(self.target, state, (x_dict,), kwargs)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(nn.Module.named_parameters(module)), **dict(nn.Module.named_buffers(module))}


def _gather(dicts: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Any]:
    """The rows of all parts; what has no rows is the first part's."""
    found: dict[str, object] = {}
    for name, value in dicts[0].items():
        rows = isinstance(value, Tensor) and value.ndim
        found[name] = torch.cat([d[name].to(device) for d in dicts]) if rows else value
    return found
