"""An actor from settings: an environment, an agent that only acts, a log, a socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import torch

from agents.build import build
from agents.errors import UsageError
from agents.online.acting import Acting, Newest, Nothing, Reporting
from agents.online.beat import Beat
from agents.online.link import ActorLink
from agents.online.log import RowLog
from agents.online.panel import Panel
from agents.online.sending import Pace, Sending
from agents.online.weights import Weights
from agents.run import Driver, Run, train
from agents.run.in_folder import APART
from agents.run.parts import Generators
from agents.settings import RunSettings
from agents.spaces import Interface
from envs import Adapted, VectorEnv, adapt
from envs.plain import space_to_plain
from envs.robot.clock import Clock, RealClock, Ticker

SHARE = 0.5
"""Of a tick, that a planner may take."""
LAST = 30.0
"""Seconds that an actor which is done waits for the learner to take its last rows."""


class ActorSide:
    """Builds everything, meets the learner, acts.

    Args:
        settings: the run; the learner's must give the same agent.
        make: the environment; called again only where it failed and can be made anew.
        folder: of the log.
        address: of the learner.
        actor: its number, of several; each draws other random numbers.
        hz: ticks a second of an environment that has no rate of its own; 0: as fast as it goes.
            Planners get half of a tick.
        alone: seconds that it acts without a word from the learner; 0: for ever.
        panel: shows how it goes.
        pace: of sending.
        look: called after each tick, and while it waits for the learner.
        clock: time.

    Raises:
        UsageError, EnvError: something does not fit; the robot has not moved.
    """

    def __init__(
        self,
        settings: RunSettings,
        make: Callable[[], Any],
        folder: Path,
        address: str,
        *,
        actor: int = 0,
        hz: float = 0.0,
        alone: float = 0.0,
        panel: Panel | None = None,
        pace: Pace | None = None,
        look: Callable[[], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings, self.panel, self.clock = settings, panel, clock or RealClock()
        self._look_too = look
        self.closing = ExitStack()
        try:
            self.log = self.closing.enter_context(RowLog(folder))
            seed = settings.seed + APART * actor + self.log.next
            Generators.seed(seed)
            first = make()
            self.env: Any = first.unwrapped
            rate = hz or getattr(getattr(self.env, "limits", None), "hz", 0.0)
            self.envs = VectorEnv([_once(first, make)], seed=seed)
            self.closing.callback(self.envs.close)
            self.agent: Any = build(within(settings.agent, rate), Interface.of(self.envs))
            if isinstance(self.agent, torch.nn.Module):
                self.agent.to(settings.device).eval()
            weights = Weights(self.agent.acting)
            self.sending = Sending(
                self.log, actor, about(first, self.agent, weights), weights.check, pace
            )
            self.beat, self._ticker = Beat(), Ticker(hz, self.clock) if hz else None
            self.reporting = Reporting(
                Driver(
                    self.envs,
                    self.agent,
                    Newest(),
                    seed,
                    settings.prefill_hold,
                ),
                self.log,
                self.sending,
                weights,
                beat=self.beat,
                ticker=self._ticker,
                alone=alone,
                notes=self._notes,
                clock=self.clock.now,
            )
            self.run = Run({})
            self.run.progress.steps = self.reporting.steps
            if hasattr(self.env, "on_tick"):
                self.env.on_tick = self._tick
            self._record: Any = None
            self.link = self.closing.enter_context(ActorLink(self.sending, address, self.clock.now))
        except BaseException:
            self.close()
            raise

    # ---------------------------------------------------------------- work

    def meet(self, say: Callable[[str], None] = print) -> bool:
        """Wait until the learner says that it takes rows of this actor; False if a signal asked to
        stop before.

        Raises:
            UsageError: the learner has another agent or environment.
        """
        said: str | None = None
        with self.run.stop as stop:
            while self.sending.session is None and stop.asked is None:
                self._check_link()
                text = self.sending.refused or f"waiting for the learner at {self.link.address}"
                if text != said:
                    say(text)
                    said = text
                time.sleep(0.02)
        return self.run.stop.asked is None

    def act(self) -> Run:
        """Act until the run's steps are made, or until a signal asks to stop; then give the learner
        time for the last rows.

        Raises:
            RobotStopped: the robot was stopped; after ``env.rearm()`` this can be called again.
            LostLearnerError: the learner has been silent for too long.
        """
        s = self.settings
        if self._ticker is not None:
            self._ticker.start()
        try:
            train(
                self.agent,
                _Watched(self),
                Nothing(),
                Acting(s.steps, s.prefill),
                run=self.run,
                log_every=0,
            )
        finally:
            self.reporting.finish()
        end = time.monotonic() + LAST
        while self.sending.behind and self.run.stop.asked is None and time.monotonic() < end:
            self._check_link()
            time.sleep(0.02)
        return self.run

    def _check_link(self) -> None:
        if self.link.error is not None:
            raise self.link.error
        if self.sending.hopeless:
            raise UsageError(f"the learner refuses this actor: {self.sending.refused}")
        if self._look_too is not None:
            self._look_too()

    def watch(self) -> None:
        """After a tick."""
        self._check_link()
        if self.panel is not None:
            p, safety = self.run.progress, getattr(self.env, "safety", None)
            counts: Mapping[str, int] = {} if safety is None else safety.counts
            self.panel.update(
                self.reporting, p.steps, self.settings.steps, [r for _, r in p.returns], counts
            )

    def _tick(self, record: Any) -> None:
        """A robot's tick."""
        self._record = record
        self.beat.tick(record.time, record.late, record.missed)

    def _notes(self) -> dict[str, Any]:
        record = self._record
        if record is None:
            return {}
        return {
            "late": record.late,
            "missed": record.missed,
            "latency": record.latency,
            "causes": list(record.causes),
            "held": record.held,
            "intervened": record.intervened,
            "success": record.success,
        }

    def close(self) -> None:
        """Stop and let go of the environment, the socket and the log."""
        self.closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


class _Watched:
    """The driver, with a look at each tick."""

    def __init__(self, side: ActorSide) -> None:
        self._side = side

    def step(self, *, random: bool = False) -> Any:
        """One tick."""
        moved = self._side.reporting.step(random=random)
        self._side.watch()
        return moved


def _once(first: Any, make: Callable[[], Any]) -> Callable[[], Any]:
    """A factory that gives ``first``, and then others."""
    ready = [first]
    return lambda: adapt(ready.pop() if ready else make())


def within(config: Any, hz: float) -> Any:
    """An agent's settings with a time for its planner: :data:`SHARE` of a tick, where they give
    none.
    """
    if (
        hz
        and getattr(config, "seconds", None) == 0.0
        and "seconds" in {f.name for f in fields(config)}
    ):
        return replace(config, seconds=SHARE / hz)
    return config


def about(env: Any, agent: Any, weights: Weights) -> dict[str, Any]:
    """What the learner compares before it takes rows: the declared spaces, the weights, what is
    stored beside a row.
    """
    inner = env.env if isinstance(env, Adapted) else env
    return {
        "observation": space_to_plain(inner.observation_space),
        "action": space_to_plain(inner.action_space),
        "weights": weights.about,
        "stored": {k: list(s) for k, s in agent.stored.items()},
    }
