"""A scripted environment and scripted agents, for tests of the loop: everything they do is known
beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from agents.agent import Learned, Window
from agents.guard import NotFinite


class Corridor(gymnasium.Env):
    """Observation (number of the episode, step in it, last action); the reward is the action; ends
    after ``length`` steps.

    Episodes terminate and are cut short in turn.
    """

    def __init__(self, length: int = 4, offset: int = 0) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.length, self.offset = length, offset
        self.episode, self.time = -1, 0
        self.actions: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self._see(0.0), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        self.actions.append(float(action[0]))
        over, even = self.time >= self.length, self.episode % 2 == 0
        return self._see(float(action[0])), float(action[0]), over and even, over and not even, {}

    def save_state(self) -> dict[str, Any]:
        return {
            "episode": self.episode,
            "time": self.time,
            "rng": self.np_random.bit_generator.state,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.episode, self.time = state["episode"], state["time"]
        self.np_random.bit_generator.state = state["rng"]

    def _see(self, action: float) -> np.ndarray:
        return np.array([self.offset + self.episode, self.time, action], np.float32)


class Slow(Corridor):
    """A corridor whose steps take a while, and that shows when the last one ended, in seconds of
    a clock that all processes share; the reward is when it began.
    """

    WAIT, TURN = 0.4, 1000.0

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        began = time.monotonic() % self.TURN
        _, _, terminated, truncated, info = super().step(action)
        time.sleep(self.WAIT)
        return self._see(time.monotonic() % self.TURN), began, terminated, truncated, info


class Fails(Corridor):
    """A corridor that raises at its seventh step, once."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if len(self.actions) == 6:
            raise RuntimeError("the seventh step")
        return super().step(action)


if "Corridor-v0" not in gymnasium.registry:
    gymnasium.register("Corridor-v0", entry_point="scripted:Corridor")


@dataclass(frozen=True)
class CountingConfig:
    """Sizes of the counting agent."""

    kind: str = "scripted:Counting"
    batch: int = 2
    length: int = 3


class Counting:
    """Explores with 0.5 and is best at -0.25; remembers how often it acted in an episode; a
    refreshed row is 100 updates.
    """

    Config = CountingConfig
    stored = {"count": (1,)}
    device = torch.device("cpu")

    def __init__(self, shapes: Any, action: Any, config: CountingConfig) -> None:
        self.window = Window(config.batch, config.length, lead=1)
        self.acting = torch.nn.Linear(1, 1)
        self.updates, self.batches, self.told = 0, [], []

    def initial(self, rows: int) -> dict[str, torch.Tensor]:
        return {"count": torch.zeros(rows, 1), "action": torch.zeros(rows, 1)}

    def act(self, obs: Any, state: Any, *, explore: bool = False) -> Any:
        count = (
            torch.where(obs["is_first"][:, None], torch.zeros_like(state["count"]), state["count"])
            + 1
        )
        action = torch.full_like(count, 0.5 if explore else -0.25)
        return action, {"count": count, "action": action}

    def acted(self, state: Any, action: torch.Tensor) -> Any:
        self.told.append(action)
        return {**state, "action": action}

    def learn(self, batch: Any) -> Learned:
        if not torch.isfinite(batch["reward"]).all():
            raise NotFinite("the reward is not finite")
        self.updates += 1
        self.batches.append({k: v.clone() for k, v in batch.items()})
        refreshed = torch.full((self.window.length, self.window.batch, 1), 100.0 * self.updates)
        return Learned({"loss": float(self.updates)}, {"count": refreshed})

    def state(self) -> Any:
        return {"updates": self.updates, "weights": self.acting.state_dict()}

    def load_state(self, state: Any) -> None:
        self.updates = state["updates"]
        self.acting.load_state_dict(state["weights"])


@dataclass(frozen=True)
class PlainConfig:
    """Rates of the plain agent."""

    kind: str = "scripted:Plain"
    lr: float = 0.1


class Plain(torch.nn.Module):
    """An agent without a memory, 30 lines:
    its mean action follows the actions that were rewarded.
    """

    Config = PlainConfig
    stored: dict[str, tuple[int, ...]] = {}
    window = Window(batch=4, length=2)

    def __init__(self, shapes: Any, action: Any, config: PlainConfig) -> None:
        super().__init__()
        self.net = torch.nn.Linear(sum(s[0] for s in shapes.values()), action.size)
        self.optimizer = torch.optim.SGD(self.parameters(), config.lr, momentum=0.9)

    device = property(lambda self: self.net.weight.device)
    acting = property(lambda self: self.net)

    def initial(self, rows: int) -> dict[str, torch.Tensor]:
        return {}

    @torch.no_grad()
    def act(self, obs: Any, state: Any, *, explore: bool = False) -> Any:
        mean = self.net(torch.cat([v for k, v in obs.items() if k != "is_first"], -1)).tanh()
        return (mean + 0.3 * explore * torch.randn_like(mean)).clamp(-1, 1), {}

    def acted(self, state: Any, action: torch.Tensor) -> Any:
        return state

    def learn(self, batch: Any) -> Learned:
        flags = ("action", "reward", "is_first", "is_last", "is_terminal")
        mean = self.net(torch.cat([v for k, v in batch.items() if k not in flags], -1)[:-1]).tanh()
        reached = batch["reward"][1:, :, None]
        loss = ((mean - batch["action"][:-1]) ** 2 * reached).mean()
        gradient = torch.autograd.grad(loss, list(self.parameters()))
        if not torch.isfinite(torch.stack([loss, *(g.norm() for g in gradient)])).all():
            raise NotFinite("the loss is not finite")
        for p, g in zip(self.parameters(), gradient, strict=True):
            p.grad = g
        self.optimizer.step()
        return Learned({"loss": loss.item()})

    def state(self) -> Any:
        return {"weights": self.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Any) -> None:
        self.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
