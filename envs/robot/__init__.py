"""Robots: a contract for drivers, limits, safety, an environment that ticks at a fixed rate.

    Robot             what a driver is (LeRobot's four methods, and `stop`);   check_robot tries one
    Limits            what it may do, from one `limits.yaml`; nothing moves without
    Safety            every command passes it
    RobotEnv          a robot as a gymnasium environment, in real time or in stepped time
    Watched           a driver in the watchdog's process
    SimulatedArm      and SimulatedQuadruped: robots to try all of this on (Served: in real time,
                      with Faults)

Nothing here replaces a hardware button that cuts the power. Simulated robots need mujoco and
dm-control, which are loaded when one is made.
"""

from envs.extras import simulators

with simulators("envs.robot"):
    from envs.robot.check import Report, check_robot
    from envs.robot.clock import Clock, RealClock, SteppedClock, Tick, Ticker
    from envs.robot.contract import Robot, Stoppable, make_driver
    from envs.robot.doubt import Doubt
    from envs.robot.env import RobotEnv
    from envs.robot.errors import LimitsError, RobotError, RobotStopped
    from envs.robot.faults import Faults
    from envs.robot.features import Features
    from envs.robot.limits import ActionLimit, Limits, Region, load_limits
    from envs.robot.models import arm_limits, quadruped_limits
    from envs.robot.person import Keyboard, Person, Wishes
    from envs.robot.record import RECORD, Record
    from envs.robot.safety import Safety
    from envs.robot.served import Served
    from envs.robot.simulated import Simulated, SimulatedArm, SimulatedQuadruped
    from envs.robot.task import FreeTask, Judgement, Task
    from envs.robot.verdict import Intervention, Verdict
    from envs.robot.watched import Watched

__all__ = [
    "RECORD",
    "ActionLimit",
    "Clock",
    "Doubt",
    "Faults",
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
    "Report",
    "Robot",
    "RobotEnv",
    "RobotError",
    "RobotStopped",
    "Safety",
    "Served",
    "Simulated",
    "SimulatedArm",
    "SimulatedQuadruped",
    "SteppedClock",
    "Stoppable",
    "Task",
    "Tick",
    "Ticker",
    "Verdict",
    "Watched",
    "Wishes",
    "arm_limits",
    "check_robot",
    "load_limits",
    "make_driver",
    "quadruped_limits",
]
