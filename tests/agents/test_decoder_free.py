"""Agents whose model has no decoder keep the contract; their log has what took its place."""

import pytest
import torch
from agent_parts import SHAPES, interface_of, recorded

from agents.build import build
from agents.check import check_agent
from agents.config import load_config
from agents.settings import RunSettings

SMALL = ["agent.batch=3", "agent.length=6", "agent.horizon=2", "agent.model.deter=16"]
CASES = [("dreamer_v3/fast", "barlow"), ("dreamer_v2/small", "next_embedding")]


@pytest.mark.parametrize(("config", "kind"), CASES)
def test_an_agent_without_a_decoder(config, kind):
    settings = load_config(RunSettings, config, [*SMALL, f"agent.model.representation={kind}"])
    torch.manual_seed(0)
    agent = build(settings.agent, interface_of(SHAPES, False))
    assert r"L_{barlow}(align|" in str(agent.objective)
    assert not any(name.startswith("model.decoder") for name, _ in agent.named_parameters())
    check_agent(agent, interface_of(SHAPES, False))
    w = agent.window
    batch = recorded(w.rows, w.batch, dtype=torch.float32, stored=agent.stored)
    learned = agent.learn(batch)
    assert learned.metrics["align_cost"] > 0 and "rec" not in learned.metrics
    assert learned.priority.shape == (w.length, w.batch)
    assert agent.model.projection.net.weight.grad.abs().sum() > 0
