"""Flows without weights: squeezing, permuting and flattening, and the preprocessing of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixyz.flows.flow import Condition, Flow, rows
from pixyz.types import PixyzError, ShapeError

if TYPE_CHECKING:
    import numpy as np


class Squeeze(Flow):
    r"""Space to channels: ``[B, C, H, W]`` to ``[B, 4 C, H / 2, W / 2]`` (RealNVP, section 3.6).

    >>> x = torch.arange(1, 17).view(1, 1, 4, 4)
    >>> Squeeze()(x)[0, :, 0, 0]
    tensor([1, 2, 5, 6])

    :math:`z_{4c + 2i + j,\, h,\, w} = x_{c,\, 2h + i,\, 2w + j}`.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return _squeeze(x), rows(0.0, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return _unsqueeze(z), rows(0.0, z)


class Unsqueeze(Flow):
    r"""Channels to space, the inverse of :class:`Squeeze`: ``[B, C, H, W]`` to ``[B, C / 4, 2 H, 2
    W]``.

    >>> Unsqueeze()(Squeeze()(torch.zeros(1, 1, 4, 4))).shape
    torch.Size([1, 1, 4, 4])

    :math:`z_{c,\, 2h + i,\, 2w + j} = x_{4c + 2i + j,\, h,\, w}`.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return _unsqueeze(x), rows(0.0, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return _squeeze(z), rows(0.0, z)


def _squeeze(x: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
        raise ShapeError(
            f"squeezing takes images [B, C, H, W] with even H and W, got {list(x.shape)}"
        )
    return F.pixel_unshuffle(x, 2)


def _unsqueeze(x: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape[1] % 4:
        raise ShapeError(
            f"unsqueezing takes images [B, C, H, W] with C a multiple of 4, got {list(x.shape)}"
        )
    return F.pixel_shuffle(x, 2)


class Permutation(Flow):
    r"""A fixed permutation of features (or channels): ``z[:, i] = x[:, permute_indices[i]]``.

    The indices are in the state dict.

    Raises:
        PixyzError: the indices are no permutation.

    >>> Permutation([2, 0, 1])(torch.tensor([[10.0, 20.0, 30.0]]))
    tensor([[30., 10., 20.]])

    :math:`z_i = x_{\pi(i)}`, :math:`\log|\det| = 0`.
    """

    permute_indices: Tensor
    inv_permute_indices: Tensor
    optional_in_state = True

    def __init__(self, permute_indices: Sequence[int] | Tensor | np.ndarray) -> None:
        indices = torch.as_tensor(permute_indices, dtype=torch.long).clone()
        if indices.ndim != 1 or not torch.equal(
            indices.sort().values, torch.arange(indices.numel())
        ):
            raise PixyzError(
                f"permute_indices must hold each of 0..n-1 once, got {indices.tolist()}"
            )
        super().__init__(indices.numel())
        self.register_buffer("permute_indices", indices)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return self._pick(x, self.permute_indices), rows(0.0, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return self._pick(z, torch.argsort(self.permute_indices)), rows(0.0, z)

    def _pick(self, x: Tensor, indices: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.in_features:
            raise ShapeError(
                f"{type(self).__name__} permutes {self.in_features} features [B, D, ...], "
                f"got {list(x.shape)}"
            )
        return x[:, indices]

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        if self.optional_in_state:  # checkpoints of 0.3.3 do not hold the indices
            state_dict.setdefault(prefix + "permute_indices", self.permute_indices)
        super()._load_from_state_dict(state_dict, prefix, *args)


class Shuffle(Permutation):
    r"""A random permutation, drawn when it is made (``torch.manual_seed`` governs it) and kept in
    the state dict.

    :math:`z_i = x_{\pi(i)}`.

    >>> sorted(Shuffle(3)(torch.tensor([[1.0, 2.0, 3.0]])).flatten().tolist())
    [1.0, 2.0, 3.0]
    """

    optional_in_state = False

    def __init__(self, in_features: int) -> None:
        super().__init__(torch.randperm(in_features))


class Reverse(Permutation):
    """The features (channels) in reverse order.

    :math:`z_i = x_{D - i}`.

    >>> Reverse(3)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(torch.arange(in_features - 1, -1, -1))


class Flatten(Flow):
    r"""``[B, ...]`` to ``[B, D]``.

    Args:
        in_size: the shape of one input. If it is not given, the first ``forward`` fixes it, once:
            it is a part of the architecture, stands in the state dict, and another shape is an
            error.

    Raises:
        ShapeError: an input of another shape; the inverse before the shape is known.

    :math:`z = \mathrm{vec}(x)`.

    >>> Flatten().forward_and_logdet(torch.ones(2, 3, 4))[0].shape
    torch.Size([2, 12])
    """

    def __init__(self, in_size: Sequence[int] | None = None) -> None:
        super().__init__(None)
        self.in_size = None if in_size is None else torch.Size(in_size)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        if self.in_size is None:
            self.in_size = x.shape[1:]
        if x.shape[1:] != self.in_size:
            raise ShapeError(f"Flatten was made for [B, {list(self.in_size)}], got {list(x.shape)}")
        return x.flatten(1), rows(0.0, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        if self.in_size is None:
            raise ShapeError(
                "Flatten does not know the shape of its input yet; write Flatten(in_size=[C, H, W])"
            )
        return z.reshape(z.shape[0], *self.in_size), rows(0.0, z)

    def get_extra_state(self) -> Tensor:
        size = list(self.in_size or [])
        # of one length, whether the shape is known or not
        return torch.tensor(size + [0] * (8 - len(size)))

    def set_extra_state(self, state: Tensor) -> None:
        size = [n for n in state.tolist() if n > 0]
        self.in_size = torch.Size(size) if size else self.in_size

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        # 0.3.3 did not store it
        state_dict.setdefault(prefix + "_extra_state", self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return "" if self.in_size is None else f"in_size={list(self.in_size)}"


class Preprocess(Flow):
    r"""8-bit images in [0, 1] to unconstrained values: dequantise, squeeze into (0, 1), logit
    (RealNVP, section 4.1).

    .. math::
        u = \frac{255 x + \epsilon}{256}, \quad \epsilon \sim U(0, 1), \qquad
        z = \mathrm{logit}\left(\frac{1 + (2 u - 1)(1 - c)}{2}\right), \quad c = 0.05.

    The log-determinant is that of :math:`u \mapsto z`, as in 0.3.3: a density of the dequantised
    image on :math:`[0, 1]^D`, so that the bits per dimension of the 8-bit image are at most
    :math:`8 - \log p / (D \log 2)` on average.

    The inverse is :math:`u`, within 1/256 of ``x``; a sample of a model may leave [0, 1] by up to
    0.027, so clamp it to draw it.  (0.3.3 left out the squeeze in its inverse: black became 0.025.)

    >>> x = torch.full((1, 1, 2, 2), 0.5)
    >>> z, logdet = Preprocess().forward_and_logdet(x)
    >>> z.shape, logdet.shape
    (torch.Size([1, 1, 2, 2]), torch.Size([1]))
    """

    data_constraint: Tensor

    def __init__(self) -> None:
        super().__init__(None)
        self.register_buffer("data_constraint", torch.tensor([0.05]))

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        u = (x * 255 + torch.rand_like(x)) / 256
        z = torch.logit((1 + (2 * u - 1) * (1 - self.data_constraint)) / 2)
        return z, self._logdet(z)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        u = ((2 * torch.sigmoid(z) - 1) / (1 - self.data_constraint) + 1) / 2
        return u, -self._logdet(z)

    def _logdet(self, z: Tensor) -> Tensor:
        slope = F.softplus(z) + F.softplus(-z) + torch.log1p(-self.data_constraint)
        return slope.flatten(1).sum(1)
