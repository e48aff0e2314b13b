r"""The planar flow."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixyz.flows.flow import Condition, Flow
from pixyz.types import PixyzError


class PlanarFlow(Flow):
    r"""The planar flow (Rezende and Mohamed, 2015, equations 10 to 12) on ``[B, D]``.

    .. math::
        z = x + u \tanh(w^\top x + b), \qquad
        \log |\det J| = \log \left|1 + (1 - \tanh^2(w^\top x + b))\, w^\top u\right|.

    It is invertible where :math:`w^\top u > -1`; ``constraint_u`` keeps it so (appendix A.1).  The
    inverse is the root of one increasing function of :math:`w^\top x`, found by bisection and
    Newton steps to the precision of the number type; gradients (of first order) come from a last
    Newton step. 0.3.3 had no inverse.

    Args:
        in_features: ``D``.
        constraint_u: put :math:`\hat u = u + (\mathrm{softplus}(w^\top u) - 1 - w^\top u)\, w /
            \lVert w \rVert^2` in the place of ``u``. (0.3.3 divided by the norm, not by its square,
            which does not ensure the bound.)

    >>> z, logdet = PlanarFlow(3).forward_and_logdet(torch.ones(2, 3))
    >>> z.shape, logdet.shape
    (torch.Size([2, 3]), torch.Size([2]))
    """

    def __init__(self, in_features: int, constraint_u: bool = False) -> None:
        super().__init__(in_features)
        self.w = nn.Parameter(torch.empty(1, in_features))
        self.b = nn.Parameter(torch.empty(1))
        self.u = nn.Parameter(torch.empty(1, in_features))
        self.constraint_u = constraint_u
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniformly in :math:`\\pm 1 / \\sqrt{D}`."""
        bound = 1.0 / math.sqrt(self.w.shape[1])
        for weight in (self.w, self.b, self.u):
            nn.init.uniform_(weight, -bound, bound)

    def _direction(self) -> Tensor:
        """``u`` ``[1, D]``, constrained if wanted."""
        if not self.constraint_u:
            return self.u
        wu = (self.w * self.u).sum()
        return self.u + (F.softplus(wu) - 1 - wu) * self.w / self.w.square().sum()

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        u = self._direction()
        bend = torch.tanh(F.linear(x, self.w, self.b))
        return x + u * bend, self._logdet(bend, u)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        u = self._direction()
        wu = (self.w * u).sum()
        if wu.item() <= -1:
            raise PixyzError(
                f"this planar flow has no inverse: w'u is {wu.item():.3f}, not above -1; use "
                f"PlanarFlow(D, constraint_u=True)"
            )
        target = F.linear(z, self.w, self.b)
        a = self._root(target.detach(), wu.detach())
        bend = torch.tanh(a)
        a = a - (a + wu * bend - target) / (1 + wu.detach() * (1 - bend.square()))
        bend = torch.tanh(a)
        return z - u * bend, -self._logdet(bend, u)

    @staticmethod
    def _root(target: Tensor, wu: Tensor) -> Tensor:
        """``a`` with ``a + wu tanh(a) = target``; it lies within ``|wu|`` of the target."""
        low, high = target - wu.abs(), target + wu.abs()
        a = target
        for _ in range(200):
            bend = torch.tanh(a)
            error = a + wu * bend - target
            low, high = torch.where(error < 0, a, low), torch.where(error > 0, a, high)
            step = a - error / (1 + wu * (1 - bend.square()))
            better = torch.where((step > low) & (step < high), step, (low + high) / 2)
            if torch.equal(better, a) or bool(
                (better - a).abs().max() <= 2 * torch.finfo(a.dtype).eps * a.abs().max()
            ):
                break
            a = better
        return a

    def _logdet(self, bend: Tensor, u: Tensor) -> Tensor:
        det = 1 + (1 - bend.square()) * (self.w * u).sum()
        return torch.log(det.abs().clamp(min=torch.finfo(det.dtype).tiny)).squeeze(-1)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, constraint_u={self.constraint_u}"
