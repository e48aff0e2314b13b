"""Acting in two steps: choose, and look at the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from agents.agent import State
from agents.guard import check_acting
from pixyz.types import PixyzError


class Checked:
    """Abstract: a final class chooses; :meth:`act` is that, and refuses what is not finite.

    >>> from agents.sac.agent import SAC
    >>> issubclass(SAC, Checked)
    True
    """

    keys: Sequence[str]
    """What it sees of an observation."""

    def choose(
        self, obs: Mapping[str, Tensor], state: State, explore: bool
    ) -> tuple[Tensor, State]:
        """As :meth:`act`, and looks at no number: NaN comes out where it goes in."""
        raise NotImplementedError

    def act(
        self, obs: Mapping[str, Tensor], state: State, *, explore: bool = False
    ) -> tuple[Tensor, State]:
        """See :meth:`agents.agent.Actor.act`.

        Raises:
            NotFinite: an observation or the action is not finite; the state is the caller's as it
                was.
            PixyzError: observations, ``is_first`` and the state are not of equally many rows.
        """
        self._check_rows(obs, state)
        action, following = self.choose(obs, state, explore)
        check_acting({k: obs[k] for k in self.keys}, action)
        return action, following

    def _check_rows(self, obs: Mapping[str, Tensor], state: State) -> None:
        """One row, or one of a state, would broadcast."""
        rows = len(obs["is_first"])
        odd = {k: len(obs[k]) for k in self.keys if len(obs[k]) != rows}
        odd |= {f"the state's {k}": len(v) for k, v in state.items() if len(v) != rows}
        if odd:
            raise PixyzError(
                f"act: expected {rows} rows, those of is_first, got {odd}; the first state is that "
                f"of initial({rows})"
            )
