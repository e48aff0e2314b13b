"""The error of the replay."""

from __future__ import annotations


class ReplayError(ValueError):
    """A row that does not fit, a sequence that is not there, or a folder of another replay.

    >>> from agents.replay import RowSpec
    >>> try:
    ...     RowSpec({})
    ... except ReplayError as error:
    ...     print(type(error).__name__)
    ReplayError
    """
