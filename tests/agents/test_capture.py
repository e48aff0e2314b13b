"""Captured updates: the same as others, where they cannot be captured they say why, and nothing
else changes.

No GPU is needed: in the place of a graph stands a function that computes again, on the graph's own
inputs and gradients.
"""

import copy
import functools
from typing import Any

import pytest
import torch
from agent_parts import SHAPES, nowhere_zero, recorded
from test_dreamer_v3 import config as dreamer_config

from agents import torch_agent
from agents.capture import Captured
from agents.dreamer import DreamerV3
from agents.guard import NotFinite
from agents.sac import SAC, SACConfig
from agents.spaces import ActionSpec
from agents.tdmpc import TDMPC, TDMPCConfig

TDMPC_SIZES = {
    "latent": 12,
    "group": 4,
    "units": 10,
    "encoder_units": 9,
    "critics": 2,
    "bins": 13,
    "limit": 6.0,
}
AGENTS = {
    "dreamer_v3": lambda: DreamerV3(SHAPES, ActionSpec(2), dreamer_config()),
    "sac": lambda: SAC(SHAPES, ActionSpec(2), SACConfig(units=8, temperature=0.3, norm="batch")),
    "tdmpc": lambda: TDMPC(SHAPES, ActionSpec(2), TDMPCConfig(**TDMPC_SIZES)),
}


def made(kind: str) -> tuple[Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    agent = nowhere_zero(AGENTS[kind](), torch.float32)
    return agent, recorded(agent.window.rows, 4, dtype=torch.float32, stored=agent.stored)


def again(call: Any) -> Any:
    """A graph that is none: the call, after some runs."""
    for _ in range(3):
        call()
    return call


@pytest.fixture
def recordable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_agent, "why_not", lambda agent: "")
    monkeypatch.setattr(torch_agent, "Captured", functools.partial(Captured, record=again))


def updated(agent: Any, batches: list[dict[str, torch.Tensor]]) -> tuple[list[Any], Any]:
    torch.manual_seed(1)
    found = []
    for batch in batches:
        try:
            learned = agent.learn(batch)
            found.append((learned.metrics, learned.stored))
        except NotFinite as error:
            found.append(str(error))
    return found, agent.state()


@pytest.mark.usefixtures("recordable")
@pytest.mark.parametrize("kind", AGENTS)
def test_captured_updates_are_the_others(kind: str) -> None:
    (plain, batch), (agent, _) = made(kind), made(kind)
    bad = {**batch, "reward": batch["reward"].clone()}
    bad["reward"][1, 0] = float("nan")
    short = {k: v[:, :3] for k, v in batch.items()}
    batches = [batch, {**batch, "reward": -batch["reward"]}, bad, short, batch]
    assert agent.capture(batch) == "" and agent.captured and not plain.captured
    assert all(p.grad is None for p in agent.parameters())
    found, wanted = updated(agent, batches), updated(plain, batches)
    refused, other = found[0].pop(2), wanted[0].pop(2)
    assert refused == other and "not finite in the batch: reward" in refused
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.usefixtures("recordable")
def test_copies_and_moved_agents_have_captured_nothing() -> None:
    agent, batch = made("sac")
    agent.capture(batch)
    assert not copy.deepcopy(agent).captured and agent.captured
    agent.double()
    agent.learn({k: v.double() if v.is_floating_point() else v for k, v in batch.items()})


def test_it_says_why_not_and_learns_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (plain, batch), (agent, _) = made("sac"), made("sac")
    assert agent.capture(batch).startswith("the agent is on cpu: CUDA graphs need a GPU")

    def refuses(call: Any) -> Any:
        call()
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch_agent, "why_not", lambda a: "")
    monkeypatch.setattr(torch_agent, "Captured", functools.partial(Captured, record=refuses))
    why = agent.capture(batch)
    assert (
        why == "a part of the update cannot be recorded: "
        "operation not permitted when stream is capturing"
    )
    assert not agent.captured
    torch.testing.assert_close(
        updated(agent, [batch, batch]), updated(plain, [batch, batch]), rtol=0, atol=0
    )
