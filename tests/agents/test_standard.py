"""Observed vectors in standard units: the numbers by hand, and what an agent does with them."""

import pytest
import torch

from agents.guard import NotFinite
from agents.sac import SAC, SACConfig
from agents.spaces import ActionSpec
from agents.standard import FAR, Standard
from agents.tdmpc import TDMPC, TDMPCConfig
from worldmodels import ranks

SMALL = {"units": 8, "batch": 4, "standardize": True}
AGENTS = {
    "sac": lambda **c: SAC({"x": (3,)}, ActionSpec(2), SACConfig(**{**SMALL, **c})),
    "tdmpc": lambda **c: TDMPC(
        {"x": (3,)},
        ActionSpec(2),
        TDMPCConfig(
            latent=8,
            encoder_units=8,
            critics=2,
            candidates=8,
            proposals=2,
            elites=4,
            **{**SMALL, **c},
        ),
    ),
}


def rows(count, far=(0.0, 100.0, -3.0), spread=(1.0, 0.01, 50.0)):
    return torch.randn(count, 3) * torch.tensor(spread) + torch.tensor(far)


def batch_of(agent):
    shape = (agent.window.rows, 4)
    x = rows(shape[0] * 4).unflatten(0, shape)
    no = torch.zeros(shape, dtype=torch.bool)
    action, reward = torch.rand(*shape, 2) * 2 - 1, torch.rand(shape)
    flags = {"is_first": no, "is_last": no, "is_terminal": no}
    return {"x": x, "action": action, "reward": reward, **flags}


def test_the_moments_are_those_of_all_rows() -> None:
    torch.manual_seed(0)
    standard, seen = Standard({"x": 3}), [rows(40) for _ in range(5)]
    for part in seen:
        standard.take({"x": part.unflatten(0, (8, 5))})
    every = torch.cat(seen)
    expected = (every - every.mean(0)) / every.std(0, correction=0)
    torch.testing.assert_close(standard("x", every), expected, rtol=0, atol=0.03)
    assert standard.count == 5


def test_the_newest_batch_counts_a_thousandth_at_last() -> None:
    standard = Standard({"x": 1})
    standard.count.fill_(5000)
    standard.take({"x": torch.full((2, 1), 10.0)})
    assert standard.mean_x.item() == pytest.approx(0.01)
    assert standard.square_x.item() == pytest.approx(0.999 + 0.001 * 0.999 * 100)


def test_a_sensor_that_never_moved_is_cut_off() -> None:
    standard = Standard({"x": 1})
    standard.take({"x": torch.full((4, 1), 7.0)})
    assert standard("x", torch.tensor([[7.0], [8.0], [-1e9]])).flatten().tolist() == [0, FAR, -FAR]


def test_all_processes_are_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "averaged", lambda *given: [v + 1.0 for v in given])
    standard = Standard({"x": 1})
    standard.take({"x": torch.zeros(4, 1)})
    assert standard.mean_x.item() == 1.0


@pytest.mark.parametrize("kind", AGENTS)
def test_an_agent_takes_its_batches_in_and_saves_what_it_found(kind: str) -> None:
    torch.manual_seed(0)
    agent = AGENTS[kind]()
    batch = batch_of(agent)
    agent.learn(batch)
    encoder = agent.observation if kind == "sac" else agent.encoder
    torch.testing.assert_close(encoder.standard.mean_x, batch["x"].flatten(0, 1).mean(0))
    again = AGENTS[kind]()
    again.load_state(agent.state())
    obs = {"x": rows(4), "is_first": torch.ones(4, dtype=torch.bool)}
    found = encoder(x=obs["x"])
    other = (again.observation if kind == "sac" else again.encoder)(x=obs["x"])
    assert all(torch.equal(found[k], other[k]) for k in found)
    names = {name for name, _ in agent.acting.named_buffers()}
    assert any(name.endswith("mean_x") for name in names)


@pytest.mark.parametrize("kind", AGENTS)
def test_a_batch_that_is_not_finite_moves_nothing(kind: str) -> None:
    agent = AGENTS[kind]()
    batch = batch_of(agent)
    batch["x"][0, 0, 0] = torch.nan
    with pytest.raises(NotFinite):
        agent.learn(batch)
    encoder = agent.observation if kind == "sac" else agent.encoder
    assert encoder.standard.count == 0 and torch.equal(encoder.standard.mean_x, torch.zeros(3))


@pytest.mark.parametrize("kind", AGENTS)
def test_units_of_an_observation_change_nothing(kind: str) -> None:
    agent = AGENTS[kind]()
    batch = batch_of(agent)
    encoder = agent.observation if kind == "sac" else agent.encoder
    encoder.standard.take(batch)
    found = encoder(x=batch["x"][0])
    encoder.standard.count.zero_()
    encoder.standard.take({"x": 1000.0 * batch["x"] + 5.0})
    other = encoder(x=1000.0 * batch["x"][0] + 5.0)
    torch.testing.assert_close(found, other, rtol=0, atol=0.02)
