"""Laws of the replay: sequences are consecutive rows of one stream, uniform, fresh ones once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_parts import SPEC, check, fill, make, snapshot, unchanged
from scipy.stats import chisquare

from agents.replay import ReplayBuffer, ReplayError, to_tensors

# ---------------------------------------------------------------- sequences


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 3),
    st.integers(3, 17),
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.integers(1, 5),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_windows_are_consecutive_rows_of_one_stream(
    streams, per_stream, chunks, length, online, random
):
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
    expected = [
        (s, n)
        for s in range(3)
        for n in range(buffer.counters[s] - stored[s], buffer.counters[s] - length + 1)
    ]
    start = buffer.sample(20_000, length)["index"][0]
    found = {(s, n): 0 for s, n in expected}
    for s, n in start.tolist():
        found[s, n] += 1  # a KeyError is a window that should not be
    assert chisquare(list(found.values())).pvalue > 0.01


def test_types_flags_and_fresh_memory():
    buffer = fill(make(online=False), 20)
    sample = buffer.sample(4, 8)
    for key, (shape, dtype) in SPEC.items():
        assert (
            sample[key].dtype == dtype
            and sample[key].shape == (8, 4, *shape)
            and type(sample[key]) is np.ndarray
        )
    # windows go over the ends of episodes
    assert sample["is_first"].any() and sample["is_last"].any()
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


# ---------------------------------------------------------------- tensors


def test_tensors_keep_types_and_shapes():
    sample = fill(make(), 20).sample(4, 6)
    tensors = to_tensors(sample | {"wide": np.ones((6, 4))})
    expected = {
        "count": torch.int64,
        "image": torch.uint8,
        "is_last": torch.bool,
        "reward": torch.float32,
        "wide": torch.float32,
    }
    for key, dtype in expected.items():
        assert tensors[key].dtype == dtype and tensors[key].shape[:2] == (6, 4)
    assert tensors["index"].dtype == torch.int64
    np.testing.assert_array_equal(tensors["deter"].numpy(), sample["deter"])
    assert to_tensors(sample, "meta", pin_memory=True)["deter"].device.type == "meta"
