"""What training from settings and pretraining from settings share: a folder that is made, locked,
filled, and let go of.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from torch import nn

from agents.errors import UsageError
from agents.run.parts import Generators
from agents.run.run import Run, read_part
from agents.rundir import (
    count_start,
    created,
    keep_config,
    lock,
    open_run,
    same_interface,
    write_interface,
)
from worldmodels import ranks

APART = 7919
"""Between the seeds of two processes."""
OTHERS = "ranks"
"""Of a run of several processes: where the others than process 0 have folders of their own."""


class InFolder:
    """Abstract: built from settings without writing anything; then given a folder; closed at the
    end of a ``with``.

    A final class says what is in the folder (:meth:`fill`), what its environment or log looks like
    (:meth:`interface`), and how it trains.

    Args:
        settings: of the run, with ``seed`` and the number that the run counts to.

    >>> from agents.run import Trainer
    >>> issubclass(Trainer, InFolder)
    True
    """

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.closing = ExitStack()
        self._run: Run | None = None

    @abstractmethod
    def fill(self, directory: Path) -> Run:
        """The parts that live in the folder; what must be closed goes into ``closing``."""

    @abstractmethod
    def interface(self) -> dict[str, Any]:
        """What a loaded agent or model must know of the environment or the log, as plain data."""

    def options(self, attempt: int) -> dict[str, Any]:
        """Further arguments of parts' ``load_state``, by their names; ``attempt`` counts the starts
        of the run.
        """
        return {}

    @property
    def run(self) -> Run:
        """Counters, parts, folder."""
        assert self._run is not None, "call begin(directory) or resume(directory) first"
        return self._run

    def begin(self, directory: Path) -> Self:
        """Make the run's folder; returns itself.

        Raises:
            RunError, ReplayError: the folder is there and not empty, or has no room for the replay;
                nothing is left in it.
        """
        if ranks.rank():
            ranks.wait()  # for the folder of process 0
            directory = directory / OTHERS / str(ranks.rank())
        with created(directory, self.settings, seed=self.settings.seed):
            write_interface(directory, self.interface())
            self._open(directory)
        if not ranks.rank():
            ranks.wait()
        if ranks.active():
            self._begin_alike()
        return self

    def _begin_alike(self) -> None:
        """The weights of process 0, and draws of one's own."""
        agent = self.run.parts["agent"]
        if isinstance(agent, nn.Module):
            ranks.begin_alike(agent)
        if ranks.rank():
            Generators.seed(self.settings.seed + APART * ranks.rank())

    def resume(self, directory: Path) -> Self:
        """Go on in a run's folder, and keep the settings there; returns itself. After an error the
        run can be loaded as before.

        Raises:
            RunError, CheckpointError, ReplayError: it is no folder of such a run, in use, damaged,
                or began with another environment or other data.
        """
        open_run(directory)
        first = directory
        if ranks.rank():
            directory = directory / OTHERS / str(ranks.rank())
            if not directory.exists():  # one more than before: with nothing of its own yet
                with created(directory, self.settings, seed=self.settings.seed):
                    pass
        try:
            known = same_interface(directory, self.interface())
            attempt = self._open(directory)
            if not ranks.rank() or (directory / "checkpoints").exists():
                self.run.load(**self.options(attempt))
            if ranks.rank():
                self._follow(first)
            unit = self.run.counts
            if self.run.at > getattr(self.settings, unit):
                raise UsageError(
                    f"{directory} has made {self.run.at} {unit} already; give {unit} above that"
                )
            if not known:
                write_interface(directory, self.interface())
            keep_config(directory, self.settings)
        except BaseException:
            self.close()
            raise
        return self

    def _follow(self, first: Path) -> None:
        """Agent and counters of process 0, whatever was the last that this one saved."""
        for name in ("agent", "progress"):
            self.run.parts[name].load_state(read_part(first, name)[1])
        self.run.saved = self.run.at

    def _open(self, directory: Path) -> int:
        try:
            self.closing.enter_context(lock(directory))
            attempt = count_start(directory)
            self._run = self.fill(directory)
            if self._run.log is not None:
                self.closing.callback(self._run.log.close)
        except BaseException:
            self.close()
            raise
        return attempt

    def close(self) -> None:
        """Close what was opened, and let go of the folder."""
        self.closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
