"""What goes wrong with robots, apart from what goes wrong with environments."""

from __future__ import annotations

from envs.errors import EnvError


class RobotError(EnvError):
    """A robot, its driver or its task breaks the contract.

    >>> RobotError("send_action: expected what was sent, got None")
    RobotError('send_action: expected what was sent, got None')
    """


class LimitsError(RobotError):
    """Limits are missing, not finite, reversed, or do not fit the robot. Nothing moves without
    limits.

    >>> from envs.robot import ActionLimit
    >>> try:
    ...     ActionLimit(low=1.0, high=-1.0, step=0.1, rate=1.0)
    ... except LimitsError as error:
    ...     print(error)
    low: expected less than high, got low=1.0 and high=-1.0
    """


class RobotStopped(RobotError):
    """The robot was stopped and stays so until `rearm()` is called. `cause` says why.

    >>> RobotStopped("person: the stop key").cause
    'person: the stop key'
    """

    def __init__(self, cause: str, *, env: int | None = None) -> None:
        super().__init__(
            f"the robot is stopped ({cause}); look at it, then call rearm() and reset()", env=env
        )
        self.cause = cause

    def at(self, env: int) -> RobotStopped:
        """The same error, naming the environment that raised it."""
        return RobotStopped(self.cause, env=env)
