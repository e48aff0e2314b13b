r"""Flow: an invertible function with the log-determinant of its Jacobian.

Both come back from one stateless call, :meth:`Flow.forward_and_logdet` or
:meth:`Flow.inverse_and_logdet`; nothing of a call is needed by a later one.  A distribution made of
a flow uses only these two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.types import PixyzError

Condition = Tensor | Sequence[Tensor] | None
"""What a flow is conditioned on: nothing, one tensor, or several in the order of the conditioning
variables.
"""


class Flow(nn.Module):
    r"""An invertible function :math:`z = f(x; y)` of one batch, ``x`` being ``[B, ...]``.

    A subclass defines :meth:`forward_and_logdet` and :meth:`inverse_and_logdet`; this class itself
    is the identity.

    ``forward(x, y, compute_jacobian)``, ``inverse(z, y)`` and :attr:`logdet_jacobian` are pixyz
    0.3.3's form of the same. What differs from it: the log-determinant always has the shape
    ``[B]``; densities never read the stored one; it is not copied or pickled with the module; and
    it is None, not an old value, after ``compute_jacobian=False``. A subclass of this class written
    for 0.3.3, which overrides ``forward`` (storing ``_logdet_jacobian``) and ``inverse``, works.

    Args:
        in_features: the size of the features (channels of an image), where it is fixed.

    Raises:
        PixyzError: a class overrides ``forward`` or ``inverse`` of a flow that defines the
            functions above.

    >>> import torch
    >>> z, logdet = Flow(3).forward_and_logdet(torch.ones(2, 3))
    >>> z.shape, logdet
    (torch.Size([2, 3]), tensor([0., 0.]))
    """

    mixes_rows: str = ""
    """Why rows of one call are not independent of each other (the flow then stays in a time loop),
    or empty.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for old, new in (("forward", "forward_and_logdet"), ("inverse", "inverse_and_logdet")):
            if old in vars(cls) and getattr(cls, new) is not getattr(Flow, new):
                raise PixyzError(
                    f"{cls.__name__} overrides {old}, which its densities do not call; "
                    f"override {new}"
                )

    def __init__(self, in_features: int | None) -> None:
        super().__init__()
        self._in_features = in_features
        self._logdet_jacobian: Tensor | None = None

    @property
    def in_features(self) -> int | None:
        """The size of the features, where it is fixed."""
        return self._in_features

    # ---------------------------------------------------------------- the two functions

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        r""":math:`z = f(x; y)` and :math:`\log |\det \partial z / \partial x|`, ``[B]``."""
        if type(self).forward is Flow.forward:
            return x, rows(0.0, x)
        z = self.forward(x, y)
        if self._logdet_jacobian is None:
            raise PixyzError(
                f"forward of {type(self).__name__} did not set _logdet_jacobian; "
                f"define forward_and_logdet instead"
            )
        return z, rows(self._logdet_jacobian, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        r""":math:`x = f^{-1}(z; y)` and :math:`\log |\det \partial x / \partial z|`, ``[B]``.

        Raises:
            NotImplementedError: the flow has no inverse.
        """
        kind = type(self)
        if kind.inverse is not Flow.inverse:
            x = self.inverse(z, y)
            return x, -self.forward_and_logdet(x, y)[1]
        if (
            kind.forward is not Flow.forward
            or kind.forward_and_logdet is not Flow.forward_and_logdet
        ):
            raise NotImplementedError(f"{kind.__name__} has no inverse")
        return z, rows(0.0, z)

    # ---------------------------------------------------------------- as in 0.3.3

    def forward(self, x: Tensor, y: Condition = None, compute_jacobian: bool = True) -> Tensor:
        """``f(x; y)``; keeps the log-determinant for :attr:`logdet_jacobian` if
        ``compute_jacobian``.
        """
        z, logdet = self.forward_and_logdet(x, y)
        self._logdet_jacobian = logdet if compute_jacobian else None
        return z

    def inverse(self, z: Tensor, y: Condition = None) -> Tensor:
        """The inverse ``x`` of ``z``."""
        return self.inverse_and_logdet(z, y)[0]

    @property
    def logdet_jacobian(self) -> Tensor | None:
        """The log-determinant ``[B]`` of the last ``forward`` of this module, None without one."""
        return self._logdet_jacobian

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_logdet_jacobian": None}


class FlowList(Flow):
    r"""Flows one after the other: :math:`f = f_n \circ \dots \circ f_1`; the log-determinants add
    up.

    Every flow is given the same condition ``y``; those that take none ignore it.

    >>> from pixyz.flows import Reverse
    >>> flow = FlowList([Reverse(3), Flow(3)])
    >>> flow(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1.]])
    >>> len(flow), type(flow[0]).__name__
    (2, 'Reverse')
    """

    def __init__(self, flow_list: Sequence[Flow]) -> None:
        flows = list(flow_list)
        if not flows:
            raise PixyzError("FlowList needs at least one flow, got none")
        super().__init__(flows[0].in_features)
        self.flow_list = nn.ModuleList(flows)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        total = rows(0.0, x)
        for flow in self:
            x, logdet = flow.forward_and_logdet(x, y)
            total = total + logdet
        return x, total

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        total = rows(0.0, z)
        for flow in reversed(list(self)):
            z, logdet = flow.inverse_and_logdet(z, y)
            total = total + logdet
        return z, total

    def __iter__(self) -> Iterator[Flow]:
        return iter(self.flow_list)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.flow_list)

    def __getitem__(self, index: int) -> Flow:
        return self.flow_list[index]  # type: ignore[return-value]

    def __repr__(self) -> str:
        return repr(self.flow_list).replace("ModuleList", type(self).__name__, 1)


def rows(value: float | Tensor, like: Tensor) -> Tensor:
    """``value`` as a log-determinant ``[B]`` of the batch ``like``."""
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    made = (
        value
        if isinstance(value, Tensor)
        else torch.full((), value, dtype=dtype, device=like.device)
    )
    return made.expand(like.shape[0])


def conditions(y: Condition) -> tuple[Tensor, ...]:
    """A condition as a tuple of tensors."""
    if y is None:
        return ()
    return (y,) if isinstance(y, Tensor) else tuple(y)


def pixels(x: Tensor) -> int:
    """How often a per-channel scale counts in ``x``: the product of the dimensions behind ``[B,
    C]``.
    """
    return x.shape[2:].numel()
