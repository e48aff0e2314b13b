"""Names of observations: one rule for all readers.

A name of a file becomes the name of a variable.  All but letters, digits and ``_`` becomes ``_``
(``joint.position`` -> ``joint_position``); a name that models or torch have for themselves gets the ending ``_obs``
(``mask`` -> ``mask_obs``): those of :data:`TAKEN`, those that end as in :data:`ENDINGS`, and the attributes of torch's
dictionaries of modules (``keys``, ``values``, ``type``, ``forward``, ...), which hold a network for each observation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from worldmodels.data.errors import DataError

FLAGS = ("is_first", "is_last", "is_terminal")
NOT_OBSERVED = ("action", "reward", *FLAGS)
"""The keys of an episode that are no observations."""
TAKEN = (*NOT_OBSERVED, "mask", "beta", "deter", "stoch", "embed", "cont")
"""What batches and models hold beside observations."""
ENDINGS = ("_prev", "_rec", "_log_scale")
"""Models make such names from those of the observations."""
ATTRIBUTES = frozenset(dir(nn.ModuleDict())) | frozenset(dir(nn.ParameterDict()))


def taken(name: str) -> bool:
    """Whether models or torch have this name for themselves (or cannot have it): such an observation is refused by models.

    >>> taken("keys"), taken("joint.position"), taken("position")
    (True, True, False)
    """
    return not name or "." in name or name in TAKEN or name in ATTRIBUTES or name.endswith(ENDINGS)


def variable(name: str) -> str:
    """The name of a variable; one that is such a name stays.

    >>> [variable(n) for n in ("joint.position", "mask", "keys", "position")]
    ['joint_position', 'mask_obs', 'keys_obs', 'position']
    """
    key = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    return f"{key}_obs" if taken(key) else key


def variables(names: Iterable[str], where: str) -> dict[str, str]:
    """Names of a file -> names of variables.

    Raises:
        DataError: two names become one.

    >>> variables(["arm.position", "type"], "log")
    {'arm.position': 'arm_position', 'type': 'type_obs'}
    """
    found: dict[str, str] = {}
    for name in names:
        key = variable(name)
        twin = next((n for n, k in found.items() if k == key), None)
        if twin is not None:
            raise DataError(f"{where}: {twin!r} and {name!r} would both be called {key!r}; rename one")
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
