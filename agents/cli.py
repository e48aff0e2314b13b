"""The command ``pixyz``: train, pretrain, resume, evaluate, show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from agents.checkpoint import load_checkpoint, unflatten_state
from agents.config import load_config, to_dict, to_yaml
from agents.dreamer.v3 import DreamerV3
from agents.errors import UsageError
from agents.evaluate import evaluate, evaluate_random
from agents.interface import Interface
from agents.logger import Logger, Tracker
from agents.pretrain import KINDS, command, start_from
from agents.pretrain.start import start_settings
from agents.process import prepare_process
from agents.progress import Progress as Display
from agents.replay import ReplayError
from agents.report import comparison, draw_curve
from agents.rundir import create_run, open_run
from agents.settings import RunSettings
from agents.tracking import WandbTracker
from agents.train import Trainer
from envs import EnvError, make_vector
from pixyz.types import PixyzError

CHANGEABLE = ("steps", "eval_every", "eval_episodes", "checkpoint_every", "log_every", "threads", "tracker", "device")
"""What `pixyz resume RUN key=value` may change."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 2 on bad input (one line says what), 130 when interrupted."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest:  # changes may stand behind options, where argparse does not take them
        odd = [text for text in rest if text.startswith("-") or "=" not in text]
        if odd or not hasattr(given, "overrides"):
            parser.error(f"unrecognized arguments: {' '.join(odd or rest)}")
        given.overrides = [*given.overrides, *rest]
    try:
        code: int = given.command(given)
    except BrokenPipeError:  # the reader of our text has gone (pixyz show ... | head)
        sys.stdout = None  # type: ignore[assignment]
        return 0
    except (UsageError, EnvError, PixyzError, ReplayError, FloatingPointError) as error:
        print(f"pixyz: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pixyz", description="Train world-model agents.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train an agent in a new run folder")
    train.add_argument("config", help="a name such as dreamer_v3/pendulum, or a YAML file")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as seed=1 agent.lr=1e-4")
    train.add_argument("--run", type=Path, help="the run's folder (default: runs/CONFIG-seedSEED)")
    train.add_argument("--from", type=Path, dest="start", metavar="RUN", help="a run of `pixyz pretrain rssm` to start from")
    train.set_defaults(command=_train)
    pretrain = commands.add_parser("pretrain", help="train a world model on logs, and judge it in open loop")
    command.add_arguments(pretrain)
    pretrain.set_defaults(command=_pretrain)
    resume = commands.add_parser("resume", help="go on with a run")
    resume.add_argument("run", type=Path)
    resume.add_argument("overrides", nargs="*", metavar="key=value", help=f"changes of {', '.join(CHANGEABLE)}")
    resume.set_defaults(command=_resume)
    judge = commands.add_parser("evaluate", help="episodes of a trained agent beside a random one's")
    judge.add_argument("run", type=Path)
    judge.add_argument("--episodes", type=int, default=10)
    judge.add_argument("--seed", type=int, default=1)
    judge.set_defaults(command=_evaluate)
    show = commands.add_parser("show", help="what a config means: settings, graphical model, objective, plan")
    show.add_argument("config")
    show.add_argument("overrides", nargs="*", metavar="key=value")
    show.set_defaults(command=_show)
    return parser


def _train(given: argparse.Namespace) -> int:
    settings = load_config(RunSettings, given.config, given.overrides)
    if given.start:
        settings = start_settings(settings, given.start)
    name = Path(given.config).with_suffix("").as_posix().replace("/", "-")
    directory = given.run or Path("runs") / f"{name}-seed{settings.seed}"
    prepare_process(settings.threads)
    _check_extras(settings)
    _check_env(settings)
    create_run(directory, settings, seed=settings.seed)
    return _run(settings, directory, resume=False)


def _pretrain(given: argparse.Namespace) -> int:
    _need("matplotlib", "plots")
    return command.pretrain(given)


def _resume(given: argparse.Namespace) -> int:
    config, _ = open_run(given.run)
    changeable = command.CHANGEABLE if "kind" in config else CHANGEABLE
    fixed = [text for text in given.overrides if text.partition("=")[0] not in changeable]
    if fixed:
        raise UsageError(f"a run goes on with what it began with; {fixed[0]!r} cannot change, only {', '.join(changeable)}")
    if "kind" in config:
        logged = load_config(KINDS.get(config["kind"], KINDS["rssm"]), config, given.overrides)
        prepare_process(logged.threads)
        return command.run(logged, command.open_data(logged), given.run, resume=True)
    settings = load_config(RunSettings, config, given.overrides)
    prepare_process(settings.threads)
    return _run(settings, given.run, resume=True)


def _check_extras(settings: RunSettings) -> None:
    """Refuse before anything is written what would be missed at the end."""
    wanted = {"matplotlib": "plots"} | ({"wandb": "tracking"} if settings.tracker == "wandb" else {})
    for package, extra in wanted.items():
        _need(package, extra)


def _need(package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise UsageError(f"{package} is not installed: pip install 'pixyz-worldmodels[{extra}]'")


def _check_env(settings: RunSettings) -> None:
    """Make the environment once, so that a wrong id leaves no folder behind."""
    e = settings.env
    make_vector(e.id, 1, action_repeat=e.action_repeat, time_limit=e.time_limit, **e.options).close()


def _run(settings: RunSettings, directory: Path, *, resume: bool) -> int:
    logger = Logger(directory, tracker=_tracker(settings, directory))
    with Display(total=settings.steps, title=f"{settings.env.id} seed {settings.seed}") as display:

        def watch(trainer: Trainer, metrics: dict[str, float]) -> None:
            p = trainer.progress
            recent = [r for _, r in p.returns[-5:]]
            display.update(p.steps, p.updates, float(np.mean(recent)) if recent else None, metrics)

        trainer = Trainer(settings, directory, logger, watch)
        try:
            if resume:
                trainer.load()
            elif settings.start is not None:
                start_from(trainer.agent, Path(settings.start))
            trainer.run()
        except KeyboardInterrupt:
            display.message(f"stopped at step {trainer.progress.steps}, saved; go on with: pixyz resume {directory}")
            return 130
        finally:
            trainer.close()
            logger.close()
    _report(trainer, directory)
    return 0


def _tracker(settings: RunSettings, directory: Path) -> Tracker | None:
    if settings.tracker == "none":
        return None
    return WandbTracker("pixyz", to_dict(settings), directory)


def _report(trainer: Trainer, directory: Path) -> None:
    p, settings = trainer.progress, trainer.settings
    picture = directory / "curve.png"
    draw_curve(
        picture, train=p.returns, evaluations=[(s, float(np.mean(r)), float(np.std(r))) for s, r in p.evaluations],
        random=float(np.mean(p.random)), title=f"DreamerV3, {settings.env.id}, seed {settings.seed}",
    )
    print(comparison(p.evaluations[-1][1], p.random))
    print(
        f"{p.steps} environment steps (action repeat {settings.env.action_repeat}), {p.updates} updates, "
        f"{p.seconds / 60:.1f} minutes, {p.cpu_seconds / 60:.1f} CPU minutes"
    )
    print(f"curve: {picture}")


def _evaluate(given: argparse.Namespace) -> int:
    if given.episodes < 1 or given.seed < 0:
        raise UsageError(f"--episodes must be at least 1 and --seed not negative, got {given.episodes} and {given.seed}")
    settings = load_config(RunSettings, open_run(given.run)[0])
    prepare_process(settings.threads)
    found = load_checkpoint(given.run / "checkpoints")
    interface = _interface(settings)
    agent = DreamerV3(interface.shapes, interface.action, settings.agent)
    agent.load_state_dict(unflatten_state(found.tensors, found.state["nested"])["agent"])
    agent.to(settings.device).eval()
    print(f"step {found.step} of {given.run}")
    returns = evaluate(agent, interface, settings.env, given.episodes, given.seed)
    print(comparison(returns, evaluate_random(interface, settings.env, given.episodes, given.seed)))
    return 0


def _interface(settings: RunSettings) -> Interface:
    e = settings.env
    envs = make_vector(e.id, 1, action_repeat=e.action_repeat, time_limit=e.time_limit, **e.options)
    try:
        return Interface.of(envs)
    finally:
        envs.close()


def _show(given: argparse.Namespace) -> int:
    settings = load_config(RunSettings, given.config, given.overrides)
    interface = _interface(settings)
    torch.manual_seed(settings.seed)
    agent = DreamerV3(interface.shapes, interface.action, settings.agent)
    weights = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    print(f"# settings\n{to_yaml(settings)}\n# {weights:,} weights\n")
    print("# graphical model: a step of filtering, of imagination, of acting")
    for p in (agent.model.step, agent.model.dynamics * agent.model.prior, agent.policy):
        print(f"{p.prob_joint_factorized_and_text}")
        for parent, child in sorted(p.graph.visible_graph().edges):
            print(f"    {parent.strip('$')} -> {child.strip('$')}")
    print(f"\n# objective\n{agent.objective}\n\n# plan\n{agent.objective.plan}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
