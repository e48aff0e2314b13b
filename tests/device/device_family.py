"""Other agents on a device that is not the CPU: updates and acting stay there, an update reads
once.
"""

from __future__ import annotations

from typing import Any

import pytest
import test_dreamer_family
import test_sac
import torch
from agent_parts import SHAPES, recorded
from made_up_device import Made, move, register, to_device, watched

AGENTS: dict[str, tuple[Any, bool]] = {
    # an agent, and whether its actions are choices
    "sac": (lambda: test_sac.agent_of(dtype=torch.float32), False),
    "sac, choices": (lambda: test_sac.agent_of(True, torch.float32), True),
    **{
        f"{name}, {kind}": (
            lambda name=name, d=d: test_dreamer_family.agent_of(name, d, torch.float32),
            d,
        )
        for name in test_dreamer_family.AGENTS
        for kind, d in (("numbers", False), ("choices", True))
    },
    "a dreamer that plans": (test_dreamer_family.planning_dreamer, False),
    "sac, batch norm": (lambda: test_sac.agent_of(dtype=torch.float32, norm="batch"), False),
}


@pytest.mark.parametrize("name", AGENTS)
def test_an_update_and_an_action_stay_on_the_device(name: str) -> None:
    register()
    build, discrete = AGENTS[name]
    found: list[Any] = []
    for there in (False, True):
        agent = build()
        batch = recorded(
            agent.window.rows, agent.window.batch, discrete, torch.float32, stored=agent.stored
        )
        with watched() as watch:
            if there:
                move(agent)
                batch = to_device(batch)
            obs = {k: batch[k][0] for k in (*SHAPES, "is_first")}
            torch.manual_seed(1)
            for _ in range(2):
                watch.clear()
                learned = agent.learn(batch)
                update = [list(watch.strays), list(watch.reads), list(watch.uploads)]
                state = agent.initial(agent.window.batch)
                watch.clear()
                for explore in (False, True):
                    action, state = agent.act(obs, state, explore=explore)
                act = [list(watch.strays), list(watch.uploads)]
        found.append((learned.metrics, {"action": action, **state, **learned.stored}))
    assert not update[0] and not update[2] and len(update[1]) == 1, update
    assert not act[0] and not act[1], act
    (here, tensors), (there_metrics, others) = found
    assert there_metrics == pytest.approx(here, rel=1e-4, abs=1e-6)
    for k, v in tensors.items():
        assert isinstance(others[k], Made)
        torch.testing.assert_close(others[k].held, v, rtol=1e-4, atol=1e-4)
    assert all(isinstance(p, Made) for p in agent.state_dict().values())
