"""``pixyz export``: a trained policy as a file that runs without this library."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.export import check
from agents.export import export as write_policy
from agents.export.files import ENDINGS, check_packages
from agents.outputs import check_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--to", choices=list(ENDINGS), default="onnx", help="the form of the file (default: onnx)"
    )
    parser.add_argument(
        "--what",
        help="which function of the agent: planner or policy for TD-MPC (default: what it acts by)",
    )
    parser.add_argument(
        "--explore", action="store_true", help="draw actions as in training; else the best ones"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file (default: in the run's folder)"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the loaded policy, and time both"
    )
    parser.set_defaults(command=export)


def export(given: argparse.Namespace) -> int:
    """Write the file; say what it is, and with ``--check`` how it compares."""
    check_packages(given.to, runs=given.check)
    if given.out is not None:
        check_file(given.out, "--out")
    path = write_policy(given.run, given.to, given.out, exported=given.what, explore=given.explore)
    print(f"{path} ({path.stat().st_size / 1e3:,.0f} kB)")
    if not given.check:
        return 0
    signature, parity, taken = check(given.run, path, given.to)
    print(f"{signature.agent}, {signature.exported}, step {signature.step}: {parity.text}")
    print(f"{'milliseconds a step':<24}{'p50':>9}{'p99':>9}")
    for name, found in taken.items():
        print(f"{name:<24}{found['p50']:>9.3f}{found['p99']:>9.3f}")
    return 0
