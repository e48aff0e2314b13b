"""``pixyz evaluate``: episodes of a trained agent beside a random one's, and a video of one."""

from __future__ import annotations

import argparse
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agents.build import build
from agents.environments import make_envs
from agents.errors import UsageError
from agents.policy import read_settings
from agents.process import prepare_process
from agents.report import comparison
from agents.run import Judge, read_part
from agents.settings import RunSettings
from agents.spaces import Interface
from agents.video import check_video, drawn, record, rendering, write_video


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run", type=Path)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--sampled",
        action="store_true",
        help="also the policy that draws its actions, as in training",
    )
    parser.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="write one episode of the learned policy, as .mp4 or .gif",
    )
    parser.add_argument("--seconds", type=float, help="of the video (default: the whole episode)")
    parser.add_argument("--device", help="where to compute (default: as in training)")
    parser.set_defaults(command=evaluate)


def evaluate(given: argparse.Namespace) -> int:
    """Print what the policies reach; write the video."""
    if not 1 <= given.episodes <= 1024 or not 0 <= given.seed < 2**32:
        raise UsageError(
            f"expected --episodes from 1 to 1024 and --seed from 0 on, "
            f"got {given.episodes} and {given.seed}"
        )
    if given.seconds is not None and not 0.0 < given.seconds < math.inf:
        raise UsageError(f"expected --seconds above 0, got {given.seconds}")
    settings = read_settings(given.run, given.device)
    prepare_process(settings.threads)
    at, state = read_part(given.run, "agent")
    if given.video:
        check_video(given.video)
    with rendering(settings.env.id) if given.video else nullcontext():
        if given.video:  # a simulator loads its renderer with itself
            interface = drawn(settings.env, lambda: read_environment(settings))
        else:
            interface = read_environment(settings)
        agent: Any = build(settings.agent, interface)
        agent.load_state(state)
        if isinstance(agent, torch.nn.Module):
            agent.to(settings.device).eval()
        print(f"step {at} of {given.run}")
        if given.video:
            frames, fps, ret = record(settings.env, agent, given.seed, settings.eval_limit)
            write_video(
                given.video,
                frames if given.seconds is None else frames[: max(1, round(fps * given.seconds))],
                fps,
            )
            print(f"video: {given.video} (an episode of return {ret:.1f})")
    judge = Judge(replace(settings.env, workers=0), given.episodes, given.seed, settings.eval_limit)
    found = {"learned policy": judge.actor(agent)}
    if given.sampled:
        found["sampled policy"] = judge.actor(agent, explore=True)
    found["random policy"] = judge.random()
    print(comparison({name: returns or [] for name, returns in found.items()}))
    return 0


def read_environment(settings: RunSettings) -> Interface:
    """What an agent sees and does in the environment of a run."""
    envs = make_envs(settings.env, 1)
    try:
        return Interface.of(envs)
    finally:
        envs.close()
