"""Names of observations: one rule for all readers, which is that of environments
(``envs/names.py``).

A name of a file becomes the name of a variable.  All but letters, digits and ``_`` becomes ``_``
(``joint.position`` -> ``joint_position``), and it starts with a letter (``0`` ->
``observation_0``).  A name that somebody has for themselves gets ``_`` at its end (``mask`` ->
``mask_``): those of :data:`TAKEN`, those that end as in :data:`ENDINGS`, words of Python, and the
attributes of torch's dictionaries of modules (``keys``, ``type``, ``forward``, ...), which hold a
network for each observation.  So the model of a log and the agent of an environment call one
observation the same; environments only have some words more, which are those of agents and replays
(``envs.names.AGENTS``, ``frames``): a log may well hold a ``v``.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from torch import nn

from worldmodels.data.errors import DataError

FLAGS = ("is_first", "is_last", "is_terminal")
NOT_OBSERVED = ("action", "reward", *FLAGS)
"""The keys of an episode that are no observations."""
TAKEN = (*NOT_OBSERVED, "mask", "beta", "deter", "stoch", "embed", "cont", "now", "before", "self")
"""What batches and models hold beside observations."""
ENDINGS = ("_prev", "_next", "_rec", "_log_scale")
"""Models make such names from those of the observations."""
ATTRIBUTES = frozenset(dir(nn.ModuleDict())) | frozenset(dir(nn.ParameterDict()))


def taken(name: str) -> bool:
    """Whether models or torch have this name for themselves (or cannot have it): such an
    observation is refused by models.

    >>> taken("keys"), taken("joint.position"), taken("position")
    (True, True, False)
    """
    return not name or "." in name or name in TAKEN or name in ATTRIBUTES or name.endswith(ENDINGS)


def variable(name: str) -> str:
    """The name of a variable; one that is such a name stays.

    >>> [variable(n) for n in ("joint.position", "mask", "keys", "0", "position")]
    ['joint_position', 'mask_', 'keys_', 'observation_0', 'position']
    """
    key = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not key[:1].isalpha():
        key = f"observation{'' if key.startswith('_') else '_'}{key}" if key else "observation"
    return f"{key}_" if taken(key) or keyword.iskeyword(key) else key


def variables(names: Iterable[str], where: str) -> dict[str, str]:
    """Names of a file -> names of variables.

    Raises:
        DataError: two names become one.

    >>> variables(["arm.position", "type"], "log")
    {'arm.position': 'arm_position', 'type': 'type_'}
    """
    found: dict[str, str] = {}
    for name in names:
        key = variable(name)
        twin = next((n for n, k in found.items() if k == key), None)
        if twin is not None:
            raise DataError(
                f"{where}: {twin!r} and {name!r} would both be called {key!r}; rename one"
            )
        found[name] = key
    return found


def chosen(keys: Iterable[str] | None, there: Iterable[str], where: str) -> list[str] | None:
    """The observations asked for, by the names of the file or of variables; None if all are.

    Raises:
        DataError: one is not there, or none is asked for.
    """
    if keys is None:
        return None
    keys, there = list(keys), list(there)
    found = [k if k in there else variable(k) for k in keys]
    unknown = [k for k, v in zip(keys, found) if v not in there]
    if unknown or not keys:
        raise DataError(f"{where}: expected some of the observations {sorted(there)}, got {keys}")
    return list(dict.fromkeys(found))
