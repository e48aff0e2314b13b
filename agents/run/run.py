"""A run at work: named parts that are saved together, a folder, a clock, a stop."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from agents.agent import Nested, Saves
from agents.checkpoint import flatten_state, load_checkpoint, save_checkpoint, unflatten_state
from agents.errors import UsageError
from agents.logger import Logger
from agents.run.parts import Generators, Means, load_parts
from agents.run.progress import Progress
from agents.run.signals import Stop
from envs import EnvFailure
from worldmodels import ranks


class Run:
    """What is saved, when, and how it comes back.

    Every part gives its state at a checkpoint and gets it back at a resume; a run that is stopped
    between two of its steps and resumed gives what a straight one gives, bit for bit on a CPU, if
    all parts do.

    Args:
        parts: name -> what is saved, beside counters, running means and random generators.
        directory: the run's folder; nothing is saved if None.
        log: where numbers go; nowhere if None.
        counts: what a checkpoint is numbered by.
        minutes: minutes between checkpoints, beside those of the schedule; 0: none. Of several
            processes (:mod:`worldmodels.ranks`) none: they save together.

    >>> run = Run({})
    >>> with run.working() as stop:
    ...     run.progress.steps += 1
    >>> run.at
    1
    """

    def __init__(
        self,
        parts: Mapping[str, Saves],
        directory: Path | None = None,
        log: Logger | None = None,
        counts: Literal["steps", "updates"] = "steps",
        minutes: float = 0.0,
    ) -> None:
        self.directory, self.log = directory, log
        self.minutes = 0.0 if ranks.active() else minutes
        self.progress, self.means, self.counts = Progress(), Means(), counts
        own: dict[str, Saves] = {
            "progress": self.progress,
            "means": self.means,
            "generators": Generators(),
        }
        self.parts: dict[str, Saves] = {**parts, **own}
        self.stop = Stop()
        self.saved = 0
        self.whole = (
            True  # False while an update moves weights: what an error leaves then is not saved
        )
        self._working = False
        self._held: list[tuple[Mapping[str, float], str]] | None = None
        self._clock = clocks()
        self._last_save = time.monotonic()

    @property
    def at(self) -> int:
        """How far it is, in what its checkpoints are numbered by."""
        return int(getattr(self.progress, self.counts))

    @contextmanager
    def working(self) -> Iterator[Stop]:
        """Within the context the clock runs and signals ask for a stop; at its end a checkpoint is
        written.

        None is written after an error or a second Ctrl+C inside of an update, which may have moved
        a part of the weights: the last checkpoint stands.
        """
        if self._working:
            yield self.stop
            return
        self._working = True
        self._clock = clocks()
        try:
            with self.stop:
                try:
                    yield self.stop
                except KeyboardInterrupt:
                    self.whole = False
                    raise
                except EnvFailure as error:
                    self._keep(error.trace)
                    raise
                finally:
                    self.tick()
                    if self.whole:
                        self.save()
        finally:
            self._working = False

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Within the context parts do not fit together; nor after an error in it, unless it is one
        of ours.
        """
        self.whole = False
        try:
            yield
        except UsageError:  # says what is wrong, and has moved nothing
            self.whole = True
            raise
        self.whole = True

    def tick(self) -> None:
        """Move the clock on, and write a checkpoint if the minutes say so."""
        now = clocks()
        self.progress.seconds += now[0] - self._clock[0]
        self.progress.cpu_seconds += now[1] - self._clock[1]
        self._clock = now
        if self.whole and self.minutes and time.monotonic() - self._last_save > 60 * self.minutes:
            self.save()

    def save(self) -> Path | None:
        """Write a checkpoint of every part."""
        self.release()
        self.saved, self._last_save = self.at, time.monotonic()
        if self.directory is None:
            return None
        tensors, nested = flatten_state({name: part.state() for name, part in self.parts.items()})
        state = {"nested": nested} | ({} if self.log is None else {"log": self.log.state()})
        return save_checkpoint(self.directory / "checkpoints", self.at, tensors, state)

    def load(self, **options: Any) -> None:
        """Go on from the newest sound checkpoint.

        Args:
            options: further arguments of a part's ``load_state``, by its name.
        """
        assert self.directory is not None
        found = load_checkpoint(self.directory / "checkpoints")
        load_parts(self.parts, unflatten_state(found.tensors, found.state["nested"]), **options)
        if self.log is not None:
            self.log.load_state(found.state["log"])
        self.saved = self.at

    def failed(self, failure: Any, judged: bool = False) -> None:
        """An environment failed and was made anew: its traceback is kept in ``failures.txt`` of the
        run's folder.

        Args:
            failure: of the environment.
            judged: it was one of an evaluation, where another episode takes the place of its own.
        """
        where = f"environment {failure.env}{' of an evaluation' if judged else ''}"
        what = "does not count, another took its place" if judged else "is cut short"
        text = f"{where} failed at step {self.at} and was made anew; its episode {what}"
        if file := self._keep(f"in an evaluation, {failure.text}" if judged else failure.text):
            text += f"; the traceback is in {file}"
        numbers = {"env": failure.env, "attempt": failure.attempt}
        self.write({**numbers, "evaluation": 1} if judged else numbers, "failure")
        warnings.warn(text, stacklevel=2)

    def _keep(self, text: str) -> Path | None:
        if self.directory is None:
            return None
        path = self.directory / "failures.txt"
        with path.open("a", encoding="utf-8") as file:
            file.write(f"step {self.at}\n{text}\n\n")
        return path

    def write(self, numbers: Mapping[str, float], kind: str) -> None:
        """A line of the log, now or when :meth:`release` is called."""
        if self._held is not None:
            self._held.append((numbers, kind))
        elif self.log is not None:
            self.log.log(self.at, numbers, kind=kind)

    def hold(self) -> None:
        """Keep lines of the log back: what they are numbered by is not known yet."""
        self._held = []

    def release(self, *first: tuple[Mapping[str, float], str]) -> None:
        """Write lines, then those that were kept back; later ones are written at once."""
        held, self._held = self._held or [], None
        for numbers, kind in [*first, *held]:
            self.write(numbers, kind)


def clocks() -> tuple[float, float]:
    """Seconds by the wall's clock, and of processors: this process's, and those of processes that
    it has begun and that ended.

    >>> wall, cpu = clocks()
    >>> clocks()[0] >= wall and clocks()[1] >= cpu
    True
    """
    done = os.times()
    return time.monotonic(), time.process_time() + done.children_user + done.children_system


def read_part(directory: Path, part: str) -> tuple[int, Nested]:
    """What one part saved at the newest sound checkpoint of a run, and its number."""
    found = load_checkpoint(directory / "checkpoints")
    nested = unflatten_state(found.tensors, found.state["nested"])
    if part not in nested:
        raise KeyError(f"{directory}: expected a checkpoint with {part!r}, got {sorted(nested)}")
    return found.step, nested[part]
