"""The three files of docs/robots.md, run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "robots.md").read_text(encoding="utf-8")


def printed(name: str) -> str:
    """The text of a file on the page."""
    found = re.search(
        rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```\n<!-- end -->", PAGE, re.DOTALL
    )
    assert found is not None, name
    return found.group(1)


def test_your_robot_in_thirty_lines(tmp_path: Path) -> None:
    assert len(printed("my_robot.py").splitlines()) <= 30
    for name in ("my_robot.py", "go.py"):
        (tmp_path / name).write_text(printed(name), encoding="utf-8")
    limits = printed("limits.yaml")
    # others need the machine
    for key, patient in (
        ("stale_ms: 150", 5000),
        ("stop_ms: 600", 5000),
        ("watchdog_ms: 200", 5000),
    ):
        assert key in limits
        limits = limits.replace(key, f"{key.split(':')[0]}: {patient}")
    (tmp_path / "limits.yaml").write_text(limits, encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "go.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert "100 ticks at 20 Hz" in done.stdout, done.stdout
    assert re.search(r"\[0\.02\s+0\.", done.stdout), done.stdout
    assert re.search(r"\('(range|step)'", done.stdout) and done.stderr == "", (
        done.stdout + done.stderr
    )
