"""The range of returns, estimated along the way."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodels import ranks


class ReturnRange(nn.Module):
    r"""The distance of two percentiles of returns, averaged over updates, and at least ``limit``.

    .. math:: S = \max(1, \mathrm{EMA}(P_{95}(R)) - \mathrm{EMA}(P_5(R)))

    (Hafner et al. 2023, eq. 7.)  In training mode a call first takes in the returns and then
    answers; in evaluation mode it only answers.  The averages start at 0 and are not corrected for
    it, as in the published code.

    Args:
        rate: the share of the newest percentile.
        low, high: the percentiles, in [0, 1].
        limit: the smallest answer: small returns are not blown up.
    """

    bounds: Tensor
    levels: Tensor

    def __init__(
        self, rate: float = 0.01, low: float = 0.05, high: float = 0.95, limit: float = 1.0
    ) -> None:
        super().__init__()
        self.rate, self.limit = rate, limit
        self.register_buffer("bounds", torch.zeros(2))
        self.register_buffer("levels", torch.tensor([low, high]), persistent=False)

    def forward(self, returns: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                values = returns.detach().flatten().to(self.bounds.dtype)
                newest = torch.quantile(ranks.gathered(values), self.levels.to(values.dtype))
                self.bounds.lerp_(torch.where(newest.isfinite(), newest, self.bounds), self.rate)
        return self.width.to(returns.dtype)

    @property
    def width(self) -> Tensor:
        """The distance as it is now, ``[]``."""
        return (self.bounds[1] - self.bounds[0]).clamp(min=self.limit)
