"""Matrices that may have no factor or no inverse: an error on the CPU, NaN on a device, where to
look would be to wait for it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of ``[..., K, K]``.

    >>> cholesky(torch.tensor([[4.0]]))
    tensor([[2.]])
    """
    if matrix.device.type == "cpu":
        return torch.linalg.cholesky(matrix)
    factor, info = torch.linalg.cholesky_ex(matrix)
    return _known(factor, info)


def inverse(matrix: Tensor) -> Tensor:
    """The inverse of ``[..., K, K]``.

    >>> inverse(torch.tensor([[4.0]]))
    tensor([[0.2500]])
    """
    if matrix.device.type == "cpu":
        return torch.linalg.inv(matrix)
    found, info = torch.linalg.inv_ex(matrix)
    return _known(found, info)


def _known(found: Tensor, info: Tensor) -> Tensor:
    return torch.where((info == 0)[..., None, None], found, float("nan"))
