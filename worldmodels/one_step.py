r"""What comes next in a robot's log, by an ensemble of one-step predictors, and when not to trust
it.

.. math:: p_k(x_{t+1} - x_t | x_t, a_t) = \mathcal{N}(\mu_k(x_t, a_t), \sigma_k(x_t, a_t)^2), \qquad
    r_{t+1}, c_{t+1} \approx f_k(x_t, a_t)

(Chua et al. 2018; Yu et al. 2020.) ``x`` are the vectors of an observation side by side, ``r`` is
the reward that comes with the next one, ``c`` is 0 where the episode ends there. Reward and
continuation have networks of their own, by least squares: in one likelihood with changes that are
nearly certain they would hardly be learned. With ``linear`` the members learn what least squares
leaves of the change, in standard units:

.. math:: y = W^\top z + f_k(x, a), \qquad
    W = (Z^\top Z / n + \lambda I)^{-1} Z^\top Y / n, \qquad z = (x, a)

A servo goes by the small difference of a command and a pose, which are large and much alike: least
squares weighs that difference as it is, networks with weight decay hardly see it. Read off are

* :meth:`OneStep.disagreement`: how far the members' means are apart, before anything is done: the
  state and the action are unlike the log's;
* :meth:`OneStep.surprise`: how far what came is from what was expected: the robot is unlike the
  log's;
* :meth:`OneStep.residual`: the same, of each feature and with its sign, for what is off to one
  side by less than the noise (:mod:`worldmodels.drift`);
* :meth:`OneStep.imagine`: a step of a member drawn for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from pixyz.expression import Loss
from pixyz.types import PixyzError
from worldmodels.data import Episodes
from worldmodels.disagreement import StepEnsemble
from worldmodels.open_loop import Batch, moments
from worldmodels.ranges import check_ranges
from worldmodels.scaling import Scaling

RIDGE = 1e-6
"""Of the linear part, beside inputs of variance 1."""

WORTH = 2
"""The numbers that are predicted and are no observation: reward and continuation."""


@dataclass(frozen=True)
class OneStepConfig:
    """Sizes of :class:`OneStep`.

    Args:
        members, units, layers: of the ensemble.
        linear: whether the members learn what least squares leaves.

    >>> OneStepConfig().members
    5
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[2, 1024]": "members",
        "[1, 65536]": "units",
        "[1, 64]": "layers",
    }

    members: int = 5
    units: int = 128
    layers: int = 2
    linear: bool = False

    def __post_init__(self) -> None:
        check_ranges(self)


class Imagined(NamedTuple):
    """A step that was imagined, ``[N, ...]``.

    >>> Imagined({}, torch.zeros(1), torch.zeros(1, dtype=torch.bool), torch.ones(1)).doubt
    tensor([1.])
    """

    obs: dict[str, Tensor]
    reward: Tensor
    terminal: Tensor
    doubt: Tensor


class OneStep(nn.Module):
    """The ensemble, in the units of a log.

    Args:
        shapes: observation key -> ``[D]``.
        action: the size of an action.
        config: sizes.

    Raises:
        PixyzError: an observation is no vector.

    >>> model = OneStep({"x": (3,)}, 2, OneStepConfig(units=8))
    >>> model.disagreement({"x": torch.zeros(7, 3)}, torch.zeros(7, 2)).shape
    torch.Size([7])
    """

    reach: Tensor
    """The largest actions of the log, ``[A]``: those that it can speak of."""
    linear: Tensor
    """Least squares of changes on states and actions, ``[D + A, D]``; 0 where there is none."""

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: int,
        config: OneStepConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = c = config or OneStepConfig()
        odd = {k: tuple(s) for k, s in shapes.items() if len(s) != 1}
        if odd or not shapes or action < 1:
            raise PixyzError(
                "a one-step ensemble predicts vectors [D] from them and from actions, got "
                f"{odd or dict(shapes)} and actions of size {action}; choose others with keys=[...]"
            )
        self.sizes = {k: int(s[0]) for k, s in shapes.items()}
        self.size = size = sum(self.sizes.values())
        self.x, self.action = Scaling(size), Scaling(action)
        self.y, self.w = Scaling(size), Scaling(WORTH)
        given, sizes = {"x": size}, (c.members, c.units, c.layers)
        self.ensemble = StepEnsemble(given, action, "y", *sizes, size, deviations=True)
        self.worth = StepEnsemble(given, action, "w", *sizes, WORTH)
        self.register_buffer("reach", torch.zeros(action))
        # only where it is asked for: weights that were saved before it are read
        self.register_buffer("linear", torch.zeros(size + action, size), persistent=c.linear)
        # no submodule: the state dict shall hold the members once
        self.__dict__["_objectives"] = self.ensemble.term(), self.worth.term()

    @property
    def objectives(self) -> tuple[Loss, Loss]:
        """Nats of a step ``[N]`` of all members, given ``x_prev`` and ``action_prev``: of the
        changes ``y``, and of reward and continuation ``w``.
        """
        found: tuple[Loss, Loss] = self.__dict__["_objectives"]
        return found

    def fit_units(self, train: Episodes) -> None:
        """Take the units from the training part."""
        found = moments(train)
        self.x.set(*(torch.cat([found[k][i] for k in self.sizes]) for i in (0, 1)))
        series = [{k: torch.from_numpy(v) for k, v in e.series.items()} for e in train]
        self.action.set(*_moments(torch.cat([e["action"][:-1] for e in series])))
        self.reach.copy_(torch.stack([e["action"].abs().amax(0) for e in series]).amax(0))
        joined = [self.joined(e) for e in series]
        self.y.set(*_moments(torch.cat([x[1:] - x[:-1] for x in joined])))
        self.w.set(*_moments(torch.cat([_worth(e)[1:] for e in series])))
        if self.config.linear:
            actions = torch.cat([self.action(e["action"][:-1]) for e in series])
            z = torch.cat([torch.cat([self.x(x[:-1]) for x in joined]), actions], -1).double()
            y = torch.cat([self.y(x[1:] - x[:-1]) for x in joined]).double()
            eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
            self.linear.copy_(torch.linalg.solve(z.T @ z / len(z) + RIDGE * eye, z.T @ y / len(z)))

    # -------------------------------------------------------------- learning

    def joined(self, obs: Batch) -> Tensor:
        """The vectors side by side, ``[..., D]``."""
        return torch.cat([obs[k] for k in self.sizes], -1)

    def nats(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What each step of series ``[T, B, ...]`` costs, and which were made: both ``[T - 1, B]``.

        A cost is the mean over the members, of changes in standard units. It is 0 where a step
        goes over the end of an episode, or into padding.
        """
        x = self.joined(batch)
        made = ~batch["is_first"][1:]
        if "mask" in batch:
            mask = batch["mask"].bool()
            made = made & mask[1:] & mask[:-1]
        given = {
            "x_prev": self.x(x[:-1]),
            "action_prev": self.action(batch["action"][:-1]),
            "w": self.w(_worth(batch)[1:]),
        }
        least = self._least(given["x_prev"], given["action_prev"])
        given["y"] = self.y(x[1:] - x[:-1]) - least
        rows = {k: v.flatten(0, 1) for k, v in given.items()}
        found = made.new_zeros(made.numel(), dtype=x.dtype)
        for each in self.objectives:
            found = found + each.eval({k: rows[k] for k in each.input_var}) / self.config.members
        found = found.unflatten(0, made.shape)
        return torch.where(made, found, torch.zeros_like(found)), made

    # -------------------------------------------------------------- asking

    def disagreement(self, obs: Batch, action: Tensor) -> Tensor:
        """How far the members are apart, ``[...]``, in deviations of a step of the log.

        Args:
            obs: key -> ``[..., D]``.
            action: ``[..., A]``.
        """
        return self.ensemble.uncertainty(self._read(obs, action))

    @torch.no_grad()
    def residual(self, obs: Batch, action: Tensor, following: Batch) -> Tensor:
        r"""How far what came is from what was expected, of each feature and with its sign,
        ``[..., D]``; its square is 1 on average where the model is right.

        .. math:: z_d = \frac{y_d - \bar\mu_d}{\sqrt{\mathrm{mean}_k \sigma_{kd}^2
            + \mathrm{var}_k \mu_{kd}}}

        Args:
            obs, action: as of :meth:`disagreement`.
            following: the observation after it.
        """
        loc, scale = self._predicted(self._read(obs, action))
        spread = scale.square().mean(-2) + loc.var(-2, correction=0)
        change = self.joined(following) - self.joined(obs)
        return (self.y(change) - loc.mean(-2)) / spread.sqrt()

    def surprise(self, obs: Batch, action: Tensor, following: Batch) -> Tensor:
        r"""How far what came is from what was expected, :math:`\frac{1}{D} \sum_d z_d^2` of
        :meth:`residual`, ``[...]``; 1 on average where the model is right.
        """
        return self.residual(obs, action, following).square().mean(-1)

    @torch.no_grad()
    def imagine(self, obs: Batch, action: Tensor) -> Imagined:
        """A step after observations ``[N, D]`` and actions ``[N, A]``, of a member that is drawn
        for each row (Chua et al. 2018, TS1). ``doubt`` is the disagreement on the change and the
        one on the reward, together.
        """
        read = self._read(obs, action)
        loc, scale = self._predicted(read)
        worth, _ = self.worth.parameters_of(read)
        rows = torch.arange(len(loc), device=loc.device)
        which = torch.randint(loc.shape[1], (len(loc),), device=loc.device)
        mean, deviation = loc[rows, which], scale[rows, which]
        change = self.y.inverse(mean + deviation * torch.randn_like(mean))
        reward, cont = self.w.inverse(worth[rows, which]).unbind(-1)
        apart = loc.std(1, correction=0).mean(-1) + worth[..., 0].std(1, correction=0)
        return Imagined(self._apart(self.joined(obs) + change), reward, cont < 0.5, apart)

    @torch.no_grad()
    def forecast(self, seen: Batch, action: Tensor | None, steps: int) -> dict[str, Tensor]:
        """Step after step the mean of the members' means, ``[steps, B, D]``; see
        :class:`worldmodels.open_loop.Forecaster`.

        Raises:
            PixyzError: there are no actions.
        """
        if action is None:
            raise PixyzError("a one-step ensemble reads actions, and the log has none")
        obs, found = {k: seen[k][-1] for k in self.sizes}, []
        for now in action[:steps]:
            loc, _ = self._predicted(self._read(obs, now))
            change = self.y.inverse(loc.mean(-2))
            obs = self._apart(self.joined(obs) + change)
            found.append(obs)
        return {k: torch.stack([o[k] for o in found]) for k in self.sizes}

    def _read(self, obs: Batch, action: Tensor) -> dict[str, Tensor]:
        return {"x": self.x(self.joined(obs)), "action": self.action(action)}

    def _predicted(self, read: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Means and deviations of the change ``[..., members, D]``, the linear part in it."""
        loc, scale = self.ensemble.parameters_of(read)
        return loc + self._least(read["x"], read["action"]).unsqueeze(-2), scale

    def _least(self, x: Tensor, action: Tensor) -> Tensor:
        """What least squares says of the change, ``[..., D]``, from standard units."""
        if not self.config.linear:
            return torch.zeros_like(x)
        return torch.cat([x, action], -1) @ self.linear

    def _apart(self, x: Tensor) -> dict[str, Tensor]:
        parts = x.split(list(self.sizes.values()), -1)
        return dict(zip(self.sizes, parts, strict=True))


def _worth(batch: Batch) -> Tensor:
    """``[..., 2]``: the reward, and 1 where the episode goes on."""
    return torch.stack([batch["reward"], (~batch["is_terminal"]).to(batch["reward"].dtype)], -1)


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of rows ``[N, D]``."""
    found = rows.double()
    return found.mean(0).float(), found.std(0, correction=0).float()
