"""Recording a robot: rows hold what was sent, and a kill at any row leaves every row before it."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from agents.cli import main
from agents.errors import UsageError
from agents.online import RowLog
from agents.online.log import HEAD
from agents.online.recording import ByPolicy, check_out, episodes, record, write
from envs.robot import FreeTask, RobotEnv, SteppedClock

LIMITS = {
    "hz": 20,
    "actions": {"elbow.pos": {"low": -1, "high": 1, "step": 0.1, "rate": 4, "home": 0}},
}


class Arm:
    pos = 0.0

    def connect(self): ...
    def stop(self): ...
    def disconnect(self): ...

    def get_observation(self):
        return {"elbow.pos": self.pos}

    def send_action(self, action):
        self.pos = action["elbow.pos"]
        return action


@pytest.fixture
def log(tmp_path):
    env = RobotEnv(Arm(), LIMITS, task=FreeTask(limit=5), clock=SteppedClock())
    said = []
    with RowLog(tmp_path / "log", keep=True) as log:
        assert (
            record(env, log, lambda seen: [0.5], 3, said=lambda number, total: said.append(number))
            == 3
        )
    assert said == [1, 2, 3]
    return tmp_path / "log"


def test_a_policy_begins_anew_with_each_episode_and_hears_what_was_sent(tmp_path):
    heard = []
    policy = SimpleNamespace(
        act=lambda seen: [0.5],
        reset=lambda: heard.append("reset"),
        acted=lambda action: heard.append(float(action[0])),
    )
    env = RobotEnv(Arm(), LIMITS, task=FreeTask(limit=3), clock=SteppedClock())
    with RowLog(tmp_path / "log", keep=True) as log:
        record(env, log, ByPolicy(policy, env), 2)
    assert heard == ["reset", *[pytest.approx(1.0)] * 3] * 2, "0.1 of 0.1, not the 0.5 asked for"


def test_rows_hold_what_was_sent(log):
    with RowLog(log) as opened:
        data = episodes(opened, rate=20.0)
    assert len(data) == 3 and [len(e) for e in data] == [6, 6, 6] and data.rate == 20.0
    one = data[1]
    assert np.allclose(one["action"][:, 0], [0.1] * 5 + [0.0])  # not the 0.5 that was asked
    assert np.allclose(one["state"][1:, 0] - one["state"][:-1, 0], 0.1, atol=1e-6)
    assert one["is_first"].tolist() == [True] + [False] * 5 and one["is_last"].tolist() == [
        False
    ] * 5 + [True]
    assert not one["is_terminal"].any() and one["state"].dtype == np.float32


def test_a_kill_at_every_row_leaves_the_rows_before(log, tmp_path):
    file = log / "rows-000000000001.bin"
    whole, at = file.read_bytes(), 0
    with RowLog(log) as opened:
        everything = episodes(opened)
    rows = np.concatenate([e["state"] for e in everything])
    for number in range(18):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(log, copy)
        end = at + HEAD.size + HEAD.unpack_from(whole, at)[1]
        (copy / file.name).write_bytes(whole[: end - 3])  # in the middle of the write of this row
        at = end
        with RowLog(copy) as opened:
            if not number:
                with pytest.raises(UsageError, match="expected rows"):
                    episodes(opened)
                continue
            data = episodes(opened)
        assert np.array_equal(np.concatenate([e["state"] for e in data]), rows[:number])
        assert len(data) == -(-number // 6) and bool(data[-1]["is_last"][-1]) == (number % 6 == 0)


def test_it_becomes_a_data_set_of_lerobots_form(log, tmp_path):
    pytest.importorskip("pyarrow")
    from worldmodels.data import read_lerobot

    with RowLog(log) as opened:
        data = episodes(opened, rate=20.0)
    for _ in range(2):  # a second one takes its place
        again = read_lerobot(write(data, tmp_path / "lerobot"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lerobot", "log"]
    assert len(again) == 3 and again.rate == 20.0
    for one, two in zip(data, again):
        assert np.allclose(one["state"], two["state"]) and np.allclose(
            one["action"][:-1], two["action"][: len(one) - 1]
        )


def test_a_folder_is_looked_at_before_a_robot_moves(log, tmp_path):
    for fine in (tmp_path, tmp_path / "new"):
        check_out(fine)
    write(episodes(RowLog(log, keep=True), 20.0), tmp_path / "lerobot")
    check_out(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "lerobot", other / "lerobot")
    with pytest.raises(UsageError, match=r"has a data set .lerobot., but no log"):
        check_out(other)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--out: expected a folder"):
        check_out(tmp_path / "file")


def test_a_robot_is_not_moved_for_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = ["--out", str(tmp_path / "file")]
    assert main(["robot", "record", "--robot", "none:There", "--limits", "none.yaml", *out]) == 2
    assert "--out: expected a folder" in capsys.readouterr().err
