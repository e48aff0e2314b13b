"""Returns that others published on dm_control from joint positions, with their protocols; to lay
beside one's own.

Frames count repeated actions.  Only numbers whose source could be read are here; a curve goes
through the few points that are given, and says nothing between them.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A curve of others.

    Args:
        name: the method.
        protocol: seeds, action repeat, what is averaged, and where the numbers come from.
        returns: task -> frames -> return.

    >>> DREAMER_V3.returns["walker-walk"][100_000]
    478.0
    """

    name: str
    protocol: str
    returns: dict[str, dict[int, float]]


def _points(
    rows: dict[str, tuple[float, ...]], frames: tuple[int, ...]
) -> dict[str, dict[int, float]]:
    return {task: dict(zip(frames, map(float, found), strict=True)) for task, found in rows.items()}


FRAMES = (50_000, 100_000, 200_000)
DREAMER_V3 = Published(
    "DreamerV3, published",
    "5 seeds, returns of training episodes (the policy draws), windows of 20,000 frames; "
    "scores of danijar/dreamerv3",
    _points(
        {
            "cartpole-balance": (488, 816, 957),
            "cartpole-swingup": (310, 516, 787),
            "reacher-easy": (558, 657, 938),
            "ball_in_cup-catch": (523, 743, 946),
            "finger-spin": (483, 768, 862),
            "pendulum-swingup": (134, 745, 855),
            "walker-stand": (352, 791, 920),
            "walker-walk": (253, 478, 807),
            "cheetah-run": (209, 297, 415),
            "hopper-hop": (0, 1, 12),
        },
        FRAMES,
    ),
)
BRO = Published(
    "BRO, 10 updates a step, published",
    "5 seeds, action repeat 1, evaluations of the mean policy; results of SimbaV2's repository",
    {
        task: {at: value}
        for task, at, value in (
            ("cartpole-balance", 50_000, 999.0),
            ("cartpole-swingup", 50_000, 867.0),
            ("reacher-easy", 50_000, 867.0),
            ("finger-spin", 50_000, 937.0),
            ("pendulum-swingup", 50_000, 832.0),
            ("walker-walk", 50_000, 934.0),
        )
    },
)
TDMPC2 = Published(
    "TD-MPC2, published",
    "3 seeds, action repeat 2, one evaluation each; "
    "results of nicklashansen/tdmpc2 and wertyuilife2/bmpc",
    {
        task: {100_000: value}
        for task, value in {
            "cartpole-balance": 998.0,
            "cartpole-swingup": 864.0,
            "reacher-easy": 937.0,
            "ball_in_cup-catch": 981.0,
            "finger-spin": 967.0,
            "walker-stand": 981.0,
            "walker-walk": 969.0,
            "cheetah-run": 566.0,
        }.items()
    },
)
CURVES = (DREAMER_V3, TDMPC2, BRO)
"""All of them."""


def beside(env_id: str) -> list[tuple[Published, dict[int, float]]]:
    """The published curves of an environment's id; none for what is no task of dm_control.

    >>> [p.name for p, _ in beside("dm_control/walker-walk-v0")]
    ['DreamerV3, published', 'TD-MPC2, published', 'BRO, 10 updates a step, published']
    """
    task = env_id.removeprefix("dm_control/").removesuffix("-v0")
    return [
        (p, p.returns[task])
        for p in CURVES
        if env_id.startswith("dm_control/") and task in p.returns
    ]
