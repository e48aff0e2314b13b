"""What solvers share: a plan, its warm start, the rounds of drawing, scoring and fitting.

Candidates are ``[H, N, B, A]``: steps, candidates, environments, numbers of an action. A solver is
a value; what it remembers between actions is handed in and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from agents.agent import State
from agents.spaces import ActionSpec, most_probable
from pixyz.distributions.families.one_hot import one_hot_sample
from worldmodels.ranges import check_ranges

Score = Callable[[Tensor], Tensor]
"""The returns ``[N * B]`` of paths of actions ``[H, N * B, A]``; row ``n * B + b`` is candidate
``n`` of environment ``b``.
"""

NEVER = -1e28
"""What a return of minus infinity counts as: below all others, and finite times a temperature."""


class Guess(NamedTuple):
    """From what candidates are drawn: normals ``[H, B, A]``, or the choices' probabilities in
    ``mean``.

    >>> Guess(torch.zeros(3, 1, 2), torch.ones(3, 1, 2)).mean.shape
    torch.Size([3, 1, 2])
    """

    mean: Tensor
    std: Tensor


class Tried(NamedTuple):
    """Candidates ``[H, N, B, A]`` and their returns ``[N, B]``.

    >>> Tried(torch.zeros(3, 5, 1, 2), torch.zeros(5, 1)).best(2).returns.shape
    torch.Size([2, 1])
    """

    actions: Tensor
    returns: Tensor

    def best(self, count: int) -> Tried:
        """The ``count`` best ones, best first. A return of minus infinity is :data:`NEVER`; those
        whose return is no number, or infinite, come last and have minus infinity.
        """
        told = self.returns.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=NEVER)
        returns, index = torch.topk(told, count, 0)
        size = (len(self.actions), *index.shape, self.actions.shape[-1])
        return Tried(self.actions.gather(1, index[None, :, :, None].expand(size)), returns)

    def elites(self, count: int, temperature: float) -> tuple[Tried, Tensor]:
        r"""The ``count`` best ones, or all if there are fewer, and what each counts, ``[K, B]``.

        .. math:: w_i = \exp(\tau R_i) / \sum_j \exp(\tau R_j)

        NaN where no candidate has a return.
        """
        best = self.best(min(count, len(self.returns)))
        return best, torch.softmax(temperature * best.returns, 0)

    def told(self, mean: Tensor) -> Tensor:
        """``mean [H, B, A]``, of these, which are best first; NaN where none has a return."""
        return torch.add(mean, self.returns[0].unsqueeze(-1), alpha=0.0)

    def joined(self, other: Tried | None) -> Tried:
        """These and others."""
        if other is None:
            return self
        return Tried(
            torch.cat([self.actions, other.actions], 1), torch.cat([self.returns, other.returns])
        )


def unknown(size: int, discrete: bool) -> float:
    """The mean of an action of ``size`` numbers of which nothing is known: 0, or any choice.

    >>> unknown(4, True)
    0.25
    """
    return 1.0 / size if discrete else 0.0


@dataclass(frozen=True)
class Plan:
    """What a solver found.

    Args:
        mean, std: of each step's action, ``[H, B, A]``; ``mean`` holds probabilities for choices.
        rounds: how many were made.
        tried: the candidates of the last round and their returns; None if there was none.
        discrete: choices.

    >>> Plan(torch.full((3, 1, 2), 0.5), torch.zeros(3, 1, 2), 0, None, False).best()
    tensor([[0.5000, 0.5000]])
    """

    mean: Tensor
    std: Tensor
    rounds: int
    tried: Tried | None
    discrete: bool

    def best(self) -> Tensor:
        """The first action, ``[B, A]``: the mean, or the most probable choice."""
        return most_probable(self.mean[0]) if self.discrete else self.mean[0]

    def path(self) -> Tensor:
        """The actions of all steps, ``[H, B, A]``: means, or the most probable choices."""
        return most_probable(self.mean) if self.discrete else self.mean

    def draw(
        self,
        generator: torch.Generator | None = None,
        least: float = 0.0,
        around: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """A first action drawn from the solver's distribution, ``[B, A]``.

        Args:
            least: the smallest deviation of a normal.
            around: the mean of a normal, ``[B, A]``, in place of the plan's; of choices it counts
                nothing.
            noise: of a normal, ``[B, A]``; drawn if None.
        """
        mean = self.mean[:1] if around is None or self.discrete else around.unsqueeze(0)
        guess = Guess(mean, self.std[:1].clamp_min(least))
        given = None if noise is None else noise[None, None]
        return draw(guess, 1, self.discrete, generator, given)[0, 0]

    def says(self, least: Tensor) -> Tensor:
        r"""How much the plan says, ``[B]``: 1 where the returns of its candidates differ by
        ``least`` or more, 0 where all are the same.

        .. math:: w = \mathrm{clip}\Big(\frac{\max_i R_i - \min_i R_i}{d}, 0, 1\Big)

        Args:
            least: d, ``[]``.
        """
        if self.tried is None:
            return torch.ones_like(self.mean[0, :, 0])
        found = self.tried.returns
        return ((found.amax(0) - found.amin(0)) / least).clamp(0.0, 1.0)

    def mixed(self, share: Tensor) -> Plan:
        """The plan to a share ``[B]``, and to the rest what knows nothing: normals of deviation 1
        around 0, or any choice.
        """
        share = share.unsqueeze(-1)
        nothing = unknown(self.mean.shape[-1], self.discrete)
        mean = torch.lerp(torch.full_like(self.mean, nothing), self.mean, share)
        return replace(self, mean=mean, std=torch.lerp(torch.ones_like(self.std), self.std, share))

    def elite(
        self, count: int, temperature: float, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""The first action of one of the best candidates of the last round, ``[B, A]``, drawn with
        the weights of :meth:`Tried.elites`; the mean where none was tried.

        .. math::
            i \sim \mathrm{Cat}(\mathrm{softmax}(\tau R)), \quad a = a^{(i)}_1

        Args:
            count: of the best ones.
            temperature: tau: how much a higher return counts.
        """
        if self.tried is None:
            return self.mean[0]
        best, weight = self.tried.elites(count, temperature)
        level = torch.rand(
            weight.shape[1], 1, generator=generator, dtype=weight.dtype, device=weight.device
        )
        return (one_hot_sample(level, weight.T).T.unsqueeze(-1) * best.actions[0]).sum(0)


def draw(
    guess: Guess,
    count: int,
    discrete: bool,
    generator: torch.Generator | None,
    noise: Tensor | None = None,
) -> Tensor:
    """Candidates ``[H, count, B, A]``; normals are held in [-1, 1].

    Args:
        noise: of normals, ``[H, count, B, A]``; independent if None.
    """
    steps, rows, size = guess.mean.shape
    mean = guess.mean.unsqueeze(1)
    if discrete:
        level = torch.rand(
            steps, count, rows, 1, generator=generator, dtype=mean.dtype, device=mean.device
        )
        return one_hot_sample(level, mean.expand(steps, count, rows, size))
    if noise is None:
        noise = torch.randn(
            steps, count, rows, size, generator=generator, dtype=mean.dtype, device=mean.device
        )
    return torch.addcmul(mean, guess.std.unsqueeze(1), noise).clamp_(-1.0, 1.0)


@dataclass(frozen=True)
class Solver:
    """Abstract: draws candidates, scores them, fits what the next ones are drawn from. A final
    class says how.

    Args:
        action: what an action is.
        horizon: steps of a plan.
        candidates: of a round, proposals included.
        rounds: how many.
        unimix: the share of the uniform distribution in the probabilities of choices.

    Raises:
        ValueError: a number makes no sense.

    >>> from agents.planning import MPPI
    >>> solver = MPPI(ActionSpec(2), horizon=3, candidates=64, rounds=4, elites=8)
    >>> plan, state = solver.solve(lambda a: -(a - 0.5).square().sum((0, 2)), solver.init(5))
    >>> plan.best().shape, {k: v.shape for k, v in state.items()}
    (torch.Size([5, 2]), {'plan': torch.Size([5, 3, 2])})
    """

    action: ActionSpec
    horizon: int = 3
    candidates: int = 512
    rounds: int = 6
    unimix: float = 0.05

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "horizon candidates rounds",
        "[0, 1]": "unimix",
    }

    def __post_init__(self) -> None:
        check_ranges(self)
        elites = getattr(self, "elites", 1)
        if not 1 <= elites <= self.candidates:
            raise ValueError(
                f"elites: expected 1 to {self.candidates}, the number of candidates, got {elites}"
            )

    # ---------------------------------------------------------------- what a final class says

    def begin(self, mean: Tensor) -> Guess:
        """From what the first round draws, around a warm start ``[H, B, A]``."""
        raise NotImplementedError

    def fit(self, guess: Guess, tried: Tried) -> Guess:
        """From what the next round draws."""
        raise NotImplementedError

    def draw(self, guess: Guess, count: int, at: int, generator: torch.Generator | None) -> Tensor:
        """``count`` candidates of round ``at``."""
        return draw(guess, count, self.action.discrete, generator)

    def keep(self, own: Tried, kept: Tried | None) -> Tried | None:
        """What of a round's own candidates, and of those kept before, is among the next round's,
        beside the proposals.
        """
        return None

    def remember(self, guess: Guess, tried: Tried | None) -> State:
        """The state after a plan, ``[B, ...]``."""
        return {"plan": guess.mean.movedim(0, 1).contiguous()}

    def recall(self, state: State) -> Tensor | None:
        """Candidates of the first round from the last plan's state, ``[H, K, B, A]``."""
        return None

    # ---------------------------------------------------------------- what all do

    def init(self, rows: int, like: Tensor | None = None) -> State:
        """The state before the first plan of ``rows`` environments.

        Args:
            like: gives type and device.
        """
        like = torch.zeros(()) if like is None else like
        return {"plan": like.new_full((rows, self.horizon, self.action.size), self._nothing)}

    @property
    def _nothing(self) -> float:
        return unknown(self.action.size, self.action.discrete)

    def cleared(self, state: State, first: Tensor | None) -> State:
        """The state with the rows where an episode begins as :meth:`init` gives them; NaN in them
        has no effect.

        Raises:
            ValueError: ``first`` is not ``[B]``, or no truth values.
        """
        if first is None:
            return state
        rows = len(state["plan"])
        if first.dtype != torch.bool or first.shape != (rows,):
            raise ValueError(
                f"first: expected truth values [{rows}], one a row of the state, "
                f"got {first.dtype} {list(first.shape)}"
            )
        fresh = self.init(len(first), next(iter(state.values())))
        return {
            k: torch.where(first.reshape(-1, *[1] * (v.ndim - 1)), fresh[k], v)
            for k, v in state.items()
        }

    def shifted(self, plan: Tensor) -> Tensor:
        """A plan ``[H, ..., A]`` from its second step on; nothing is known of the last."""
        return torch.cat([plan[1:], torch.full_like(plan[:1], self._nothing)])

    def solve(
        self,
        score: Score,
        state: State,
        *,
        first: Tensor | None = None,
        proposals: Tensor | None = None,
        generator: torch.Generator | None = None,
        seconds: float | None = None,
    ) -> tuple[Plan, State]:
        """Plan for each environment.

        Args:
            score: the returns of paths.
            state: of :meth:`init`, or of the last plan: its plan is shifted by one step, for a
                start.
            first: ``[B]``, where an episode begins and the last plan does not count.
            proposals: candidates of a policy's, ``[H, P, B, A]``; they are scored once, and count
                in each round.
            generator: of the draws; torch's own if None.
            seconds: no round begins after so many; a plan without any round is the first proposal.
                With a budget two equal calls may differ.

        Returns:
            The plan, and the state for the next one. Of an environment of which no candidate has a
                return that is a number, they are NaN.

        Raises:
            ValueError: ``first``, the proposals or the returns have another shape.
        """
        begin = 0.0 if seconds is None else time.monotonic()
        state = self.cleared(state, first)
        self._check(score, state, proposals)
        guess = self.begin(self.shifted(state["plan"].movedim(1, 0)))
        tried, kept, made = None, None, 0
        fixed = None
        for made in range(self.rounds + 1):
            over = seconds is not None and time.monotonic() - begin >= seconds
            if made == self.rounds or over:
                break
            held = 0 if fixed is None else len(fixed.returns)
            new = [] if made or proposals is None else [proposals]
            if not made and (recalled := self.recall(state)) is not None:
                new.append(recalled)
            more = sum(x.shape[1] for x in new) + held + (0 if kept is None else len(kept.returns))
            fresh = self.draw(guess, max(1, self.candidates - more), made, generator)
            found = self._scored(score, torch.cat([*new, fresh], 1) if new else fresh)
            tried = found.joined(fixed).joined(kept)
            own = found
            if not made and proposals is not None:
                count = proposals.shape[1]
                fixed = Tried(found.actions[:, :count], found.returns[:count])
                own = Tried(found.actions[:, count:], found.returns[count:])
            # proposals count in each round anyway
            guess, kept = self.fit(guess, tried), self.keep(own, kept)
        if not made and proposals is not None:
            guess = Guess(proposals[:, 0], torch.zeros_like(proposals[:, 0]))
        return Plan(guess.mean, guess.std, made, tried, self.action.discrete), self.remember(
            guess, tried
        )

    @staticmethod
    def _scored(score: Score, actions: Tensor) -> Tried:
        steps, count, rows, size = actions.shape
        returns = score(actions.reshape(steps, count * rows, size))
        if returns.shape != (count * rows,):
            raise ValueError(
                f"score: expected returns [{count * rows}], one a path, got {list(returns.shape)}"
            )
        return Tried(actions, returns.view(count, rows))

    def _check(self, score: Score, state: State, proposals: Tensor | None) -> None:
        rows = len(state["plan"])
        starts = getattr(score, "rows", rows)
        if starts != rows:
            raise ValueError(
                f"score: expected paths from {rows} states, as many as the plan's state has rows, "
                f"got {starts}"
            )
        if proposals is None:
            return
        steps, count, *rest = proposals.shape if proposals.ndim == 4 else (0, 0, 0, 0)
        if [steps, *rest] != [self.horizon, rows, self.action.size] or count >= self.candidates:
            raise ValueError(
                f"proposals: expected [{self.horizon}, P, {rows}, {self.action.size}] with P below "
                f"{self.candidates}, the candidates, got {list(proposals.shape)}"
            )

    def _mixed(self, mean: Tensor) -> Tensor:
        """Probabilities of choices with a share of the uniform ones."""
        return (
            mean * (1.0 - self.unimix) + self.unimix / self.action.size
            if self.action.discrete
            else mean
        )
