"""The checker: every value that a model would choke on, by episode, step and key.

problems(data)   all of them
checked(data)    the same data if there is none; refuses, drops the episodes that have one, or cuts
                 them there
gathered(...)    for readers: episodes without a row, which no episode can be, refused or dropped
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from worldmodels.data.episodes import FLAGS, Array, Episode, Episodes
from worldmodels.data.errors import DataError, EmptyEpisode, say

SHOWN = 8
OnBad = Literal["refuse", "drop", "cut"]
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """A bad value.

    Args:
        episode, step, key: where it is; the first of ``count`` such values of this key and episode.
        text: what is wrong.

    >>> Problem("run_1", 3, "position", "is not finite").count
    1
    """

    episode: str
    step: int
    key: str
    text: str
    count: int = 1

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more like it)" if self.count > 1 else ""
        return f"episode {self.episode}, step {self.step}, key {self.key}: {self.text}{more}"


def problems(data: Episodes, largest: float = 1e6) -> list[Problem]:
    """All problems of a data set.

    Args:
        data: any data set.
        largest: numbers beyond this are taken for broken sensors.
    """
    return [p for episode in data for p in _of(episode, largest)]


def checked(
    data: Episodes, on_bad: OnBad = "refuse", shortest: int = 2, largest: float = 1e6
) -> Episodes:
    """``data`` without problems.

    Args:
        on_bad: ``"refuse"`` raises. ``"drop"`` leaves out the episodes that have a problem, with a
            warning that names them. ``"cut"`` leaves out the rows that hold a bad value: what lies
            between them are episodes, called ``NAME[START:STOP]``; flags are not mended by it.
        shortest: rows that an episode must have.
        largest: as in :func:`problems`.

    Raises:
        DataError: there is a problem, or no episode is left.

    >>> from worldmodels.data import make_episode
    >>> walk = make_episode("walk", {"x": [[0.0], [float("nan")], [1.0]]})
    >>> checked(Episodes([walk]))
    Traceback (most recent call last):
        ...
    worldmodels.data.errors.DataError: data: 1 of 1 episodes has a problem: episode walk, step 1, key x: expected a finite \
number, got nan; mend the log, leave such episodes out with on_bad="drop", or such rows with on_bad="cut"
    """  # noqa: E501
    found: list[Problem] = []
    kept, count = [], 0
    for episode in data:
        of_it = list(_of(episode, largest))
        if len(episode) < shortest:
            of_it.append(
                Problem(
                    episode.name, 0, "*", f"expected at least {shortest} rows, got {len(episode)}"
                )
            )
        found += of_it
        if not of_it:
            kept.append(episode)
            continue
        count += 1
        if on_bad == "cut":
            kept += _pieces(episode, shortest, largest)
    if not found:
        return data
    shown = "; ".join(map(str, found[:SHOWN])) + (
        f"; {len(found) - SHOWN} further problems" if len(found) > SHOWN else ""
    )
    text = (
        f"{data.source}: {count} of {len(data)} episodes "
        f"{'has a problem' if count == 1 else 'have problems'}: {shown}"
    )
    if on_bad == "refuse" or not kept:
        rest = (
            'mend the log, leave such episodes out with on_bad="drop", or such rows with '
            'on_bad="cut"'
            if kept or on_bad == "refuse"
            else "none is left"
        )
        raise DataError(f"{text}; {rest}")
    lost = data.steps - sum(map(len, kept))
    cut = f"cut there, without {lost:,} of {data.steps:,} rows"
    say(f"{text}; {cut if on_bad == 'cut' else 'left out'}")
    return data.with_(kept)


def _pieces(episode: Episode, shortest: int, largest: float) -> Iterator[Episode]:
    """What lies between an episode's rows with bad values, if it is long enough and in order."""
    series = [v for v in episode.series.values() if v.dtype.kind == "f"]
    # NaN is not at most anything
    good = [(np.abs(v) <= largest).reshape(len(episode), -1).all(1) for v in series]
    edges = np.flatnonzero(np.diff(np.all(good, 0), prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2).tolist():
        piece = replace(episode.part(start, stop), name=f"{episode.name}[{start}:{stop}]")
        if len(piece) >= shortest and not any(_of(piece, largest)):
            yield piece


def gathered(makers: Iterable[Callable[[], T]], on_bad: OnBad) -> list[T]:
    """What readers make of each file or episode; those without a row are left out, with a warning,
    unless ``on_bad`` refuses them.

    Raises:
        DataError: what a maker raises.
    """
    found: list[T] = []
    for make in makers:
        try:
            found.append(make())
        except EmptyEpisode as error:
            if on_bad == "refuse":
                raise EmptyEpisode(f'{error}; leave such episodes out with on_bad="drop"') from None
            say(f"{error}; left out")
    return found


def _of(episode: Episode, largest: float) -> Iterator[Problem]:
    for key, series in episode.series.items():
        if series.dtype.kind == "f":
            # the absolute value of NaN compares false with everything
            finite = np.isfinite(series)
            yield from _first(episode, key, series, ~finite, "expected a finite number")
            large = finite & ~(np.abs(series) <= largest)
            yield from _first(
                episode, key, series, large, f"expected at most {largest:g} (largest=)"
            )
    for flag in FLAGS:
        rows = np.flatnonzero(episode[flag])
        wrong = rows[rows > 0] if flag == "is_first" else rows[rows < len(episode) - 1]
        if len(wrong):
            text = (
                "expected only at the first row"
                if flag == "is_first"
                else "expected only at the last row"
            )
            yield Problem(
                episode.name, int(wrong[0]), flag, f"{text}; split the episode there", len(wrong)
            )
    if len(episode) and not episode["is_first"][0]:
        yield Problem(episode.name, 0, "is_first", "expected at the first row")
    if len(episode) and episode["is_terminal"][-1] and not episode["is_last"][-1]:
        yield Problem(episode.name, len(episode) - 1, "is_terminal", "expected is_last with it")


def _first(episode: Episode, key: str, series: Array, bad: Array, text: str) -> Iterator[Problem]:
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(1))
    if len(rows):
        step = int(rows[0])
        where = np.argwhere(bad[step])[0]
        value = series[step][tuple(where)] if where.size else series[step]
        index = f", index {[int(i) for i in where]}" if where.size and series[step].size > 1 else ""
        yield Problem(episode.name, step, key, f"{text}, got {value:g}{index}", len(rows))
