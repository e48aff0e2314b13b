"""Episodes under a policy that does not learn, with seeds of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from agents.interface import Interface
from agents.settings import EnvSettings
from agents.types import Agent
from envs import make_vector

EVAL_SEED = 10_000


def run_episodes(settings: EnvSettings, episodes: int, seed: int, act: Callable[..., np.ndarray]) -> list[float]:
    """The returns of ``episodes`` episodes, run side by side.

    Args:
        act: rows -> actions ``[N, A]``.
    """
    envs = make_vector(
        settings.id, episodes, seed=EVAL_SEED + seed, action_repeat=settings.action_repeat,
        time_limit=settings.time_limit, **settings.options,
    )
    interface = Interface.of(envs)
    returns: dict[int, float] = {}
    try:
        rows = envs.reset()
        while len(returns) < episodes:
            rows = envs.step(interface.to_env(act(rows), envs))
            for episode in envs.pop_episodes():
                returns.setdefault(episode.env, float(episode.ret))
    finally:
        envs.close()
    return [returns[i] for i in range(episodes)]


def evaluate(agent: Agent, interface: Interface, settings: EnvSettings, episodes: int, seed: int) -> list[float]:
    """Returns under the policy's mean action. The caller's random numbers are left as they were."""
    device = next(iter(agent.initial(1).values())).device
    state = agent.initial(episodes)

    def act(rows: dict[str, np.ndarray]) -> np.ndarray:
        nonlocal state
        action, state = agent.act(interface.tensors(rows, device), state)
        return action.cpu().float().numpy()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return run_episodes(settings, episodes, seed, act)


def evaluate_random(interface: Interface, settings: EnvSettings, episodes: int, seed: int) -> list[float]:
    """Returns under uniformly random actions."""
    rng = np.random.default_rng(seed)
    return run_episodes(settings, episodes, seed, lambda rows: interface.random(episodes, rng))
