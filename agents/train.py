"""Training in one process: environments, replay, updates, evaluations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.checkpoint import flatten_state, load_checkpoint, save_checkpoint, unflatten_state
from agents.dreamer.v3 import DreamerV3
from agents.evaluate import evaluate, evaluate_random
from agents.interface import FLAGS, Interface
from agents.logger import Logger
from agents.replay import ReplayBuffer, to_tensors
from agents.settings import RunSettings
from agents.types import State
from envs import make_vector


@dataclass
class Progress:
    """How far a run is; saved with it.

    Args:
        steps: environment steps, repeated actions counted.
        actions, updates: counts.
        credit: updates that are due.
        returns: ``(steps, return)`` of finished training episodes.
        evaluations: ``(steps, [returns])``.
        random: returns of the random policy.
        seconds, cpu_seconds: spent so far, evaluations included.
    """

    steps: int = 0
    actions: int = 0
    updates: int = 0
    credit: float = 0.0
    returns: list[tuple[int, float]] = field(default_factory=list)
    evaluations: list[tuple[int, list[float]]] = field(default_factory=list)
    random: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


Watch = Callable[["Trainer", dict[str, float]], None]


class Trainer:
    """A run: built from its settings, goes on from where it is.

    Args:
        settings: the run.
        directory: the run's folder (checkpoints, replay, ``metrics.jsonl``).
        logger: where numbers go.
        watch: called with the newest metrics, for a display.
    """

    def __init__(self, settings: RunSettings, directory: Path, logger: Logger, watch: Watch | None = None) -> None:
        self.settings, self.directory, self.logger = settings, directory, logger
        self.watch: Watch = watch or (lambda trainer, metrics: None)
        self.progress = Progress()
        self.device = torch.device(settings.device)
        s, e = settings, settings.env
        torch.manual_seed(s.seed)
        self.rng = np.random.default_rng([s.seed, 1])
        self.envs = make_vector(
            e.id, e.num_envs, seed=s.seed, action_repeat=e.action_repeat, time_limit=e.time_limit, **e.options
        )
        self.interface = Interface.of(self.envs)
        self.agent = DreamerV3(self.interface.shapes, self.interface.action, s.agent).to(self.device)
        stored = {k: tuple(v.shape[1:]) for k, v in self.agent.model.initial(1).items()} if s.agent.stored_latents else {}
        self.stored = list(stored)
        self.replay = ReplayBuffer(
            self.interface.spec(stored), s.capacity, e.num_envs, directory=directory / "replay", seed=s.seed,
            stored=self.stored,
        )
        self.window = s.agent.length + bool(stored)
        self._sums: dict[str, float] = {}
        self._counted = 0

    # ---------------------------------------------------------------- the loop

    def run(self) -> None:
        """Train until ``settings.steps``; on any error or interruption a checkpoint is written first."""
        p, s = self.progress, self.settings
        began, cpu, before, cpu_before = time.monotonic(), time.process_time(), p.seconds, p.cpu_seconds
        if not p.random:
            p.random = evaluate_random(self.interface, s.env, s.eval_episodes, s.seed)
            self.logger.log(0, {"random_return": float(np.mean(p.random))}, kind="eval")
        next_eval = _following(p.steps, s.eval_every)
        next_save = _following(p.steps, s.checkpoint_every)
        rows = self.envs.reset()
        state = self.agent.initial(s.env.num_envs)
        try:
            while p.steps < s.steps:
                rows, state = self._interact(rows, state)
                self._learn()
                p.seconds = before + time.monotonic() - began
                p.cpu_seconds = cpu_before + time.process_time() - cpu
                if p.steps >= next_eval or p.steps >= s.steps:
                    self._evaluate()
                    next_eval = _following(p.steps, s.eval_every)
                if p.steps >= next_save:
                    self.save()
                    next_save = _following(p.steps, s.checkpoint_every)
        finally:
            p.seconds = before + time.monotonic() - began
            p.cpu_seconds = cpu_before + time.process_time() - cpu
            self.save()

    def close(self) -> None:
        """Close environments and replay."""
        self.envs.close()
        self.replay.close()

    def _interact(self, rows: dict[str, np.ndarray], state: State) -> tuple[dict[str, np.ndarray], State]:
        p, s = self.progress, self.settings
        action, state = self.agent.act(self.interface.tensors(rows, self.device), state, explore=True)
        if p.steps < s.prefill:
            chosen = self.interface.random(len(action), self.rng)
            state = {**state, "action": torch.from_numpy(chosen).to(self.device)}
        else:
            chosen = action.float().cpu().numpy()
        latents = {k: state[k].float().cpu().numpy() for k in self.stored}
        flags = {k: rows[k] for k in FLAGS}
        self.replay.add({**self.interface.observation(rows), "action": chosen, "reward": rows["reward"], **flags, **latents})
        rows = self.envs.step(self.interface.to_env(chosen, self.envs))
        p.steps += int(rows["frames"].sum())
        p.actions += len(chosen)
        if p.steps >= s.prefill:
            p.credit += len(chosen) * s.train_ratio / (s.agent.batch * s.agent.length)
        for episode in self.envs.pop_episodes():
            p.returns.append((p.steps, float(episode.ret)))
            self.logger.log(p.steps, {"return": float(episode.ret), "length": episode.length}, kind="episode")
        return rows, state

    def _learn(self) -> None:
        p, s = self.progress, self.settings
        if not self.replay.can_sample(self.window):
            return
        while p.credit >= 1.0:
            p.credit -= 1.0
            sample = self.replay.sample(s.agent.batch, self.window)
            index = sample.pop("index")
            learned = self.agent.learn(to_tensors(sample, self.device))
            if learned.stored:
                values = {k: v.float().cpu().numpy() for k, v in learned.stored.items()}
                self.replay.update(index[-s.agent.length :], values)
            p.updates += 1
            for k, v in learned.metrics.items():
                self._sums[k] = self._sums.get(k, 0.0) + v
            self._counted += 1
            if self._counted >= s.log_every:
                self._log()
            self.watch(self, learned.metrics)

    def _log(self) -> None:
        p = self.progress
        means = {k: v / self._counted for k, v in self._sums.items()}
        self._sums, self._counted = {}, 0
        speed = {"updates": p.updates, "actions": p.actions, "seconds": p.seconds, "cpu_seconds": p.cpu_seconds}
        self.logger.log(p.steps, {**means, **speed}, kind="train")

    def _evaluate(self) -> None:
        p, s = self.progress, self.settings
        returns = evaluate(self.agent, self.interface, s.env, s.eval_episodes, s.seed)
        p.evaluations.append((p.steps, returns))
        self.logger.log(p.steps, {"eval_return": float(np.mean(returns)), "eval_std": float(np.std(returns))}, kind="eval")
        self.watch(self, {})

    # ---------------------------------------------------------------- checkpoints

    def save(self) -> Path:
        """Write a checkpoint of everything but the environments' inner state."""
        self.replay.flush()
        tensors, state = flatten_state({
            "agent": self.agent.state_dict(), "optimizer": self.agent.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        })
        return save_checkpoint(self.directory / "checkpoints", self.progress.steps, tensors, {
            "nested": state, "progress": vars(self.progress), "rng": self.rng.bit_generator.state,
            "replay": self.replay.state(),
        })

    def load(self) -> None:
        """Go on from the newest sound checkpoint; episodes that were running are marked as ended."""
        found = load_checkpoint(self.directory / "checkpoints")
        nested = unflatten_state(found.tensors, found.state["nested"])
        self.agent.load_state_dict(nested["agent"])
        self.agent.optimizer.load_state_dict(nested["optimizer"])
        torch.set_rng_state(nested["torch_rng"])
        self.rng.bit_generator.state = found.state["rng"]
        self.replay.load_state(found.state["replay"])
        self.replay.mark_abandoned()
        saved: dict[str, Any] = dict(found.state["progress"])
        saved["returns"] = [(int(a), float(b)) for a, b in saved["returns"]]
        saved["evaluations"] = [(int(a), [float(x) for x in b]) for a, b in saved["evaluations"]]
        self.progress = Progress(**saved)
        self.logger.truncate_after(self.progress.steps)


def _following(steps: int, every: int) -> float:
    """The next multiple of ``every`` after ``steps``; never if 0."""
    return (steps // every + 1) * every if every else float("inf")
