"""How TD-MPC explores: with noise that lasts, and at random where its plan says nothing."""

import numpy as np
import pytest
import torch
from test_tdmpc import agent_of, observed

from agents.planning import Plan
from agents.planning.plan import Tried
from agents.tdmpc import TDMPCConfig

ROWS, RHO = 300, 0.8


def plan_of(returns, discrete=False):
    """A plan of two steps whose last candidates had ``returns [N, B]``."""
    mean = torch.tensor([0.3, 0.7]).repeat(2, 2, 1)
    tried = Tried(torch.zeros(2, len(returns), 2, 2), torch.tensor(returns))
    return Plan(mean, torch.full_like(mean, 0.2), 1, tried, discrete)


def observations(rows=ROWS, first=True):
    obs = {k: v.double() if v.is_floating_point() else v for k, v in observed(rows).items()}
    return {**obs, "is_first": torch.full((rows,), first)}


def acted(agent, steps):
    """Exploring actions ``[T, B, A]`` and the noise that the state remembers."""
    torch.manual_seed(0)
    state, found = agent.initial(ROWS), []
    for at in range(steps):
        action, state = agent.act(observations(first=at == 0), state, explore=True)
        found.append((action, state.get("noise")))
    return found


def test_a_plan_says_as_much_as_its_candidates_differ():
    plan = plan_of([[1.0, 1.0], [1.5, 1.0], [1.25, 1.0]])
    assert np.allclose(plan.says(torch.tensor(2.0)), [0.25, 0.0])
    assert np.allclose(plan.says(torch.tensor(0.1)), [1.0, 0.0])
    assert Plan(plan.mean, plan.std, 0, None, False).says(torch.tensor(1.0)).tolist() == [1.0, 1.0]


def test_what_a_plan_does_not_say_is_at_random():
    share = torch.tensor([0.25, 1.0])
    found = plan_of([[0.0, 0.0]]).mixed(share)
    assert np.allclose(found.mean, [[[0.075, 0.175], [0.3, 0.7]]] * 2, atol=1e-6)
    assert np.allclose(found.std, [[[0.8, 0.8], [0.2, 0.2]]] * 2, atol=1e-6)
    choices = plan_of([[0.0, 0.0]], discrete=True).mixed(share)
    assert np.allclose(choices.mean, [[[0.45, 0.55], [0.3, 0.7]]] * 2, atol=1e-6)


def test_noise_that_is_given_is_not_drawn():
    plan, noise = plan_of([[0.0, 0.0]]), torch.tensor([[1.0, -1.0], [0.5, 9.0]])
    drawn = plan.draw(noise=noise, least=0.25)
    assert np.allclose(drawn, [[0.55, 0.45], [0.425, 1.0]], atol=1e-6)


def correlation(one, two):
    return float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])


def flat(**settings):
    """An agent whose plans say nothing: weights of what scores a path are 0, and each candidate has
    the same return.
    """
    agent = agent_of(max_std=0.05, around_elite=False, explore_correlation=RHO, **settings)
    with torch.no_grad():
        for module in (agent.reward, agent.critics):
            for weight in module.parameters():
                weight.zero_()
    return agent


def test_where_values_are_flat_it_acts_at_random_and_its_noise_lasts():
    (one, first), (two, second) = acted(flat(explore_margin=0.01), 2)
    assert torch.equal(one, first.clamp(-1.0, 1.0)) and torch.equal(two, second.clamp(-1.0, 1.0))
    assert abs(first.mean()) < 0.1 and first.std() == pytest.approx(1.0, abs=0.1)
    assert second.std() == pytest.approx(1.0, abs=0.1)
    assert correlation(first, second) == pytest.approx(RHO, abs=0.06)
    (plain, remembered), _ = acted(flat(), 2)
    assert plain.std() < 0.2 and remembered is None  # as published: what the plan happens to be


def test_noise_is_new_in_the_next_episode():
    agent = flat(explore_margin=0.01)
    (_, state), _ = acted(agent, 2)
    torch.manual_seed(9)
    _, after = agent.act(observations(), {**agent.initial(ROWS), "noise": state}, explore=True)
    assert abs(correlation(after["noise"], state)) < 0.12


def test_where_a_plan_says_much_it_is_followed_as_without_the_setting():
    """And with the same draws."""
    for around in (False, True):
        agents = [agent_of(explore_margin=m, around_elite=around) for m in (0.0, 1e-12)]
        one, two = (acted(agent, 3) for agent in agents)
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(one, two, strict=True))
    assert correlation(two[0][1], two[1][1]) == pytest.approx(0.0, abs=0.12)  # it has no memory


def test_the_best_action_and_a_plan_leave_the_noise_as_it_is():
    assert set(agent_of(explore_correlation=RHO).initial(2)) == {"plan"}
    agent = agent_of(explore_margin=0.01)
    state = {**agent.initial(2), "noise": torch.ones(2, agent.action.size, dtype=torch.float64)}
    obs = observations(2, first=False)
    _, after = agent.act(obs, state)
    assert torch.equal(after["noise"], state["noise"])
    assert torch.equal(agent.plan(obs, state)[1]["noise"], state["noise"])


def test_what_makes_no_sense_is_refused():
    for wrong in ({"explore_correlation": 1.0}, {"explore_margin": -0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TDMPCConfig(**wrong)
