"""Laws of the replay: sequences are consecutive rows of one stream, uniform, fresh ones once; stop + resume = straight run."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from agents.replay import ReplayBuffer, ReplayError, RowSpec, to_tensors
from agents.replay.ring import Rings

SPEC = {
    "count": ((2,), np.int64),  # (stream, number of the row)
    "image": ((2, 2, 3), np.uint8),
    "action": ((2,), np.float32),
    "reward": ((), np.float32),
    "is_first": ((), np.bool_),
    "is_last": ((), np.bool_),
    "is_terminal": ((), np.bool_),
    "deter": ((4,), np.float32),
}
EPISODE = 7


def rows(streams, numbers):
    """Rows ``[N, ...]`` that say themselves who they are; episodes have 7 rows."""
    s, n = np.asarray(streams), np.asarray(numbers)
    return {
        "count": np.stack([s, n], -1),
        "image": np.broadcast_to((n % 256)[:, None, None, None], (len(n), 2, 2, 3)).astype(np.uint8),
        "action": np.stack([s, n], -1).astype(np.float32),
        "reward": n.astype(np.float32),
        "is_first": n % EPISODE == 0,
        "is_last": n % EPISODE == EPISODE - 1,
        "is_terminal": (n % EPISODE == EPISODE - 1) & (n % 2 == 0),
        "deter": np.broadcast_to(n[:, None], (len(n), 4)).astype(np.float32),
    }


def fill(buffer, times, streams=None):
    which = list(range(buffer.streams)) if streams is None else list(streams)
    for _ in range(times):
        buffer.add(rows(which, buffer.counters[which]), streams)
    return buffer


def make(capacity=60, streams=3, **kwargs):
    return ReplayBuffer(SPEC, capacity, streams, **kwargs)


def check(buffer, sample, length):
    """Every window is ``length`` consecutive rows of one stream that are there now, with all their values."""
    stream, number = sample["index"][..., 0], sample["index"][..., 1]
    assert len(number) == length and sample["index"].dtype == np.int64
    assert (stream == stream[0]).all() and (np.diff(number, axis=0) == 1).all()
    assert (number < buffer.counters[stream]).all() and (number >= buffer.counters[stream] - buffer.rows).all()
    expected = rows(stream.ravel(), number.ravel())
    for key, value in expected.items():
        np.testing.assert_array_equal(sample[key], value.reshape(sample[key].shape), err_msg=key)
    assert sample.keys() == {*SPEC, "index"}


def equal(one, two):
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)
        assert one[key].dtype == two[key].dtype


def snapshot(buffer):
    return json.dumps(buffer.state()), buffer.state_arrays()


def unchanged(buffer, before):
    assert json.dumps(buffer.state()) == before[0]
    equal(buffer.state_arrays(), before[1])


# ---------------------------------------------------------------- sequences


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 3), st.integers(3, 17), st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 5),
    st.booleans(), st.randoms(use_true_random=False),
)
def test_windows_are_consecutive_rows_of_one_stream(streams, per_stream, chunks, length, online, random):
    buffer = ReplayBuffer(SPEC, per_stream * streams, streams, online=online)
    for chunk in chunks:  # several turns of the ring, streams not in step
        fill(buffer, chunk, sorted(random.sample(range(streams), random.randint(1, streams))))
        assert len(buffer) == np.minimum(buffer.counters, per_stream).sum()
        assert buffer.written == buffer.counters.sum()
        possible = (np.minimum(buffer.counters, per_stream) >= length).any()
        assert buffer.can_sample(length) == possible
        if possible:
            check(buffer, buffer.sample(5, length), length)
        else:
            with pytest.raises(ReplayError, match="can_sample"):
                buffer.sample(5, length)


def test_one_row_and_the_whole_ring():
    buffer = fill(make(30, 3, online=False), 25)
    check(buffer, buffer.sample(7, 1), 1)
    whole = buffer.sample(9, 10)
    check(buffer, whole, 10)
    assert (whole["index"][0, :, 1] == 15).all()  # the only window of a full ring
    with pytest.raises(ReplayError, match="capacity of 33 or more"):
        buffer.sample(1, 11)


@pytest.mark.parametrize("turns", [0, 2])
def test_starts_are_uniform_over_all_windows_of_all_streams(turns):
    buffer = fill(make(60, 3, online=False, seed=1), turns * 20)
    for stream, more in enumerate((20, 9, 5)):
        fill(buffer, more, [stream])
    length = 5
    stored = np.minimum(buffer.counters, 20)
    expected = [(s, n) for s in range(3) for n in range(buffer.counters[s] - stored[s], buffer.counters[s] - length + 1)]
    start = buffer.sample(20_000, length)["index"][0]
    found = {(s, n): 0 for s, n in expected}
    for s, n in start.tolist():
        found[s, n] += 1  # a KeyError is a window that should not be
    assert chisquare(list(found.values())).pvalue > 0.01


def test_types_flags_and_fresh_memory():
    buffer = fill(make(online=False), 20)
    sample = buffer.sample(4, 8)
    for key, (shape, dtype) in SPEC.items():
        assert sample[key].dtype == dtype and sample[key].shape == (8, 4, *shape) and type(sample[key]) is np.ndarray
    assert sample["is_first"].any() and sample["is_last"].any()  # windows go over the ends of episodes
    before = snapshot(buffer)
    for value in sample.values():
        value[...] = 0
    unchanged(buffer, before)
    marked = buffer.sample(16, 3, mark_start=True)
    assert marked["is_first"][0].all() and not marked["is_first"][1:].all()
    check(buffer, buffer.sample(16, 3), 3)  # the mark is not stored


# ---------------------------------------------------------------- fresh sequences


def test_fresh_sequences_come_once_and_first():
    buffer = make(300, 3)
    seen = []
    rng = np.random.default_rng(0)
    for _ in range(40):
        fill(buffer, int(rng.integers(0, 7)))
        if not buffer.can_sample(4):
            continue
        waiting = (buffer.counters // 4).sum() - len(seen)
        starts = [tuple(x) for x in buffer.sample(5, 4)["index"][0].tolist()]
        fresh = starts[: min(5, waiting)]
        assert all(n % 4 == 0 for _, n in fresh)
        seen += fresh
    while len(seen) < (buffer.counters // 4).sum():
        seen += [tuple(x) for x in buffer.sample(1, 4)["index"][0].tolist()]
    assert sorted(seen) == [(s, n) for s in range(3) for n in range(0, buffer.counters[s] - 3, 4)]
    for stream in range(3):  # oldest first
        numbers = [n for s, n in seen if s == stream]
        assert numbers == sorted(numbers)


def test_fresh_sequences_take_turns_between_streams():
    buffer = fill(make(300, 3), 12)
    assert buffer.sample(9, 4)["index"][0].tolist() == [[s, n] for n in (0, 4, 8) for s in range(3)]


def test_fresh_sequences_that_were_overwritten_are_skipped():
    buffer = fill(make(20, 1), 8)
    assert buffer.sample(1, 4)["index"][0].tolist() == [[0, 0]]
    fill(buffer, 30)  # rows 18..37 are there
    sample = buffer.sample(6, 4)
    check(buffer, sample, 4)
    assert sample["index"][0, :5].tolist() == [[0, n] for n in (18, 22, 26, 30, 34)]


def test_without_online_nothing_is_first():
    buffer = fill(make(300, 3, online=False), 100)
    assert len(set(buffer.sample(30, 4)["index"][0, :, 1].tolist())) > 15


# ---------------------------------------------------------------- the door


def broken(**changes):
    row = {**rows([0, 1, 2], [20, 20, 20]), **changes}
    return {k: v for k, v in row.items() if v is not None}


BAD = {
    "unknown": (broken(rewards=np.zeros(3)), r"unknown key 'rewards'; did you mean 'reward'"),
    "missing": (broken(deter=None), r"\['deter'\] missing"),
    "shape": (broken(action=np.zeros((3, 3), np.float32)), r"'action': expected the shape \(3, 2\).* got \(3, 3\)"),
    "rows": (broken(reward=np.zeros(2, np.float32)), r"'reward': expected the shape \(3,\).* got \(2,\)"),
    "type": (broken(is_first=np.zeros(3)), r"'is_first': expected bool, got float64"),
    "range": (broken(image=np.full((3, 2, 2, 3), 300)), r"'image': expected uint8, got int64"),
    "nan": (broken(deter=np.where(np.arange(12).reshape(3, 4) == 9, np.nan, 0)), r"stream 2, key 'deter'.*nan, index \[1\]"),
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
    rings = Rings(spec, 1, 5)
    for n in range(5):
        rings.append(np.array([0]), rows([0], [n]))

    class Interrupted(dict):
        def items(self):
            yield "count", np.array([[9, 9]])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rings.append(np.array([0]), Interrupted())
    assert rings.written.tolist() == [5] and rings.oldest.tolist() == [1]  # row 0 is lost, row 5 is not there
    rings.append(np.array([0]), rows([0], [5]))
    assert rings.written.tolist() == [6] and rings.oldest.tolist() == [1]


def test_specs():
    example = {
        "observation": np.zeros(3, np.float32), "action": np.zeros(1, np.float32), "reward": 0.0,
        "is_first": False, "is_last": False, "is_terminal": np.bool_(False),
    }
    flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    declared = {"observation": ([3], "f4"), "action": ((1,), np.float32), "reward": ((), np.float32), **flags}
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


# ---------------------------------------------------------------- stop and resume


def walk(buffer, seed, steps):
    """Some adding, sampling and updating; what was sampled."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        fill(buffer, int(rng.integers(1, 6)))
        if buffer.can_sample(4):
            sample = buffer.sample(3, 4)
            stream, number = sample["index"].reshape(-1, 2).T
            check(buffer, {**sample, "deter": rows(stream, number)["deter"]}, 4)  # all but the latents, which are refreshed
            buffer.update(sample["index"], {"deter": sample["deter"] + 0.5})
            found.append(sample)
    return found


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
    """In a full ring the rows after the checkpoint lie over the oldest ones; these are never shown as old rows."""

    def spoiled(times):
        for _ in range(times):
            wrong = rows(range(3), buffer.counters)
            buffer.add({**wrong, "count": wrong["count"] + 10_000})

    def reopened():
        if not stored:
            return buffer
        buffer.close()
        return make(60, 3, directory=tmp_path, online=False)

    buffer = fill(make(60, 3, directory=tmp_path if stored else None, online=False), 27)  # 20 rows a stream
    state = buffer.state()
    for _ in range(2):  # the same again after the first resume
        spoiled(later)
        buffer = reopened()
        buffer.load_state(state)
        left = max(20 - later, 0)
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
    assert fill(make(3000, 3), 10).state_arrays()["count"].shape == (3, 10, 2)  # only what is filled is saved
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
        (other, 60, 3, r"the spec differs: 'stoch' only here, 'deter' is \[\[4\], '<f4'\] there and \[\[8\], '<f4'\] here"),
        (SPEC, 90, 3, "expected 30 as rows, got 20"),
        (SPEC, 40, 2, "expected 2 as streams, got 3"),
    ):
        with pytest.raises(ReplayError, match=message):
            ReplayBuffer(spec, capacity, streams, directory=tmp_path)
        with pytest.raises(ReplayError, match="another replay"):
            ReplayBuffer(spec, capacity, streams).load_state(state)
        with pytest.raises(ReplayError, match="expected"):
            ReplayBuffer(spec, capacity, streams).load_arrays(arrays if spec is other else arrays | {"reward": np.zeros(3)})
    again = make(directory=tmp_path)
    for change, message in (
        ({"counts": [6, 5, 5]}, "stream 0: expected at least 6 rows, got 5"),
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
    assert meta["spec"] == RowSpec(SPEC).fingerprint() and meta["streams"] == 3 and meta["rows"] == 20
    (tmp_path / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(ReplayError, match="as format, got 99"):
        make(directory=tmp_path)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(ReplayError, match="damaged"):
        make(directory=tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "reward.bin").write_bytes(b"1234")
    with pytest.raises(ReplayError, match=r"reward\.bin is damaged: expected 240 bytes, got 4 bytes"):
        make(directory=tmp_path)
    (tmp_path / "reward.bin").unlink()
    with pytest.raises(ReplayError, match=r"reward\.bin is damaged: expected 240 bytes, got no file"):
        make(directory=tmp_path)


def test_keys_with_slashes_and_folders_given_as_text(tmp_path):
    spec = {**SPEC, "camera/front": ((2,), np.uint8), "nothing": ((0,), np.float32)}
    with ReplayBuffer(spec, 10, directory=str(tmp_path / "deep" / "replay")) as buffer:
        buffer.add({**rows([0], [0]), "camera/front": np.full((1, 2), 7, np.uint8), "nothing": np.zeros((1, 0))})
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


# ---------------------------------------------------------------- tensors


def test_tensors_keep_types_and_shapes():
    sample = fill(make(), 20).sample(4, 6)
    tensors = to_tensors(sample | {"wide": np.ones((6, 4))})
    expected = {"count": torch.int64, "image": torch.uint8, "is_last": torch.bool, "reward": torch.float32, "wide": torch.float32}
    for key, dtype in expected.items():
        assert tensors[key].dtype == dtype and tensors[key].shape[:2] == (6, 4)
    assert tensors["index"].dtype == torch.int64
    np.testing.assert_array_equal(tensors["deter"].numpy(), sample["deter"])
    assert to_tensors(sample, "meta", pin_memory=True)["deter"].device.type == "meta"
