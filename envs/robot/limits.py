"""What a robot may do, from one file. Nothing here has a default that means "no limit".

    hz: 20                    # control rate, ticks a second
    stale_ms: 150             # an observation or a decision older than this is not acted on: hold
    stop_ms: 600              # after holding for so long: stop, until a person re-arms
    watchdog_ms: 200          # no command for so long: the watchdog holds, and stops after stop_ms
    actions:                  # of every number that send_action takes, in the driver's units
      elbow.pos: {low: -1.5, high: 1.5, step: 0.08, rate: 2.0, home: 0.0}
    workspace:                # of numbers that get_observation returns; may be left empty
      tip.z: {low: 0.05, high: 0.9, margin: 0.03}

`step` is the largest change from one command to the next, `rate` the largest change a second (by
the clock, so that a command that comes early may change less; give it some room above step * hz,
since ticks jitter). `home` is where an episode begins, and where it goes slowly: at the share
`approach` of `step` and `rate`. `hold` is what is sent to hold: left out, it is the last command (a
position); of a velocity or a torque it is 0. Outside of `low` and `high` of the workspace the robot
goes back to where it was inside, beyond `margin` it is stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from envs.extras import load
from envs.robot.errors import LimitsError

_REFUSED = "a robot without limits is not moved"


@dataclass(frozen=True)
class ActionLimit:
    """The limits of one number of an action, in the driver's units.

    >>> ActionLimit(low=-1.5, high=1.5, step=0.08, rate=1.6, home=0.0).step
    0.08
    """

    low: float
    high: float
    step: float
    rate: float
    home: float | None = None
    hold: float | None = None

    def __post_init__(self) -> None:
        _finite(self)
        _ordered(self.low, self.high)
        for name in ("step", "rate"):
            if not getattr(self, name) > 0.0:
                raise LimitsError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("home", "hold"):
            value = getattr(self, name)
            if value is not None and not self.low <= value <= self.high:
                raise LimitsError(
                    f"{name}: expected it within [{self.low}, {self.high}], got {value}"
                )


@dataclass(frozen=True)
class Region:
    """Where a measured number should stay, and how far outside of it the robot is stopped.

    >>> Region(low=0.05, high=0.9, margin=0.03).high
    0.9
    """

    low: float
    high: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        _finite(self)
        _ordered(self.low, self.high)
        if self.margin < 0.0:
            raise LimitsError(f"margin: expected 0 or more, got {self.margin}")


@dataclass(frozen=True)
class Limits:
    """All limits of a robot; see the text of this file. Raises LimitsError for what is missing or
    makes no sense.

    >>> Limits(hz=20, actions={"elbow.pos": ActionLimit(-1.5, 1.5, 0.08, 1.6)}).period
    0.05
    """

    hz: float
    actions: Mapping[str, ActionLimit]
    workspace: Mapping[str, Region] = field(default_factory=dict)
    stale_ms: float = 150.0
    stop_ms: float = 600.0
    watchdog_ms: float = 200.0
    approach: float = 0.25

    def __post_init__(self) -> None:
        _finite(self)
        if not self.actions:
            raise LimitsError(
                f"actions: expected limits of every number of an action, got none; {_REFUSED}"
            )
        if not 0.0 < self.hz <= 1000.0:
            raise LimitsError(f"hz: expected ticks a second in (0, 1000], got {self.hz}")
        for name in ("stale_ms", "watchdog_ms"):
            if not getattr(self, name) > 1000.0 / self.hz:
                raise LimitsError(
                    f"{name}: expected more than one tick of {1000.0 / self.hz:g} ms, "
                    f"got {getattr(self, name):g}"
                )
        if not self.stop_ms > 0.0:
            raise LimitsError(f"stop_ms: expected more than 0, got {self.stop_ms}")
        if not 0.0 < self.approach <= 1.0:
            raise LimitsError(f"approach: expected a share in (0, 1], got {self.approach}")

    @property
    def period(self) -> float:
        """Seconds of a tick."""
        return 1.0 / self.hz

    @property
    def names(self) -> tuple[str, ...]:
        """The numbers of an action, in the order of the file."""
        return tuple(self.actions)

    def seconds(self, way: Mapping[str, float], share: float = 1.0) -> float:
        """How long these changes of commands take, by a share of `step` and `rate`."""
        fastest = {n: min(each.step * self.hz, each.rate) for n, each in self.actions.items()}
        return max((abs(far) / (share * fastest[n]) for n, far in way.items()), default=0.0)

    def plain(self) -> dict[str, Any]:
        """As in the file; `Limits.read` takes it."""
        return {
            **{
                f.name: getattr(self, f.name)
                for f in fields(self)
                if f.name not in ("actions", "workspace")
            },
            "actions": {name: vars(limit).copy() for name, limit in self.actions.items()},
            "workspace": {name: vars(region).copy() for name, region in self.workspace.items()},
        }

    @staticmethod
    def read(values: Any, where: str = "limits") -> Limits:
        """From nested dicts. Raises LimitsError naming the key."""
        values = _known(Limits, values, where)
        parts = {"actions": ActionLimit, "workspace": Region}
        for key, cls in parts.items():
            table = _mapping(values.get(key, {}) or {}, f"{where}: {key}")
            values[key] = {
                str(name): _build(cls, each, f"{where}: {key}: {name}")
                for name, each in table.items()
            }
        return _build(Limits, values, where, parts)


def load_limits(source: str | Path | Mapping[str, Any] | Limits) -> Limits:
    """Limits from a file, or from the same in nested dicts.

    >>> load_limits({"hz": 20, "actions": {"a": {"low": 1, "high": 0, "step": 0.1, "rate": 1}}})
    Traceback (most recent call last):
    envs.robot.errors.LimitsError: limits: actions: a: low: expected less than high, got low=1.0 and high=0.0
    """  # noqa: E501
    if isinstance(source, Limits):
        return source
    if isinstance(source, Mapping):
        return Limits.read(source)
    if source is None:
        raise LimitsError(f"limits: expected a file or a Limits, got None; {_REFUSED}")
    yaml = load("yaml", "a file of limits")
    try:
        values = yaml.load(Path(source).read_text(encoding="utf-8"), Loader=_loader(yaml))
    except (OSError, UnicodeDecodeError) as error:
        raise LimitsError(
            f"{source}: expected a readable file of limits: {error}; {_REFUSED}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LimitsError(f"{source}: expected YAML: {' '.join(str(error).split())}") from None
    return Limits.read(values, str(source))


def _loader(yaml: Any) -> Any:
    """YAML's plain data, in which no key may come twice: the second would hide the first."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value]
            for name in names:
                if names.count(name) > 1:
                    raise LimitsError(f"key {name!r} comes twice; keep one")
            return super().construct_mapping(node, deep)

    return Loader


def _build(cls: type[Any], values: Any, where: str, parts: Mapping[str, Any] | None = None) -> Any:
    values = _known(cls, values, where)
    found = {
        key: each if key in (parts or {}) else _number(each, f"{where}: {key}")
        for key, each in values.items()
    }
    try:
        return cls(**found)
    except LimitsError as error:
        raise LimitsError(f"{where}: {error.message}") from None


def _known(cls: type[Any], values: Any, where: str) -> dict[str, Any]:
    """The values, of which each key is known and none is missing."""
    values = dict(_mapping(values, where))
    names = [f.name for f in fields(cls)]
    for key in values:
        if key not in names:
            near = get_close_matches(str(key), names, n=1)
            hint = f" (nearest: {near[0]})" if near else ""
            raise LimitsError(
                f"{where}: unknown key {key!r}{hint}; the keys are {', '.join(names)}"
            )
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if values.get(name) is None]
    if missing:
        raise LimitsError(f"{where}: expected {', '.join(missing)}, got none; {_REFUSED}")
    return values


def _mapping(values: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise LimitsError(f"{where}: expected keys and values, got {type(values).__name__}")
    return values


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise LimitsError(
            f"{where}: expected a number, got {value!r}; a power of ten is written 1.0e-3"
        )
    return float(value)


def _finite(owner: Any) -> None:
    for f in fields(owner):
        value = getattr(owner, f.name)
        if isinstance(value, Mapping) or (value is None and f.default is None):
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            raise LimitsError(f"{f.name}: expected a finite number, got {value!r}")


def _ordered(low: float, high: float) -> None:
    if not low < high:
        raise LimitsError(f"low: expected less than high, got low={low} and high={high}")
