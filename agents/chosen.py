"""An actor that acts by one function of an agent: another one than ``act`` takes, or a compiled
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.agent import Actor, Choose, State
from agents.errors import UsageError
from agents.guard import check_acting
from pixyz.plan import Options
from pixyz.plan.run.compiled import Compiled, settings


class Chosen:
    """An actor whose actions are those of ``choose``; the rest is the agent's.

    Args:
        actor: the agent.
        choose: one of its ``exports``, or what does the same.
    """

    def __init__(self, actor: Actor, choose: Choose) -> None:
        self.actor, self.choose = actor, choose
        self.stored, self.device = actor.stored, actor.device

    def initial(self, rows: int) -> State:
        """The agent's own."""
        return self.actor.initial(rows)

    @torch.no_grad()
    def act(
        self, obs: Mapping[str, Tensor], state: State, *, explore: bool = False
    ) -> tuple[Tensor, State]:
        """By that function.

        Raises:
            NotFinite: an observation or the action is not finite.
        """
        action, following = self.choose(obs, state, explore)
        check_acting(obs, action)
        return action, following

    def acted(self, state: State, action: Tensor) -> State:
        """The agent's own."""
        return self.actor.acted(state, action)


def choices_of(agent: Any, cure: str) -> Mapping[str, Choose]:
    """An agent's ``exports``, of which the first is what ``act`` does.

    Raises:
        UsageError: it has none; ``cure`` is the error's last words.
    """
    choices: Mapping[str, Choose] = getattr(agent, "exports", {})
    if not choices:
        raise UsageError(
            f"agent.kind {kind_of(agent)}: expected a property `exports`, name -> (obs, state, "
            f"explore) -> (action, state), got none; {cure}"
        )
    return choices


def kind_of(agent: Any) -> str:
    """Its kind in the settings, or its class."""
    return str(getattr(getattr(agent, "config", None), "kind", type(agent).__name__))


def compiled(agent: Any) -> Chosen:
    """The agent, acting by what it acts with, compiled at the first call.

    The same draws follow from the same seed. Without a C++ compiler or ``Python.h`` it acts as it
    is, with a warning.

    Args:
        agent: has ``exports``: name -> :data:`agents.agent.Choose`, of which the first is what
            ``act`` does.

    Raises:
        UsageError: it has no such functions, or a limit of time, which compiled code does not keep.
    """
    choices = choices_of(agent, "load it without compiled")
    if seconds := getattr(getattr(agent, "config", None), "seconds", 0.0):
        raise UsageError(
            f"agent.seconds={seconds}: expected a plan without a limit of time to compile, "
            "got one; load it without compiled"
        )
    return Chosen(agent, compiled_choice(next(iter(choices.values()))))


def compiled_choice(choose: Choose) -> Compiled:
    """A function of an agent's ``exports``, compiled at the first call: the same draws, and code
    for each number of rows.
    """
    how = settings(Options(), fallback_random=True)
    return Compiled(choose, {**how, "dynamic": False})
