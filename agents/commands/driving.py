"""What the commands of ``pixyz robot`` build: an environment of a driver, from their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from agents.config import parse_yaml
from agents.environments import make_env
from agents.errors import UsageError
from agents.online.doubt import ModelDoubt
from agents.settings import RunSettings
from envs.robot import Keyboard, Limits, RobotEnv, Task, load_limits
from envs.robot.watched import Watched


def environment(
    given: argparse.Namespace, settings: RunSettings, keyboard: Keyboard
) -> Callable[[], Any]:
    """What makes the environment: the driver's, or the config's."""
    if given.robot is None:
        if given.limits or given.task or given.option or given.doubt:
            raise UsageError("--limits, --task, --option and --doubt go with --robot")
        dry = {"dry_run": True} if given.dry_run else {}
        return partial(make_env, settings.env, **dry)
    if given.limits is None:
        raise UsageError("--robot needs --limits: no robot moves without")
    limits = load_limits(given.limits)
    robot = Watched(given.robot, limits, options=driver_options(given))
    env = robot_env(given, robot, limits, keyboard)
    return lambda: env


def robot_env(
    given: argparse.Namespace, robot: Watched, limits: Limits, keyboard: Keyboard
) -> RobotEnv:
    """The environment of a driver, with a doubt where one is given."""
    env = RobotEnv(robot, limits, task=task(given.task), person=keyboard, dry_run=given.dry_run)
    if given.doubt is not None:
        env.doubt_by(ModelDoubt.load(given.doubt, env.observation_space, env.action_space))
    return env


def driver_options(given: argparse.Namespace) -> dict[str, Any]:
    """What the driver's constructor is given."""
    found = {}
    for text in given.option:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--option: expected KEY=VALUE, got {text!r}")
        found[key] = parse_yaml(value, f"--option {key}")
    return found


def task(place: str | None) -> Task | None:
    found: Task | None = None if place is None else made(place, "--task")
    return found


def made(place: str, option: str) -> Any:
    """What ``module:Class`` makes without arguments."""
    module, colon, name = place.partition(":")
    if not colon:
        raise UsageError(f"{option}: expected module:Class, got {place!r}")
    try:
        return getattr(import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{option}: expected module:Class that is made without arguments, got {place!r}: "
            f"{error}"
        ) from None
