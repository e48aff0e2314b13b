"""The error of the data package, and its word on what was read in a way
that is not the only one.
"""

import warnings

from pixyz.types import PixyzError


def one_line(text: str) -> str:
    r"""``text`` without line breaks and control characters: names and other programs' messages come
    from files.

    >>> one_line("a\nb\x1b[2J")
    'a b\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split("\n")))


class DataError(PixyzError):
    """Data that cannot be used as it is: says in one line which file, episode, step and key.

    >>> from worldmodels.data import read_episodes
    >>> try:
    ...     read_episodes("no such folder")
    ... except DataError as error:
    ...     print(type(error).__name__)
    DataError
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class EmptyEpisode(DataError):
    """An episode without a row, which ``on_bad="drop"`` leaves out.

    >>> str(EmptyEpisode("episode walk: expected rows, got none"))
    'episode walk: expected rows, got none'
    """


def say(text: str) -> None:
    """A warning in one line."""
    warnings.warn(one_line(text), stacklevel=3)
