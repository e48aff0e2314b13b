"""Policies that act by compiled code: the same actions and states, with the same draws."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import chosen
from agents.agent import Actor
from agents.build import build
from agents.chosen import Chosen
from agents.config import load_config
from agents.errors import UsageError
from agents.policy import Policy
from agents.settings import RunSettings
from agents.spaces import Interface
from envs import ActionGuard, ObservationError, ObservationGuard
from pixyz.plan import Options
from pixyz.plan.run.compiled import HEADER

SEEN, DONE = spaces.Box(-1.0, 1.0, (3,)), spaces.Box(-2.0, 2.0, (2,))
PLAN = ["agent.candidates=16", "agent.elites=4", "agent.rounds=2"]
AGENTS = {
    "dreamer_v1/small": [],
    "dreamer_v2/small": [],
    "dreamer_v3/fast": [],
    "planet/small": [*PLAN, "agent.horizon=2"],
    "sac/small": [],
    "tdmpc/small": [*PLAN, "agent.proposals=2"],
}


def config(name):
    return load_config(RunSettings, name, [*AGENTS[name], "env.id=Pendulum-v1"]).agent


def pair(settings, explore=False):
    """The same agent twice, behind two policies; weights that are not those of the beginning, where
    heads are zero.
    """
    see, do = ObservationGuard(SEEN), ActionGuard(DONE)
    agent = build(settings, Interface.from_spaces(see.space, do.space)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return [Policy(agent, see, do, explore=explore) for _ in range(2)]


def check_same(plain, fast, atol):
    rng = np.random.default_rng(0)
    for step in range(8):
        if step == 5:  # an episode begins
            plain.reset(), fast.reset()
        seen = rng.uniform(-1.0, 1.0, 3).astype(np.float32)
        torch.manual_seed(step)
        expected = plain.act(seen)
        torch.manual_seed(step)
        assert np.allclose(fast.act(seen), expected, atol=atol)
        for key, value in plain.memory.items():
            assert torch.allclose(fast.memory[key], value, atol=atol)
        if step == 2:  # another action was done
            plain.acted([0.5, -0.5]), fast.acted([0.5, -0.5])


@pytest.mark.skipif(not (shutil.which("g++") and HEADER.is_file()), reason="nothing compiles here")
def test_compiled_code_acts_the_same():
    plain, fast = pair(config("dreamer_v3/fast"), explore=True)
    drawn = torch.get_rng_state()
    fast.compile()
    assert torch.equal(drawn, torch.get_rng_state())  # actions on made observations leave no trace
    assert isinstance(fast.actor, Actor) and fast.actor.choose.compiled is not None
    check_same(plain, fast, 1e-5)
    before = fast.memory
    with pytest.raises(ObservationError, match="finite"):
        fast.act([np.nan, 0.0, 0.0])
    assert fast.memory is before


def test_new_weights_count(monkeypatch):
    monkeypatch.setattr(chosen, "Options", lambda: Options(backend="aot_eager"))
    plain, fast = pair(config("sac/small"))
    fast.compile()
    with torch.no_grad():
        for p in plain.actor.parameters():
            p.mul_(1.5)
    check_same(plain, fast, 1e-6)


@pytest.mark.parametrize("name", AGENTS)
def test_what_each_agent_acts_with_is_compiled(name, monkeypatch):
    monkeypatch.setattr(chosen, "Options", lambda: Options(backend="eager"))  # traced, not emitted
    plain, fast = pair(config(name))
    fast.compile()
    assert isinstance(fast.actor, Chosen) and isinstance(plain.actor, type(fast.actor.actor))
    check_same(plain, fast, 1e-5)


def test_a_plan_with_a_limit_of_time_is_not_compiled():
    _, policy = pair(replace(config("tdmpc/small"), seconds=0.01))
    with pytest.raises(UsageError, match=r"agent.seconds=0.01.*without compiled"):
        policy.compile()


def test_an_agent_that_says_nothing_of_its_functions_is_not_compiled(monkeypatch):
    _, policy = pair(config("sac/small"))
    monkeypatch.setattr(type(policy.actor), "exports", {})
    with pytest.raises(UsageError, match=r"agent.kind sac: expected a property `exports`"):
        policy.compile()
