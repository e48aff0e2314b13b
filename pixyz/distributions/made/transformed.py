r"""A prior pushed forward through a flow, or pulled back: the change of variables."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.hooks import made_by
from pixyz.distributions.made.flow import FlowDistribution, pull_back
from pixyz.flows.flow import Flow
from pixyz.types import VarSpec


@made_by("pushed forward")
class TransformedDistribution(FlowDistribution):
    r"""A prior pushed forward through a flow: :math:`z = f(x; y),\ x \sim p_{prior}(x)`.

    .. math::
        \log p(z) = \log p_{prior}(x) - \log \left|\det \frac{\partial f}{\partial x}\right|, \qquad
            x = f^{-1}(z; y).

    Drawing is the flow's forward direction: the form for posteriors, :math:`E_{q(z|x)}[\log
    q(z|x)]` (Rezende and Mohamed, 2015), where the density of a draw needs no inverse.

    What differs from pixyz 0.3.3: the log-density is right whatever was called before it and as
    often as it is called; ``reparam`` counts; in a product the prior's variable does not show;
    several conditioning variables are allowed.

    Args:
        prior: of one variable; its conditioning variables are this distribution's too.
        flow: the flow ``f``.
        var: the new variable.
        name: the letter in formulas.
        cond_var: variables that the flow is conditioned on.

    Raises:
        VariableError: the prior's variable has the name of another one.
        NotImplementedError: a log-density at a value that was not drawn in the same evaluation, of
            a flow without inverse.

    >>> from pixyz.distributions import Normal
    >>> from pixyz.flows import PlanarFlow
    >>> q = TransformedDistribution(
    ...     Normal(var="x", loc=0.0, scale=1.0, features_shape=[2]),
    ...     PlanarFlow(2),
    ...     var="z",
    ...     name="q",
    ... )
    >>> q.get_log_prob(q.sample(batch_n=5)).shape, q.prob_factorized_text
    (torch.Size([5]), 'q(z=f_{flow}(x))')
    """

    draws_by_inverse = False

    def __init__(
        self, prior: Distribution, flow: Flow, var: VarSpec, name: str = "p", cond_var: VarSpec = ()
    ) -> None:
        super().__init__(prior, flow, var, cond_var, name)

    @staticmethod
    def _ordered(prior: Sequence[str], own: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*prior, *own]))

    @property
    def flow_input_var(self) -> list[str]:
        """The variable that goes into the flow."""
        return self.hidden_var


@made_by("pulled back")
class InverseTransformedDistribution(FlowDistribution):
    r"""A prior pulled back through a flow: :math:`x = f^{-1}(z; y),\ z \sim p_{prior}(z)`.

    .. math::
        \log p(x|y) = \log p_{prior}(z) + \log \left|\det \frac{\partial f}{\partial x}\right|,
            \qquad z = f(x; y).

    The log-density is the flow's forward direction: the form for density estimation (NICE, RealNVP,
    Glow).

    What differs from pixyz 0.3.3: several conditioning variables (the flow gets them as a tuple, in
    order), a prior that is itself conditional, and no hidden state.

    Args:
        prior: of one variable; its conditioning variables are this distribution's too.
        flow: the flow ``f``.
        var: the new variable.
        cond_var: variables that the flow is conditioned on.
        name: the letter in formulas.

    Raises:
        VariableError: the prior's variable has the name of another one.

    >>> import torch
    >>> from pixyz.distributions import Normal
    >>> from pixyz.flows import RealNVP
    >>> p = InverseTransformedDistribution(
    ...     Normal(var="z", loc=0.0, scale=1.0, features_shape=[2]), RealNVP(2), var="x"
    ... )
    >>> p.get_log_prob({"x": torch.zeros(5, 2)}).shape, p.prob_joint_factorized_and_text
    (torch.Size([5]), 'p(x) = p(x=f^{-1}_{flow}(z))')
    """

    draws_by_inverse = True

    def __init__(
        self, prior: Distribution, flow: Flow, var: VarSpec, cond_var: VarSpec = (), name: str = "p"
    ) -> None:
        super().__init__(prior, flow, var, cond_var, name)

    @property
    def flow_output_var(self) -> list[str]:
        """The variable that comes out of the flow."""
        return self.hidden_var

    def inference(
        self, x_dict: object, return_all: bool = True, compute_jacobian: bool = False
    ) -> dict[str, Tensor]:
        """The prior's variable at given values: ``{"z": f(x; y)}``, with what was given if
        ``return_all``.
        """
        return pull_back(self, x_dict, return_all, compute_jacobian)
