"""What an environment says it did is what is stored, and what the actor is told, in learning and in
evaluation.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import Env, spaces

from agents.replay import ReplayBuffer
from agents.run import Driver, Judge
from agents.settings import EnvSettings
from agents.spaces import Interface
from envs import VectorEnv


class Halving(Env):
    """Does the half of what it is asked, in its own units (0 to 4), and says so."""

    observation_space = spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = spaces.Box(0.0, 4.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.zeros(1, np.float32), 0.0, False, self.count >= 5, {"envs.sent": action / 2.0}


class Told:
    """An actor that asks for 1, and keeps what it is told."""

    device, stored = torch.device("cpu"), {}

    def __init__(self) -> None:
        self.told: list[float] = []

    def initial(self, rows):
        return {"action": torch.zeros(rows, 1)}

    def act(self, obs, state, *, explore):
        return torch.ones(len(obs["is_first"]), 1), state

    def acted(self, state, action):
        self.told += action[:, 0].tolist()
        return {**state, "action": action}


def test_a_replay_holds_what_was_done() -> None:
    envs, actor = VectorEnv([Halving], seed=0), Told()
    replay = ReplayBuffer(Interface.of(envs).spec({}), 100, 1)
    driver = Driver(envs, actor, replay)
    for _ in range(20):
        driver.step()
    batch = replay.sample(4, 10)
    done = batch["action"][~batch["is_last"]]
    assert np.allclose(np.asarray(done), 0.0), "2 of [0, 4] is 0 of [-1, 1]"
    assert actor.told == [0.0] * 17, "20 steps, 3 of them resets"


def test_an_actor_that_is_judged_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "agents.run.evaluate.make_envs", lambda *_, **__: VectorEnv([Halving], seed=0)
    )
    actor = Told()
    assert Judge(EnvSettings("Halving"), episodes=1, seed=0).actor(actor) == [0.0]
    assert actor.told == [0.0] * 4
