"""TD-MPC between its policy and its plan: by what the plan promises beyond the policy's path."""

import numpy as np
import pytest
import torch
from test_tdmpc import SHAPES, agent_of
from test_tdmpc import observed as observed_in_single

from agents.tdmpc import TDMPCConfig

ROWS = 5


def observed():
    obs = observed_in_single(ROWS)
    return {k: v.double() if v.is_floating_point() else v for k, v in obs.items()}


def seen(agent, obs):
    """The latent state, and the plan that is made with the draws of seed 3."""
    torch.manual_seed(3)
    with torch.no_grad():
        plan, _ = agent.plan(obs, agent.initial(ROWS))
        return agent.encoder(**{k: obs[k] for k in SHAPES})["z"], plan


def acted(agent, obs, explore=False):
    torch.manual_seed(3)
    return agent.act(obs, agent.initial(ROWS), explore=explore)[0]


def wide(agent, low=-2.0, high=5.0):
    """The range of values, as if it had been learned."""
    agent.scaled.scale.bounds.copy_(torch.tensor([low, high]))
    return high - low


def worth(agent, z, path):
    """Rewards along a path and the critics' value at its end, a row at a time."""
    found = []
    with torch.no_grad():
        for row in range(len(z)):
            state, total = z[row : row + 1], 0.0
            for t, action in enumerate(path[:, row : row + 1]):
                reward = agent.reward.mean(agent.reward.net(state, action)).item()
                total += agent.config.discount**t * reward
                state = agent.dynamics.net(state, action)
            value = agent.critics.mean(agent.critics.net(state, agent.policy.best(state))).mean()
            found.append(total + agent.config.discount ** len(path) * value.item())
    return np.array(found)


def of_policy(agent, z):
    path = []
    with torch.no_grad():
        for _ in range(agent.config.horizon):
            path.append(agent.policy.best(z))
            z = agent.dynamics.net(z, path[-1])
    return torch.stack(path)


def test_the_best_action_lies_between_policy_and_plan_by_what_the_plan_promises():
    margin = 0.07
    agent, obs = agent_of(margin=margin), observed()
    size = wide(agent)
    z, plan = seen(agent, obs)
    path = of_policy(agent, z)
    promised = worth(agent, z, plan.mean) - worth(agent, z, path)
    share = np.clip(promised / (margin * size), 0.0, 1.0)
    assert ((share > 0.05) & (share < 0.95)).any()
    between = (1 - share)[:, None] * path[0].numpy() + share[:, None] * plan.mean[0].numpy()
    assert acted(agent, obs).numpy() == pytest.approx(between, abs=1e-9)


@pytest.mark.parametrize("discrete", [False, True])
def test_a_wide_margin_is_the_policy_and_a_narrow_one_the_plan_where_it_promises_more(discrete):
    obs = observed()
    policy, planner = (agent_of(discrete, margin=m) for m in (1e6, 1e-9))
    wide(policy), wide(planner)
    z, plan = seen(policy, obs)
    path = of_policy(policy, z)
    assert acted(policy, obs).numpy() == pytest.approx(path[0].numpy(), abs=1e-4)
    more = worth(policy, z, plan.path()) > worth(policy, z, path)
    assert more.any()
    chosen = np.where(more[:, None], plan.best(), path[0])
    assert acted(planner, obs).numpy() == pytest.approx(chosen, abs=1e-4)


def test_choices_are_the_nearer_one():
    obs = observed()
    agent = agent_of(True, margin=0.1)
    size = wide(agent)
    z, plan = seen(agent, obs)
    path = of_policy(agent, z)
    promised = worth(agent, z, plan.path()) - worth(agent, z, path)
    planned = promised > 0.5 * 0.1 * size
    assert planned.any() and not planned.all()
    chosen = np.where(planned[:, None], plan.best(), path[0])
    assert np.array_equal(acted(agent, obs), chosen)


def test_exploring_and_no_margin_are_the_plan_alone():
    obs = observed()
    alone, other = agent_of(), agent_of(margin=0.5)
    assert torch.equal(acted(alone, obs), seen(alone, obs)[1].best())
    assert torch.equal(acted(alone, obs, explore=True), acted(other, obs, explore=True))


def test_acting_does_not_move_the_range_of_values_and_takes_it_along():
    agent, other = agent_of(margin=0.07).train(), agent_of(margin=0.07)
    wide(agent)
    obs = observed()
    before = agent.scaled.scale.bounds.clone()
    action = acted(agent, obs)
    assert torch.equal(agent.scaled.scale.bounds, before)
    assert not torch.equal(acted(other, obs), action)
    other.acting.load_state_dict(agent.acting.state_dict())
    assert torch.equal(acted(other, obs), action)


def test_an_exported_planner_has_the_margin():
    agent, obs = agent_of(margin=0.07), observed()
    wide(agent)
    torch.manual_seed(3)
    found, _ = agent.exports["planner"](obs, agent.initial(ROWS), False)
    assert torch.equal(found, acted(agent, obs))


def test_a_margin_below_zero_is_refused():
    with pytest.raises(ValueError, match="margin"):
        TDMPCConfig(margin=-0.1)
