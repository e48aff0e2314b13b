r"""zuko's flows (neural splines, autoregressive flows and more) as flows of this package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from pixyz.flows.flow import Condition, Flow, conditions
from pixyz.types import PixyzError


class ZukoFlow(Flow):
    r"""A flow of zuko, ``[B, D]``; its ``transform`` is our forward direction (data to base).

    Conditions are flattened and put together as zuko's context.  zuko comes with the extra
    ``flows``; it is imported when a name is first given here. (Its import switches off the argument
    checks of ``torch.distributions`` for the whole process; they are put back.)

    Args:
        flow: a zuko flow or lazy transform, or the name of a class in ``zuko.flows``: ``"NSF"``,
            ``"MAF"``, ``"NAF"`` ...
        **settings: what that class takes, when ``flow`` is a name: ``features``, ``context``,
            ``transforms``, ``hidden_features``.

    Raises:
        PixyzError: zuko is not installed, or has no such flow.

    :math:`z = f(x; y)`, by the flow that is named.

    >>> flow = ZukoFlow("MAF", features=3, transforms=1, hidden_features=(8,))
    >>> flow.forward_and_logdet(torch.ones(2, 3))[0].shape
    torch.Size([2, 3])
    """

    def __init__(self, flow: object, **settings: Any) -> None:
        made = make_zuko_flow(flow, **settings) if isinstance(flow, str) else flow
        transform = getattr(made, "transform", made)
        if not isinstance(transform, torch.nn.Module):
            raise PixyzError(
                f"ZukoFlow takes a flow of zuko, a lazy transform or a name, "
                f"got {type(flow).__name__}"
            )
        super().__init__(settings.get("features"))
        self.transform = transform

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        z, logdet = self.transform(_context(y)).call_and_ladj(x)
        return z, logdet

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        x, logdet = self.transform(_context(y)).inv.call_and_ladj(z)
        return x, logdet


def make_zuko_flow(name: str, **settings: object) -> Any:
    """``zuko.flows.NAME(**settings)``.

    Raises:
        PixyzError: zuko is not installed, or has no such flow.
    """
    checks = torch.distributions.Distribution._validate_args
    try:
        flows = import_module("zuko.flows")
        torch.distributions.Distribution._validate_args = checks
    except ImportError:
        raise PixyzError(
            "flows of zuko need the package zuko; install it by: pip install zuko"
        ) from None
    made = getattr(flows, name, None)
    if made is None:
        known = sorted(
            n
            for n, kind in vars(flows).items()
            if isinstance(kind, type) and flows.Flow in kind.__mro__[1:]
        )
        raise PixyzError(f"zuko has no flow {name!r}; it has {known}")
    return made(**settings)


def _context(y: Condition) -> Tensor | None:
    parts = [part.flatten(1) for part in conditions(y)]
    return torch.cat(parts, 1) if parts else None
