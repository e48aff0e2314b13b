"""``pixyz robot``: check a robot, record it, let it learn, in two processes on one or two hosts."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agents.commands import offline
from agents.commands.driving import driver_options, environment, made, robot_env
from agents.config import load_config
from agents.display import Display, Live
from agents.errors import UsageError
from agents.online.actor import ActorSide
from agents.online.learner import LearnerSide, Meeting
from agents.online.link import LearnerLink
from agents.online.log import RowLog
from agents.online.many import act_on_ray
from agents.online.pair import Pair
from agents.online.panel import Panel
from agents.online.receiving import Receiving
from agents.online.recording import DATA, LOG, ByPolicy, check_out, episodes, record, write
from agents.policy import Policy, load
from agents.pretrain.start import FROM, start_settings
from agents.process import prepare_process
from agents.run import Run, Stop
from agents.run_name import run_name
from agents.rundir import open_run, read_interface
from agents.settings import RunSettings
from envs.robot import (
    Keyboard,
    RobotEnv,
    RobotStopped,
    check_robot,
    load_limits,
    make_driver,
)
from envs.robot.person import KEYS
from envs.robot.watched import Watched
from worldmodels import ranks
from worldmodels.words import counted

HERE = "tcp://127.0.0.1:5555"
NICE = 5  # how much a learner gives way to the actor that it stands beside
STOPPED = 3
"""The exit code after a stop of the robot that nobody re-armed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command and of its own commands."""
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    one = commands.add_parser(
        "check", help="does the driver keep its contract, at which rate, and do the limits fit"
    )
    _robot(one, needed=True)
    one.add_argument("--ticks", type=int, default=100)
    one.add_argument(
        "--move",
        action="store_true",
        help="also move each joint a little; without it nothing is sent",
    )
    one.add_argument("--dry-run", action="store_true", help="send nothing; as without --move")
    one.set_defaults(command=check)
    log = commands.add_parser(
        "record", help="episodes of a robot that a person or a policy moves, as a LeRobot data set"
    )
    _robot(log, needed=True)
    log.add_argument(
        "--task", metavar="MODULE:CLASS", help="rewards and ends (default: the success key)"
    )
    log.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the folder: rows in log/, at the end a data set in lerobot/",
    )
    log.add_argument(
        "--episodes", type=int, default=10, help="how many more; 0: only write the data set"
    )
    log.add_argument(
        "--teleop",
        metavar="MODULE:CLASS",
        help="get_action() -> name -> number or None: a person's command",
    )
    log.add_argument(
        "--policy",
        type=Path,
        metavar="RUN",
        help="who moves it where no person does (default: nobody, it holds)",
    )
    _doubts(log)
    log.add_argument("--dry-run", action="store_true", help="send nothing to the robot")
    log.set_defaults(command=records)
    offline.add_arguments(
        commands.add_parser(
            "offline", help="an agent from a log alone, inside a model of it; learn --from goes on"
        )
    )
    both = commands.add_parser(
        "learn", help="an actor here and a learner beside it, in a process of its own"
    )
    _learns(both)
    _acts(both)
    both.set_defaults(command=learn)
    actor = commands.add_parser("actor", help="the actor: it has the robot")
    _answers(actor)
    _acts(actor)
    actor.add_argument(
        "--log",
        type=Path,
        default=Path("runs/actor"),
        help="the folder of its log (default: runs/actor)",
    )
    actor.add_argument("--number", type=int, default=0, help="of several actors, from 0 on")
    actor.set_defaults(command=act)
    actors = commands.add_parser(
        "actors", help="env.num_envs simulated actors on Ray, beside a learner"
    )
    _answers(actors)
    actors.add_argument(
        "--log",
        type=Path,
        default=Path("runs/actors"),
        help="the folder of their logs, best one that all machines see (default: runs/actors)",
    )
    actors.add_argument("--hz", type=float, default=0.0, help="ticks a second (0: no limit)")
    actors.add_argument("--cpus", type=float, default=1.0, help="that Ray keeps for each actor")
    actors.add_argument(
        "--ray", metavar="ADDRESS", help="of a cluster, or auto (default: Ray is started here)"
    )
    actors.set_defaults(command=acts)
    learner = commands.add_parser(
        "learner", help="the learner: it has the replay, and may be on another machine"
    )
    _learns(learner)
    learner.add_argument(
        "--bind", default=HERE, metavar="ADDRESS", help=f"where actors find it (default: {HERE})"
    )
    learner.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    learner.set_defaults(command=learns)


def _robot(parser: argparse.ArgumentParser, needed: bool) -> None:
    about = "the driver, in a watchdog's process" + (
        "" if needed else " (default: the config's env.id)"
    )
    parser.add_argument("--robot", metavar="MODULE:CLASS", required=needed, help=about)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the driver's constructor",
    )
    parser.add_argument(
        "--limits", type=Path, required=needed, help="limits.yaml; no robot moves without"
    )


def _answers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", help="a name such as dreamer_v3/fast, or a YAML file; the same as the learner's"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument(
        "--learner", default=HERE, metavar="ADDRESS", help=f"where the learner is (default: {HERE})"
    )


def _acts(parser: argparse.ArgumentParser) -> None:
    _robot(parser, needed=False)
    parser.add_argument(
        "--task",
        metavar="MODULE:CLASS",
        help="the task: rewards and ends (default: the success key)",
    )
    parser.add_argument(
        "--hz",
        type=float,
        default=0.0,
        help="ticks a second of an env.id that has no rate of its own",
    )
    parser.add_argument(
        "--alone",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="act so long without the learner (0: on)",
    )
    _doubts(parser)
    parser.add_argument("--dry-run", action="store_true", help="send nothing to the robot")


def _doubts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--doubt",
        type=Path,
        metavar="RUN",
        help="a run of `pixyz pretrain doubt`: hold where robot or action are unlike its log",
    )


def _learns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a name such as dreamer_v3/fast, or a YAML file")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="changes, such as seed=1; env.num_envs: actors",
    )
    parser.add_argument(
        "--run",
        type=Path,
        help="the run's folder; one that is there goes on (default: runs/robot-CONFIG-seedSEED, "
        "with agent.kind and env.id in it where they are given)",
    )
    parser.add_argument(
        "--from",
        type=Path,
        dest="start",
        metavar="RUN",
        help=FROM,
    )


# -------------------------------------------------------------------- check


def check(given: argparse.Namespace) -> int:
    """Try a driver within its limits."""
    if given.ticks < 10:
        raise UsageError(f"--ticks: expected at least 10, got {given.ticks}")
    limits = load_limits(given.limits)
    robot = make_driver(given.robot, driver_options(given))
    print(check_robot(robot, limits, ticks=given.ticks, move=given.move and not given.dry_run))
    return 0


# -------------------------------------------------------------------- recording


def records(given: argparse.Namespace) -> int:
    """Record episodes, then write all that the folder's log holds as a data set."""
    check_out(given.out)
    limits = load_limits(given.limits)
    policy = None if given.policy is None else load(given.policy, device="cpu")
    teleop = None if given.teleop is None else made(given.teleop, "--teleop")
    with (
        RowLog(given.out / LOG, keep=True) as log,
        Keyboard(teleop) as keyboard,
        Live("recording") as live,
        Stop() as stop,
    ):
        code = 0
        if given.episodes:
            robot = Watched(given.robot, limits, options=driver_options(given))
            env = robot_env(given, robot, limits, keyboard)
            live.message(KEYS)
            try:
                record(
                    env,
                    log,
                    _move(env, policy),
                    given.episodes,
                    stop,
                    lambda number, total: live.message(f"episode {number}: return {total:.3g}"),
                )
            except RobotStopped as error:
                live.message(str(error))
                code = STOPPED
            finally:
                env.close()
        data = episodes(log, limits.hz)
        kept = f"{counted(len(data), 'episode')}, {counted(data.steps, 'row')}"
        print(f"{write(data, given.out / DATA)}: {kept}")
    return code or stop.code


def _move(env: RobotEnv, policy: Policy | None) -> Callable[[Any], Any]:
    if policy is None:
        return lambda seen: np.zeros(env.action_space.shape or ())
    return ByPolicy(policy, env)


# -------------------------------------------------------------------- learning


def learns(given: argparse.Namespace) -> int:
    """The learner."""
    settings, run = _settings(given)
    prepare_process(settings.threads)
    if given.parent and hasattr(os, "nice"):
        os.nice(NICE)
    meeting = Meeting()
    receiving = Receiving(settings.env.num_envs, meeting.check)
    title = f"learner {run.name}"
    with (
        LearnerLink(receiving, _bind(given.bind)) as link,
        Display(total=settings.steps, title=title) as display,
    ):
        resume = (run / "run.json").is_file()
        display.message(
            f"{'going on with' if resume else 'waiting for an actor, for'} {run}, at {link.address}"
        )
        with Stop() as stop:
            declared = read_interface(run) if resume else meeting.wait(stop)
        if declared is None:
            return stop.code

        def watch(run: Run, metrics: Any) -> None:
            p = run.progress
            recent = [r for _, r in p.returns[-5:]]
            display.update(p.steps, p.updates, float(np.mean(recent)) if recent else None, metrics)

        with LearnerSide(
            settings, declared, receiving, meeting, watch, arrived=link.arrived, parent=given.parent
        ) as side:
            if given.start and not resume:
                side.start_from(given.start)
            (side.resume if resume else side.begin)(run)
            found = side.train()
            side.say_goodbye()
        display.message(
            f"{found.progress.steps} steps, {found.progress.updates} updates, saved in {run}"
        )
        if link.error is not None:
            raise link.error
    return found.stop.code


def _bind(address: str) -> str:
    """Where this learner is found: of several, each has the next port."""
    if not ranks.rank():
        return address
    place, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise UsageError(f"--bind: expected an address with a port for several learners: {address}")
    return f"{place}:{int(port) + ranks.rank()}"


def act(given: argparse.Namespace) -> int:
    """The actor."""
    return _act(
        given,
        load_config(RunSettings, given.config, given.overrides),
        given.log,
        given.learner,
        given.number,
    )


def acts(given: argparse.Namespace) -> int:
    """Many actors."""
    if not given.cpus >= 0.0:
        raise UsageError(f"--cpus: expected a number that is not negative, got {given.cpus:g}")
    settings = load_config(RunSettings, given.config, given.overrides)
    act_on_ray(settings, given.log, given.learner, hz=given.hz, cpus=given.cpus, cluster=given.ray)
    return 0


def learn(given: argparse.Namespace) -> int:
    """The learner in another process, and the actor here."""
    settings, run = _settings(given)
    start = ["--from", str(given.start)] if given.start else []
    with Pair([given.config, *given.overrides, "--run", str(run), *start], run) as pair:
        code = _act(given, settings, run.parent / f"{run.name}-actor", pair.address, 0, pair.look)
        print(
            f"the learner makes the updates that are due (see {pair.said}); "
            f"Ctrl+C saves and stops it",
            file=sys.stderr,
        )
        return pair.wait() or code


def _settings(given: argparse.Namespace) -> tuple[RunSettings, Path]:
    """The settings, and the run's folder."""
    settings = load_config(RunSettings, given.config, given.overrides)
    if given.start:
        settings = start_settings(settings, given.start, given.overrides, given.config)
    run = given.run or Path("runs") / f"robot-{run_name(given.config, given.overrides, settings)}"
    if (run / "run.json").is_file():
        config, _ = open_run(run)
        if "kind" in config:
            raise UsageError(f"{run} is a run of `pixyz pretrain`; give another --run")
    return settings, run


def _act(
    given: argparse.Namespace,
    settings: RunSettings,
    log: Path,
    address: str,
    number: int,
    look: Callable[[], None] | None = None,
) -> int:
    prepare_process(settings.threads)
    sys.setswitchinterval(0.001)  # the socket's thread gives way to a tick sooner
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    with Keyboard() as keyboard, Panel("actor") as panel:
        env = environment(given, settings, keyboard)
        if given.dry_run:
            panel.message("dry run: nothing is sent")
        with ActorSide(
            settings,
            env,
            log,
            address,
            actor=number,
            hz=given.hz,
            alone=given.alone,
            panel=panel,
            look=look,
        ) as side:
            if not side.meet(panel.message):
                return side.run.stop.code
            panel.message(KEYS if given.robot else f"{settings.env.id} acts")
            while True:
                try:
                    side.act()
                    break
                except RobotStopped as error:
                    panel.message(str(error))
                    if not _rearmed():
                        return STOPPED
                    side.env.rearm()
            panel.message(
                f"{side.run.progress.steps} steps; rows that the learner has not: "
                f"{side.sending.behind}"
            )
            return side.run.stop.code


def _rearmed() -> bool:
    """Whether a person at the terminal says that the robot may move again."""
    if not sys.stdin.isatty():
        return False
    try:
        return (
            input("type rearm to let the robot move again, anything else to end: ").strip()
            == "rearm"
        )
    except (EOFError, KeyboardInterrupt):
        return False
