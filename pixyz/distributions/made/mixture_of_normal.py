"""A mixture of experts: normal distributions of one variable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.families.normal import BoundedNormal, Normal, TanhNormal
from pixyz.distributions.made.mixture import Mixture
from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError

NORMALS = (Normal, BoundedNormal, TanhNormal)


class MixtureOfNormal(Mixture):
    r"""A mixture of experts, :math:`p(z|x,y) = \sum_m w_m\,p(z|x_m)` (Shi et al. 2019, the MMVAE's
    posterior).

    Each row draws its own expert.  With ``reparam`` the gradient passes through the drawn expert,
    which is unbiased since the weights are fixed.

    Args:
        p: the experts, Normal distributions of one variable.
        weight_modalities: their weights, scaled to sum to 1; equal if None.
        name, features_shape: see :class:`Distribution`.

    >>> parts = [Normal(var="z", cond_var=v, loc=v, scale=1.0) for v in ("x", "y")]
    >>> p = MixtureOfNormal(parts)
    >>> p.get_log_prob({"z": torch.zeros(1, 2), "x": torch.zeros(1, 2), "y": torch.zeros(1, 2)})
    tensor([-1.8379])
    """

    log_weights: Tensor

    def __init__(
        self,
        p: Distribution | Sequence[Distribution] = (),
        weight_modalities: Sequence[float] | Tensor | None = None,
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        experts = [p] if isinstance(p, Distribution) else list(p)
        for expert in experts:
            if expert.atom.family() not in NORMALS:
                raise PixyzError(
                    f"the experts are Normal, got {expert.prob_text} ({expert.distribution_name})"
                )
        super().__init__(experts, (), name, features_shape)
        weights = (
            torch.ones(len(experts))
            if weight_modalities is None
            else torch.as_tensor(weight_modalities).float()
        )
        if weights.shape != (len(experts),) or not bool((weights > 0).all()):
            raise PixyzError(
                f"weight_modalities must be {len(experts)} positive numbers, "
                f"got {weight_modalities}"
            )
        self.p = nn.ModuleList(experts)
        self.register_buffer("log_weights", (weights / weights.sum()).log().unsqueeze(0))

    @property
    def weight_modalities(self) -> Tensor:
        """The weights, ``[K]``."""
        return self.log_weights[0].exp()

    @property
    def distribution_name(self) -> str:
        return "Mixture of Normal"

    @property
    def prob_factorized_text(self) -> str:
        shares = [f"{w:.3g}" for w in self.weight_modalities.tolist()]
        return " + ".join(
            f"{w} {part.prob_text}" for w, part in zip(shares, self.components(), strict=True)
        )

    def components(self) -> list[Distribution]:
        return [d for d in self.p if isinstance(d, Distribution)]

    def lower_log_weights(self, scope: Scope) -> Slot:
        return scope.builder.attribute(self, "log_weights", f"weights of {self.prob_text}")

    def detach(self) -> Distribution:
        return MixtureOfNormal(
            [d.detach() for d in self.components()],
            self.weight_modalities,
            self.name,
            self.features_shape,
        )

    def frozen(self) -> Distribution:
        return MixtureOfNormal(
            [d.frozen() for d in self.components()],
            self.weight_modalities,
            self.name,
            self.features_shape,
        )
