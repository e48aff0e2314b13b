"""Names of observations that every agent can take.

An observation's name becomes a column of a replay, a variable of a model and the name of a network,
and each of these has names of its own. What an environment calls its observations is therefore
mapped, by rules that a person can apply:

    declared                          named                      because
    joint.position, a/b, "left arm"   joint_position, a_b, ...   letters, digits, _ are kept
    {"arm": {"left": ...}}            arm_left                   nested spaces are joined
    0, _x                             observation_0, ...         a name starts with a letter
    reward, is_first, action, ...     reward_, ...               rows of a vector have them
    mask, beta, deter, index, ...     mask_, ...                 models and replays have them
    q_prev, q_next                    q_prev_, q_next_           models name the steps around one so
    q_rec, q_log_scale                q_rec_, q_log_scale_       and what they predict of one
    keys, type, forward, self, ...    keys_, ...                 networks and Python have them

Two observations that would get one name are refused. Recordings are named by the same rules
(``worldmodels/data/names.py``; a test compares the two), but for the words of agents and replays.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from typing import Any

from envs.errors import SpaceError

ROWS = frozenset({"reward", "is_first", "is_last", "is_terminal", "frames", "action"})
MODELS = frozenset({"before", "beta", "cont", "deter", "embed", "mask", "now", "self", "stoch"})
AGENTS = frozenset(
    [
        "adv",
        "boot",
        "c",
        "counters",
        "deter_all",
        "f",
        "index",
        "ret",
        "ret_seen",
        "stoch_all",
        "v",
        "v_slow",
        "v_slow_seen",
        "w",
        "w_pi",
        "w_seen",
    ]
)
ENDINGS = ("_prev", "_next", "_rec", "_log_scale")
NETWORKS = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "clear",
        "compile",
        "copy",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "fromkeys",
        "get",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "items",
        "keys",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "pop",
        "popitem",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "setdefault",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "update",
        "values",
        "xpu",
        "zero_grad",
    ]
)
RESERVED = ROWS | MODELS | AGENTS | NETWORKS


def safe_name(declared: Iterable[Any]) -> str:
    """The name of the observation found under the keys `declared`, by the rules above.

    >>> safe_name(["joint.position"]), safe_name(["mask"]), safe_name(["arm", 0])
    ('joint_position', 'mask_', 'arm_0')
    """
    joined = "_".join(str(key) for key in declared)
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in joined)
    if not name[:1].isalpha():
        name = f"observation{'' if name.startswith('_') else '_'}{name}" if name else "observation"
    reserved = name in RESERVED or keyword.iskeyword(name) or name.endswith(ENDINGS)
    return f"{name}_" if reserved else name


def safe_names(paths: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """The name of each observation, given by the keys that lead to it. Raises SpaceError where two
    would be one.

    >>> safe_names([("keys",), ("image",)])
    {('keys',): 'keys_', ('image',): 'image'}
    """
    names: dict[tuple[Any, ...], str] = {}
    taken: dict[str, tuple[Any, ...]] = {}
    for path in paths:
        name = safe_name(path)
        if name in taken:
            raise SpaceError(
                f"observation keys {_told(taken[name])} and {_told(path)}: "
                f"expected names that differ, "
                f"got {name!r} for both; rename one of them (see envs.names)"
            )
        names[path] = name
        taken[name] = path
    return names


def _told(path: tuple[Any, ...]) -> str:
    return " / ".join(repr(key) for key in path)
