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
squares weighs that difference as it is, networks with weight decay hardly see it. With ``lately``
members also read what least squares left of the changes before, ``l``
(:mod:`worldmodels.lately`), and with ``prior`` each answers to that in a way of its own, too
(:class:`worldmodels.disagreement.StepEnsemble`):

.. math:: y = W^\top z + f_k(x, a, l) + P_k l, \qquad \sum_k P_k = 0

A robot that carries something goes through states and actions as in the log, but what was
unexpected lately is unlike the log's: there members disagree. Read off are

* :meth:`OneStep.disagreement`: how far the members' means are apart, before anything is done: the
  state, the action or what was unexpected lately are unlike the log's;
* :meth:`OneStep.surprise`: how far what came is from what was expected: the robot is unlike the
  log's;
* :meth:`OneStep.residual`: the same, of each feature and with its sign, for what is off to one
  side by less than the noise (:mod:`worldmodels.drift`);
* :meth:`OneStep.imagine`: a step of a member drawn for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixyz.expression import Loss
from pixyz.types import PixyzError
from worldmodels.data import Episodes
from worldmodels.disagreement import StepEnsemble
from worldmodels.lately import Lately
from worldmodels.one_step_config import OneStepConfig
from worldmodels.open_loop import Batch, moments
from worldmodels.scaling import Scaling

RIDGE = 1e-6
"""Of the linear part, beside inputs of variance 1."""

WORTH = 2
"""The numbers that are predicted and are no observation: reward and continuation."""


class Imagined(NamedTuple):
    """A step that was imagined, ``[N, ...]``; ``lately`` is what was unexpected until then.

    >>> Imagined({}, torch.zeros(1), torch.zeros(1, dtype=torch.bool), torch.ones(1)).doubt
    tensor([1.])
    """

    obs: dict[str, Tensor]
    reward: Tensor
    terminal: Tensor
    doubt: Tensor
    lately: Tensor | None = None


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
        self.lately = Lately(size, c.lately)
        given, sizes = {"x": size}, (c.members, c.units, c.layers)
        read = {**given, "lately": len(c.lately) * size} if c.lately else given
        self.ensemble = StepEnsemble(
            read, action, "y", *sizes, size, deviations=True, prior="lately" if c.prior else None
        )
        self.worth = StepEnsemble(given, action, "w", *sizes, WORTH)
        self.register_buffer("reach", torch.zeros(action))
        # only where it is asked for: weights that were saved before it are read
        self.register_buffer("linear", torch.zeros(size + action, size), persistent=c.linear)
        # no submodule: the state dict shall hold the members once
        self.__dict__["_objectives"] = self.ensemble.term(), self.worth.term()

    @property
    def objectives(self) -> tuple[Loss, Loss]:
        """Nats of a step ``[N]`` of all members, given ``x_prev``, ``action_prev`` and, where it is
        read, ``lately_prev``: of the changes ``y``, and of reward and continuation ``w``.
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
        if self.config.lately:
            self.lately.fit(self.history(e)[:-1] for e in series)
        if self.config.prior:
            left = (y - z @ self.linear.double()).square().mean(0).sqrt()
            self.ensemble.draw_prior(self.config.prior * left.float())

    # -------------------------------------------------------------- learning

    def joined(self, obs: Batch) -> Tensor:
        """The vectors side by side, ``[..., D]``."""
        return torch.cat([obs[k] for k in self.sizes], -1)

    def made(self, batch: Batch) -> Tensor:
        """Which steps of series ``[T, B, ...]`` were made, ``[T - 1, B]``: none goes over the end
        of an episode, or into padding.
        """
        made = ~batch["is_first"][1:]
        if "mask" in batch:
            mask = batch["mask"].bool()
            made = made & mask[1:] & mask[:-1]
        return made

    def nats(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What each step of series ``[T, B, ...]`` costs, and which were made: both ``[T - 1, B]``.

        A cost is the mean over the members, of changes in standard units. It is 0 where a step
        goes over the end of an episode, or into padding.
        """
        x, made = self.joined(batch), self.made(batch)
        given = {
            "x_prev": self.x(x[:-1]),
            "action_prev": self.action(batch["action"][:-1]),
            "w": self.w(_worth(batch)[1:]),
        }
        given["y"] = left = self._left(x[:-1], batch["action"][:-1], x[1:])
        if self.config.lately:
            lately = self.lately.series(left, batch["is_first"])
            given["lately_prev"] = self.lately(lately[:-1])
        rows = {k: v.flatten(0, 1) for k, v in given.items()}
        found = made.new_zeros(made.numel(), dtype=x.dtype)
        for each in self.objectives:
            found = found + each.eval({k: rows[k] for k in each.input_var}) / self.config.members
        found = found.unflatten(0, made.shape)
        return torch.where(made, found, torch.zeros_like(found)), made

    # -------------------------------------------------------------- what was unexpected

    def initial(self, *lead: int) -> Tensor:
        """What was unexpected lately where an episode begins: nothing, ``[*lead, N, D]``."""
        return self.lately.initial(*lead)

    @torch.no_grad()
    def follow(self, lately: Tensor, obs: Batch, action: Tensor, following: Batch) -> Tensor:
        """What was unexpected lately after one more step, ``[..., N, D]``.

        Args:
            lately: until it.
            obs, action: as of :meth:`disagreement`.
            following: the observation after it.
        """
        if not self.config.lately:
            return lately
        left = self._left(self.joined(obs), action, self.joined(following))
        return self.lately.follow(lately, left)

    @torch.no_grad()
    def history(self, batch: Batch) -> Tensor:
        """What was unexpected lately at each row of series ``[T, ...]``, before its step,
        ``[T, ..., N, D]``: :meth:`follow` from one to the next, and from nothing at the first and
        where an episode begins.
        """
        x = self.joined(batch)
        if not self.config.lately:
            return self.initial(*x.shape[:-1])
        left = self._left(x[:-1], batch["action"][:-1], x[1:])
        return self.lately.series(left, batch["is_first"])

    # -------------------------------------------------------------- asking

    def disagreement(self, obs: Batch, action: Tensor, lately: Tensor | None = None) -> Tensor:
        """How far the members are apart, ``[...]``, in deviations of a step of the log.

        Args:
            obs: key -> ``[..., D]``.
            action: ``[..., A]``.
            lately: what was unexpected before, of :meth:`follow` or :meth:`history`; None: an
                episode begins.
        """
        return self.ensemble.uncertainty(self._read(obs, action, lately))

    @torch.no_grad()
    def residual(
        self, obs: Batch, action: Tensor, following: Batch, lately: Tensor | None = None
    ) -> Tensor:
        r"""How far what came is from what was expected, of each feature and with its sign,
        ``[..., D]``; its square is 1 on average where the model is right.

        .. math:: z_d = \frac{y_d - \bar\mu_d}{\sqrt{\mathrm{mean}_k \sigma_{kd}^2}}

        How far the members are apart is no part of its unit: it is a score of its own, and would
        hide here what it should be seen with.

        Args:
            obs, action, lately: as of :meth:`disagreement`.
            following: the observation after it.
        """
        loc, scale = self._predicted(self._read(obs, action, lately))
        change = self.joined(following) - self.joined(obs)
        return (self.y(change) - loc.mean(-2)) / scale.square().mean(-2).sqrt()

    def surprise(
        self, obs: Batch, action: Tensor, following: Batch, lately: Tensor | None = None
    ) -> Tensor:
        r"""How far what came is from what was expected, :math:`\frac{1}{D} \sum_d z_d^2` of
        :meth:`residual`, ``[...]``; 1 on average where the model is right.
        """
        return self.residual(obs, action, following, lately).square().mean(-1)

    @torch.no_grad()
    def imagine(self, obs: Batch, action: Tensor, lately: Tensor | None = None) -> Imagined:
        """A step after observations ``[N, D]`` and actions ``[N, A]``, of a member that is drawn
        for each row (Chua et al. 2018, TS1). ``doubt`` is the disagreement on the change and the
        one on the reward, together; ``lately`` is as of :meth:`disagreement`.
        """
        lately = self.initial(len(action)) if lately is None else lately
        read = self._read(obs, action, lately)
        loc, scale = self._predicted(read)
        worth, _ = self.worth.parameters_of(read)
        rows = torch.arange(len(loc), device=loc.device)
        which = torch.randint(loc.shape[1], (len(loc),), device=loc.device)
        mean, deviation = loc[rows, which], scale[rows, which]
        change = self.y.inverse(mean + deviation * torch.randn_like(mean))
        reward, cont = self.w.inverse(worth[rows, which]).unbind(-1)
        apart = loc.std(1, correction=0).mean(-1) + worth[..., 0].std(1, correction=0)
        after = self._apart(self.joined(obs) + change)
        lately = self.follow(lately, obs, action, after)
        return Imagined(after, reward, cont < 0.5, apart, lately)

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
        lately = self.history(seen)[-1]
        for now in action[:steps]:
            loc, _ = self._predicted(self._read(obs, now, lately))
            change = self.y.inverse(loc.mean(-2))
            after = self._apart(self.joined(obs) + change)
            obs, lately = after, self.follow(lately, obs, now, after)
            found.append(obs)
        return {k: torch.stack([o[k] for o in found]) for k in self.sizes}

    def _read(self, obs: Batch, action: Tensor, lately: Tensor | None = None) -> dict[str, Tensor]:
        read = {"x": self.x(self.joined(obs)), "action": self.action(action)}
        if self.config.lately:
            lately = self.initial(*action.shape[:-1]) if lately is None else lately
            read["lately"] = self.lately(lately)
        return read

    def _left(self, x: Tensor, action: Tensor, following: Tensor) -> Tensor:
        """What least squares leaves of a change, ``[..., D]``, in standard units."""
        return self.y(following - x) - self._least(self.x(x), self.action(action))

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
