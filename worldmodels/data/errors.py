"""The error of the data package."""

from pixyz.types import PixyzError


class DataError(PixyzError):
    """Data that cannot be used as it is: says which file, episode, step and key.

    >>> from worldmodels.data import read_episodes
    >>> try:
    ...     read_episodes("no such folder")
    ... except DataError as error:
    ...     print(type(error).__name__)
    DataError
    """
