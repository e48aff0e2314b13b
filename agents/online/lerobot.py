"""An agent in LeRobot's own RL loop, where an algorithm is one object and its config (lerobot.rl,
0.6).

    algorithm = Algorithm(agent)                        what their trainer calls
    Mine = subclass_of(lerobot.rl.algorithms.base.RLAlgorithm)   where it asks for a subclass

LeRobot is not imported here. Its batches are transitions, so the agent is one that learns from
transitions, such as SAC; those that learn from sequences are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.errors import UsageError

PREFIXES = ("observation.images.", "observation.")


@dataclass
class TrainingStats:
    """What an update says, under the names that LeRobot's loop logs.

    >>> TrainingStats({"critic": 0.5}, {"all": 2.0}).to_log_dict()
    {'critic': 0.5, 'all_grad_norm': 2.0}
    """

    losses: dict[str, float] = field(default_factory=dict)
    grad_norms: dict[str, float] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)

    def to_log_dict(self) -> dict[str, float]:
        """All in one dict."""
        norms = {f"{name}_grad_norm": value for name, value in self.grad_norms.items()}
        return {**self.losses, **norms, **self.extra}


class Algorithm:
    """The methods of LeRobot's ``RLAlgorithm``, by an agent of this library.

    Args:
        agent: learns from windows of two rows; its actions lie in [-1, 1], as those of LeRobot's
            normalised environments do.
        updates: of one call of :meth:`update`, each with a batch of its own.

    Raises:
        UsageError: the agent learns from longer sequences.
    """

    def __init__(self, agent: Any, updates: int = 1) -> None:
        if agent.window.rows != 2:
            raise UsageError(
                f"LeRobot's batches are transitions, and {type(agent).__name__} learns from "
                f"{agent.window.rows} rows that follow each other; take one such as SAC"
            )
        self.agent, self.updates = agent, updates
        self._optimization_step = 0

    def update(self, batch_iterator: Iterator[Mapping[str, Any]]) -> Any:
        """One call of their trainer.

        Raises:
            NotFinite: the loss or the gradient is not finite; nothing has moved.
        """
        metrics: dict[str, float] = {}
        for _ in range(self.updates):
            batch = window(next(batch_iterator), self.agent.device)
            metrics = dict(self.agent.learn(batch).metrics)
            self._optimization_step += 1
        norms = {"all": metrics.pop("grad_norm")} if "grad_norm" in metrics else {}
        return TrainingStats(losses=metrics, grad_norms=norms)

    def configure_data_iterator(self, data_mixer: Any, batch_size: int, **options: Any) -> Any:
        """Batches as their mixer makes them, of the size that the agent wants."""
        return data_mixer.get_iterator(batch_size=self.agent.window.batch, **options)

    def supports_offline_phase(self) -> bool:
        """No: ``pixyz robot offline`` is that."""
        return False

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Those of the agent, which has them already."""
        return self.get_optimizers()

    def get_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By name, for their checkpoints."""
        return dict(self.agent.optimizers)

    @property
    def optimization_step(self) -> int:
        """Updates made."""
        return self._optimization_step

    @optimization_step.setter
    def optimization_step(self, value: int) -> None:
        self._optimization_step = int(value)

    def get_weights(self) -> dict[str, Tensor]:
        """What an actor needs, on the CPU."""
        weights = self.agent.acting.state_dict()
        return {k: v.detach().cpu().clone() for k, v in weights.items()}

    def load_weights(self, weights: dict[str, Any], device: str | torch.device = "cpu") -> None:
        """The inverse of :meth:`get_weights`."""
        self.agent.acting.load_state_dict({k: v.to(device) for k, v in weights.items()})

    def get_observation_features(self, observations: Any, next_observations: Any) -> Any:
        """Nothing is computed ahead."""
        return None, None


def subclass_of(base: type[Any]) -> type[Any]:
    """:class:`Algorithm` as a subclass of LeRobot's own base class."""
    return type("PixyzAlgorithm", (Algorithm, base), {})


def window(batch: Mapping[str, Any], device: torch.device) -> dict[str, Tensor]:
    """LeRobot's transitions ``[B, ...]`` as windows ``[2, B, ...]``; images ``[B, C, H, W]`` in
    [0, 1] become uint8 ``[B, H, W, C]``.

    Raises:
        UsageError: keys are missing.

    >>> x = torch.zeros(4, 3)
    >>> given = {"state": {"observation.state": x}, "next_state": {"observation.state": x}}
    >>> given |= {"action": torch.zeros(4, 2), "reward": torch.ones(4), "done": torch.zeros(4)}
    >>> found = window(given, torch.device("cpu"))
    >>> found["state"].shape, found["reward"][1].tolist()
    (torch.Size([2, 4, 3]), [1.0, 1.0, 1.0, 1.0])
    """
    missing = [k for k in ("state", "next_state", "action", "reward", "done") if k not in batch]
    if missing:
        raise UsageError(f"expected a batch of LeRobot's transitions, got none of {missing}")
    found = {}
    for key, now in batch["state"].items():
        both = torch.stack([now, batch["next_state"][key]]).to(device)
        if both.ndim == 5:
            both = (both * 255).round().clamp(0, 255).to(torch.uint8).movedim(2, -1)
        found[_ours(key)] = both
    action, reward = batch["action"].to(device), batch["reward"].to(device).reshape(-1)
    done = batch["done"].to(device).reshape(-1).bool()
    cut = batch.get("truncated")
    last = done if cut is None else done | cut.to(device).reshape(-1).bool()
    nothing = torch.zeros_like(done)
    return {
        **found,
        "action": torch.stack([action, torch.zeros_like(action)]),
        "reward": torch.stack([torch.zeros_like(reward), reward]),
        "is_first": torch.stack([nothing, nothing]),
        "is_last": torch.stack([nothing, last]),
        "is_terminal": torch.stack([nothing, done]),
    }


def _ours(key: str) -> str:
    """The name of an observation without LeRobot's prefix."""
    for prefix in PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key
