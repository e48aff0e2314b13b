"""CSV files with a column map."""

import json
import warnings

import numpy as np
import pytest

from worldmodels.data import Columns, DataError, read_csv, read_episodes

TEXT = """t,q1,q2,mode,r,run,end
0,0.5,1,go,0,a,0
1,0.25,2,stop,1,a,1

2,-3e-1,3,go,0,b,0
"""
MAP = Columns(
    {"joint": ["q2", "q1"], "time": ["t"]},
    action=["mode"],
    reward="r",
    episode="run",
    terminal="end",
    rate=4.0,
)


def test_columns_become_episodes(tmp_path):
    (tmp_path / "log.csv").write_text("\ufeff" + TEXT, encoding="utf-8")
    one, two = data = read_csv(tmp_path / "log.csv", MAP)
    assert (
        one["joint"].tolist() == [[1, 0.5], [2, 0.25]]
        and one["time"].tolist() == [[0], [1]]
        and data.rate == 4.0
    )
    assert one["action"].tolist() == [[1, 0], [0, 1]] and two["action"].tolist() == [[1, 0]]
    assert (
        one["reward"].tolist() == [0, 1]
        and one["is_terminal"].tolist() == [0, 1]
        and not two["is_terminal"].any()
    )
    assert [e.name for e in data] == ["log.csv:a", "log.csv:b"]


def test_a_folder_and_a_map_from_a_file(tmp_path):
    (tmp_path / "2.csv").write_text("1;left\n3;right\n")
    (tmp_path / "1.csv").write_text("5;left\n6;left\n")
    (tmp_path / "columns.json").write_text(
        json.dumps(
            {
                "observations": {"x": ["a"]},
                "action": ["b"],
                "choices": ["right", "left"],
                "header": ["a", "b"],
                "delimiter": ";",
            }
        )
    )
    one, two = read_csv(tmp_path, Columns.read(tmp_path / "columns.json"))
    assert one["x"].tolist() == [[5], [6]] and two["action"].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("0.25", "O.25"),
            r"log.csv, line 3, column q1: expected a number, got 'O.25'",
        ),
        (TEXT.replace("-3e-1", "x"), r"log.csv, line 5, column q1: expected a number, got 'x'"),
        (TEXT.replace("0.25,2", "0.25"), "line 3: expected 7 values, got 6"),
        (TEXT.replace("q2", "q1"), r"names \['q1'\] more than once"),
        (TEXT.replace("q2", "q_2"), "no column 'q2' .nearest: 'q_2'"),
        ("", "expected a header line and rows, got 0 lines"),
        (TEXT.split("\n")[0], "got 1 lines"),
        ("\0\udcff", "expected a CSV file"),
    ],
)
def test_a_bad_file_is_named_with_its_line(text, message, tmp_path):
    (tmp_path / "log.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path / "log.csv", MAP)


def test_an_unknown_action_and_a_missing_file(tmp_path):
    (tmp_path / "log.csv").write_text(TEXT)
    with pytest.raises(
        DataError, match=r"line 3, column mode: expected an action of \['go', 'wait'\], got 'stop'"
    ):
        read_csv(
            tmp_path / "log.csv", Columns({"x": ["q1"]}, action=["mode"], choices=["go", "wait"])
        )
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "no.csv", tmp_path / "empty"):
        with pytest.raises(DataError, match="expected a CSV file, or a folder"):
            read_csv(source, MAP)


def test_whole_numbers_of_csv_are_numbers_and_said(tmp_path, recwarn):
    (tmp_path / "a.csv").write_text("q,u\n1,0\n2,2\n3,1\n")
    (tmp_path / "b.csv").write_text("q,u\n1,4\n2,0\n")
    one, _ = read_csv(tmp_path, Columns({"x": ["q"]}, action=["u"]))
    assert one["action"].tolist() == [[0], [2], [1]]
    (said,) = [str(w.message) for w in recwarn]
    assert "column u: the whole numbers 0 to 4 are taken as one number a row; if" in said
    choices = [str(i) for i in range(5)]
    one, _ = read_csv(tmp_path, Columns({"x": ["q"]}, action=["u"], choices=choices))
    assert one["action"].argmax(1).tolist() == [0, 2, 1]
    for other in ("0.0", "-1", "32", "2.5"):  # numbers, and no classes
        (tmp_path / "b.csv").write_text(f"q,u\n1,{other}\n2,0\n")
        read_csv(tmp_path, Columns({"x": ["q"]}, action=["u"]))
    assert len(recwarn) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"observation": {}}',
        '{"observations": {"x": "q1"}}',
        '{"observations": {}}',
        '{"observations": {"x": ["a"]}, "action": ["a", "b"], "choices": ["l", "r"]}',
        '{"observations": {"x": [1]}}',
        '{"observations": {"x": ["a"]}, "rate": "50"}',
        '{"observations": {"x": ["a"]}, "rate": 0}',
        '{"observations": {"x": ["a"]}, "delimiter": ""}',
        '{"observations": {"x": ["a"]}, "reward": 3}',
        '{"observations": ["a"]}',
        '{"observations": {"x": ["a", "a"]}}',
        '{"observations": {"x": ["a"]}, "hz": 5}',
        '{"observations": {"x": ["a"]}, "gap": "5"}',
        "[" * 100_000,
    ],
)
def test_a_bad_map_is_named(text, tmp_path):
    (tmp_path / "columns.json").write_text(text)
    with pytest.raises(DataError, match=r"columns\.json: expected a column map"):
        Columns.read(tmp_path / "columns.json")


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ("0.05 * i", "20 rows a second"),
        ("50 * i", None),  # milliseconds
        ("50_000_000 * i", None),  # nanoseconds
        ("i", None),  # a counter
    ],
)
def test_a_rate_that_is_not_that_of_the_times_is_said(times, said, tmp_path, recwarn):
    rate = 50.0 if said else 20.0
    rows = [f"{eval(times, {'i': i})},{i % 3}" for i in range(10)]
    (tmp_path / "a.csv").write_text("\n".join(["time,q", *rows]))
    read_csv(tmp_path, Columns({"x": ["q"]}, rate=rate))
    found = [str(w.message) for w in recwarn]
    assert (said is None and not found) or (len(found) == 1 and said in found[0])


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        ("1732900000 + 0.02 * i + 0.002 * (-1) ** i", 50.0),  # a clock that shakes
        ("0.05 * i + 9 * (i > 4)", 20.0),  # a pause, where the file is cut
        ("0.03 * i", 33.3),
        ("50 * i", None),  # milliseconds, or anything
        ("i", None),  # a counter
        ("0 * i", None),
    ],
)
def test_a_rate_that_nobody_gave_is_that_of_times_in_seconds(times, rate, tmp_path):
    for name in ("a.csv", "b.csv"):
        rows = [f"{eval(times, {'i': i})},{i % 3}" for i in range(11)]
        (tmp_path / name).write_text("\n".join(["time,q", *rows]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cuts
        assert read_csv(tmp_path, Columns({"x": ["q"]})).rate == rate
        assert read_csv(tmp_path, Columns({"x": ["q"]}, time="")).rate is None


def test_without_a_map_the_names_of_the_columns_are_said(tmp_path):
    (tmp_path / "a.csv").write_text("time,joint.pos,cmd\n0.0,1,2\n")
    for path in (tmp_path, tmp_path / "a.csv"):
        with pytest.raises(DataError, match=r"; a\.csv begins with time,joint\.pos,cmd$"):
            read_episodes(path)


def test_numbers_keep_their_digits(tmp_path):
    values = np.random.default_rng(0).normal(size=50).astype(np.float32)
    (tmp_path / "log.csv").write_text("x\n" + "\n".join(map(repr, map(float, values))))
    np.testing.assert_array_equal(
        read_csv(tmp_path / "log.csv", Columns({"x": ["x"]}))[0]["x"][:, 0], values
    )
