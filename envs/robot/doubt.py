"""Who says that what is asked of a robot is not to be trusted: it then holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Doubt(Protocol):
    """Asked by `RobotEnv` in every tick, with its own observations and actions.

    Where it raises an error the robot holds, too, until the next episode: what cannot be asked is
    not trusted. One that takes longer than the limits' `stale_ms` has the decision held as stale.

    >>> class TooFar:
    ...     def begin(self, seen): ...
    ...     def ask(self, seen, action):
    ...         return "too far" if abs(action).max() > 1 else None
    ...
    ...     def came(self, sent, seen): ...
    >>> TooFar().ask({}, np.array([2.0]))
    'too far'
    """

    def begin(self, seen: Mapping[str, NDArray[Any]]) -> None:
        """An episode begins with this observation."""
        ...

    def ask(self, seen: Mapping[str, NDArray[Any]], action: NDArray[Any]) -> str | None:
        """Why `action` after `seen` is not to be trusted, or None."""
        ...

    def came(self, sent: NDArray[Any], seen: Mapping[str, NDArray[Any]]) -> None:
        """What was sent, as an action, and what was measured after it."""
        ...


class Asked:
    """A doubt that may be none, and may raise: an error is a reason to doubt, too.

    Args:
        doubt: who is asked.

    >>> Asked(None).ask({}, np.zeros(1)) is None
    True
    """

    def __init__(self, doubt: Doubt | None) -> None:
        self.doubt = doubt
        self._failed: str | None = None

    def begin(self, seen: Mapping[str, NDArray[Any]]) -> None:
        """An episode begins; also where the robot went on after a pause."""
        self._failed = None
        self._call("begin", seen)

    def ask(self, seen: Mapping[str, NDArray[Any]], action: Any) -> str | None:
        """Why not to trust."""
        found = self._call("ask", seen, np.asarray(action, np.float64))
        return self._failed or found

    def came(self, sent: NDArray[Any], seen: Mapping[str, NDArray[Any]]) -> None:
        """What was sent, and what came of it."""
        self._call("came", sent, seen)

    def _call(self, method: str, *arguments: Any) -> str | None:
        if self.doubt is None or self._failed is not None:
            return None
        try:
            found = getattr(self.doubt, method)(*arguments)
        except Exception as error:  # somebody else's; the robot holds until the next episode
            self._failed = f"{method} raised {type(error).__name__}: {error}"
            return None
        return None if found is None else str(found)
