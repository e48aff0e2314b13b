r"""PlaNet (Hafner et al. 2019): a world model as one expression, and a planner on it.

.. math::
    L = \mathbb{E}_{seen}\big[-\log p(x, r, c|s) + \max(3, D_{KL}[q\|p])\big]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from agents.agent import Batch, Learned
from agents.dreamer.latent_agent import LatentAgent
from agents.dreamer.optimizer import ClippedAdam
from agents.noisy import Noisy
from agents.planet.config import PlaNetConfig
from agents.planning import CEM
from agents.planning.latent import LatentPlanner
from agents.spaces import ActionSpec
from pixyz.expression import E, Loss
from pixyz.losses import KullbackLeibler
from worldmodels.own_terms import Terms


class PlaNet(LatentAgent):
    """The agent; its arguments are those of :class:`agents.dreamer.latent_agent.LatentAgent`.

    >>> import torch
    >>> from worldmodels import RSSMConfig
    >>> model = RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8)
    >>> agent = PlaNet(
    ...     {"x": (3,)},
    ...     ActionSpec(1),
    ...     PlaNetConfig(model, horizon=4, candidates=16, elites=4, rounds=2),
    ... )
    >>> action, state = agent.act(
    ...     {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2)
    ... )
    >>> action.shape, state["plan"].shape
    (torch.Size([2, 1]), torch.Size([2, 4, 1]))
    """

    Config = PlaNetConfig
    names = ("rec", "rew", "con", "kl")
    config: PlaNetConfig

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: PlaNetConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        c = config or PlaNetConfig()
        super().__init__(shapes, action, c, fission, terms)
        solver = CEM(action, c.horizon, c.candidates, c.rounds, elites=c.elites)
        self.planner = LatentPlanner(
            self.model, solver, action, c.discount, c.discount, precision=self._precision
        )
        self._begin(Noisy(self.planner, c.noise))
        self.optimizer = ClippedAdam(
            [{"params": list(self.model.parameters()), "lr": c.lr}], c.eps, clip=c.clip
        )

    def _write_objective(self) -> Loss:
        c, model = self.config, self.model
        divergence = (
            KullbackLeibler(model.posterior, model.prior).clamp(min=c.model.free_nats).named("kl")
        )
        return E(model.scan(), model.aligned((model.heads(c.reward) + c.kl * divergence).mean()))

    @property
    def acting(self) -> nn.Module:
        """The world model."""
        return self.model

    def learn(self, batch: Batch) -> Learned:
        """One update of the world model.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights and optimizer are as before.
        """
        return self._learned(batch, self.optimizer)
