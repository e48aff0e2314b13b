"""The command ``pixyz``: train, pretrain, resume, evaluate, show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.build import build
from agents.config import load_config, to_yaml
from agents.display import Display
from agents.errors import UsageError
from agents.pretrain import KINDS, command
from agents.pretrain.start import start_from, start_settings
from agents.process import prepare_process
from agents.replay import ReplayError
from agents.report import comparison, draw_curve
from agents.run import Judge, Run, Trainer, read_part
from agents.rundir import open_run
from agents.settings import RunSettings
from agents.spaces import Interface
from envs import EnvError, make_vector
from pixyz.types import PixyzError

CHANGEABLE = (
    "steps", "eval_every", "eval_episodes", "eval_limit", "checkpoint_every", "checkpoint_minutes", "log_every", "threads",
    "tracker", "device",
)
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
        config.setdefault("predicts", "value")  # of a run from before there was a choice
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


def _run(settings: RunSettings, directory: Path, *, resume: bool) -> int:
    with Display(total=settings.steps, title=f"{settings.env.id} seed {settings.seed}") as display:

        def watch(run: Run, metrics: Mapping[str, float]) -> None:
            p = run.progress
            recent = [r for _, r in p.returns[-5:]]
            display.update(p.steps, p.updates, float(np.mean(recent)) if recent else None, metrics)

        trainer = Trainer(settings, watch)
        with trainer:
            if settings.start is not None and not resume:
                start_from(trainer.agent, Path(settings.start))
            (trainer.resume if resume else trainer.begin)(directory)
            run = trainer.train()
        if run.stop.asked:
            display.message(f"stopped at step {run.at}, saved; go on with: pixyz resume {directory}")
            return run.stop.code
    _report(trainer, directory)
    return 0


def _report(trainer: Trainer, directory: Path) -> None:
    p, settings = trainer.run.progress, trainer.settings
    picture = directory / "curve.png"
    draw_curve(
        picture, train=p.returns, evaluations=[(s, float(np.mean(r)), float(np.std(r))) for s, r in p.evaluations],
        random=float(np.mean(p.random)), title=f"{settings.agent.kind}, {settings.env.id}, seed {settings.seed}",
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
    at, state = read_part(given.run, "agent")
    agent = build(settings.agent, _interface(settings))
    agent.load_state(state)
    if isinstance(agent, torch.nn.Module):
        agent.to(settings.device).eval()
    print(f"step {at} of {given.run}")
    judge = Judge(settings.env, given.episodes, given.seed, settings.eval_limit)
    learned, random = judge.actor(agent), judge.random()
    assert learned is not None and random is not None  # nobody asks to stop
    print(comparison(learned, random))
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
    agent: Any = build(settings.agent, interface)
    weights = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    print(f"# settings\n{to_yaml(settings)}\n# {weights:,} weights\n")
    print("# graphical model")
    for name, p in agent.parts().items():
        print(f"# {name}")
        print(f"{p.prob_joint_factorized_and_text}")
        for parent, child in sorted(p.graph.visible_graph().edges):
            print(f"    {parent.strip('$')} -> {child.strip('$')}")
    print(f"\n# objective\n{agent.objective}\n\n# plan\n{agent.objective.plan}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
