"""Limits are all there, finite, and the right way around; else nothing is moved."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from robot_parts import limits

from envs.robot import Limits, LimitsError, RobotEnv, load_limits

pytest.importorskip("yaml")
GOOD = """
hz: 20
stale_ms: 150
actions:
  elbow.pos: {low: -1.5, high: 1.5, step: 0.08, rate: 2.0, home: 0.0}
workspace:
  tip.z: {low: 0.05, high: 0.9, margin: 0.03}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "limits.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_all(tmp_path: Path) -> None:
    found = load_limits(written(tmp_path, GOOD))
    assert (
        found.hz == 20
        and found.actions["elbow.pos"].rate == 2.0
        and found.workspace["tip.z"].margin == 0.03
    )
    assert Limits.read(found.plain()) == found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hz: 20", "", "expected hz"),
        ("hz: 20", "hz: .nan", "hz: expected a finite number, got nan"),
        ("hz: 20", "hz: -20", "hz: expected ticks a second"),
        ("hz: 20", "hz: fast", "hz: expected a number, got 'fast'"),
        ("step: 0.08, ", "", "elbow.pos: expected step, got none"),
        ("step: 0.08", "step: .inf", "step: expected a finite number"),
        ("step: 0.08", "step: 0", "step: expected more than 0"),
        ("step: 0.08", "step:", "elbow.pos: expected step, got none"),
        ("rate: 2.0", "rate: -1", "rate: expected more than 0"),
        ("low: -1.5, high: 1.5", "low: 1.5, high: -1.5", "low: expected less than high"),
        ("low: -1.5", "low: yes", "low: expected a number, got True"),
        ("low: -1.5", "lwo: -1.5", "unknown key 'lwo' (nearest: low)"),
        ("low: -1.5", "high: 2, low: -1.5", "key 'high' comes twice"),
        ("home: 0.0", "home: 2.0", "home: expected it within"),
        ("stale_ms: 150", "stale_ms: 20", "stale_ms: expected more than one tick of 50 ms"),
        ("margin: 0.03", "margin: -1", "margin: expected 0 or more"),
        ("actions:", "actions: {}\nothers:", "unknown key 'others'"),
        ("actions:", "actions: [", "expected YAML"),
        ("hz: 20", "hz: !!python/object/apply:os.system ['true']", "expected YAML"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(LimitsError) as caught:
        load_limits(path)
    assert (
        said in str(caught.value)
        and "\n" not in str(caught.value)
        and str(path) in str(caught.value)
    )


def test_no_limits_no_motion(tmp_path: Path) -> None:
    from robot_parts import Arm

    for source in (None, {}, tmp_path / "none.yaml"):
        with pytest.raises(LimitsError, match=r"without limits is not moved|expected hz"):
            RobotEnv(Arm(), source)  # type: ignore[arg-type]
    with pytest.raises(LimitsError, match="got none"):
        limits(actions={})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "1", True])
@pytest.mark.parametrize("key", ["low", "high", "step", "rate"])
def test_every_limit_is_a_finite_number(key: str, value: object) -> None:
    each = {"low": -1.0, "high": 1.0, "step": 0.1, "rate": 4.0, key: value}
    with pytest.raises(LimitsError):
        limits(actions={"elbow.pos": each})
