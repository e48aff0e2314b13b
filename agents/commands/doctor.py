"""``pixyz doctor``: what is installed, what draws, where it computes, what to type."""

from __future__ import annotations

import argparse

from agents.doctor import main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command: none."""
    parser.set_defaults(command=doctor)


def doctor(given: argparse.Namespace) -> int:
    """Print the report."""
    return main()
