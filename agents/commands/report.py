"""``pixyz report`` and ``pixyz compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.reports import compare, write_report


def add_report(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pixyz report``."""
    parser.add_argument("run", type=Path)
    parser.set_defaults(command=report)


def report(given: argparse.Namespace) -> int:
    """Write a run's report.html."""
    print(write_report(given.run))
    return 0


def add_compare(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pixyz compare``."""
    told = "folders of training runs; those that differ in their seed alone are one line"
    parser.add_argument("run", type=Path, nargs="+", help=told)
    parser.add_argument(
        "--html",
        type=Path,
        nargs="?",
        default=Path("compare.html"),
        const=Path("compare.html"),
        metavar="FILE",
        help="curves (default: compare.html)",
    )
    parser.add_argument(
        "--without-published",
        action="store_true",
        help="no published returns beside those on dm_control",
    )
    parser.set_defaults(command=beside)


def beside(given: argparse.Namespace) -> int:
    """Print a table, write curves."""
    print(compare(given.run, given.html, published=not given.without_published))
    print(f"curves: {given.html}")
    return 0
