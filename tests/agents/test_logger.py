"""A log that never stops a run."""

import json
import sys
import types

import pytest

from agents.errors import UsageError
from agents.logger import Logger, read_metrics
from agents.tracking import WandbTracker


def test_lines_and_numbers_that_are_not_finite(tmp_path):
    logger = Logger(tmp_path)
    logger.log(3, {"a": 1.5, "b": float("nan")})
    (line,) = read_metrics(logger.path)
    assert line["step"] == 3 and line["a"] == 1.5 and line["b"] is None and line["nonfinite"] == ["b"]


def test_a_torn_line_is_left_out_and_a_broken_one_is_named(tmp_path):
    logger = Logger(tmp_path)
    logger.log(1, {"a": 1})
    with logger.path.open("a") as file:
        file.write('{"step": 2, "a')
    assert [x["step"] for x in read_metrics(logger.path)] == [1]
    with logger.path.open("a") as file:
        file.write('\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_metrics(logger.path)


def test_truncation_before_a_run_goes_on(tmp_path):
    logger = Logger(tmp_path)
    for step in range(5):
        logger.log(step, {"a": step})
    logger.truncate_after(2)
    logger.log(3, {"a": 30})
    assert [(x["step"], x["a"]) for x in read_metrics(logger.path)] == [(0, 0), (1, 1), (2, 2), (3, 30)]


def test_a_failing_tracker_and_a_failing_disk_only_warn(tmp_path):
    class Broken:
        def log(self, step, metrics):
            raise RuntimeError("no network")

        def close(self):
            raise RuntimeError("no network")

    logger = Logger(tmp_path, tracker=Broken())
    with pytest.warns(UserWarning, match="no network"):
        logger.log(1, {"a": 1})
    logger.log(2, {"a": 2})
    assert len(read_metrics(logger.path)) == 2
    blocked = tmp_path / "file"
    blocked.write_text("")
    logger = Logger(blocked / "inside")
    with pytest.warns(UserWarning, match="goes on"):
        logger.log(1, {"a": 1})
    logger.log(2, {"a": 1})


def test_a_tracker_gets_the_numbers(tmp_path):
    class Kept:
        def __init__(self):
            self.seen = []

        def log(self, step, metrics):
            self.seen.append((step, dict(metrics)))

        def close(self):
            self.seen.append("closed")

    tracker = Kept()
    logger = Logger(tmp_path, tracker=tracker)
    logger.log(1, {"a": 2.0}, kind="eval")
    logger.close()
    assert tracker.seen == [(1, {"eval/a": 2.0}), "closed"]
    assert json.loads(logger.path.read_text())["kind"] == "eval"


def test_wandb_is_asked_for_offline_and_missing_it_is_explained(tmp_path, monkeypatch):
    calls = []

    class Run:
        def log(self, metrics):
            calls.append(metrics)

        def finish(self):
            calls.append("finished")

    def init(**options):
        calls.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    tracker = WandbTracker("project", {"a": 1}, tmp_path)
    logger = Logger(tmp_path, tracker=tracker)
    logger.log(7, {"loss": 0.5})
    logger.close()
    assert calls[0]["mode"] == "offline" and calls[0]["config"] == {"a": 1}
    assert calls[1:] == [{"train/loss": 0.5, "step": 7}, "finished"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="tracking"):
        WandbTracker("project", {}, tmp_path)
