"""Flows of zuko as distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from pixyz.distributions.families.normal import Normal
from pixyz.distributions.made.flow import FlowDistribution, pull_back
from pixyz.flows.zuko import ZukoFlow, make_zuko_flow
from pixyz.types import PixyzError, VarSpec


class ZukoDistribution(FlowDistribution):
    r"""A flow of zuko as a distribution: :math:`x = f^{-1}(u; y),\ u \sim N(0, 1)`.

    Args:
        flow: the name of a class in ``zuko.flows`` (``"NSF"``: neural splines, ``"MAF"``:
            autoregressive, ...).
        var: the variable, ``[B, D]``.
        features: ``D``.
        cond_var: the conditioning variables; they are flattened and put together.
        name: the letter in formulas.
        context: the size of the conditioning variables together.
        base_var: the name of the prior's variable.
        **settings: what the class takes besides: ``transforms``, ``hidden_features``, ``bins`` ...

    Raises:
        PixyzError: zuko (extra ``flows``) is not installed; the flow's base is no standard normal.

    >>> p = ZukoDistribution("NSF", "x", 2, transforms=1, hidden_features=(8,))
    >>> p.sample(batch_n=3)["x"].shape
    torch.Size([3, 2])
    """

    draws_by_inverse = True

    def __init__(
        self,
        flow: str,
        var: VarSpec,
        features: int,
        cond_var: VarSpec = (),
        name: str = "p",
        context: int = 0,
        base_var: str = "u",
        **settings: object,
    ) -> None:
        made = make_zuko_flow(flow, features=features, context=context, **settings)
        base = made.base() if hasattr(made, "transform") else None
        if type(base).__name__ != "DiagNormal":
            raise PixyzError(
                f"{flow} of zuko has the base {type(base).__name__}, not a standard normal; write "
                "InverseTransformedDistribution(prior, ZukoFlow(...), var=...) with that prior"
            )
        prior = Normal(var=base_var, loc=0.0, scale=1.0, features_shape=[features])
        super().__init__(prior, ZukoFlow(made), var, cond_var, name)
        self._features_shape = torch.Size([features])

    @property
    def flow_output_var(self) -> list[str]:
        """The variable that comes out of the flow."""
        return self.hidden_var

    def inference(
        self, x_dict: object, return_all: bool = True, compute_jacobian: bool = False
    ) -> dict[str, Tensor]:
        """The prior's variable at given values, with what was given if ``return_all``."""
        return pull_back(self, x_dict, return_all, compute_jacobian)
