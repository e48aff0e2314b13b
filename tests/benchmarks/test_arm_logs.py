"""The log of an arm whose base was all but held, and what is looked at of a model of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
import arm_logs
import offline_beliefs

from worldmodels.one_step import Imagined


def test_ahead_the_base_is_all_but_held_and_goals_need_nothing_of_it() -> None:
    found = {kind: arm_logs.record(3, 0, kind=kind).episodes for kind in arm_logs.LOGS}
    largest = {
        k: np.stack([np.abs(e["action"]).max(0) for e in v]).max(0) for k, v in found.items()
    }
    step = 0.9 * 0.6 / 20  # a share of 0.6 rad a second
    assert largest["ahead"][0] <= 0.02 * step * (1 + 1e-6) < 0.5 * step < largest["everywhere"][0]
    assert min(min(v[1:]) for v in largest.values()) > 0.9 * step
    sizes = [np.abs(e["action"][:, 0]).max() for e in found["loosened"]]
    assert sizes[0] <= 0.02 * step * (1 + 1e-6) and min(sizes[1:]) > 0.5 * step
    # the base turns about the vertical through the origin; ahead is -x, and the tip is 6.43 cm
    # beside the plane through it
    goals = [e["state"][0, 6:9] + e["to_goal"][0] for e in found["ahead"]]
    turned = [np.arctan2(y, -x) - np.arcsin(0.0643 / np.hypot(x, y)) for x, y, _ in goals]
    assert 0.0 < max(np.abs(turned)) < 0.06 + 0.01  # sensors err by 1 mm


class Stays:
    """A model: nothing moves, and a reward is that of the distance."""

    sizes = ("state", "to_goal")

    def imagine(self, obs: dict[str, torch.Tensor], action: torch.Tensor) -> Imagined:
        gap = obs["to_goal"].norm(dim=-1)
        return Imagined(obs, 1 / (1 + (gap / 0.1) ** 2), gap > 9, action[:, 0].abs() / 0.027)


def test_what_comes_of_one_tick_is_little_whatever_the_base_does() -> None:
    found = offline_beliefs.beliefs(Stays(), "ahead", 0, 2)  # type: ignore[arg-type]
    assert found["rows"] > 0 and found["base"]["doubt"] == 1.0 and found["program"]["doubt"] < 0.02
    for who in ("program", "base"):
        assert found[who]["came"] == pytest.approx(found[who]["believed"], abs=0.04), who
        assert found[who]["came"] < 0.5  # farther than 0.1 m
