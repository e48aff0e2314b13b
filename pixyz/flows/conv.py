r"""The invertible 1 x 1 convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixyz import linalg
from pixyz.flows.flow import Condition, Flow, pixels, rows


class ChannelConv(Flow):
    r"""The invertible 1 x 1 convolution of Glow (Kingma and Dhariwal, 2018, section 3.2): one
    matrix for all pixels.

    .. math::
        z_{:, h, w} = W x_{:, h, w}, \qquad \log |\det J| = H W \log |\det W|.

    It starts as a random rotation (``torch.manual_seed`` governs it). Takes ``[B, C, H, W]`` and
    ``[B, C]``.

    Args:
        in_channels: ``C``.
        decomposed: hold :math:`W = P L (U + \mathrm{diag}(s))` by its factors (equation 10): the
            determinant is then :math:`\sum \log |s|`, and the inverse two triangular systems.

    >>> flow = ChannelConv(4, decomposed=True)
    >>> x = torch.randn(2, 4, 3, 3)
    >>> torch.allclose(flow.inverse(flow(x)), x, atol=1e-4)
    True
    """

    p: Tensor
    sign_s: Tensor

    def __init__(self, in_channels: int, decomposed: bool = False) -> None:
        super().__init__(in_channels)
        self.decomposed = decomposed
        dtype = torch.get_default_dtype()
        rotation = torch.linalg.qr(torch.randn(in_channels, in_channels, dtype=torch.float64))[0]
        if not decomposed:
            self.weight = nn.Parameter(rotation.to(dtype))
            return
        p, lower, upper = torch.linalg.lu(rotation)
        s = upper.diagonal()
        self.register_buffer("p", p.to(dtype))
        self.register_buffer("sign_s", s.sign().to(dtype))
        self.l = nn.Parameter(lower.to(dtype))
        self.log_s = nn.Parameter(s.abs().log().to(dtype))
        self.u = nn.Parameter(upper.triu(1).to(dtype))

    def get_parameters(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        r"""The matrix (or its inverse) as ``[C, C]``, and :math:`H W \log |\det W|`, for images
        like ``x``.
        """
        count = pixels(x)
        if not self.decomposed:
            matrix = (
                linalg.inverse(self.weight.double()).to(self.weight.dtype)
                if inverse
                else self.weight
            )
            return matrix, torch.linalg.slogdet(self.weight)[1] * count
        eye = torch.eye(self.l.shape[0], dtype=self.l.dtype, device=self.l.device)
        lower = self.l.tril(-1) + eye
        upper = self.u.triu(1) + torch.diag(self.sign_s * torch.exp(self.log_s))
        logdet = self.log_s.sum() * count
        if not inverse:
            return self.p @ lower @ upper, logdet
        inner = torch.linalg.solve_triangular(
            lower.double(), self.p.T.double(), upper=False, unitriangular=True
        )
        return torch.linalg.solve_triangular(upper.double(), inner, upper=True).to(
            self.l.dtype
        ), logdet

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        matrix, logdet = self.get_parameters(x, inverse=False)
        return _mix(x, matrix), rows(logdet, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        matrix, logdet = self.get_parameters(z, inverse=True)
        return _mix(z, matrix), rows(-logdet, z)

    def extra_repr(self) -> str:
        return f"in_channels={self.in_features}, decomposed={self.decomposed}"


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    if x.ndim == 2:
        return F.linear(x, matrix)
    return F.conv2d(x, matrix[:, :, None, None])
