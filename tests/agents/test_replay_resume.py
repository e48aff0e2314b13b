"""A replay that is stopped and resumed is the one that ran on."""

import json

import numpy as np
import pytest
from replay_parts import SPEC, check, equal, fill, make, rows, snapshot, unchanged, walk

from agents.replay import ReplayBuffer, ReplayError, RowSpec


@pytest.mark.parametrize("steps", [2, 30])  # before and after the ring is full
@pytest.mark.parametrize("stored", [False, True])
def test_stop_and_resume_is_a_straight_run(tmp_path, stored, steps):
    straight = make(seed=5)
    walk(straight, 1, steps)
    expected = walk(straight, 2, 10)

    stopped = make(seed=5, directory=tmp_path / "replay" if stored else None)
    walk(stopped, 1, steps)
    state = json.loads(json.dumps(stopped.state()))
    arrays = None if stored else stopped.state_arrays()
    stopped.close()

    resumed = make(seed=99, directory=tmp_path / "replay" if stored else None)
    if arrays is not None:
        resumed.load_arrays(arrays)
    resumed.load_state(state)
    found = walk(resumed, 2, 10)
    assert len(found) == len(expected)
    for one, two in zip(found, expected):
        equal(one, two)


def test_rows_after_the_checkpoint_are_forgotten(tmp_path):
    buffer = make(300, 3, directory=tmp_path, seed=3)
    fill(buffer, 30)
    buffer.sample(4, 4)
    state = buffer.state()
    expected = [buffer.sample(4, 4) for _ in range(3)]
    fill(buffer, 40)  # the ring has room: nothing old is overwritten
    buffer.sample(9, 4)
    buffer.close()
    again = make(300, 3, directory=tmp_path)
    assert again.counters.tolist() == [70] * 3  # a folder knows what it holds
    again.load_state(state)
    assert again.counters.tolist() == [30] * 3 and len(again) == 90
    for sample in expected:
        equal(again.sample(4, 4), sample)
    fill(again, 5)
    check(again, again.sample(50, 4), 4)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("later", [0, 6, 20, 33])
def test_rows_that_later_ones_had_overwritten_are_forgotten_too(tmp_path, later, stored):
    """In a full ring the rows after the checkpoint lie over the oldest ones; these are never shown
    as old rows.

    In memory they are lost; a folder gives them back.
    """

    def spoiled(times):
        for _ in range(times):
            wrong = rows(range(3), buffer.counters)
            buffer.add({**wrong, "count": wrong["count"] + 10_000})

    def reopened():
        if not stored:
            return buffer
        buffer.close()
        return make(60, 3, directory=tmp_path, online=False)

    # 20 rows a stream
    buffer = fill(make(60, 3, directory=tmp_path if stored else None, online=False), 27)
    state = buffer.state()
    for _ in range(2):  # the same again after the first resume
        spoiled(later)
        buffer = reopened()
        buffer.load_state(state)
        left = 20 if stored else max(20 - later, 0)
        assert buffer.counters.tolist() == [27] * 3 and len(buffer) == 3 * left
        assert buffer.can_sample(left + 1) is False
        if left:
            check(buffer, buffer.sample(200, min(left, 4)), min(left, 4))
    for more in range(1, 45):
        fill(buffer, 1)
        assert len(buffer) == 3 * min(left + more, 20)
        check(buffer, buffer.sample(20, 1), 1)


def test_a_copy_restored_twice_is_the_same(tmp_path):
    buffer = fill(make(seed=4), 33)
    state, arrays = buffer.state(), buffer.state_arrays()
    first = walk(buffer, 7, 8)
    buffer.load_arrays(arrays)
    buffer.load_state(state)
    for one, two in zip(walk(buffer, 7, 8), first, strict=True):
        equal(one, two)
    # only what is filled is saved
    assert fill(make(3000, 3), 10).state_arrays()["count"].shape == (
        3,
        10,
        2,
    )
    onto = fill(make(seed=4, directory=tmp_path), 55)
    onto.load_arrays(arrays)
    assert onto.counters.tolist() == [33] * 3
    check(onto, onto.sample(20, 4), 4)


def test_mark_abandoned():
    buffer = fill(make(online=False), 10)
    buffer.mark_abandoned([0, 2])
    last = buffer.state_arrays()["is_last"][:, 9]
    assert last.tolist() == [True, False, True]
    assert not buffer.state_arrays()["is_terminal"][:, 9].any()
    row = rows(range(3), [10] * 3)
    with pytest.raises(ReplayError, match="stream 0, key 'is_first'"):
        buffer.add(row)
    row["is_first"] = np.array([True, False, True])
    buffer.add(row)
    assert buffer.counters.tolist() == [11] * 3
    make().mark_abandoned()  # nothing there: nothing to mark
    resumed = make()
    resumed.load_arrays(buffer.state_arrays())
    resumed.load_state(buffer.state())
    resumed.mark_abandoned()
    with pytest.raises(ReplayError, match="'is_first'"):
        fill(resumed, 1)


def test_another_replay_is_refused(tmp_path):
    buffer = fill(make(directory=tmp_path), 5)
    state, arrays = buffer.state(), buffer.state_arrays()
    before = snapshot(buffer)
    buffer.close()
    other = {**SPEC, "deter": ((8,), np.float32), "stoch": ((2,), np.float32)}
    for spec, capacity, streams, message in (
        (
            other,
            60,
            3,
            r"the spec differs: 'stoch' only here, 'deter' is \[\[4\], '<f4'\] there and \[\[8\], "
            r"'<f4'\] here",
        ),
        (SPEC, 90, 3, "expected 30 as rows, got 20"),
        (SPEC, 40, 2, "expected 2 as streams, got 3"),
    ):
        with pytest.raises(ReplayError, match=message):
            ReplayBuffer(spec, capacity, streams, directory=tmp_path)
        with pytest.raises(ReplayError, match="another replay"):
            ReplayBuffer(spec, capacity, streams).load_state(state)
        with pytest.raises(ReplayError, match="expected"):
            ReplayBuffer(spec, capacity, streams).load_arrays(
                arrays if spec is other else arrays | {"reward": np.zeros(3)}
            )
    again = make(directory=tmp_path)
    for change, message in (
        ({"counts": [6, 5, 5]}, "stream 0: expected 5 rows in the state, got 6"),
        ({"counts": [5, 5]}, "for 3 streams"),
        ({"shown": [9, 0, 0]}, "shown <= counts"),
        ({"rng": {}}, "give what state"),
    ):
        with pytest.raises(ReplayError, match=message):
            again.load_state({**state, **change})
    with pytest.raises(ReplayError, match="'spec'"):
        again.load_state({})
    unchanged(again, before)
    with pytest.raises(ReplayError, match="call load_arrays first"):
        make().load_state(state)


def test_damaged_folders_are_refused(tmp_path):
    fill(make(directory=tmp_path), 5).close()
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert (
        meta["spec"] == RowSpec(SPEC).fingerprint() and meta["streams"] == 3 and meta["rows"] == 20
    )
    (tmp_path / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(ReplayError, match="as format, got 99"):
        make(directory=tmp_path)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(ReplayError, match="damaged"):
        make(directory=tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "reward.bin").write_bytes(b"1234")
    with pytest.raises(
        ReplayError, match=r"reward\.bin is damaged: expected 240 bytes, got 4 bytes"
    ):
        make(directory=tmp_path)
    (tmp_path / "reward.bin").unlink()
    with pytest.raises(
        ReplayError, match=r"reward\.bin is damaged: expected 240 bytes, got no file"
    ):
        make(directory=tmp_path)


def test_keys_with_slashes_and_folders_given_as_text(tmp_path):
    spec = {**SPEC, "camera/front": ((2,), np.uint8), "nothing": ((0,), np.float32)}
    with ReplayBuffer(spec, 10, directory=str(tmp_path / "deep" / "replay")) as buffer:
        buffer.add(
            {
                **rows([0], [0]),
                "camera/front": np.full((1, 2), 7, np.uint8),
                "nothing": np.zeros((1, 0)),
            }
        )
    with ReplayBuffer(spec, 10, directory=str(tmp_path / "deep" / "replay")) as buffer:
        sample = buffer.sample(1, 1)
    assert (sample["camera/front"] == 7).all() and sample["nothing"].shape == (1, 1, 0)
    buffer.close()
    with pytest.raises(ReplayError, match="closed"):
        buffer.sample(1, 1)


def test_rows_reach_the_files_without_close(tmp_path):
    buffer = fill(make(directory=tmp_path), 9)
    buffer.flush()
    raw = np.fromfile(tmp_path / "count.bin", np.int64).reshape(3, 20, 2)
    assert raw[:, :9, 1].tolist() == [list(range(9))] * 3
    again = make(directory=tmp_path)
    assert again.counters.tolist() == [9] * 3
    check(again, again.sample(5, 4), 4)
