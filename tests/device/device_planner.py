"""TD-MPC on a device that is not the CPU: updates and plans stay there,
and an update reads once.
"""

from typing import Any

import pytest
import torch
from made_up_device import Made, move, register, to_device, watched
from test_tdmpc import agent_of, observed, recorded

KINDS: dict[str, dict[str, Any]] = {
    "continuous": {},
    "discrete": {"discrete": True},
    "five critics": {"critics": 5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_and_a_plan_stay_on_the_device(kind: str) -> None:
    register()
    batch, obs = recorded(KINDS[kind].get("discrete", False), torch.float32), observed()
    found = []
    for there in (False, True):
        agent = agent_of(dtype=torch.float32, **KINDS[kind])
        with watched() as watch:
            rows, seen = batch, obs
            if there:
                move(agent)
                rows, seen = to_device(batch), to_device(obs)
            torch.manual_seed(1)
            for _ in range(2):
                watch.clear()
                metrics = agent.learn(rows).metrics
                update = [list(watch.strays), list(watch.reads), list(watch.uploads)]
                state = agent.initial(3)
                watch.clear()
                for explore in (False, True):
                    action, state = agent.act(seen, state, explore=explore)
                act = [list(watch.strays), list(watch.uploads)]
        found.append((metrics, {"action": action, **state}))
    assert not update[0] and len(update[1]) <= 2, update
    assert not act[0], act
    (here, tensors), (there_metrics, others) = found
    assert there_metrics == pytest.approx(here, rel=1e-4, abs=1e-6)
    for k, v in tensors.items():
        assert isinstance(others[k], Made)
        torch.testing.assert_close(others[k].held, v, rtol=1e-4, atol=1e-4)
    assert all(isinstance(p, Made) for p in agent.state_dict().values())
