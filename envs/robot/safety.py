"""Every command passes here before it is sent. The order is that of the list.

    1  schema      the names of the limits, numbers, all finite          else: hold
    2  freshness   of the observation and of the decision; the clock      else: hold, or stop
    3  range       low <= command <= high                                 clamped
    4  step        |command - last sent| <= step                          clamped
    5  rate        |command - last sent| <= rate * seconds since          clamped
    6  workspace   where the robot is, and where the command leads        back, hold, or stop
    7  send        by the caller, who says what was sent                  stop, if outside limits

To hold is to send the last command again (or the limits' `hold`). Who has held for `stop_ms` stops.
A stop latches: nothing is sent until a person calls `rearm`. All of it is counted by its cause, and
logged.

This is software. It replaces no hardware button that cuts the power.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.robot.errors import RobotError, RobotStopped
from envs.robot.limits import Limits
from envs.robot.verdict import Intervention, Verdict

_PATIENT = ("person", "workspace")  # who holds for these waits as long as it takes
_STATE = (
    "_last",
    "_least",
    "_most",
    "_way_in",
    "_sent_at",
    "_now",
    "_held_since",
    "_ends_hold",
    "_slow",
    "latched",
)
_WAY = 200  # commands under which the robot was inside, of which it goes back by
_ROUNDED = 0.05  # of a step: drivers round to what their encoders can say
_KEPT = 10_000
_log = logging.getLogger("envs.robot")


class Safety:
    """The limits of a robot, applied to one command after the other.

    Args:
        limits: what it may do.
        forward: command -> name of the workspace -> number: where a command leads. None: only where
            the robot is measured to be is looked at.

    >>> from envs.robot import ActionLimit
    >>> safety = Safety(Limits(hz=20, actions={"elbow.pos": ActionLimit(-1.5, 1.5, 0.25, 5.0)}))
    >>> safety.begin({"elbow.pos": 0.0}, now=0.0)
    >>> verdict = safety.decide({"elbow.pos": 9.0}, now=0.05, observed_at=0.05, decided_at=0.05)
    >>> verdict.command, verdict.causes
    ({'elbow.pos': 0.25}, ('range', 'step'))
    """

    def __init__(
        self, limits: Limits, forward: Callable[[dict[str, float]], Mapping[str, Any]] | None = None
    ) -> None:
        self.limits, self._forward = limits, forward
        self.names = limits.names
        table = list(limits.actions.values())
        self._low, self._high = (
            np.array([getattr(each, key) for each in table]) for key in ("low", "high")
        )
        self._step, self._rate = (
            np.array([getattr(each, key) for each in table]) for key in ("step", "rate")
        )
        self._holds = np.array([math.nan if each.hold is None else each.hold for each in table])
        self._last: NDArray[np.float64] | None = None
        self._least: NDArray[np.float64] | None = None  # of all that may be in force
        self._most: NDArray[np.float64] | None = None
        self._way_in: NDArray[np.float64] | None = None  # [n, A], the newest last
        self._sent_at = self._now = -math.inf
        self._held_since: float | None = None
        self._ends_hold = False  # once the command that was decided on is sent
        self._place: Mapping[str, float] = {}
        self._slow = 1.0
        self.latched: str | None = None
        self.counts: Counter[str] = Counter()
        self.log: deque[Intervention] = deque(maxlen=_KEPT)

    # ---------------------------------------------------------------- before a command

    def begin(self, pose: Mapping[str, float], now: float) -> None:
        """Where the robot's commands are now; every later one is compared with the one before it.

        Raises RobotError where the pose is outside of the limits by more than a step: going back in
        at once would be a jump.
        """
        found = self._array(pose)
        if isinstance(found, str):
            raise RobotError(f"first pose: {found}")
        within = np.clip(found, self._low, self._high)
        far = np.abs(found - within) > self._step
        if far.any():
            i = int(np.argmax(far))
            raise RobotError(
                f"first pose: expected {self.names[i]} within [{self._low[i]}, {self._high[i]}], "
                f"got {found[i]}; "
                "move the robot there by hand"
            )
        self._at(within)
        self._way_in = self._resting(within)[None]
        self._sent_at, self._now, self._held_since = now - self.limits.period, now, None

    def forget(self) -> None:
        """The robot was let go of and may be elsewhere: the next command needs `begin` first. A
        stop stays latched.
        """
        self._last = self._least = self._most = self._way_in = None
        self._held_since, self._place = None, {}

    def observe(self, observation: Mapping[str, Any]) -> None:
        """What was measured last, of which the workspace is read. It was checked before.

        Where it is inside, the command in force is one to go back to; of a velocity, its `hold` is.
        """
        self._place = {name: float(observation[name]) for name in self.limits.workspace}
        if self._place and self._last is not None and self._outside() is None:
            assert self._way_in is not None
            found = self._resting(self._last)
            if not np.array_equal(found, self._way_in[-1]):
                self._way_in = np.concatenate([self._way_in[1 - _WAY :], found[None]])

    @property
    def begun(self) -> bool:
        """Whether there is a pose that the next command is compared with."""
        return self._last is not None

    @property
    def last(self) -> dict[str, float]:
        """The command that was sent last."""
        return self._named(self._need())

    def slowly(self, share: float) -> None:
        """From now on a command may change by this share of `step` and `rate`; 1 is all."""
        self._slow = share

    # ---------------------------------------------------------------- a command

    def decide(
        self, asked: Mapping[str, Any], *, now: float, observed_at: float, decided_at: float
    ) -> Verdict:
        """What to send for what is asked.

        Args:
            asked: name -> number, of every name of the limits.
            now: the clock's seconds; `observed_at`, `decided_at`: when the robot was measured, and
                when it was decided what to do.
        """
        last = self._need()
        if self.latched is not None:
            return Verdict({}, stop=self.latched)
        if not now >= self._now:
            return self.stop("clock", f"it went back by {self._now - now:.3f} s", now)
        self._now = now
        stale = self.limits.stale_ms / 1000.0
        target = self._array(asked)
        if isinstance(target, str):
            return self._hold("schema", target, now)
        for name, at in (("observation", observed_at), ("decision", decided_at)):
            if not -stale <= now - at <= stale:
                return self._hold(f"stale {name}", f"{1000.0 * (now - at):.0f} ms old", now)
        target, causes = self._within(target, now)
        place = self._outside()
        if place is not None:
            name, beyond = place
            if beyond > self.limits.workspace[name].margin:
                return self.stop(
                    "workspace", f"{name} is {self._place[name]:g}, beyond the margin", now
                )
            target, causes = self._within(self._back(last), now)[0], (*causes, "workspace")
            self.note("workspace", f"{name} is {self._place[name]:g}", now)
        elif self._forward is not None and (leads := self._leads_outside(target)) is not None:
            return self._hold("workspace", leads, now)
        self._ends_hold = True
        return Verdict(self._named(target), causes)

    def hold(self, cause: str, detail: str, now: float) -> Verdict:
        """Hold for a cause from elsewhere: a person's pause, a driver that does not answer, a
        doubt.
        """
        if self.latched is not None:
            return Verdict({}, stop=self.latched)
        self._now = max(now, self._now)
        return self._hold(cause, detail, now)

    def holding(self, now: float) -> dict[str, float]:
        """The command that holds: the last one, or on the way to the limits' `hold`."""
        target, _ = self._within(self._resting(self._need()), now, quiet=True)
        return self._named(target)

    @property
    def resting(self) -> dict[str, float]:
        """The command that holds at the end: the last one, or the limits' `hold`."""
        return self._named(self._resting(self._need()))

    def near(self, command: Mapping[str, float]) -> bool:
        """Whether the last command is this, as far as drivers round; of the names that it has."""
        last, steps = self.last, dict(zip(self.names, _ROUNDED * self._step, strict=True))
        return all(abs(last[name] - at) <= steps[name] for name, at in command.items())

    def unsure(self, command: Mapping[str, Any], now: float) -> None:
        """The driver failed to say whether it sent this: later commands are compared with it, too,
        until one is known to be sent.
        """
        found = self._array(command)
        self._need()
        if not isinstance(found, str):
            assert self._least is not None and self._most is not None
            self._least, self._most = np.minimum(self._least, found), np.maximum(self._most, found)
            self._sent_at = now

    def sent(self, command: Mapping[str, Any], now: float) -> str | None:
        """What the driver says that it sent, and a time after it did. Returns the cause of a stop
        where that is outside of the limits.
        """
        found, last = self._array(command), self._need()
        assert self._least is not None and self._most is not None
        if isinstance(found, str):
            return self.stop("sent", found, now).stop
        room = _ROUNDED * self._step
        far = (
            (found < self._low - room)
            | (found > self._high + room)
            | (found - self._least > self._step + room)
            | (self._most - found > self._step + room)
        )
        if far.any():
            i = int(np.argmax(far))
            return self.stop(
                "sent", f"the driver sent {self.names[i]} = {found[i]} after {last[i]}", now
            ).stop
        self._at(found)
        self._sent_at = now
        if self._ends_hold:
            self._held_since = None
        return None

    # ---------------------------------------------------------------- stops

    def stop(self, cause: str, detail: str, now: float, level: int = logging.ERROR) -> Verdict:
        """Latch. The caller calls the robot's `stop`. Later causes are counted, the first one
        stays.
        """
        self.note(cause, detail, now, level)
        if self.latched is None:
            self.latched = f"{cause}: {detail}"
        return Verdict({}, (cause,), stop=self.latched)

    def rearm(self) -> None:
        """A person has looked. The next command needs `begin` first: the robot may be elsewhere."""
        if self.latched is not None:
            _log.warning("re-armed after: %s", self.latched)
        self.forget()
        self.latched, self._now = None, -math.inf

    def state(self) -> dict[str, Any]:
        """All that later verdicts depend on, and the counts, as plain data."""
        kept = {key: getattr(self, key) for key in _STATE}
        return {
            **{
                k: None if v is None else np.array(v) if isinstance(v, np.ndarray) else v
                for k, v in kept.items()
            },
            "place": dict(self._place),
            "counts": dict(self.counts),
        }

    def load_state(self, state: Any) -> None:
        """Go on from `state()`."""
        for key in _STATE:
            setattr(
                self,
                key,
                np.array(state[key]) if isinstance(state[key], np.ndarray) else state[key],
            )
        self._place, self.counts = dict(state["place"]), Counter(state["counts"])

    def check(self) -> None:
        """Raise RobotStopped while a stop is latched."""
        if self.latched is not None:
            raise RobotStopped(self.latched)

    # ---------------------------------------------------------------- parts

    def _hold(self, cause: str, detail: str, now: float) -> Verdict:
        self.note(cause, detail, now)
        self._ends_hold = cause in _PATIENT
        if self._ends_hold:
            pass
        elif self._held_since is None:
            self._held_since = now
        elif (
            1000.0 * (now + self.limits.period - self._held_since) > self.limits.stop_ms + 1e-6
        ):  # the next would be late
            return self.stop("held too long", f"{cause}: {detail}", now)
        return Verdict(self.holding(now), (cause,), held=True)

    def _at(self, command: NDArray[np.float64]) -> None:
        """This command is in force, and no other."""
        self._last = self._least = self._most = command

    def _resting(self, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """The command that holds where this one is in force."""
        return np.where(np.isnan(self._holds), command, self._holds)

    def _back(self, last: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next command on the way back in: the way that the robot came."""
        assert self._way_in is not None
        if len(self._way_in) > 1 and np.allclose(self._way_in[-1], last, rtol=0.0, atol=1e-9):
            self._way_in = self._way_in[:-1]
        found: NDArray[np.float64] = self._way_in[-1]
        return found

    def _within(
        self, target: NDArray[np.float64], now: float, quiet: bool = False
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Clamp by range, step and rate, in this order; by the last two from all that may be in
        force, to the middle of it where that cannot be.
        """
        causes: tuple[str, ...] = ()
        assert self._least is not None and self._most is not None
        least, most, middle = self._least, self._most, (self._least + self._most) / 2.0
        elapsed = max(0.0, now - self._sent_at)
        step, rate = self._slow * self._step, self._slow * self._rate * elapsed
        for cause, low, high in (
            ("range", self._low, self._high),
            ("step", np.minimum(most - step, middle), np.maximum(least + step, middle)),
            ("rate", np.minimum(most - rate, middle), np.maximum(least + rate, middle)),
        ):
            clamped = np.minimum(np.maximum(target, low), high)
            if (np.abs(clamped - target) > 1e-9 * (1.0 + np.abs(target))).any():
                causes = (*causes, cause)
                if not quiet:
                    i = int(np.argmax(np.abs(clamped - target)))
                    self.note(
                        cause,
                        f"{self.names[i]}: {target[i]:g} -> {clamped[i]:g}",
                        now,
                        logging.DEBUG,
                    )
            target = clamped
        room = np.minimum(step, rate)
        far = (target - least > room) | (most - target > room)  # by rounding
        return np.minimum(
            np.maximum(np.where(far, np.nextafter(target, middle), target), self._low), self._high
        ), causes

    def _outside(self) -> tuple[str, float] | None:
        """The name that is farthest outside of the workspace, and how far."""
        found = [
            (name, max(region.low - self._place[name], self._place[name] - region.high))
            for name, region in self.limits.workspace.items()
            if name in self._place
        ]
        name, beyond = max(found, key=lambda each: each[1], default=("", 0.0))
        return (name, beyond) if beyond > 0.0 else None

    def _leads_outside(self, target: NDArray[np.float64]) -> str | None:
        assert self._forward is not None
        try:
            place = self._forward(self._named(target))
            for name, region in self.limits.workspace.items():
                if name in place and not region.low <= float(place[name]) <= region.high:
                    return f"the command leads to {name} = {float(place[name]):g}"
        except Exception as error:  # a driver's own code
            return f"forward raised {type(error).__name__}: {error}"
        return None

    def _array(self, values: Any) -> NDArray[np.float64] | str:
        """The numbers in the order of the limits, or what is wrong with them."""
        if not isinstance(values, Mapping) or set(values) != set(self.names):
            got = sorted(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
            return f"expected the names {list(self.names)}, got {got}"
        found = np.empty(len(self.names))
        for i, name in enumerate(self.names):
            value = values[name]
            if isinstance(value, (bool, str, bytes)):
                return f"{name}: expected a number, got {value!r}"
            try:
                found[i] = float(value)
            except (TypeError, ValueError, OverflowError):
                return f"{name}: expected a number, got {type(value).__name__}"
            if not math.isfinite(found[i]):
                return f"{name}: expected a finite number, got {found[i]}"
        return found

    def _need(self) -> NDArray[np.float64]:
        if self._last is None:
            raise RobotError(
                "expected a first pose, got none; call begin() first, and after rearm()"
            )
        return self._last

    def _named(self, values: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(self.names, values.tolist(), strict=True))

    def note(self, cause: str, detail: str, now: float, level: int = logging.WARNING) -> None:
        """Count and log an intervention, of this class or of others."""
        self.counts[cause] += 1
        self.log.append(Intervention(now, cause, detail))
        _log.log(level if self.counts[cause] <= 10 else logging.DEBUG, "%s: %s", cause, detail)
