"""Episodes, the checker, splits and batches: what each promises, on ragged made data."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodels.data import (
    DataError,
    Episode,
    Episodes,
    Windows,
    checked,
    make_episode,
    pad,
    problems,
    split,
    windows,
)


def log(name, steps, seed=0, **more):
    draw = np.random.default_rng(seed)
    return make_episode(
        name,
        {"x": draw.normal(size=(steps, 2)), "y": draw.normal(size=steps)},
        draw.normal(size=(steps - 1, 3)),
        draw.normal(size=steps - 1),
        **more,
    )


@pytest.fixture
def data():
    return Episodes([log("a", 7), log("b", 4, 1, terminal=True), log("c", 12, 2)], rate=10.0)


def test_rows_hold_what_arrived_and_the_action_after_it():
    e = make_episode(
        "e", {"x": [[1.0], [2.0], [3.0]]}, action=[[5.0], [6.0]], reward=[0.5, 0.25], terminal=True
    )
    assert e["action"][:, 0].tolist() == [5, 6, 0] and e["reward"].tolist() == [0, 0.5, 0.25]
    assert e["is_first"].tolist() == [True, False, False] and e["is_last"].tolist() == [
        False,
        False,
        True,
    ]
    assert (
        e["is_terminal"].tolist() == [False, False, True]
        and e.observations == ["x"]
        and len(e) == 3
    )
    assert {
        k: v.dtype for k, v in e.series.items() if k in ("x", "action", "reward")
    } == dict.fromkeys(("x", "action", "reward"), np.float32)


def test_discrete_actions_become_one_hot():
    e = make_episode("e", {"x": np.zeros(3)}, action=np.array([2, 0]), actions=4)
    assert e["action"].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert e["x"].shape == (3, 1)


def test_a_part_begins_anew_and_ends_only_where_the_recording_did(data):
    middle, end = data[0].part(2, 5), data[0].part(5, 7)
    assert middle["is_first"].tolist() == [True, False, False] and not middle["is_last"].any()
    assert end["is_last"].tolist() == [False, True]
    assert not data[0]["is_first"][2] and np.shares_memory(middle["x"], data[0]["x"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (dict(observations={}), "expected observations, got none"),
        (dict(observations={"reward": [1.0, 2.0]}), "may not be called"),
        (dict(observations={"x": [1.0, 2.0], "y": [1.0]}), "one length"),
        (dict(observations={"x": np.zeros((0, 2))}), "expected rows, got none"),
        (dict(observations={"x": [[1.0], [1.0, 2.0]]}), "key x: expected an array of numbers"),
        (dict(observations={"x": ["a", "b"]}), "key x: expected an array of numbers"),
        (dict(observations={"x": 3.0}), "key x: expected an array of numbers, one a row"),
        (dict(observations={"x": np.zeros((2, 3, 4))}), "key x: expected .T., .T, D. or images"),
        (
            dict(observations={"x": [1.0, 2.0]}, action=np.zeros((5, 1))),
            "key action: expected 2 or 1 rows",
        ),
        (dict(observations={"x": [1.0, 2.0]}, action=np.zeros((2, 1, 1))), "key action"),
        (
            dict(observations={"x": [1.0, 2.0]}, action=np.array([0, 7]), actions=3),
            "step 1, key action: expected 0 to 2, got 7",
        ),
        (dict(observations={"x": [1.0, 2.0]}, reward=np.zeros((2, 2))), "key reward"),
    ],
)
def test_a_log_that_does_not_fit_is_named(given, text):
    with pytest.raises(DataError, match=text) as error:
        make_episode("walk", **given)
    assert "walk" in str(error.value)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (make_episode("b", {"x": np.zeros((3, 2))}), "lacks the key y"),
        (
            make_episode("b", {"x": np.zeros((3, 3)), "y": np.zeros(3)}, np.zeros((3, 3))),
            "x of shape",
        ),
        (
            make_episode(
                "b", {"x": np.zeros((3, 2)), "y": np.zeros(3), "z": np.zeros(3)}, np.zeros((3, 3))
            ),
            "further keys .'z'",
        ),
    ],
)
def test_episodes_agree(data, other, text):
    with pytest.raises(DataError, match=f"episode b .*{text}"):
        Episodes([data[0], other])
    with pytest.raises(DataError, match="at least one episode"):
        Episodes([])


def test_select_and_slices(data):
    assert (
        data.select(["y"]).observations == ["y"]
        and data.select(["y"]).action_size == 3
        and data.select(["y"]).rate == 10.0
    )
    assert [e.name for e in data[1:]] == ["b", "c"] and data[1:].rate == 10.0 and data.steps == 23
    assert data.shapes == {"x": (2,), "y": (1,)}
    with pytest.raises(
        DataError, match=r"expected some of the observations \['x', 'y'\], got \['q'\]"
    ):
        data.select(["q"])


def broken(episode, key, step, value):
    series = {k: np.array(v) for k, v in episode.series.items()}
    series[key][step] = value
    return Episode(episode.name, series)


@pytest.mark.parametrize(
    ("key", "step", "value", "text"),
    [
        ("x", 3, np.nan, "expected a finite number, got nan"),
        ("y", 0, np.inf, "expected a finite number, got inf"),
        ("action", 2, -np.inf, "expected a finite number, got -inf"),
        ("reward", 6, np.nan, "expected a finite number"),
        ("x", 1, 1e9, r"expected at most 1e\+06 \(largest=\), got 1e\+09"),
        ("is_first", 4, True, "only at the first row"),
        ("is_first", 0, False, "expected at the first row"),
        ("is_last", 2, True, "only at the last row"),
        ("is_terminal", 2, True, "only at the last row"),
    ],
)
def test_checker_names_episode_step_and_key(data, key, step, value, text):
    bad = Episodes([data[2], broken(data[0], key, step, value)], 10.0, "log")
    assert problems(data) == []
    with pytest.raises(
        DataError,
        match=rf"log: 1 of 2 episodes has a problem: episode a, step {step}, key {key}: .*{text}",
    ):
        checked(bad)
    with pytest.warns(UserWarning, match=f"episode a, step {step}, key {key}"):
        left = checked(bad, on_bad="drop")
    assert [e.name for e in left] == ["c"] and left.rate == 10.0


def test_checker_cuts_episodes_at_their_bad_rows(data):
    """Rows 3 and 4 of nine go; what lies before and behind them are episodes, without a change."""
    whole = log("long", 9)
    series = {k: np.array(v) for k, v in whole.series.items()}
    series["x"][3], series["action"][4] = np.nan, 1e9
    with pytest.warns(
        UserWarning, match="1 of 2 episodes has a problem: .*cut there, without 2 of 21 rows"
    ):
        left = checked(Episodes([data[2], Episode("long", series)], 10.0), on_bad="cut")
    assert [e.name for e in left] == ["c", "long[0:3]", "long[5:9]"] and left.rate == 10.0
    assert problems(left) == []
    for piece, part in zip(left[1:], (whole.part(0, 3), whole.part(5, 9))):
        for key in part.series:
            np.testing.assert_array_equal(piece[key], part[key])


def test_what_is_too_short_between_bad_rows_or_has_wrong_flags_is_left_out(data):
    bad = broken(broken(log("a", 7), "x", 1, np.nan), "x", 5, np.inf)  # 1, 3 and 1 good rows
    with pytest.warns(UserWarning, match="without 4 of 7 rows"):
        assert [e.name for e in checked(Episodes([bad]), "cut")] == ["a[2:5]"]
    with pytest.raises(DataError, match="none is left"):
        checked(Episodes([bad]), "cut", shortest=4)
    with pytest.raises(DataError, match=r"only at the first row.*none is left"):
        checked(Episodes([broken(log("a", 7), "is_first", 4, True)]), "cut")


def test_checker_drops_by_episode_not_by_name(data):
    twins = Episodes([data[0], broken(data[0], "x", 0, np.nan)])
    with pytest.warns(UserWarning, match="left out"):
        assert len(checked(twins, on_bad="drop")) == 1
    with pytest.raises(DataError, match="none is left"):
        checked(twins[1:], on_bad="drop")
    with pytest.raises(
        DataError, match=r"episode b, step 0, key .*: expected at least 5 rows, got 4"
    ):
        checked(data, shortest=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked(data) is data


def rows(part):
    return [tuple(r) for e in part for r in e["x"]]


@pytest.mark.parametrize("by", ["time", "episode"])
def test_parts_of_a_split_are_disjoint_and_cover(by):
    data = Episodes([log(str(i), 20 + i, i) for i in range(10)])
    parts = split(data, by, valid=0.2, test=0.1, seed=3)
    found = [rows(p) for p in parts]
    together = [row for part in found for row in part]
    assert sorted(together) == sorted(rows(data)) and len(set(together)) == data.steps
    assert [round(p.steps / data.steps, 1) for p in parts] == [0.7, 0.2, 0.1]
    assert all(e["is_first"][0] and not e["is_first"][1:].any() for p in parts for e in p)
    if by == "time":  # what comes later is tested
        assert not any(e["is_last"].any() for e in parts.train) and all(
            e["is_last"][-1] for e in parts.test
        )
    again, other = split(data, by, 0.2, 0.1, seed=3), split(data, by, 0.2, 0.1, seed=4)
    assert rows(again.test) == found[2] and (by == "time") == (rows(other.test) == found[2])


@pytest.mark.parametrize(
    ("by", "shares", "text"),
    [
        (
            "time",
            (0.1, 0.1),
            "no validation part of 5 rows by time; the longest episode has 12 rows",
        ),
        ("episode", (0.4, 0.4), "1 episode of 5 rows or more cannot be split by episode"),
        ("time", (0.6, 0.4), "together below 1"),
        ("time", (0.0, 0.4), "above 0"),
    ],
)
def test_a_split_without_a_part_is_refused(data, by, shares, text):
    with pytest.raises(DataError, match=text):
        split(data[1:], by, *shares, shortest=5)


def test_a_split_by_episode_leaves_out_what_is_too_short():
    data = Episodes([log(str(i), 4 + i, i) for i in range(6)])
    parts = split(data, "episode", valid=0.2, test=0.2, shortest=6)
    assert sorted(len(e) for part in parts for e in part) == [6, 7, 8, 9]


def test_padded_batch_holds_the_episodes_and_zeros(data):
    batch = pad(data)
    assert batch["x"].shape == (12, 3, 2) and batch["mask"].sum(0).tolist() == [7, 4, 12]
    for i, e in enumerate(data):
        for key, series in e.series.items():
            assert torch.equal(batch[key][: len(e), i], torch.from_numpy(np.array(series)))
            assert not batch[key][len(e) :, i].any()
    assert pad(data, 5)["mask"].sum(0).tolist() == [5, 4, 5]


def test_windows_are_uniform_and_lie_within_episodes():
    data = Episodes(
        [make_episode(str(i), {"x": 100 * i + np.arange(n)}) for i, n in enumerate([3, 6, 11])]
    )
    draw = Windows(data, batch=1000, length=4, seed=0)
    assert len(draw) == 1 + 3 + 8
    counts: dict[float, int] = {}
    for _ in range(12):
        batch = draw.draw()
        x, mask = batch["x"][..., 0], batch["mask"]
        assert (x[1:] - x[:-1])[mask[1:] == 1].eq(1).all() and batch["is_first"][0].all()
        assert (mask.sum(0) == torch.where(x[0] < 100, 3, 4)).all()
        for start in x[0].tolist():
            counts[start] = counts.get(start, 0) + 1
    assert sorted(counts) == [0, *range(100, 103), *range(200, 208)]
    assert max(abs(n - 1000) for n in counts.values()) < 4 * 1000**0.5  # 4 standard deviations


def test_draws_go_on_where_they_stopped(data):
    one, other = Windows(data, 4, 3, seed=5), Windows(data, 4, 3, seed=6)
    one.draw()
    other.load_state(one.state())
    assert all(torch.equal(a, b) for a, b in zip(one.draw().values(), other.draw().values()))
    with pytest.raises(DataError, match="length >= 2"):
        Windows(data, 4, 1)


def test_all_windows(data):
    assert [len(e) for e in windows(data, 5, 2)] == [5] * (2 + 0 + 4)
    with pytest.raises(DataError, match="no episode has 13 rows, the longest has 12"):
        windows(data, 13)


def test_the_page_on_data_runs(tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
    (tmp_path / "my_logs").mkdir()
    rows = [f"{q},{-q},{0.1 * q},{q // 150}" for q in range(600)]
    (tmp_path / "my_logs" / "log.csv").write_text("\n".join(["q1,q2,u,run", *rows]))
    (tmp_path / "my_logs" / "columns.json").write_text(page.split("```json")[1].split("```")[0])
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(page.split("```python")[1].split("```")[0], names)
    assert len(names["data"]) == 4 and names["data"].rate == 50
    assert names["batch"]["position"].shape == (50, 16, 2) and names["batch"]["mask"].all()
