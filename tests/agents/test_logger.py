"""A log that never stops a run."""

import errno
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from replay_parts import forked

from agents.logger import Logger, read_metrics


def test_lines_and_numbers_that_are_not_finite(tmp_path):
    logger = Logger(tmp_path)
    logger.log(3, {"a": 1.5, "b": float("nan")})
    (line,) = read_metrics(logger.path)
    assert (
        line["step"] == 3 and line["a"] == 1.5 and line["b"] is None and line["nonfinite"] == ["b"]
    )


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
    assert [(x["step"], x["a"]) for x in read_metrics(logger.path)] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 30),
    ]


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


def test_numbers_of_any_kind_are_exact(tmp_path):
    logger = Logger(tmp_path)
    logger.log(
        np.int64(3),
        {"a": 0.1 + 0.2, "b": np.float32(0.5), "c": torch.tensor(2.0), "d": 2**60, "e": -np.inf},
    )
    (row,) = read_metrics(logger.path)
    assert [row[k] for k in "abcde"] == [0.1 + 0.2, 0.5, 2.0, 2**60, None] and row["nonfinite"] == [
        "e"
    ]
    with pytest.raises(ValueError, match="'step': expected a name other than"):
        logger.log(4, {"step": 1.0})


@pytest.mark.parametrize("torn", ['{"step": 2, "a', '{"step": 2', "{", "\x00\x00\x00", "12"])
def test_a_logger_goes_on_after_a_torn_line(torn, tmp_path):
    Logger(tmp_path).log(1, {"a": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    logger = Logger(tmp_path)
    assert [x["step"] for x in read_metrics(logger.path)] == [1]
    logger.log(3, {"a": 3})
    logger.log(4, {"a": 4})
    assert [x["step"] for x in read_metrics(logger.path)] == [1, 3, 4]


def test_a_disk_that_is_full_for_a_while(tmp_path, monkeypatch):
    """One warning; the half of a line that fitted is taken back; later lines are written."""
    logger, whole = Logger(tmp_path), Path.open
    logger.log(1, {"a": 1})

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            self.file.write(data[:9])
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "open", lambda self, *args, **kwargs: Full(whole(self, *args, **kwargs))
        )
        with pytest.warns(UserWarning, match="No space left") as caught:  # noqa: PT031 (one in all)
            logger.log(2, {"a": 2})
            logger.log(3, {"a": 3})
            logger.truncate_after(1)
    assert len(caught) == 1
    logger.log(4, {"a": 4})
    assert [x["step"] for x in read_metrics(logger.path)] == [1, 4]


def test_truncation_of_no_log_leaves_none_and_no_other_file(tmp_path):
    logger = Logger(tmp_path)
    logger.truncate_after(3)
    assert not list(tmp_path.iterdir()) and read_metrics(logger.path) == []
    logger.log(1, {"a": float("nan")})
    before = logger.path.read_bytes()
    logger.truncate_after(1)
    assert logger.path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [
        "metrics.jsonl"
    ]


def test_a_tracker_that_failed_is_not_asked_again(tmp_path):
    class Broken:
        calls = 0

        def log(self, step, metrics):
            self.calls += 1
            raise RuntimeError("no network")

        def close(self):
            self.calls += 1

    tracker = Broken()
    logger = Logger(tmp_path, tracker=tracker)
    with pytest.warns(UserWarning, match="switched off") as caught:  # noqa: PT031 (one in all)
        logger.log(1, {"a": 1})
        logger.log(2, {"a": 2})
        logger.close()
    assert tracker.calls == 1 and len(caught) == 1 and len(read_metrics(logger.path)) == 2


# ---------------------------------------------------------------- exact resume


def test_a_resumed_log_is_the_checkpoints(tmp_path):
    """Lines of the checkpoint's own step that came after it are dropped, and those before it are
    kept, byte for byte.
    """
    logger = Logger(tmp_path)
    assert logger.state() == {"lines": 0, "bytes": 0}
    for step, name in ((1, "a"), (5, "b"), (5, "c")):
        logger.log(step, {name: 1})
    state = json.loads(json.dumps(logger.state()))
    before = logger.path.read_bytes()
    assert state == {"lines": 3, "bytes": len(before)}
    logger.log(5, {"d": 1})
    logger.log(9, {"e": 1})
    with logger.path.open("a") as file:
        file.write('{"step": 10, "to')  # killed here
    resumed = Logger(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state(state)
    assert resumed.path.read_bytes() == before and resumed.state() == state
    resumed.log(6, {"f": 1})
    assert [x["step"] for x in read_metrics(resumed.path)] == [1, 5, 5, 6] and resumed.state()[
        "lines"
    ] == 4
    resumed.load_state(state)  # in the same process too
    assert resumed.path.read_bytes() == before
    resumed.load_state({"lines": 0, "bytes": 0})
    assert resumed.path.read_bytes() == b""


def test_a_log_that_goes_on_counts_what_was_there(tmp_path):
    Logger(tmp_path).log(1, {"a": 1})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"torn')
    logger = Logger(tmp_path)
    logger.log(2, {"a": 2})
    assert logger.state() == {"lines": 2, "bytes": logger.path.stat().st_size}
    logger.truncate_after(1)
    assert logger.state()["lines"] == 1
    logger.log(3, {"a": 3})
    assert logger.state() == {"lines": 2, "bytes": logger.path.stat().st_size}


@pytest.mark.parametrize("how", ["missing", "shortened", "torn", "changed", "a folder"])
def test_a_log_that_is_not_the_checkpoints_is_one_line(tmp_path, how):
    logger = Logger(tmp_path)
    for step in range(4):
        logger.log(step, {"a": step})
    state, data = logger.state(), logger.path.read_bytes()
    lines = data.splitlines(keepends=True)
    logger.log(4, {"a": 4})
    logger.path.unlink()
    if how == "a folder":
        logger.path.mkdir()
    elif how != "missing":
        text = {
            "shortened": lines[0],
            "torn": b"".join(lines[:2]) + lines[2][:5],
            "changed": data.replace(b'"a": 2', b'"a": 22'),
        }
        logger.path.write_bytes(text[how])
    resumed = Logger(tmp_path)
    with pytest.warns(UserWarning, match=r"metrics\.jsonl") as caught:  # noqa: PT031 (one in all)
        resumed.load_state(state)
        resumed.log(9, {"a": 9})
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    if how != "a folder":
        kept = {"missing": [], "shortened": [0], "torn": [0, 1], "changed": [0, 1, 2, 3]}[how]
        assert [x["step"] for x in read_metrics(resumed.path)] == [*kept, 9]


def test_lines_of_a_killed_process_are_there(tmp_path):
    """Each line is written at once: what a state counted is there after a SIGKILL."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    read, write = os.pipe()

    def work():
        logger = Logger(tmp_path)
        for step in range(10**6):
            logger.log(step // 3, {"a": step})
            if step % 50 == 20:
                os.write(write, json.dumps(logger.state()).encode() + b"\n")

    assert forked(work, 0.3)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        state = json.loads(pipe.read().split(b"\n")[-2])
    logger = Logger(tmp_path)
    logger.load_state(state)
    rows = read_metrics(logger.path)
    assert [x["a"] for x in rows] == list(range(state["lines"])) and len(rows) > 20
