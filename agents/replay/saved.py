"""What a replay's state must say before anything goes back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.rows import differences
from agents.replay.store import Ints


@dataclass(frozen=True)
class Saved:
    """A sound state: rows ever written and shown to the fresh queue ``[streams]``, random numbers,
    and the sampler's own state.
    """

    counts: Ints
    shown: Ints
    rng: np.random.Generator
    sampler: Mapping[str, Any]


def read_state(
    state: Mapping[str, Any], expected: Mapping[str, Any], sampler: Mapping[str, Any]
) -> Saved:
    """Look at a state; nothing is changed.

    Args:
        state: what ``state()`` of a replay returned.
        expected: what it must say of the replay: ``spec``, ``streams``, ``rows``.
        sampler: a state of the replay's sampler, as an example.

    Raises:
        ReplayError: it is of another replay, or no state.
    """
    for key, value in expected.items():
        if key not in state:
            raise ReplayError(
                f"expected a state with {key!r}, got the keys {sorted(state)}; "
                f"give what state() returned"
            )
        if state[key] != value:
            what = (
                differences(state[key], value)
                if key == "spec"
                else f"expected {value} as {key}, got {state[key]}"
            )
            raise ReplayError(
                f"the state is of another replay: {what}; "
                f"make the buffer as it was when it was saved"
            )
    try:
        counts, shown = np.array(state["counts"], np.int64), np.array(state["shown"], np.int64)
        rng = np.random.default_rng()
        rng.bit_generator.state = state["rng"]
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(
            f"expected counts, shown and rng in a state, got {error!r}; give what state() returned"
        ) from error
    streams = (int(expected["streams"]),)
    if counts.shape != streams or shown.shape != streams or ((shown < 0) | (shown > counts)).any():
        raise ReplayError(
            f"expected 0 <= shown <= counts for {streams[0]} streams, "
            f"got shown {shown.tolist()} and counts "
            f"{counts.tolist()}; the state is damaged, take an older one"
        )
    own = state.get("sampler", {})
    if _form(own) != _form(sampler):
        raise ReplayError(
            f"the state is of another sampler: expected one such as {sampler}, got {own}; "
            "make the buffer with the sampler that it was saved with"
        )
    return Saved(counts, shown, rng, own)


def _form(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {key: _form(value) for key, value in state.items()}
    return [_form(value) for value in state] if isinstance(state, list) else type(state).__name__
