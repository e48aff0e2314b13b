r"""How unsure a world model is: an ensemble of one-step predictors, and how far its members are
apart.

.. math:: p_k(e_{t+1}|s_t, a_t) = \mathcal{N}(f_k(s_t, a_t), 1), \quad
    u(s_t, a_t) = \frac{1}{D} \sum_d \mathrm{std}_k f_{kd}(s_t, a_t)

Members begin apart and learn the same, so they agree where there are data (Sekar et al. 2020;
Lakshminarayanan et al. 2017). How far they come apart elsewhere is left to chance, and layer norm
bounds it: an input far from the data is often answered alike. With ``prior`` each member has an
answer of its own to one of the inputs ``c``, which is never learned (Osband et al. 2018), here
linear and in sum over the members nothing:

.. math:: f_k(s, a) = g_k(s, a) + P_k c, \qquad \sum_k P_k = 0

The networks ``g`` learn to take it back where there are data, and no farther. The mean over the
members is that of the networks.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Normal
from pixyz.expression import E, LogProb, Loss
from worldmodels.ensemble import Ensemble
from worldmodels.imagination import PREV

LEAST = 0.01
"""The smallest deviation that a member may learn, in units of the target."""


class StepEnsemble(Normal):
    """``p(e|s_prev, a_prev)``: each member's prediction of the next state, ``e [N, members, D]``.

    Its loss moves the members alone: states are read without gradient.

    Args:
        state: variable of a state -> its size; those of ``model.initial``.
        action: the size of an action.
        target: the variable that is predicted.
        members, units, layers: of the ensemble.
        size: of the target; that of the state of this name if None.
        deviations: whether members learn how much steps vary, too; else their deviation is 1.
        prior: the variable of ``state`` that members have answers of their own to, nothing until
            :meth:`draw_prior`; None: no such.

    >>> p = StepEnsemble({"deter": 4, "stoch": 3}, 2, "stoch", members=5, units=8)
    >>> given = {
    ...     "deter": torch.zeros(7, 4),
    ...     "stoch": torch.zeros(7, 3),
    ...     "action": torch.zeros(7, 2),
    ... }
    >>> p.uncertainty(given).shape
    torch.Size([7])
    """

    prior: Tensor
    """``P [members, C, D]``"""

    def __init__(
        self,
        state: Mapping[str, int],
        action: int,
        target: str,
        members: int = 5,
        units: int = 64,
        layers: int = 2,
        size: int | None = None,
        deviations: bool = False,
        prior: str | None = None,
    ) -> None:
        out = state[target] if size is None else size
        super().__init__(
            "e",
            [*(k + PREV for k in state), "action" + PREV],
            "p_{step}",
            features_shape=[members, out],
        )
        self.state, self.target, self.members = list(state), target, members
        self.deviations = deviations
        inputs = sum(state.values()) + action
        self.net = Ensemble(members, inputs, units, layers, out * (1 + deviations), "layer")
        self._answered = None if prior is None else self.state.index(prior)
        if prior is not None:
            self.register_buffer("prior", torch.zeros(members, state[prior], out))

    def draw_prior(self, scale: Tensor) -> None:
        """Draw what is not learned: where ``c`` is normal, members differ by a deviation of
        ``scale [D]``.
        """
        drawn = torch.randn_like(self.prior)
        drawn = (drawn - drawn.mean(0)) / (1 - 1 / self.members) ** 0.5
        self.prior.copy_(drawn * scale / self.prior.shape[1] ** 0.5)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.predicted(*[given[v].detach() for v in self.cond_var])
        return {"loc": loc, "scale": scale}

    def predicted(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations ``[N, members, D]``, from what ``cond_var`` says, in its order."""
        loc, scale = self.net(*parts), None
        if self.deviations:
            loc, raw = loc.chunk(2, -1)
            scale = F.softplus(raw) + LEAST
        if self._answered is not None:
            loc = loc + torch.einsum("nc,kcd->nkd", parts[self._answered], self.prior)
        return loc, torch.ones_like(loc) if scale is None else scale

    def term(self) -> Loss:
        """What a step costs, for the ``terms`` of a model
        (:class:`worldmodels.StateSpaceModel`).
        """
        return E(Copies(self.target, self.members), -LogProb(self))

    def spread(self, *parts: Tensor) -> Tensor:
        """How far the members are apart, ``[N]``; the arguments are those of :meth:`predicted`."""
        return self.predicted(*parts)[0].std(1, correction=0).mean(-1)

    @torch.no_grad()
    def uncertainty(self, state: Mapping[str, Tensor]) -> Tensor:
        """How unsure the model is of the step after states ``[..., D]`` and ``action``, ``[...]``,
        in units of the target.
        """
        return self.spread(*self._rows(state)).reshape(state["action"].shape[:-1])

    @torch.no_grad()
    def parameters_of(self, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Means and deviations ``[..., members, D]`` of the step after states ``[..., D]`` and
        ``action``.
        """
        lead = state["action"].shape[:-1]
        loc, scale = self.predicted(*self._rows(state))
        return loc.reshape(*lead, *loc.shape[1:]), scale.reshape(*lead, *scale.shape[1:])

    def _rows(self, state: Mapping[str, Tensor]) -> list[Tensor]:
        """States and action ``[N, D]``, in the order of ``cond_var``."""
        count = state["action"].shape[:-1].numel()
        return [state[k].reshape(count, state[k].shape[-1]) for k in (*self.state, "action")]


class Copies(Deterministic):
    """``e``: the target once for each member, without gradient, ``[N, members, D]``."""

    def __init__(self, target: str, members: int) -> None:
        super().__init__("e", target, name="sg")
        self.members = members

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        (x,) = given.values()
        return {"e": x.detach().unsqueeze(1).expand(-1, self.members, -1)}


class Disagreement(Deterministic):
    """``u [N, 1]``: how far an ensemble's members are apart after an action."""

    def __init__(self, ensemble: StepEnsemble) -> None:
        super().__init__("u", ensemble.cond_var, name="u")
        self.__dict__["ensemble"] = ensemble  # held by the model

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        ensemble: StepEnsemble = self.__dict__["ensemble"]
        return {"u": ensemble.spread(*[given[v] for v in self.cond_var]).unsqueeze(-1)}
