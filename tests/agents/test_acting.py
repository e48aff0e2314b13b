"""How DreamerV3 acts: the evaluated action is the mean, the explored one a draw; a reset forgets
everything.
"""

import pytest
import torch

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.heads import ActionSpec
from worldmodels import RSSM, RSSMConfig

ROWS = 4000


def small(**more):
    return RSSMConfig(deter=16, hidden=8, groups=3, classes=3, blocks=2, units=8, bins=11, **more)


def agent_of(discrete=False, **more):
    """An agent whose policy says something: means of about 0.5 and small deviations, unequal
    choices.
    """
    torch.manual_seed(0)
    config = DreamerV3Config(small(), units=8, actor_layers=1, critic_layers=1, bins=11, **more)
    agent = DreamerV3({"x": (3,)}, ActionSpec(2, discrete), config)
    bias = [0.3, 0.0] if discrete else [0.5, -0.3, -9.0, -2.5]
    with torch.no_grad():
        agent.policy.net[-1].weight.normal_(std=0.2)
        agent.policy.net[-1].bias.copy_(torch.tensor(bias))
    return agent


def given(rows, first=False):
    g = torch.Generator().manual_seed(1)
    return {"x": torch.randn(rows, 3, generator=g), "is_first": torch.full((rows,), first)}


def state_of(agent, rows):
    g = torch.Generator().manual_seed(2)
    return {k: torch.randn(v.shape, generator=g).tanh() for k, v in agent.initial(rows).items()}


def output_of(agent, state):
    """The policy network's last layer in the state that acting went to."""
    with torch.no_grad():
        return agent.policy.net(state["deter"], state["stoch"])


def test_the_evaluated_action_is_the_mean():
    agent = agent_of()
    action, new = agent.act(given(ROWS), state_of(agent, ROWS))
    assert torch.allclose(action, torch.tanh(output_of(agent, new)[:, :2]), atol=1e-6)
    assert torch.equal(new["action"], action)


def test_the_explored_action_is_a_draw():
    agent = agent_of()
    action, new = agent.act(given(ROWS), state_of(agent, ROWS), explore=True)
    loc, scale = output_of(agent, new).chunk(2, -1)
    error = (action - torch.tanh(loc)) / (0.9 * torch.sigmoid(scale + 2.0) + 0.1)
    assert error.mean(0).abs().max() < 4 / ROWS**0.5
    assert (error.var(0) - 1).abs().max() < 4 * (2 / ROWS) ** 0.5
    assert error.unique().numel() > ROWS  # of each row and number one of its own
    assert torch.equal(new["action"], action)


def test_the_evaluated_choice_is_the_most_probable():
    agent = agent_of(discrete=True)
    action, new = agent.act(given(ROWS), state_of(agent, ROWS))
    chosen = output_of(agent, new).argmax(-1)
    assert 0 < chosen.sum() < ROWS  # both choices are met
    assert torch.equal(action, torch.nn.functional.one_hot(chosen, 2).float())


def test_the_explored_choice_is_a_draw():
    agent = agent_of(discrete=True)
    action, new = agent.act(given(ROWS), state_of(agent, ROWS), explore=True)
    share = 0.99 * output_of(agent, new).softmax(-1) + 0.005
    spread = (share * (1 - share)).sum(0).sqrt()
    assert ((action - share).sum(0).abs() < 4 * spread).all()
    assert torch.equal(action.sum(-1), torch.ones(ROWS)) and torch.equal(new["action"], action)


def test_actions_are_handed_out_within_their_bounds():
    agent = agent_of()
    with torch.no_grad():
        agent.policy.net[-1].bias.copy_(torch.tensor([3.0, -3.0, 9.0, 9.0]))
    action, new = agent.act(given(ROWS), state_of(agent, ROWS), explore=True)
    assert action.abs().max() == 1 and torch.equal(new["action"], action)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reset_forgets_numbers_that_are_not_finite(discrete, bad):
    agent = agent_of(discrete)
    obs, state = given(4), state_of(agent, 4)
    obs["is_first"][1] = True
    broken = {k: v.clone() for k, v in state.items()}
    fresh = {k: v.clone() for k, v in state.items()}
    for k, v in agent.initial(1).items():
        broken[k][1], fresh[k][1] = bad, v[0]
    found = []
    for start in (broken, fresh):
        torch.manual_seed(3)
        found.append(agent.act(obs, start, explore=True))
    assert torch.equal(found[0][0], found[1][0]) and found[0][0].isfinite().all()
    assert all(torch.equal(found[0][1][k], found[1][1][k]) for k in state)


def test_a_world_model_forgets_them_too():
    torch.manual_seed(0)
    model = RSSM({"x": (3,)}, 2, small())
    step = {"x": torch.randn(2, 3), "action_prev": torch.full((2, 2), float("nan"))}
    step["is_first"] = torch.ones(2, dtype=torch.bool)
    state = {k: torch.full_like(v, float("nan")) for k, v in model.initial(2).items()}
    assert all(v.isfinite().all() for v in model.observe(state, step).values())


def test_acting_does_not_move_anything():
    agent = agent_of()
    before = {k: v.clone() for k, v in agent.state_dict().items()}
    state = state_of(agent, 3)
    kept = {k: v.clone() for k, v in state.items()}
    agent.act(given(3), state, explore=True)
    assert all(torch.equal(v, before[k]) for k, v in agent.state_dict().items())
    assert all(torch.equal(v, kept[k]) for k, v in state.items())
