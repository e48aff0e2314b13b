"""``pixyz data check|convert|show``: what lies in a log, in another form, and as a picture."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from agents.errors import UsageError
from agents.pretrain.choice import ROUGH, bounds_above, largest_actions
from agents.pretrain.command import open_log
from agents.pretrain.fit import fitted
from agents.pretrain.picture import draw_episode
from agents.pretrain.settings import RSSMSettings
from agents.process import check_plots
from worldmodels.data import (
    READERS,
    DataError,
    Episode,
    Episodes,
    checked,
    problems,
    summarise,
    write_csv,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)
from worldmodels.data.check import OnBad
from worldmodels.open_loop import roughness
from worldmodels.words import counted

WRITERS: dict[str, Callable[[Episodes, Path], object]] = {
    "npz": write_npz,
    "store": write_store,
    "csv": write_csv,
    "minari": write_minari,
    "lerobot": write_lerobot,
}
NAMELESS = ("npz", "minari")
"""Forms that hold no names of features."""
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check_ = actions.add_parser(
        "check", help="lengths, rate, ranges, bad values, and settings that fit"
    )
    convert_ = actions.add_parser("convert", help="write the log in another form")
    show_ = actions.add_parser("show", help="draw an episode")
    for each in (check_, convert_, show_):
        each.add_argument(
            "data", type=Path, help="a file or folder: npz, CSV, Minari, LeRobot v3, a run's replay"
        )
        each.add_argument(
            "--format",
            default="auto",
            choices=["auto", *(r.name for r in READERS), "replay"],
            help="where it cannot be found out",
        )
        each.add_argument(
            "--keys", nargs="+", default=[], metavar="KEY", help="these observations only"
        )
    check_.add_argument(
        "--largest",
        type=float,
        default=1e6,
        help="numbers beyond this are taken for broken sensors",
    )
    check_.set_defaults(command=check)
    convert_.add_argument("to", type=Path, help="an empty or new folder")
    convert_.add_argument(
        "--to", dest="form", required=True, choices=list(WRITERS), help="the form to write"
    )
    convert_.add_argument(
        "--rate", type=float, metavar="HZ", help="rows a second, where the log does not say"
    )
    convert_.add_argument(
        "--on-bad",
        default="refuse",
        choices=get_args(OnBad),
        help="of episodes with bad values: refuse the log, drop them, or cut such rows out of them",
    )
    convert_.set_defaults(command=convert)
    show_.add_argument("--episode", default="0", help="its number, or its name")
    show_.add_argument(
        "--out", type=Path, metavar="FILE", help="the picture (default: DATA-episode.png, here)"
    )
    show_.set_defaults(command=show)


def check(given: argparse.Namespace) -> int:
    """Print what is there, what is wrong, and what fits; 2 if something is wrong."""
    data = _read(given)
    print(data)
    print(summarise(data))
    found = problems(data, given.largest)
    short = [e.name for e in data if len(e) < 2]
    for problem in found[:SHOWN]:
        print(f"wrong: {problem}")
    if len(found) > SHOWN:
        print(f"wrong: {len(found) - SHOWN} further problems")
    for name in short[:SHOWN]:
        print(f"wrong: episode {name}: expected at least 2 rows, got fewer")
    if found or short:
        print(
            f"mend the log, or leave such rows out: pixyz data convert {given.data} NEW --to npz "
            f"--on-bad cut (their whole episodes: --on-bad drop)"
        )
        return 2
    print("no bad values")
    for line in proposals(data):
        print(line)
    return 0


def proposals(data: Episodes) -> list[str]:
    """Settings of ``pixyz pretrain`` that fit a data set, a line each, with the reason."""
    lines = []
    if any(len(shape) == 1 for shape in data.shapes.values()):
        rough = roughness(data)
        said = f"a line through the last two rows leaves {rough:.2g} deviations of the next one"
        lines.append(f"predicts={'change' if rough < ROUGH else 'value'}: {said}")
    try:
        found, _, fit = fitted(RSSMSettings(), data)
        said = f"the longest test episode has {fit.longest} rows"
        lines.append(f"split={found.split} seen={found.seen} horizon={found.horizon}: {said}")
    except DataError as error:
        lines.append(f"too short to pretrain on: {error}")
    if not data.action_size:
        return lines
    reach = largest_actions(data)
    scale = bounds_above(reach)
    if max(scale) > 1:
        shown = ", ".join(f"{v:.4g}" for v in reach)
        lines.append(
            f"action_scale={scale}: actions reach [{shown}], an agent's lie in [-1, 1]; "
            f"the actuators' bounds are better"
        )
    else:
        lines.append("actions lie in [-1, 1], as an agent's do")
    return lines


def convert(given: argparse.Namespace) -> int:
    """Write the log in another form."""
    if given.rate is not None and not 0 < given.rate < math.inf:
        raise UsageError(f"--rate: expected rows a second above 0, got {given.rate:g}")
    data = checked(_at_rate(_read(given), given.rate), given.on_bad)
    WRITERS[given.form](data, given.to)
    if given.form in NAMELESS and (told := _told(data)):
        print(
            f"note: {given.form} has no place for the names of features ({'; '.join(told)}); "
            f"they are told by their order",
            file=sys.stderr,
        )
    print(f"{given.to}: {counted(len(data), 'episode')}, {data.steps:,} rows, as {given.form}")
    return 0


def _at_rate(data: Episodes, rate: float | None) -> Episodes:
    """The log with the rate that was given, if one was."""
    if rate is None or rate == data.rate:
        return data
    if data.rate is not None:
        raise UsageError(
            f"--rate: expected {data.rate}, the rows a second that {data.source} says of itself, "
            f"got {rate}; leave --rate out, or correct the log"
        )
    return Episodes(data, rate, data.source, data.named)


def _told(data: Episodes) -> list[str]:
    """Vectors with names that say more than their own."""
    return [
        f"{k}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        for k, names in data.named.items()
        if names != (k,) and list(names) != [f"{k}_{i}" for i in range(len(names))]
    ]


def show(given: argparse.Namespace) -> int:
    """Draw an episode."""
    check_plots()
    data = _read(given)
    episode = _episode(data, given.episode)
    path = given.out or Path(f"{given.data.stem}-{Path(episode.name).stem}.png".replace("/", "-"))
    draw_episode(path, episode, data.rate)
    print(f"{path}: episode {episode.name} of {len(data)}, {len(episode):,} rows")
    return 0


def _read(given: argparse.Namespace) -> Episodes:
    """The log; what readers say of it is printed."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data = open_log(given.data, given.format, "refuse", given.keys)
    for text in dict.fromkeys(str(w.message) for w in said if w.category is UserWarning):
        print(f"note: {text}", file=sys.stderr)
    return data.select(given.keys) if given.keys else data


def _episode(data: Sequence[Episode], name: str) -> Episode:
    if name.isdigit() and int(name) < len(data):
        return data[int(name)]
    found = [e for e in data if e.name == name]
    if not found:
        raise UsageError(
            f"--episode: expected a number below {len(data)} or a name such as {data[0].name!r}, "
            f"got {name!r}"
        )
    return found[0]
