"""``pixyz show``: what a config means."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from agents.build import build
from agents.commands.evaluate import read_environment
from agents.config import load_config, to_yaml
from agents.settings import RunSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", help="a name, a YAML file, or a run's folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.set_defaults(command=show)


def show(given: argparse.Namespace) -> int:
    """Print settings, graphical model, objective and plan."""
    of_run = Path(given.config) / "config.yaml"
    config = of_run if of_run.is_file() else given.config
    settings = load_config(RunSettings, config, given.overrides)
    interface = read_environment(settings)
    torch.manual_seed(settings.seed)
    agent: Any = build(settings.agent, interface)
    print(f"# settings\n{to_yaml(settings)}")
    if isinstance(agent, torch.nn.Module):
        print(f"# {sum(p.numel() for p in agent.parameters() if p.requires_grad):,} weights\n")
    if hasattr(agent, "parts"):
        print("# graphical model")
        for name, p in agent.parts().items():
            print(f"# {name}")
            print(f"{p.prob_joint_factorized_and_text}")
            for parent, child in sorted(p.graph.visible_graph().edges):
                print(f"    {parent.strip('$')} -> {child.strip('$')}")
    if hasattr(agent, "objective"):
        print(f"\n# objective\n{agent.objective}\n\n# plan\n{agent.objective.plan}")
    return 0
