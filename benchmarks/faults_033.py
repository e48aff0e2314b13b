"""Run the tests of pixyz 0.3.3's faults on pixyz 0.3.3 itself, and record how each fails.

The files ``tests/pixyz/test_faults_*.py`` are written with names that both have, so their bodies
run in a process that sees 0.3.3 in the place of this library (``old_pixyz.py``).
``tests/pixyz/test_faults_recorded.py`` reads the record: each fault of the list has a test, and
0.3.3 fails all of them, for a reason that is not a missing name.

    python benchmarks/faults_033.py        # writes tests/pixyz/faults_033.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from old_pixyz import run_under_old

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "pixyz"
RESULT = FOLDER / "faults_033.json"
FILES = ["test_faults_distributions.py", "test_faults_losses.py"]


class Record:
    """A pytest plugin: what became of each test."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the outcome, and the error's type and first line."""
        if report.when == "call" or report.failed:
            name = report.nodeid.split("::", 1)[1]
            self.found[name] = {"outcome": report.outcome}
            if report.failed:
                crash = report.longrepr.reprcrash
                self.found[name]["error"] = str(crash.message).strip().split("\n")[0][:160]


def record() -> None:
    """In the process of 0.3.3: run all and write."""
    from importlib import metadata

    import pytest
    import torch

    plugin = Record()
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(FOLDER),
        "--import-mode=importlib",
    ]
    pytest.main([*options, *(str(FOLDER / name) for name in FILES)], plugins=[plugin])
    about = {"pixyz": metadata.version("pixyz"), "torch": torch.__version__}
    lines = [
        f"{json.dumps(name)}: {json.dumps(case)}" for name, case in sorted(plugin.found.items())
    ]
    RESULT.write_text(
        '{"versions": ' + json.dumps(about) + ",\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8"
    )
    passed = [name for name, case in plugin.found.items() if case["outcome"] != "failed"]
    print(f"{len(lines)} tests, of which 0.3.3 does not fail: {passed}")


if __name__ == "__main__":
    run_under_old(record, __file__)
