"""Tensordicts of torchrl become episodes and rows of a replay, and windows of a replay become
tensordicts.
"""

import sys

import numpy as np
import pytest
import torch

from agents.replay import ReplayBuffer, ReplayError, fill
from worldmodels.data import DataError, Episodes, from_tensordict, make_episode, pad, to_tensordict

TensorDict = pytest.importorskip("tensordict").TensorDict


def episodes(lengths=(5, 3, 7), size=2):
    rng = np.random.default_rng(0)
    found = []
    for i, n in enumerate(lengths):
        action = rng.uniform(-1, 1, (n - 1, size))
        camera = rng.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)
        reward = rng.normal(size=n - 1)
        x = rng.normal(size=(n, 3))
        found.append(
            make_episode(
                f"{i}", {"x": x, "camera": camera}, action, reward, terminal=i == 0, last=i != 2
            )
        )
    return Episodes(found)


def same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.series.keys() == b.series.keys()
        for key in a.series:
            assert np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype, key


def test_a_batch_of_episodes_there_and_back():
    data = episodes()
    found = to_tensordict(pad(data))
    assert tuple(found.batch_size) == (3, 6) and found["next", "reward"].shape == (3, 6, 1)
    assert found["collector", "mask"].sum(1).tolist() == [4, 2, 6]
    assert (
        found["next", "terminated"][0, 3]
        and found["next", "truncated"][1, 1]
        and not found["next", "done"][2].any()
    )
    assert torch.equal(found["next", "x"][0, :3], found["x"][0, 1:4])
    assert found["is_init"][:, :, 0].sum(1).tolist() == [1, 1, 1]
    same(from_tensordict(found), data)


def test_one_trajectory_of_several_episodes_as_a_collector_gives_it():
    """By hand: five transitions, an end in the third; the observation that followed the end is
    kept.
    """
    x = torch.arange(5.0)[:, None]
    done = torch.tensor([0, 0, 1, 0, 0], dtype=torch.bool)[:, None]
    found = TensorDict(
        {
            "x": x,
            "action": torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1]), 3),
            "done": torch.zeros_like(done),
            "next": {"x": torch.tensor([1.0, 2, 9, 4, 5])[:, None], "reward": 10 * x, "done": done},
        },
        batch_size=[5],
    )
    first, second = from_tensordict(found)
    assert first["x"][:, 0].tolist() == [0, 1, 2, 9] and second["x"][:, 0].tolist() == [3, 4, 5]
    assert first["reward"].tolist() == [0, 0, 10, 20] and second["reward"].tolist() == [0, 30, 40]
    assert first["action"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert first["is_terminal"].tolist() == [False, False, False, True], (
        "an end that is no truncation"
    )
    assert not second["is_last"].any() and second["is_first"].tolist() == [True, False, False]
    numbers = TensorDict({**found, "action": torch.tensor([0, 1, 2, 0, 1])}, batch_size=[5])
    with pytest.warns(UserWarning, match="taken as 3 classes"):
        assert from_tensordict(numbers)[0]["action"].shape == (4, 3)


def spec(stored=()):
    flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    found = {
        "x": ((3,), "f4"),
        "camera": ((4, 4, 3), "u1"),
        "action": ((2,), "f4"),
        "reward": ((), "f4"),
        **flags,
    }
    return found | {k: ((8,), "f4") for k in stored}


def test_into_a_replay_and_out_of_it():
    data = episodes((6, 4))
    buffer = ReplayBuffer(spec(["deter"]), 100, seed=1, stored=["deter"])
    assert fill(buffer, from_tensordict(to_tensordict(pad(data)))) == 10 == len(buffer)
    batch = buffer.sample(1, 10)
    assert (
        np.array_equal(batch["x"][:, 0], np.concatenate([e["x"] for e in data]))
        and not batch["deter"].any()
    )
    out = to_tensordict({k: v for k, v in batch.items() if k not in ("index", "deter")})
    valid = out["collector", "mask"][0]
    assert valid.tolist() == [True] * 5 + [False] + [True] * 3, (
        "no transition leads from one episode to the next"
    )
    same(from_tensordict(out), [e for e in data])


def test_what_does_not_fit_is_refused(monkeypatch):
    data = episodes()
    found = to_tensordict(pad(data))
    with pytest.raises(DataError, match=r"batch size \[T\] or \[B, T\], got \[\]"):
        from_tensordict(TensorDict({"x": torch.zeros(3)}, batch_size=[]))
    with pytest.raises(DataError, match="expected transitions with 'next'"):
        from_tensordict(found.exclude("next"))
    with pytest.raises(DataError, match=r"nested \['arm'\]; flatten_keys"):
        from_tensordict(TensorDict({"arm": {"q": torch.zeros(2, 1)}, "next": {}}, batch_size=[2]))
    with pytest.raises(DataError, match="at least 2 rows"):
        to_tensordict({"x": torch.zeros(3, 2, 1)})
    seen = {"x": np.zeros((3, 3)), "camera": np.zeros((3, 4, 4, 3), np.uint8)}
    wide = Episodes([make_episode("a", seen, np.full((3, 2), 2.0))])
    with pytest.raises(ReplayError, match=r"actions in \[-1, 1\], got 2"):
        fill(ReplayBuffer(spec(), 100), wide)
    monkeypatch.setitem(sys.modules, "tensordict", None)
    with pytest.raises(DataError, match="pip install tensordict"):
        to_tensordict(pad(data))
