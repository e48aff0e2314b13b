"""An agent's objective with a term of one's own: public names only, filtered once, logged, saved
once.
"""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.export.step import policy_step
from agents.policy import Policy
from agents.spaces import ActionSpec, Interface
from envs import ActionGuard, ObservationError, ObservationGuard
from envs.plain import space_to_plain
from pixyz.distributions import Normal
from pixyz.expression import LogProb
from worldmodels import RSSMConfig


class Height(Normal):
    """What a second camera would say, from the state."""

    def __init__(self, size):
        super().__init__("height", ["deter", "stoch"], "p_h", features_shape=[1])
        self.net = nn.Linear(size, 1)

    def forward(self, deter, stoch):
        loc = self.net(torch.cat([deter, stoch], -1))
        return {"loc": loc, "scale": torch.ones_like(loc)}


def made(weight=0.5):
    torch.manual_seed(0)
    model = RSSMConfig(deter=16, hidden=8, groups=3, classes=3, blocks=2, units=8, bins=11)
    config = DreamerV3Config(
        model, units=8, batch=2, length=4, horizon=3, bins=11, warmup=0, lr=1e-2
    )
    head = Height(model.features)
    return head, DreamerV3(
        {"x": (3,)}, ActionSpec(1), config, terms={"aux": -weight * LogProb(head)}
    )


def batch():
    draw = torch.Generator().manual_seed(1)
    found = {
        "x": torch.randn(5, 2, 3, generator=draw),
        "height": torch.randn(5, 2, 1, generator=draw) + 2.0,
    }
    found |= {
        "action": torch.rand(5, 2, 1, generator=draw),
        "reward": torch.randn(5, 2, generator=draw),
    }
    found |= {
        k: torch.zeros(5, 2, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")
    }
    return found | {"deter": torch.zeros(5, 2, 16), "stoch": torch.zeros(5, 2, 9)}


def test_it_is_in_the_formula_and_filtered_once():
    _, agent = made()
    assert "height" in str(agent.objective)
    plain = DreamerV3({"x": (3,)}, ActionSpec(1), agent.config)
    agent.learn(batch())
    plain.learn(batch())
    loops = [str(a.objective.plan).count("for t") for a in (agent, plain)]
    assert loops[0] == loops[1]


def test_it_is_logged_and_learned():
    head, agent = made()
    values = [agent.learn(batch()).metrics["aux"] for _ in range(40)]
    assert values[-1] < 0.7 * values[0]
    nll = lambda: 0.5 * ((2.0 - head.net.bias) ** 2).item()  # noqa: E731
    assert nll() < 2.0


def test_its_weights_are_saved_once():
    head, agent = made()
    names = [k for k, v in agent.state_dict(keep_vars=True).items() if v is head.net.weight]
    assert (
        len(names) == 1
        and sum(p is head.net.weight for p in agent.optimizer.param_groups[0]["params"]) == 1
    )


def test_its_data_must_be_there():
    _, agent = made()
    given = batch()
    del given["height"]
    with pytest.raises((KeyError, ValueError), match="height"):
        agent.learn(given)


def test_acting_does_without_what_is_predicted_alone():
    """A laser of the laboratory is a target in training; the robot has none."""
    _, agent = made()
    declared = spaces.Dict(x=spaces.Box(-1.0, 1.0, (3,)), height=spaces.Box(0.0, 4.0, (1,)))
    see, do = ObservationGuard(declared), ActionGuard(spaces.Box(-2.0, 2.0, (1,)))
    policy, x, actions = Policy(agent.eval(), see, do), np.zeros(3, np.float32), []
    for more in ({}, {"height": np.ones(1)}, {"height": np.full(1, np.nan)}):
        policy.reset()
        torch.manual_seed(0)
        actions.append(policy.act({"x": x, **more}))
    assert actions[0] == actions[1] == actions[2]
    for wrong in ({"height": np.ones(1)}, {"x": x, "depth": np.ones(1)}):
        with pytest.raises(ObservationError, match="expected the keys"):
            policy.act(wrong)
    step, _ = policy_step(
        agent, Interface.from_spaces(see.space, do.space), do.space, space_to_plain(do.space)
    )
    assert step.signature.names("observation") == ["obs_x"]
