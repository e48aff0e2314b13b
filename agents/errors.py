"""Errors that a command turns into one line and exit code 2."""

from __future__ import annotations


class UsageError(ValueError):
    """Something was asked for that cannot be done; the message says what to do instead."""


class ConfigError(UsageError):
    """A configuration with an unknown key, a wrong type or a value out of range."""


class RunError(UsageError):
    """A run folder that exists already, or is none."""


class CheckpointError(UsageError):
    """No sound checkpoint where one was looked for."""


class AgentError(UsageError):
    """An agent that does not keep the contract."""
