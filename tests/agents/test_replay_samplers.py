"""Samplers: what they draw is what they say they draw, and they go on exactly where they were."""

import json

import numpy as np
import pytest
from replay_parts import SPEC, check, equal, fill, make, rows
from scipy.stats import chisquare

from agents.replay import (
    BFloat16,
    Mixed,
    OneHot,
    Prioritized,
    Recent,
    ReplayBuffer,
    ReplayError,
    Uniform,
)
from agents.replay.episodes import read_replay
from agents.replay.fill import fill as fill_in
from agents.replay.priorities import SumTrees
from agents.replay.samplers import Held
from agents.replay.size import parse_size, row_bytes, rows_of
from worldmodels.data import Episodes, make_episode

LENGTH = 4


def starts():
    return Prioritized(0.7, "sequences")


def mixed():
    return Mixed([(Uniform(), 0.2), (Recent(), 0.3), (Prioritized(0.7), 0.5)])


def uneven(sampler, turns=1):
    """Streams out of step, a full ring among them, priorities that an update gave."""
    buffer = fill(make(60, 3, online=False, seed=1, sampler=sampler), 13 * turns)
    for stream, more in enumerate((15, 0, 4)):
        fill(buffer, more, [stream])
    if buffer.prioritizes:
        rng = np.random.default_rng(0)
        index = buffer.sample(8, LENGTH)["index"]
        buffer.update(index, {"priority": rng.gamma(1.0, 3.0, index.shape[:2]).astype(np.float32)})
    return buffer


def sequences(buffer):
    low = np.maximum(buffer.counters - buffer.rows, 0)
    every = [(s, n) for s in range(3) for n in range(low[s], buffer.counters[s] - LENGTH + 1)]
    return np.array(every).T


@pytest.mark.parametrize("sampler", [Uniform, Recent, Prioritized, starts, mixed])
def test_sequences_come_as_often_as_chances_says(sampler):
    buffer = uneven(sampler())
    stream, first = sequences(buffer)
    chances = buffer.chances(np.stack([stream, first], -1)[None].repeat(LENGTH, 0))
    assert chances.sum() == pytest.approx(1.0)
    drawn = buffer.sample(20_000, LENGTH)["index"][0]
    found = {pair: 0 for pair in zip(stream.tolist(), first.tolist(), strict=True)}
    for pair in drawn.tolist():
        found[tuple(pair)] += 1  # a KeyError is a sequence that should not be
    assert chisquare(list(found.values()), chances * 20_000).pvalue > 0.01


def test_recent_chances_are_a_power_of_the_age():
    buffer = uneven(Recent(1.5))
    stream, first = sequences(buffer)
    weight = (buffer.counters[stream] - LENGTH - first + 1.0) ** -1.5
    found = buffer.chances(np.stack([stream, first], -1)[None].repeat(LENGTH, 0))
    np.testing.assert_allclose(found, weight / weight.sum(), rtol=1e-12)


def test_prioritized_chances_by_hand():
    """Three rows with priorities 1, 2 and 5, sequences of two: the middle row lies in both."""
    buffer = ReplayBuffer(SPEC, 8, 1, online=False, sampler=Prioritized(1.0))
    fill(buffer, 3)
    index = np.array([[[0, 0]], [[0, 1]], [[0, 2]]])
    assert buffer.update(index, {"priority": np.array([[1.0], [2.0], [5.0]], np.float32)}) == 3
    both = np.array([[[0, 0], [0, 1]], [[0, 1], [0, 2]]])
    np.testing.assert_allclose(buffer.chances(both), [2 / 8, 6 / 8])


def test_prioritized_chances_of_sequences_by_hand():
    """Four rows, sequences of two: the last row begins none, and its share is spread over all."""
    buffer = ReplayBuffer(SPEC, 8, 1, online=False, sampler=Prioritized(1.0, "sequences"))
    fill(buffer, 4)
    index = np.array([[[0, n]] for n in range(4)])
    buffer.update(index, {"priority": np.array([[1.0], [2.0], [5.0], [6.0]], np.float32)})
    each = np.array([[[0, 0], [0, 1], [0, 2]], [[0, 1], [0, 2], [0, 3]]])
    np.testing.assert_allclose(buffer.chances(each), [3 / 14, 4 / 14, 7 / 14])


def test_new_rows_have_the_largest_priority_so_far():
    buffer = fill(ReplayBuffer(SPEC, 6, 1, online=False, sampler=Prioritized(1.0)), 2)
    buffer.update(np.array([[[0, 1]]]), {"priority": np.array([[9.0]], np.float32)})
    buffer.update(np.array([[[0, 1]]]), {"priority": np.array([[3.0]], np.float32)})
    fill(buffer, 1)
    single = np.array([[[0, 0], [0, 1], [0, 2]]])
    np.testing.assert_allclose(buffer.chances(single), [1 / 13, 3 / 13, 9 / 13])
    fill(buffer, 5)  # the ring has gone on: rows 0 and 1 are gone, and their priorities with them
    np.testing.assert_allclose(buffer.chances(single[:, 2:]), [1 / 6])


def test_a_priority_is_no_part_of_rows_and_samples():
    buffer = uneven(Prioritized())
    check(buffer, buffer.sample(5, LENGTH), LENGTH)
    with pytest.raises(ReplayError, match="priority"):
        buffer.add({**rows([0], buffer.counters[:1]), "priority": np.ones(1, np.float32)}, [0])
    with pytest.raises(ReplayError, match="at least 0"):
        buffer.update(np.array([[[0, 20]]]), {"priority": np.array([[-1.0]], np.float32)})
    with pytest.raises(ReplayError, match="unknown key"):
        uneven(Uniform()).update(np.array([[[0, 20]]]), {"priority": np.ones((1, 1), np.float32)})


@pytest.mark.parametrize("folder", [False, True])
def test_it_goes_on_exactly_where_it_was(tmp_path, folder):
    """State, later work that is undone, and then what a buffer without the detour does: bit for
    bit.
    """
    kind = {"directory": tmp_path / "replay"} if folder else {}
    buffer = fill(make(60, 3, seed=3, sampler=mixed(), **kind), 25)
    learn(buffer, 3)
    state = json.loads(json.dumps(buffer.state()))
    arrays = None if folder else buffer.state_arrays()
    straight = learn(buffer, 4)
    if folder:
        buffer.close()
        again = make(60, 3, seed=8, sampler=mixed(), **kind)
    else:
        again = make(60, 3, seed=8, sampler=mixed())
        again.load_arrays(arrays)
    again.load_state(state)
    for one, other in zip(straight, learn(again, 4), strict=True):
        equal(one, other)
    again.close()


def learn(buffer, times):
    """Some updates as a learner makes them, rows between them."""
    found = []
    for turn in range(times):
        sample = buffer.sample(6, LENGTH)
        surprise = np.abs(np.sin(sample["index"].sum(-1) + turn)).astype(np.float32) * 5
        buffer.update(sample["index"], {"priority": surprise, "deter": sample["deter"] + 1})
        fill(buffer, 2)
        found.append(sample)
    return found


def test_sums_are_those_of_a_tree_made_at_once():
    rng = np.random.default_rng(0)
    trees, weights = SumTrees(2, 11), np.zeros((2, 11))
    for _ in range(50):
        stream, slot = rng.integers(2, size=7), rng.integers(11, size=7)
        weight = rng.random(7)
        trees.put(stream, slot, weight)
        weights[stream, slot] = weight
    fresh = SumTrees(2, 11)
    fresh.put(np.repeat([0, 1], 11), np.tile(np.arange(11), 2), weights.reshape(-1))
    assert np.array_equal(trees.totals, fresh.totals)  # to the bit
    np.testing.assert_allclose(trees.totals, weights.sum(1))
    inside = np.cumsum(weights[1]) - weights[1] / 2
    assert trees.find(np.ones(11, np.int64), inside).tolist() == list(range(11))


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        (lambda: Recent(-1.0), "at least 0"),
        (lambda: Prioritized(float("nan")), "at least 0"),
        (lambda: Prioritized(ranked="starts"), "rows or sequences, got 'starts'"),
        (lambda: Mixed([(Uniform(), 0.5)]), "add up to 1"),
    ],
)
def test_samplers_that_make_no_sense(sampler, says):
    with pytest.raises(ReplayError, match=says):
        sampler()


# ---------------------------------------------------------------- fewer bytes


def test_packed_rows_come_back():
    spec = {**SPEC, "stoch": OneHot(3, 4), "deter": BFloat16((4,))}
    buffer = ReplayBuffer(spec, 40, 1, online=False, stored=["stoch", "deter"])
    rng = np.random.default_rng(0)
    stoch = np.eye(5, 4, dtype=np.float32)[rng.integers(5, size=(20, 3))].reshape(20, 12)
    deter = rng.normal(size=(20, 4)).astype(np.float32)
    for n in range(20):
        buffer.add({**rows([0], [n]), "stoch": stoch[n : n + 1], "deter": deter[n : n + 1]})
    sample = buffer.sample(50, 1)
    number = sample["index"][0, :, 1]
    np.testing.assert_array_equal(sample["stoch"][0], stoch[number])
    assert sample["stoch"].dtype == sample["deter"].dtype == np.float32
    np.testing.assert_allclose(sample["deter"][0], deter[number], rtol=2**-8)
    buffer.update(sample["index"], {"deter": np.ones_like(sample["deter"])})
    assert (
        buffer.sample(5, 1)["deter"][0, np.isin(buffer.sample(5, 1)["index"][0, :, 1], -1)] == 1
    ).all()
    with pytest.raises(ReplayError, match="one-hot"):
        buffer.update(sample["index"], {"stoch": sample["stoch"] * 0.5})


def test_bfloat16_rounds_as_torch_does():
    torch = pytest.importorskip("torch")
    x = np.concatenate(
        [np.random.default_rng(0).normal(size=999), [0.0, -0.0, 1e-40, 3e38]]
    ).astype(np.float32)
    packed = BFloat16((len(x),)).encode(x)
    wanted = torch.from_numpy(x).bfloat16()
    assert np.array_equal(packed, wanted.view(torch.uint16).numpy())
    assert np.array_equal(BFloat16((len(x),)).decode(packed), wanted.float().numpy())


def test_a_capacity_in_bytes():
    buffer = make(online=False)
    each = row_bytes(buffer.spec)
    assert each == 16 + 12 + 8 + 4 + 3 + 16
    assert rows_of(70, buffer.spec) == 70
    assert rows_of(f"{10 * each + 3}B", buffer.spec) == 10
    assert parse_size("2GB") == 2 * 10**9 and parse_size("1.5KiB") == 1536
    for wrong in ("", "2", "2 gigabytes", "-1GB", "GB"):
        with pytest.raises(ReplayError, match="such as 2GB"):
            parse_size(wrong)
    with pytest.raises(ReplayError, match="a row of"):
        rows_of("1B", buffer.spec)


def test_held_counts_starts():
    assert Held(np.array([0, 5]), np.array([3, 9])).starts(4).tolist() == [0, 1]


def test_recordings_are_filled_in_with_packed_latents_and_priorities():
    data = Episodes([make_episode("run", {"x": np.zeros((9, 3))}, action=np.zeros((9, 1)))])
    flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    spec = {"x": ((3,), "f4"), "action": ((1,), "f4"), "reward": ((), "f4"), **flags}
    spec |= {"stoch": OneHot(2, 3), "deter": BFloat16((4,))}
    buffer = ReplayBuffer(spec, 20, online=False, stored=["stoch", "deter"], sampler=Prioritized())
    assert fill_in(buffer, data) == 9
    sample = buffer.sample(2, 9)
    assert not sample["stoch"].any() and not sample["deter"].any()
    assert sample["stoch"].shape == (9, 2, 6)


def test_a_folder_of_packed_latents_is_read_as_a_log(tmp_path):
    data = Episodes([make_episode("run", {"x": np.ones((9, 3))}, action=np.zeros((9, 1)))])
    flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    spec = {"x": ((3,), "f4"), "action": ((1,), "f4"), "reward": ((), "f4"), **flags}
    spec |= {"stoch": OneHot(2, 3), "deter": BFloat16((4,))}
    with ReplayBuffer(spec, 20, directory=tmp_path, stored=["stoch", "deter"]) as buffer:
        assert fill_in(buffer, data) == 9
    (episode,) = read_replay(tmp_path)
    assert episode["x"].shape == (9, 3) and episode["x"].all()
    assert not {"stoch", "deter"} & set(episode.series)
