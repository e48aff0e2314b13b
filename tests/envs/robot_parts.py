"""A robot of two joints that does what it is told, or what a test wants."""

from __future__ import annotations

from envs.robot import Limits, SteppedClock, Wishes

NAMES = ("shoulder.pos", "elbow.pos")
EACH = {"low": -1.0, "high": 1.0, "step": 0.1, "rate": 4.0, "home": 0.0}


def limits(**changes) -> Limits:
    """Limits at 20 Hz."""
    return Limits.read({"hz": 20.0, "actions": {name: dict(EACH) for name in NAMES}, **changes})


class Arm:
    """Is at once where it is told to be. `observe` and `send` are called in the place of its own
    methods.
    """

    observation_features = dict.fromkeys(NAMES, float)
    action_features = dict.fromkeys(NAMES, float)

    def __init__(self, observe=None, send=None) -> None:
        self.pose = dict.fromkeys(NAMES, 0.0)
        self.commands: list[dict[str, float]] = []
        self.stops, self.is_connected = 0, False
        self.observe, self.send = observe, send

    def connect(self) -> None:
        self.is_connected = True

    def get_observation(self):
        return dict(self.pose) if self.observe is None else self.observe(self)

    def send_action(self, action):
        self.commands.append(dict(action))
        self.pose = dict(action)
        return action if self.send is None else self.send(self, action)

    def stop(self) -> None:
        self.stops += 1

    def disconnect(self) -> None:
        self.is_connected = False


class Moments:
    """A person whose wishes are written down by tick."""

    def __init__(self, at) -> None:
        self.at, self.count = at, -1

    def wishes(self):
        self.count += 1
        return self.at.get(self.count, Wishes())


class Jumping(SteppedClock):
    """A clock that somebody sets."""

    def jump(self, seconds: float) -> None:
        self._now += seconds
