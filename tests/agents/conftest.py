"""What the tests of the command share: a folder with an environment of a user's,
and a small run.
"""

import sys

import pytest
from own_robot import ROBOT, TINY

from agents.cli import main


@pytest.fixture
def robot(tmp_path, monkeypatch):
    """A folder of a user's, with an environment in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / "my_robot.py").write_text(ROBOT)
    yield tmp_path
    sys.modules.pop("my_robot", None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the command."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "dreamer_v3/pendulum", *TINY, "--run", str(run)]) == 0
    return run
