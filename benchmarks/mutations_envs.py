"""Small faults in ``envs``, for ``mutations.py``: of the kinds of a reading by hand."""

from __future__ import annotations

from mutations import Fault

VECTOR, GUARD, ADAPTED = "envs/vector.py", "envs/guard.py", "envs/adapted.py"
TABLE, CHECK, MAKE = (f"tests/envs/test_envs_{name}.py" for name in ("vector", "check", "make"))

FAULTS = [
    Fault(
        "E1", "a truncated episode is terminal", VECTOR,
        "terminated or truncated, terminated, info", "terminated or truncated, terminated or truncated, info", (TABLE,),
    ),
    Fault("E2", "all environments have one seed", VECTOR, "SeedSequence([seed, i])", "SeedSequence([seed, 0])", (TABLE,)),
    Fault("E3", "rewards of repeated actions are not added", ADAPTED, "total += check_reward", "total = check_reward", (MAKE, TABLE)),
    Fault(
        "E4", "an action is repeated after the end of its episode", ADAPTED,
        "if terminated or truncated:\n                break", "if terminated and truncated:\n                break", (MAKE, TABLE),
    ),
    Fault(
        "E6", "actions are scaled by the whole width of their bounds", GUARD,
        "(target.high.astype(np.float64) - target.low) / 2", "target.high.astype(np.float64) - target.low", (CHECK, MAKE, TABLE),
    ),
    Fault("E7", "observations that are not finite pass", GUARD, 'if entry.dtype.kind == "f" and not', "if False and not", (CHECK, MAKE, TABLE)),
    Fault("E8", "the last discrete action is refused", GUARD, "int(target.start) + int(target.n)", "int(target.start) + int(target.n) - 1", (CHECK, MAKE, TABLE)),
    Fault(
        "E9", "an ended environment steps on and is not reset", VECTOR,
        "self._reset(i, None) if ended[i] else self._step(i, actions[i])", "self._step(i, actions[i])", (TABLE,),
    ),
]
