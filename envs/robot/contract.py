"""What a robot's driver is: LeRobot's four methods, and `stop`.

    connect()                  open the device; nothing moves
    get_observation()          name -> number, or camera -> array; what is measured now
    send_action({name: x})     go there; returns what was really sent
    stop()                     end all motion at once: hold, or torque off; until connected again,
                               it does not move
    disconnect()               close the device

A driver may also have, and then they are used:

    observation_features       name -> float, or the shape of an image (LeRobot's); else one
                               observation tells
    action_features            name -> float; compared with the limits
    is_connected               bool
    observed_at                seconds on the clock of this machine (`time.monotonic`) at which the
                               newest
                               observation was measured; else it is as old as the call that returned
                               it
    rest()                     told at the end of an episode: no command will come for a while
    pop_interventions()        what a watchdog did since the last call (`envs.robot.Watched`)
    forward({name: x})         name -> number: where a command would bring the robot (of the
                               workspace's names)
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from envs.robot.errors import RobotError

METHODS = ("connect", "get_observation", "send_action", "stop", "disconnect")


@runtime_checkable
class Robot(Protocol):
    """A driver. `stop` works in every state, connected or not, as often as it is called.

    >>> class Arm:
    ...     def connect(self): ...
    ...     def get_observation(self):
    ...         return {"elbow.pos": 0.0}
    ...
    ...     def send_action(self, action):
    ...         return action
    ...
    ...     def stop(self): ...
    ...     def disconnect(self): ...
    >>> isinstance(Arm(), Robot)
    True
    """

    def connect(self) -> None: ...
    def get_observation(self) -> Mapping[str, Any]: ...
    def send_action(self, action: dict[str, float]) -> Mapping[str, Any]: ...
    def stop(self) -> None: ...
    def disconnect(self) -> None: ...


class Stoppable:
    """A robot of LeRobot's, which has no `stop`, with a function that is one. All else is the
    robot's own.

    >>> class Bus:
    ...     def disable_torque(self):
    ...         print("torque off")
    >>> class Follower:
    ...     bus = Bus()
    ...
    ...     def connect(self): ...
    ...     def get_observation(self):
    ...         return {"elbow.pos": 0.0}
    ...
    ...     def send_action(self, action):
    ...         return action
    ...
    ...     def disconnect(self): ...
    >>> robot = Follower()
    >>> arm = Stoppable(robot, robot.bus.disable_torque)
    >>> arm.stop(), isinstance(arm, Robot)
    torque off
    (None, True)
    """

    def __init__(self, robot: Any, stop: Any) -> None:
        self._robot, self._stop = robot, stop

    def connect(self) -> None:
        """As the robot's."""
        self._robot.connect()

    def get_observation(self) -> Mapping[str, Any]:
        """As the robot's."""
        found: Mapping[str, Any] = self._robot.get_observation()
        return found

    def send_action(self, action: dict[str, float]) -> Mapping[str, Any]:
        """As the robot's."""
        sent: Mapping[str, Any] = self._robot.send_action(action)
        return sent

    def stop(self) -> None:
        """Call the function."""
        self._stop()

    def disconnect(self) -> None:
        """As the robot's."""
        self._robot.disconnect()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._robot, name)


def make_driver(spec: str, options: Mapping[str, Any] | None = None) -> Any:
    """The driver "module:Class", made with `options`. Raises RobotError where there is none, or it
    has not the methods.

    >>> make_driver("envs.robot.simulated:SimulatedArm", {"joints": 3}).is_connected
    False
    """
    module, colon, name = spec.partition(":")
    if not colon:
        raise RobotError(f"driver: expected module:Class, got {spec!r}")
    try:
        driver = getattr(import_module(module), name)(**(options or {}))
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise RobotError(f"driver: expected a module to import in {spec!r}, got {error}") from None
    except AttributeError as error:
        raise RobotError(f"driver: expected a class in {spec!r}, got {error}") from None
    check_methods(driver)
    return driver


def check_methods(robot: Any) -> None:
    """Raise RobotError naming the methods that a driver lacks."""
    missing = [name for name in METHODS if not callable(getattr(robot, name, None))]
    if missing:
        raise RobotError(
            f"robot: expected the methods {', '.join(METHODS)}, got {type(robot).__name__} without "
            f"{', '.join(missing)}; a robot of LeRobot's gets its stop from envs.robot.Stoppable"
        )
