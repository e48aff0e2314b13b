"""D4RL's names (Fu et al., 2020): rows are steps, so that a row's reward and end follow its action.

    observations, actions, rewards      of each step (other observations may stand beside
                                        ``observations``)
    terminals, timeouts                 whether the step ended the episode, in a terminal state or
                                        not
    next_observations                   after each step; they give the last row of each episode
    infos/..., metadata/...             are left out

``dones`` is read too: without ``timeouts`` such an end is a terminal state.  The reward of a step
arrives with the next row; that of a last one, whose next row was not recorded, is added to the last
row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from worldmodels.data.episodes import FLAGS, Array
from worldmodels.data.errors import DataError
from worldmodels.data.flags import flags_of

ENDS = ("terminals", "timeouts", "dones")
OTHERS = ("actions", "rewards", *ENDS, "next_observations")
ABOUT = ("infos", "metadata", "next_")


def is_d4rl(names: Collection[str]) -> bool:
    """Whether a file has D4RL's names (and none of :mod:`worldmodels.data.npz`'s)."""
    return bool({"actions", "rewards", *ENDS} & set(names)) and not {
        "action",
        "reward",
        "is_first",
        "is_last",
    } & set(names)


def observation(name: str) -> str:
    """``observations`` is called ``observation``, as Minari's bare ones are."""
    return "observation" if name == "observations" else name


def rows(file: Path, values: Mapping[str, Array]) -> dict[str, Array]:
    """The series of a file in our rows: observations, ``action``, ``reward`` and the flags.

    Raises:
        DataError: series of several lengths.
    """
    seen = [k for k in values if k not in OTHERS]
    lengths = {k: len(v) if v.ndim else None for k, v in values.items()}
    steps = lengths[seen[0]]
    if steps is None or set(lengths.values()) != {steps}:
        raise DataError(
            f"{file}: expected one length for all series of D4RL's form, got {lengths}; "
            f"leave others out by keys="
        )
    flat = {k: values.get(k, np.zeros(steps)).reshape(-1) for k in ("rewards", *ENDS)}
    if wrong := [k for k, v in flat.items() if len(v) != steps or v.dtype.kind not in "fiub"]:
        raise DataError(
            f"{file}, key {wrong[0]}: expected one number a row, got {list(values[wrong[0]].shape)}"
        )
    terminal, timeout, done = (flags_of(flat[k], str(file), k) for k in ENDS)
    terminal = terminal if "terminals" in values else done & ~timeout
    ends = terminal | timeout | done
    if steps and not set(ENDS) & set(values):
        ends[-1] = True
    stops = [*(np.flatnonzero(ends[: steps - 1]) + 1), steps]
    series = {k: values[k] for k in (*seen, "actions", "next_observations") if k in values}
    parts = []
    for start, stop in zip([0, *stops], stops):
        part = {k: v[start:stop] for k, v in series.items()}
        ended = steps > 0 and bool(ends[stop - 1]), steps > 0 and bool(terminal[stop - 1])
        parts.append(_episode(part, flat["rewards"][start:stop].astype(np.float32), *ended))
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def _episode(part: dict[str, Array], given: Array, last: bool, terminal: bool) -> dict[str, Array]:
    """The rows of one episode: one a step, and one more where the observation after the last step
    is known.
    """
    after, action = part.pop("next_observations", None), part.pop("actions", None)
    more = after is not None and list(part) == ["observation"]
    count = len(given) + more
    reward = np.zeros(count + 1, np.float32)
    reward[1 : len(given) + 1] = given  # of the row after each step
    if not more and count:
        reward[count - 1] += reward[count]
    if more:
        part["observation"] = np.concatenate([part["observation"], after[-1:]])  # type: ignore[index]
    if action is not None:
        part["action"] = np.concatenate([action, np.zeros_like(action[:more])])
    flags = {k: np.zeros(count, bool) for k in FLAGS}
    if count:
        flags["is_first"][0], flags["is_last"][-1], flags["is_terminal"][-1] = True, last, terminal
    return {**part, "reward": reward[:count], **flags}
