"""Imagination: a policy acts in a model, without data, for any model whose transitions read
actions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pixyz.distributions import Distribution, Scan
from pixyz.types import PixyzError

NEXT, PREV, PATH = "_next", "_prev", "_all"
"""Endings of the names of a state after a step, before it, and of all states with the first one."""


def transition_of(generation: Distribution, state: Collection[str]) -> Distribution:
    """What a step of generation draws the state from: without densities of observations that no
    state reads.

    Args:
        generation: one step that draws state and observations.
        state: the variables of the state.
    """
    factors = generation.factors()
    owner = {v: f for f in factors for v in f.var}
    needed, left = set[int](), [v for v in state if v in owner]
    while left:
        factor = owner[left.pop()]
        if id(factor) not in needed:
            needed.add(id(factor))
            left += [v for v in factor.cond_var if v in owner]
    if len(needed) == len(factors):
        return generation
    total: Distribution | None = None
    for factor in reversed(factors):  # parents first
        if id(factor) in needed:
            total = factor if total is None else total * factor
    if total is None:
        raise PixyzError(
            f"a step of generation draws none of the state {sorted(state)}: {generation.prob_text}"
        )
    return total


def dream(
    transition: Distribution,
    policy: Distribution,
    horizon: int,
    drawn: Mapping[str, str],
    grad: bool,
    start: Mapping[str, str],
) -> Scan:
    """Policy and transition for ``horizon`` steps from a state; see
    :meth:`worldmodels.StateSpaceModel.dream`.

    Args:
        transition: one step without observation, from ``NAME_prev`` and ``action_prev``.
        policy: of ``action`` given variables of the state.
        horizon: how many steps.
        drawn: name in the state -> the variable that the transition draws for it.
        grad: whether gradients flow along the path.
        start: name in the state -> the variable that it begins with, where that has another name.
    """
    if "action" not in policy.var:
        raise PixyzError(
            f"a policy draws 'action' given the state {list(drawn)}, got {policy.prob_text}"
        )
    ahead = {v: v + NEXT for v in transition.var}
    states = {k: v for k, v in drawn.items() if v in ahead}
    read = {k: k + PREV for k in states if k in policy.cond_var}
    step: Distribution = policy.at(action="action_prev", **read)
    for factor in reversed(transition.factors()):  # parents first
        step = step * factor.at(
            **{v: ahead[v] for v in [*factor.var, *factor.cond_var] if v in ahead}
        )
    update: dict[str, list[str]] = {}
    for k, v in states.items():
        update.setdefault(ahead[v], []).append(k + PREV)
    return Scan(
        step,
        steps=horizon,
        update_value=update,
        start={k + PREV: start.get(k, k) for k in states},
        path={k + PATH: k + PREV for k in states},
        grad=grad,
    )
