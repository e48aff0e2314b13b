"""What the replay refuses, at the door and when rows are written back."""

import numpy as np
import pytest
from replay_parts import EPISODE, SPEC, check, fill, make, rows, snapshot, unchanged

from agents.replay import ReplayBuffer, ReplayError, RowSpec
from agents.replay.ring import Rings
from agents.replay.store import Store

# ---------------------------------------------------------------- the door


def broken(**changes):
    row = {**rows([0, 1, 2], [20, 20, 20]), **changes}
    return {k: v for k, v in row.items() if v is not None}


BAD = {
    "unknown": (broken(rewards=np.zeros(3)), r"unknown key 'rewards'; did you mean 'reward'"),
    "missing": (broken(deter=None), r"\['deter'\] missing"),
    "shape": (
        broken(action=np.zeros((3, 3), np.float32)),
        r"'action': expected the shape \(3, 2\).* got \(3, 3\)",
    ),
    "rows": (
        broken(reward=np.zeros(2, np.float32)),
        r"'reward': expected the shape \(3,\).* got \(2,\)",
    ),
    "type": (broken(is_first=np.zeros(3)), r"'is_first': expected bool, got float64"),
    "range": (broken(image=np.full((3, 2, 2, 3), 300)), r"'image': expected uint8, got int64"),
    "nan": (
        broken(deter=np.where(np.arange(12).reshape(3, 4) == 9, np.nan, 0)),
        r"stream 2, key 'deter'.*nan, index \[1\]",
    ),
    "inf": (broken(reward=np.array([0, np.inf, 0], np.float32)), r"stream 1, key 'reward'.*inf"),
    "overflow": (broken(reward=np.array([1e300, 0, 0])), r"stream 0, key 'reward'.*inf"),
    "nested": (broken(action=[[1.0, 2.0], [1.0], [1.0, 2.0]]), r"'action'.*nested"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_changes_nothing(name):
    buffer = fill(make(), 20)  # a full ring: a half-written row would hit the oldest one
    before = snapshot(buffer)
    row, message = BAD[name]
    with pytest.raises(ReplayError, match=message):
        buffer.add(row)
    unchanged(buffer, before)
    check(buffer, buffer.sample(8, 5), 5)


def test_errors_name_the_stream_of_a_partial_add():
    buffer = fill(make(), 3)
    row = rows([2, 0], [3, 3])
    row["reward"][0] = np.nan
    with pytest.raises(ReplayError, match="stream 2, key 'reward'"):
        buffer.add(row, streams=[2, 0])
    for which in ([0, 0], [3], [-1]):
        with pytest.raises(ReplayError, match="different streams"):
            buffer.add(rows(which, [3] * len(which)), streams=which)


def test_a_narrower_float_is_taken_and_an_integer_that_does_not_fit_is_not():
    spec = {**SPEC, "small": ((), np.int8)}
    buffer = ReplayBuffer(spec, 10)
    row = {**rows([0], [0]), "reward": np.array([0.1]), "small": np.array([100])}
    buffer.add(row)
    assert buffer.sample(1, 1)["reward"][0, 0] == np.float32(0.1)
    with pytest.raises(ReplayError, match="'small': expected numbers that int8 can hold, got 300"):
        buffer.add({**row, "is_first": [True], "small": np.array([300])})


def test_a_row_after_the_end_must_be_a_first_one():
    buffer = fill(make(), EPISODE)
    row = rows([0, 1, 2], [EPISODE] * 3)
    row["is_first"][1] = False
    before = snapshot(buffer)
    with pytest.raises(ReplayError, match="stream 1, key 'is_first'"):
        buffer.add(row)
    unchanged(buffer, before)


def test_an_interrupted_write_is_no_row():
    spec = RowSpec(SPEC)
    rings = Rings(Store(spec, 1, 5))
    for n in range(5):
        rings.append(np.array([0]), rows([0], [n]))

    class Interrupted(dict):
        def items(self):
            yield "count", np.array([[9, 9]])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rings.append(np.array([0]), Interrupted())
    # row 0 is lost, row 5 is not there
    assert rings.written.tolist() == [5] and rings.oldest.tolist() == [1]
    rings.append(np.array([0]), rows([0], [5]))
    assert rings.written.tolist() == [6] and rings.oldest.tolist() == [1]


def test_specs():
    example = {
        "observation": np.zeros(3, np.float32),
        "action": np.zeros(1, np.float32),
        "reward": 0.0,
        "is_first": False,
        "is_last": False,
        "is_terminal": np.bool_(False),
    }
    flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    declared = {
        "observation": ([3], "f4"),
        "action": ((1,), np.float32),
        "reward": ((), np.float32),
        **flags,
    }
    assert RowSpec(example).fingerprint() == RowSpec(declared).fingerprint()
    for change, message in (
        ({"reward": ((), np.float64)}, "'reward': expected the shape"),
        ({"is_last": ((1,), bool)}, "'is_last': expected the shape"),
        ({"index": ((), np.int64)}, "choose another name"),
        ({"observation": np.array([None])}, "type of numbers"),
        ({"observation": ((3,), "what")}, "numpy type"),
    ):
        with pytest.raises(ReplayError, match=message):
            RowSpec({**declared, **change})
    with pytest.raises(ReplayError, match=r"\['action'\] missing"):
        RowSpec({k: v for k, v in declared.items() if k != "action"})
    with pytest.raises(ReplayError, match="at least one row a stream"):
        ReplayBuffer(declared, 2, 3)


# ---------------------------------------------------------------- write-back


def test_update_writes_what_is_still_there():
    buffer = fill(make(60, 3, online=False), 20)
    sample = buffer.sample(30, 6)
    fill(buffer, 8, [1])  # rows 0..7 of stream 1 are gone
    stream, number = sample["index"][..., 0], sample["index"][..., 1]
    kept = (stream != 1) | (number >= 8)
    before = buffer.state_arrays()
    new = np.broadcast_to((1000 + number)[..., None], (*number.shape, 4)).astype(np.float32)
    assert buffer.update(sample["index"], {"deter": new}) == kept.sum() < kept.size
    after = buffer.state_arrays()
    assert all((before[k] == after[k]).all() for k in before if k != "deter")
    touched = {(int(s), int(n)) for s, n in sample["index"][kept]}
    for s in range(3):
        for n in range(buffer.counters[s] - 20, buffer.counters[s]):
            expected = n + 1000 * ((s, n) in touched)
            assert (after["deter"][s, n % 20] == expected).all()


def test_update_refuses_what_does_not_fit():
    buffer = fill(make(), 20)
    index = buffer.sample(4, 6)["index"]
    before = snapshot(buffer)
    good = np.zeros((6, 4, 4), np.float32)
    nan = good.copy()
    nan[2, 3, 1] = np.nan
    s, n = index[2, 3]
    for found, values, message in (
        (index, {"deter": good[:5]}, "'deter': expected the shape"),
        (index, {"deter": nan}, f"stream {s}, row {n}, key 'deter'"),
        (index, {"deters": good}, "did you mean 'deter'"),
        (index[..., 0], {"deter": good}, r"an index \[T, B, 2\]"),
        (index + 3, {"deter": good}, "expected streams in 0..2"),
    ):
        with pytest.raises(ReplayError, match=message):
            buffer.update(found, values)
    unchanged(buffer, before)
    assert buffer.update(index[-3:], {"deter": good[-3:]}) == 12  # a part of the index
