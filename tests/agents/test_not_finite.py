"""NaN and infinity in observation, reward, action, loss, gradient: caught before a weight moves;
the run goes on or resumes.
"""

import math

import numpy as np
import pytest
import torch
from scripted import Corridor, Counting, CountingConfig

from agents.agent import Learned
from agents.build import build
from agents.checkpoint import flatten_state
from agents.config import load_config
from agents.errors import RunError
from agents.guard import NotFinite
from agents.replay import ReplayBuffer
from agents.run import Driver, Learner, Online, Progress, Run, train
from agents.settings import RunSettings
from agents.spaces import ActionSpec, Interface
from envs import VectorEnv, adapt

BAD = (math.nan, math.inf, -math.inf)
TRIES = range(20)
SMALL = [
    "agent.batch=3",
    "agent.length=5",
    "agent.horizon=3",
    "agent.units=8",
    "agent.bins=11",
    "agent.model={deter: 16, hidden: 8, groups: 3, classes: 3, blocks: 2, units: 8, bins: 11}",
]


@pytest.fixture(scope="module")
def agent():
    torch.manual_seed(0)
    interface = Interface({"x": (3,)}, {"x": np.dtype(np.float32)}, ActionSpec(2))
    made = build(load_config(RunSettings, "dreamer_v3/fast", SMALL).agent, interface)
    for _ in range(3):
        made.learn(batch_of(made))
    return made


def batch_of(agent, seed=0):
    draw = torch.Generator().manual_seed(seed)
    steps, rows = agent.window.rows, agent.window.batch
    found = {
        "x": torch.randn(steps, rows, 3, generator=draw),
        "action": torch.rand(steps, rows, 2, generator=draw),
    }
    found["reward"] = torch.randn(steps, rows, generator=draw)
    found |= {
        k: torch.zeros(steps, rows, dtype=torch.bool)
        for k in ("is_first", "is_last", "is_terminal")
    }
    return found | {k: torch.zeros(steps, rows, *s) for k, s in agent.stored.items()}


def held(agent):
    return {k: v.clone() for k, v in flatten_state(agent.state())[0].items()}


def unmoved(agent, before):
    after = held(agent)
    return before.keys() == after.keys() and all(
        torch.equal(v, after[k]) for k, v in before.items()
    )


@pytest.mark.parametrize("key", ["x", "reward", "action"])
@pytest.mark.parametrize("attempt", TRIES)
def test_in_a_batch(agent, key, attempt):
    rng = np.random.default_rng(attempt)
    batch, before = batch_of(agent, attempt), held(agent)
    at = tuple(
        int(rng.integers(1, n)) if i == 0 else int(rng.integers(n))
        for i, n in enumerate(batch[key].shape)
    )
    if key == "action":
        # nobody reads the action after the last row
        at = (
            min(at[0], len(batch[key]) - 2),
            *at[1:],
        )
    batch[key][at] = BAD[attempt % 3]
    with pytest.raises(NotFinite, match=f"not finite in the batch: {key}"):
        agent.learn(batch)
    assert unmoved(agent, before)


@pytest.mark.parametrize("attempt", TRIES)
def test_in_a_gradient_alone(agent, attempt):
    """The loss is finite, and one number of one gradient is not."""
    before, batch = held(agent), batch_of(agent, attempt)
    weights = [p for p in agent.parameters() if p.requires_grad]
    chosen = weights[attempt % len(weights)]

    def spoil(gradient):
        gradient = gradient.clone()
        gradient.view(-1)[attempt % gradient.numel()] = BAD[attempt % 3]
        return gradient

    handle = chosen.register_hook(spoil)
    try:
        with pytest.raises(NotFinite, match="the gradient is not finite"):
            agent.learn(batch)
    finally:
        handle.remove()
    assert unmoved(agent, before)
    agent.learn(batch)
    assert not unmoved(agent, before)


@pytest.mark.parametrize("attempt", TRIES)
def test_in_the_loss(agent, attempt, monkeypatch):
    before = held(agent)
    monkeypatch.setattr(type(agent), "prepare", spoiled(type(agent).prepare, BAD[attempt % 3]))
    with pytest.raises(NotFinite, match="the loss is not finite"):
        agent.learn(batch_of(agent, attempt))
    assert unmoved(agent, before)


def spoiled(prepare, bad):
    return lambda self, batch: {
        k: v * bad if k == "cont" else v for k, v in prepare(self, batch).items()
    }


@pytest.mark.parametrize("attempt", TRIES)
def test_in_an_observation_that_is_acted_on(agent, attempt):
    obs = {"x": torch.randn(2, 3), "is_first": torch.tensor([True, False])}
    obs["x"][attempt % 2, attempt % 3] = BAD[attempt % 3]
    with pytest.raises(NotFinite, match="got others in x"):
        agent.act(obs, agent.initial(2), explore=bool(attempt % 2))


class Failing(Counting):
    """Refuses some of its updates."""

    refuses: tuple[int, ...] = ()
    asked = 0

    def learn(self, batch):
        self.asked += 1
        if self.asked in self.refuses:
            raise NotFinite("the loss is not finite")
        self.updates += 1
        return Learned({"loss": 1.0})


def run_of(tmp_path, *refuses):
    envs = VectorEnv([lambda: adapt(Corridor(5))], seed=0)
    agent = Failing({"observation": (3,)}, ActionSpec(1), CountingConfig())
    agent.refuses = refuses
    replay = ReplayBuffer(Interface.of(envs).spec(agent.stored), 100, 1)
    run = Run({"agent": agent}, tmp_path)
    return (
        agent,
        lambda: train(agent, Driver(envs, agent, replay), replay, Online(40, 5, 0.5), run=run),
        run,
    )


def test_a_refused_update_is_left_out_and_its_batch_is_kept(tmp_path):
    agent, go, run = run_of(tmp_path, 2, 5)
    with pytest.warns(
        UserWarning,
        match="update 1: the loss is not finite; the batch and the numbers of its rows are in",
    ):
        go()
    assert run.progress.refused == 2 and run.progress.updates == agent.updates == agent.asked - 2
    files = sorted((tmp_path / "not_finite").glob("*.npz"))
    assert len(files) == 2
    with np.load(files[0]) as kept:
        assert kept["observation"].shape == (4, 2, 3) and kept["index"].shape == (4, 2, 2)


def test_three_in_a_row_end_the_run_with_a_checkpoint(tmp_path):
    agent, go, run = run_of(tmp_path, 4, 5, 6)
    with pytest.warns(UserWarning, match="goes on"), pytest.raises(RunError, match="3 in a row"):
        go()
    assert agent.updates == 3 and run.progress.refused == 3
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))


def test_an_error_inside_an_update_saves_nothing(tmp_path):
    agent, go, _ = run_of(tmp_path)
    agent.learn = lambda batch: (_ for _ in ()).throw(MemoryError("half of the weights have moved"))
    with pytest.raises(MemoryError):
        go()
    assert not (tmp_path / "checkpoints").exists()


def test_a_learner_without_a_folder_keeps_no_batch():
    envs = VectorEnv([lambda: adapt(Corridor(5))], seed=0)
    agent = Failing({"observation": (3,)}, ActionSpec(1), CountingConfig())
    agent.refuses = (1,)
    replay = ReplayBuffer(Interface.of(envs).spec(agent.stored), 100, 1)
    driver, progress = Driver(envs, agent, replay), Progress()
    for _ in range(6):
        driver.step()
    with pytest.warns(UserWarning, match="training goes on without it"):
        assert Learner(agent, replay, progress).update() == {}
    assert progress.updates == 0 and progress.refused == 1
