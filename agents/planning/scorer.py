r"""What a path is worth, for any world model that imagines.

.. math::
    R(a_{0:H}) = \sum_{t<H} \gamma^t l_t (r_t - \sum_k g_k) + \gamma^H l_H V(s_H), \quad
        l_t = \prod_{i<t} c_i
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from agents.agent import State

Imagine = Callable[[State, Tensor], State]
"""States ``[H + 1, N, ...]``, the start included, from states ``[N, ...]`` and actions ``[H, N,
A]``.
"""

OnPath = Callable[[State, Tensor], Tensor]
"""Numbers ``[H, N]``, one an action, from the states ``[H + 1, N, ...]`` and actions ``[H, N, A]``
of paths.
"""

AtEnd = Callable[[State], Tensor]
"""Numbers ``[N]`` from states ``[N, ...]``."""


class PathScorer:
    """Scores paths of a model; :meth:`at` is what a solver takes.

    Args:
        imagine: the model.
        reward: of each action.
        value: of the last state; nothing counts after the path if None.
        live: the probability that the episode goes on after each action; it always does if None.
        discount: per step.
        constraints: costs of each action, of one's own: they are taken from the reward.

    >>> def imagine(state, actions):
    ...     return {"x": torch.cat([state["x"][None], state["x"] + actions.cumsum(0)])}
    >>> scorer = PathScorer(
    ...     imagine, reward=lambda path, actions: -path["x"][1:].square().sum(-1), discount=1.0
    ... )
    >>> scorer.at({"x": torch.ones(1, 1)})(torch.tensor([[[-1.0], [0.0]]]))
    tensor([ 0., -1.])
    """

    def __init__(
        self,
        imagine: Imagine,
        reward: OnPath,
        value: AtEnd | None = None,
        live: OnPath | None = None,
        discount: float = 0.99,
        constraints: Sequence[OnPath] = (),
    ) -> None:
        self.imagine, self.reward, self.value, self.live = imagine, reward, value, live
        self.discount, self.constraints = discount, tuple(constraints)
        self._powers: dict[tuple[int, torch.device, torch.dtype], Tensor] = {}

    def at(self, state: State) -> From:
        """The returns of paths from states ``[B, ...]``: row ``n * B + b`` of the actions is a path
        from state ``b``.
        """
        return From(self, state)

    def returns(self, state: State, actions: Tensor) -> Tensor:
        """The return ``[N]`` of each path ``[H, N, A]`` from its state ``[N, ...]``.

        Raises:
            ValueError: a reward, a cost or what is live is not ``[H, N]``, or a value not ``[N]``.
        """
        path = self.imagine(state, actions)
        steps, count = actions.shape[:2]
        reward = _shaped("reward", self.reward(path, actions), steps, count)
        for cost in self.constraints:
            reward = reward - _shaped("constraint", cost(path, actions), steps, count)
        weight = self._weights(steps, reward)
        last = None
        if self.value is not None:
            last = _shaped("value", self.value({k: v[-1] for k, v in path.items()}), count)
        if self.live is None:
            total = weight[:-1] @ reward
            return total if last is None else torch.add(total, last, alpha=self.discount**steps)
        live = _shaped("live", self.live(path, actions), steps, count).cumprod(0)
        total = reward[0] + (weight[1:-1, None] * live[:-1] * reward[1:]).sum(0)
        return (
            total
            if last is None
            else torch.addcmul(total, live[-1], last, value=self.discount**steps)
        )

    def _weights(self, steps: int, like: Tensor) -> Tensor:
        key = steps, like.device, like.dtype
        if key not in self._powers:
            self._powers[key] = self.discount ** torch.arange(
                steps + 1, device=like.device, dtype=like.dtype
            )
        return self._powers[key]


class From:
    """Returns of paths from given states: a :data:`agents.planning.plan.Score`.

    Args:
        scorer: of paths.
        state: ``[B, ...]``.

    >>> scorer = PathScorer(
    ...     lambda state, actions: state, reward=lambda path, actions: actions[..., 0]
    ... )
    >>> scorer.at({"x": torch.zeros(2, 1)}).rows
    2
    """

    def __init__(self, scorer: PathScorer, state: State) -> None:
        self.scorer, self.state = scorer, state
        self.rows = len(next(iter(state.values())))
        """B."""

    def __call__(self, actions: Tensor) -> Tensor:
        """The returns ``[N]`` of paths ``[H, N, A]``, N a multiple of B.

        Raises:
            ValueError: it is none.
        """
        times, over = divmod(actions.shape[1], self.rows)
        if over:
            raise ValueError(
                f"actions: expected [H, N, A] with N a multiple of {self.rows}, the number of "
                f"states, got {list(actions.shape)}"
            )
        starts = {k: v.repeat(times, *[1] * (v.ndim - 1)) for k, v in self.state.items()}
        return self.scorer.returns(starts, actions)


def _shaped(what: str, found: Tensor, *shape: int) -> Tensor:
    """``found``, if it has the shape: nothing is to broadcast."""
    if found.shape != shape:
        raise ValueError(f"{what}: expected {list(shape)}, got {list(found.shape)}")
    return found.float() if found.dtype == torch.bool else found
