"""Small faults in ``envs``, for ``mutations.py``: of the kinds of a reading by hand."""

from __future__ import annotations

from mutations import Fault
from mutations_robots import ROBOTS

VECTOR = "envs/vector.py"
GUARD = "envs/guard.py"
ADAPTED = "envs/adapted.py"


def seen_by(*names: str) -> tuple[str, ...]:
    """Files of tests in ``tests/envs``."""
    return tuple(f"tests/envs/test_{name}.py" for name in names)


FAULTS = [
    Fault(
        "E1",
        "a truncated episode is terminal",
        "envs/host.py",
        old="False, over, terminated, env",
        new="False, over, over, env",
        tests=seen_by("envs_vector"),
    ),
    Fault(
        "E2",
        "all environments have one seed",
        "envs/rows.py",
        old="SeedSequence([seed, i])",
        new="SeedSequence([seed, 0])",
        tests=seen_by("envs_vector"),
    ),
    Fault(
        "E3",
        "rewards of repeated actions are not added",
        ADAPTED,
        old="total += check_reward",
        new="total = check_reward",
        tests=seen_by("envs_make", "envs_vector"),
    ),
    Fault(
        "E4",
        "an action is repeated after the end of its episode",
        ADAPTED,
        old=("if terminated or truncated:\n                break"),
        new=("if terminated and truncated:\n                break"),
        tests=seen_by("envs_make", "envs_vector"),
    ),
    Fault(
        "E6",
        "actions are scaled by the whole width of their bounds",
        GUARD,
        old="(target.high.astype(np.float64) - target.low) / 2",
        new="target.high.astype(np.float64) - target.low",
        tests=seen_by("envs_check", "envs_make", "envs_vector"),
    ),
    Fault(
        "E7",
        "observations that are not finite pass",
        GUARD,
        old="if not fine.all():",
        new="if False:",
        tests=seen_by("envs_check", "envs_make", "envs_vector"),
    ),
    Fault(
        "E8",
        "the last discrete action is refused",
        GUARD,
        old="int(self.space.start) + int(self.space.n)",
        new="int(self.space.start) + int(self.space.n) - 1",
        tests=seen_by("envs_check", "envs_make", "envs_vector"),
    ),
    Fault(
        "E9",
        "an ended environment steps on and is not reset",
        VECTOR,
        old='("reset", None) if ended[i] else ("step", action)',
        new='("step", action)',
        tests=seen_by("envs_vector"),
    ),
]
FAULTS += ROBOTS
