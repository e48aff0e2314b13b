"""Robots: a contract for drivers, limits, safety, an environment that ticks at a fixed rate.

    Robot             what a driver is (LeRobot's four methods, and `stop`);   check_robot tries one
    Limits            what it may do, from one `limits.yaml`; nothing moves without
    Safety            every command passes it
    RobotEnv          a robot as a gymnasium environment, in real time or in stepped time

Nothing here replaces a hardware button that cuts the power.
"""

from envs.robot.clock import Clock, RealClock, SteppedClock, Tick, Ticker
from envs.robot.contract import Robot, Stoppable
from envs.robot.env import RECORD, Record, RobotEnv
from envs.robot.errors import LimitsError, RobotError, RobotStopped
from envs.robot.features import Features
from envs.robot.limits import ActionLimit, Limits, Region, load_limits
from envs.robot.person import Keyboard, Person, Wishes
from envs.robot.safety import Intervention, Safety, Verdict
from envs.robot.task import FreeTask, Judgement, Task

__all__ = [
    "RECORD",
    "ActionLimit",
    "Clock",
    "Features",
    "FreeTask",
    "Intervention",
    "Judgement",
    "Keyboard",
    "Limits",
    "LimitsError",
    "Person",
    "RealClock",
    "Record",
    "Region",
    "Robot",
    "RobotEnv",
    "RobotError",
    "RobotStopped",
    "Safety",
    "SteppedClock",
    "Stoppable",
    "Task",
    "Tick",
    "Ticker",
    "Verdict",
    "Wishes",
    "load_limits",
]
