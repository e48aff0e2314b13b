"""The error of the data package."""

from pixyz.types import PixyzError


class DataError(PixyzError):
    """Data that cannot be used as it is: says which file, episode, step and key."""
