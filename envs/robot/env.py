"""A robot as a gymnasium environment: ticks at a fixed rate, and every command through `Safety`.

    step(action)   person's wishes -> safety -> send -> wait for the next tick -> measure -> the
                   task's reward

A tick's observation is what was measured when the tick began; the action that answers it is sent as
soon as it is there. `info["envs.sent"]` is the action that was sent, in the action space: it, and
not the one that was asked, belongs into a replay. `info["envs.robot"]` is the tick's `Record`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.adapted import SENT
from envs.errors import EnvError
from envs.robot.clock import Clock, RealClock, Tick, Ticker
from envs.robot.contract import Robot, check_methods
from envs.robot.doubt import Asked, Doubt
from envs.robot.errors import RobotError, RobotStopped
from envs.robot.features import Features
from envs.robot.limits import Limits, load_limits
from envs.robot.person import NONE, Person, Wishes
from envs.robot.record import RECORD, Record
from envs.robot.safety import Safety
from envs.robot.task import FreeTask, Judgement, Task
from envs.robot.verdict import Verdict, first_pose

_FIRST = 5.0  # seconds to wait for a first good observation
_TRIES = 3  # of a stop that raises
_log = logging.getLogger("envs.robot")


class RobotEnv(gymnasium.Env[dict[str, NDArray[Any]], NDArray[Any]]):
    """A robot that moves within its limits. Nothing moves before `reset`.

    Observations, under the names that a log of LeRobot's gives them too (worldmodels.data): "state"
    [D], the numbers that the driver measures, in its order; images [H, W, C] under their own names;
    then "target" [A], the command that was sent last, and what the task adds. Actions: changes of
    the command ("delta", in [-step, step] of each), or commands ("absolute", in [low, high]), in
    the driver's units; `envs.adapt` makes them [-1, 1].

    An observation that is late or broken is replaced by the last good one, and the robot holds. A
    stop ends the episode (truncated); after it `reset` raises RobotStopped until `rearm()` is
    called.

    Args:
        robot: the driver (`envs.robot.Robot`).
        limits: a `Limits`, a file, or a dict; there are no limits by default.
        task: rewards; None: none.
        control: what an action is.
        clock: time; None: the machine's.
        person: keys and interventions; None: nobody.
        home: whether an episode begins at the limits' `home`; else where the robot is.
        dry_run: nothing is sent, and nobody stops the robot.
        doubt: says when an action is not to be trusted: then the robot holds, and after `stop_ms`
            it is stopped. A person's command is not asked about.
        on_tick: called with every `Record`.

    >>> from envs.robot import SteppedClock
    >>> class Arm:
    ...     pos = 0.0
    ...
    ...     def connect(self): ...
    ...     def get_observation(self):
    ...         return {"elbow.pos": self.pos}
    ...
    ...     def send_action(self, action):
    ...         self.pos = action["elbow.pos"]
    ...         return action
    ...
    ...     def stop(self): ...
    ...     def disconnect(self): ...
    >>> limits = {
    ...     "hz": 20,
    ...     "actions": {"elbow.pos": {"low": -1, "high": 1, "step": 0.1, "rate": 4, "home": 0}},
    ... }
    >>> env = RobotEnv(Arm(), limits, clock=SteppedClock())
    >>> observation, info = env.reset()
    >>> observation, reward, terminated, truncated, info = env.step([0.5])
    >>> info["envs.sent"], info["envs.robot"].causes
    (array([0.1]), ('step',))
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's convention)

    def __init__(
        self,
        robot: Robot,
        limits: Limits | str | Path | Mapping[str, Any],
        *,
        task: Task | None = None,
        control: Literal["delta", "absolute"] = "delta",
        clock: Clock | None = None,
        person: Person | None = None,
        home: bool = True,
        dry_run: bool = False,
        on_tick: Callable[[Record], None] | None = None,
        doubt: Doubt | None = None,
    ) -> None:
        check_methods(robot)
        if control not in ("delta", "absolute"):
            raise RobotError(f"control: expected 'delta' or 'absolute', got {control!r}")
        self.robot, self.limits = robot, load_limits(limits)
        self.task: Task = task or FreeTask()
        self.clock: Clock = clock or RealClock()
        self.safety = Safety(self.limits, getattr(robot, "forward", None))
        self.dry_run, self.person, self.on_tick = dry_run, person, on_tick
        self._doubt = Asked(doubt)
        self._delta, self._go_home = control == "delta", home
        self._connected = False
        self.features = self._features()
        self.features.need(self.limits.workspace, "limits: workspace")
        self.names = self.limits.names
        table = list(self.limits.actions.values())
        high = np.array([each.step if self._delta else each.high for each in table])
        low = -high if self._delta else np.array([each.low for each in table])
        self.action_space = spaces.Box(low, high, high.shape, np.float64)
        boxes = self.features.boxes(len(self.names)) | dict(self.task.spaces)
        self.observation_space: spaces.Dict = spaces.Dict(boxes)  # type: ignore[assignment]
        self._ticker = Ticker(self.limits.hz, self.clock)
        self._measured: Mapping[str, Any] | None = None
        self._measured_at = self._began = 0.0
        self._fault: str | None = None
        self._count, self._running = 0, False

    @property
    def time_limit(self) -> int | None:
        """Ticks after which an episode is truncated."""
        return self.task.limit

    # ---------------------------------------------------------------- gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Go home slowly, and begin an episode. `seed` is for the task: the robot is where it is.

        Raises RobotStopped while a stop is latched, or where one happens on the way; RobotError
        where no good observation comes, or the robot is outside of its limits.
        """
        super().reset(seed=seed)
        self.safety.check()
        self._running = False
        self._connect()
        self._first()
        self._approach()
        assert self._measured is not None
        self.task.begin(self._measured, self.np_random)
        self._count, self._running = 0, True
        seen = self._seen()
        self._doubt.begin(seen)
        return seen, {RECORD: Record(time=self._began)}

    def step(
        self, action: Any
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """One tick. `action` [A] is in the driver's units; one that is not finite, or out of
        bounds, is not sent.
        """
        if not self._running:
            self.safety.check()
            raise EnvError(
                "step: expected a running episode, got none; call reset() first, "
                "and after every end"
            )
        decided_at = self.clock.now()
        wishes = self._wishes()
        asked = self._asked(action) if wishes.action is None else wishes.action
        while wishes.pause and not (
            wishes.stop or wishes.reset or wishes.success or wishes.failure
        ):
            verdict = self.safety.hold("person", "pause", self.clock.now())
            if verdict.stop is not None:
                break
            self._tick(verdict, wishes)
            wishes = self._wishes()
            asked, decided_at = self.safety.last, self.clock.now()
            self._doubt.begin(self._seen())
        before = self.safety.last
        doubted = self._doubt.ask(self._seen(), action) if wishes.action is None else None
        now = self.clock.now()
        if wishes.stop:
            verdict = self.safety.stop("person", "the stop key", now)
        elif self._fault is not None:
            verdict = self.safety.hold("driver", self._fault, now)
        elif doubted is not None:
            verdict = self.safety.hold("doubt", doubted, now)
        else:
            verdict = self.safety.decide(
                asked, now=now, observed_at=self._measured_at, decided_at=decided_at
            )
        record = self._tick(verdict, wishes)
        self._count += 1
        return self._ended(record, before, wishes)

    def doubt_by(self, doubt: Doubt | None) -> None:
        """From the next episode on this one is asked; it may be made for this environment."""
        self._doubt = Asked(doubt)

    def rearm(self) -> None:
        """A person has looked at the robot, and it may move again. The next call is `reset`, which
        connects it again.
        """
        self.safety.rearm()
        if self._connected:
            self._quietly("disconnect")
        self._connected = self._running = False

    def stop(self, detail: str = "stop() was called") -> None:
        """Stop the robot, and latch."""
        self._stop(self.safety.stop("person", detail, self.clock.now()))

    def close(self) -> None:
        """Stop the robot and disconnect it."""
        self._running = False
        if self._connected:
            self._halt()
            self._quietly("disconnect")
            self._connected = False
        self.safety.forget()

    # ---------------------------------------------------------------- a tick

    def _tick(self, verdict: Verdict, wishes: Wishes = NONE, told: bool = True) -> Record:
        """Send, wait, measure; `told`: whether `on_tick` hears of it."""
        before = self.clock.now()
        latency, age = before - self._began, before - self._measured_at
        stop = verdict.stop or self._send(verdict)
        if stop is not None:
            self._stop(Verdict({}, verdict.causes, stop=stop))
        tick: Tick = self._ticker.wait()
        self._began = self.clock.now()
        self._measure()
        for each in getattr(self.robot, "pop_interventions", tuple)():
            self.safety.note(each.cause, each.detail, each.time)
        record = Record(
            time=self._began,
            late=tick.late,
            missed=tick.missed,
            age=age,
            latency=latency,
            command=self.safety.last,
            causes=verdict.causes,
            held=verdict.held,
            intervened=wishes.action is not None,
            stopped=stop,
        )
        if told and self.on_tick is not None:
            self.on_tick(record)
        return record

    def _send(self, verdict: Verdict) -> str | None:
        """The cause of a stop, if sending led to one."""
        try:
            sent = (
                verdict.command if self.dry_run else self.robot.send_action(dict(verdict.command))
            )
        except RobotStopped as error:
            return self._by_watchdog(error).stop
        except Exception as error:  # a driver's own
            now, said = self.clock.now(), f"send_action raised {type(error).__name__}: {error}"
            self.safety.unsure(verdict.command, now)
            return self.safety.hold("driver", said, now).stop
        # not before it: then the next would count too much time
        return self.safety.sent(sent, self.clock.now())

    def _measure(self) -> None:
        """Take in a new observation; a broken one is named in `_fault`, and the last good one
        stays.
        """
        try:
            found = self.robot.get_observation()
            at = getattr(self.robot, "observed_at", None)
        except RobotStopped as error:
            if self.safety.latched is None:
                self._stop(self._by_watchdog(error))
            return
        except Exception as error:  # a driver's own
            self._fault = f"get_observation raised {type(error).__name__}: {error}"
            return
        self._fault = self.features.fault(found)
        if self._fault is None:
            self._measured, self._measured_at = found, self.clock.now() if at is None else float(at)
            self.safety.observe(found)

    def _ended(
        self, record: Record, before: Mapping[str, float], wishes: Wishes
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        assert self._measured is not None
        last = self.safety.last
        judged: Judgement = self.task.judge(self._measured, last)
        success = judged.success or wishes.success
        terminated = judged.terminated or wishes.success or wishes.failure
        stopped = self.safety.latched
        over = self.task.limit is not None and self._count >= self.task.limit
        truncated = not terminated and (stopped is not None or wishes.reset or over)
        self._running = not (terminated or truncated or stopped)
        sent = np.array(
            [last[name] - before[name] if self._delta else last[name] for name in self.names]
        )
        record = Record(**{**vars(record), "success": success, "stopped": stopped})
        reward = judged.reward + float(wishes.success)
        seen = self._seen()
        self._doubt.came(sent, seen)
        if not self._running and stopped is None:
            self._rest()
        return seen, reward, terminated, truncated, {SENT: sent, RECORD: record}

    def _rest(self) -> None:
        """Nobody will command for a while: brake what has a `hold`, and tell the driver."""
        goal, end = self.safety.resting, self.clock.now() + _FIRST
        command = self.safety.last
        while command != goal and self.safety.latched is None and self.clock.now() < end:
            command = self.safety.holding(self.clock.now())
            self._tick(Verdict(command, held=True), told=False)
        if self.safety.latched is None and not self.dry_run and hasattr(self.robot, "rest"):
            self._quietly("rest")

    # ---------------------------------------------------------------- beginnings

    def _features(self) -> Features:
        declared = getattr(self.robot, "action_features", None)
        if declared is not None and set(declared) != set(self.limits.names):
            raise RobotError(
                f"limits: actions: expected limits of {sorted(declared)}, which send_action takes, "
                f"got {sorted(self.limits.names)}"
            )
        if getattr(self.robot, "observation_features", None) is None:
            self._connect()
        return Features.of(self.robot)

    def _connect(self) -> None:
        if not self._connected and not getattr(self.robot, "is_connected", False):
            self.robot.connect()
            self.safety.forget()
        self._connected = True

    def _first(self) -> None:
        """A good observation, and the pose that commands start from."""
        self._ticker.start()
        end = self.clock.now() + _FIRST
        self._measure()
        while self._fault is not None and self.clock.now() < end:
            self._ticker.wait()
            self._measure()
        self.safety.check()
        if self._fault is not None or self._measured is None:
            raise RobotError(
                f"reset: expected a good observation within {_FIRST:g} s, got none: {self._fault}"
            )
        self._began = self.clock.now()
        if not self.safety.begun:
            self.safety.begin(first_pose(self.limits, self._measured), self._began)

    def _approach(self) -> None:
        """Go home slowly; where nobody said where home is, hold for a tick, or until that holds."""
        home = {
            name: at
            for name, each in self.limits.actions.items()
            if (at := each.home if each.home is not None and self._go_home else each.hold)
            is not None
        }
        slow = self.limits.approach
        way = {name: at - self.safety.last[name] for name, at in home.items()}
        end = self.clock.now() + 3.0 * self.limits.seconds(way, slow) + 1.0
        self.safety.slowly(slow)
        try:
            while True:
                now = self.clock.now()
                command, wishes = {**self.safety.last, **home}, self._wishes()
                if wishes.stop:
                    verdict = self.safety.stop("person", "the stop key", now)
                elif wishes.pause:
                    verdict = self.safety.hold("person", "pause", now)
                    end += self.limits.period
                elif self._fault is not None:
                    verdict = self.safety.hold("driver", self._fault, now)
                else:
                    verdict = self.safety.decide(
                        command, now=now, observed_at=self._measured_at, decided_at=now
                    )
                self._tick(verdict)
                self.safety.check()
                if all(abs(verdict.command[n] - at) < 1e-6 for n, at in home.items()) and (
                    self.safety.near(home)
                ):
                    return
                if now > end:
                    raise RobotError(
                        f"reset: expected to reach home in {end - now:g} s, "
                        f"got to {self.safety.last}"
                    )
        finally:
            self.safety.slowly(1.0)

    # ---------------------------------------------------------------- parts

    def _wishes(self) -> Wishes:
        return NONE if self.person is None else self.person.wishes()

    def _asked(self, action: Any) -> dict[str, Any]:
        """The command that an action means."""
        values = np.asarray(action, np.float64)
        if values.shape != self.action_space.shape:
            raise EnvError(
                f"step: expected an action of shape {self.action_space.shape}, got {values.shape}"
            )
        last = self.safety.last
        return {
            n: v + last[n] if self._delta else v
            for n, v in zip(self.names, values.tolist(), strict=True)
        }

    def _seen(self) -> dict[str, NDArray[Any]]:
        assert self._measured is not None
        return {
            **self.features.arrays(self._measured, self.safety.last.values()),
            **self.task.seen(),
        }

    def _by_watchdog(self, error: RobotStopped) -> Verdict:
        said = error.cause.removeprefix("watchdog: ")
        return self.safety.stop("watchdog", said, self.clock.now())

    def _stop(self, verdict: Verdict) -> None:
        _log.error("stopped: %s", verdict.stop)
        self._halt()

    def _halt(self) -> None:
        """The driver's `stop`, again where it raises; not in a dry run."""
        if not self.dry_run:
            any(self._quietly("stop") for _ in range(_TRIES))

    def _quietly(self, method: str) -> bool:
        """Call a method of the driver; that it raises helps nobody now. Whether it did not."""
        try:
            getattr(self.robot, method)()
        except Exception as error:
            _log.error("%s raised %s: %s", method, type(error).__name__, error)
            return False
        return True
