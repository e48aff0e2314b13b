"""Spaces as plain data, to be kept in a file: what an environment declares is known without it.

Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple of gymnasium; see envs.spaces for what
becomes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.errors import SpaceError


def space_to_plain(space: spaces.Space[Any]) -> dict[str, Any]:
    """Dicts, lists, numbers and text. Raises SpaceError for other kinds of spaces.

    >>> space_to_plain(spaces.Box(-1.0, 1.0, (2,), np.float32))
    {'kind': 'Box', 'shape': [2], 'dtype': 'float32', 'low': -1.0, 'high': 1.0}
    """
    if isinstance(space, spaces.Box):
        bounds = {"low": _bound(space.low), "high": _bound(space.high)}
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {
            "kind": "Discrete",
            "n": int(space.n),
            "start": int(space.start),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiDiscrete):
        start = np.asarray(space.start).tolist()
        return {
            "kind": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": start,
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiBinary):
        return {
            "kind": "MultiBinary",
            "n": list(space.n) if isinstance(space.n, tuple) else int(space.n),
        }
    if isinstance(space, spaces.Dict):
        return {
            "kind": "Dict",
            "parts": [[key, space_to_plain(part)] for key, part in space.spaces.items()],
        }
    if isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "parts": [space_to_plain(part) for part in space.spaces]}
    raise SpaceError(
        f"expected Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, got {space}"
    )


def space_from_plain(plain: Mapping[str, Any]) -> spaces.Space[Any]:
    """What `space_to_plain` was given. Raises SpaceError for data that is none of its results.

    >>> space_from_plain(space_to_plain(spaces.Discrete(3, start=1)))
    Discrete(3, start=1)
    """
    try:
        return _read(plain)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise SpaceError(
            f"expected what space_to_plain gives, got {plain!r:.80} ({type(error).__name__}: "
            f"{error})"
        ) from None


def _read(plain: Mapping[str, Any]) -> spaces.Space[Any]:
    kind = plain["kind"]
    if kind == "Box":
        shape, dtype = tuple(plain["shape"]), np.dtype(plain["dtype"])
        low, high = (np.broadcast_to(np.asarray(plain[k], dtype), shape) for k in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(
            plain["n"], start=plain["start"], dtype=np.dtype(plain["dtype"]).type
        )
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(
            plain["nvec"], dtype=np.dtype(plain["dtype"]).type, start=plain["start"]
        )
    if kind == "MultiBinary":
        return spaces.MultiBinary(plain["n"])
    if kind == "Dict":
        return spaces.Dict([(key, _read(part)) for key, part in plain["parts"]])
    if kind == "Tuple":
        return spaces.Tuple([_read(part) for part in plain["parts"]])
    raise ValueError(f"a space of kind {kind!r}")


def _bound(values: Any) -> Any:
    """One number where all are equal."""
    flat = np.asarray(values).reshape(-1)
    return flat[0].item() if flat.size and (flat == flat[0]).all() else np.asarray(values).tolist()
