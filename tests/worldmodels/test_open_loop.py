"""Open loop: the baselines are what their formulas say, actions are aligned, errors are counted in
units.
"""

import json

import numpy as np
import pytest
import torch

from worldmodels.data import DataError, Episodes, make_episode, split, windows, write_lerobot
from worldmodels.open_loop import PersistLast, Ridge, TrainingMean, moments, open_loop

A = np.array([[0.9, 0.2], [-0.2, 0.9]])
B = np.array([[0.0], [0.5]])


def system(steps=300, seed=0, noise=0.0):
    """x' = A x + B a, seen as two keys."""
    rng = np.random.default_rng(seed)
    x, action = np.zeros((steps, 2)), rng.normal(size=(steps, 1))
    for t in range(steps - 1):
        x[t + 1] = A @ x[t] + B @ action[t] + noise * rng.normal(size=2)
    return make_episode(f"system{seed}", {"p": x[:, :1] * 3 + 1, "v": x[:, 1:]}, action=action)


class Truth:
    """The system itself: right only if the actions are those before each frame."""

    def forecast(self, seen, action, steps):
        x = torch.stack([(seen["p"][-1, :, 0] - 1) / 3, seen["v"][-1, :, 0]], -1).double()
        rows = []
        for t in range(steps):
            x = x @ torch.from_numpy(A).T + action[t].double() @ torch.from_numpy(B).T
            rows.append(x)
        found = torch.stack(rows)
        return {"p": found[..., :1] * 3 + 1, "v": found[..., 1:]}


def units(data):
    return {k: scale for k, (_, scale) in moments(data).items()}


def test_the_true_system_has_no_error():
    data = Episodes([system()])
    errors = open_loop(Truth(), windows(data, 20), 6, units(data))
    assert set(errors) == {"p", "v", "all"} and errors["all"].shape == (14,)
    assert errors["all"].max() < 1e-5


def test_ridge_finds_a_linear_system_at_every_horizon_and_reads_no_later_action():
    parts = split(Episodes([system()]), "time")
    ridge = Ridge(parts.train, parts.valid, 10)
    assert ridge.penalties[0] == min(Ridge.PENALTIES)
    errors = open_loop(ridge, windows(parts.test, 16), 6, units(parts.train))
    assert errors["all"].max() < 2e-3
    batch = {k: torch.from_numpy(v[:6])[:, None] for k, v in parts.test[0].series.items()}
    action = torch.randn(10, 1, 1)
    first = ridge.forecast(batch, action, 10)
    action[5:] += 1.0
    later = ridge.forecast(batch, action, 10)
    for key in first:
        assert torch.equal(first[key][:5], later[key][:5])
    assert not torch.allclose(first["v"][5:], later["v"][5:])


def test_ridge_without_actions():
    episode = make_episode("wave", {"x": np.sin(0.3 * np.arange(200))})
    data = Episodes([episode])
    errors = open_loop(Ridge(data, data, 5), windows(data, 12), 7, units(data))
    assert errors["x"].max() < 1e-2


def test_ridge_says_what_it_reads():
    data = Episodes([system()])
    ridge, frames = Ridge(data, data, 2), {k: torch.zeros(6, 3, 1) for k in ("p", "v", "action")}
    assert ridge.forecast(frames, torch.zeros(2, 3, 1), 2)["p"].shape == (2, 3, 1)
    for count, actions, steps in ((3, 2, 2), (5, 3, 3), (5, 1, 2)):
        seen = {k: v[:count] for k, v in frames.items()}
        with pytest.raises(DataError, match=rf"reads 5 .* up to 2 .* got {count} frames, {steps}"):
            ridge.forecast(seen, torch.zeros(actions, 3, 1), steps)


def test_persist_and_mean_are_what_they_say():
    ramp = make_episode("ramp", {"x": np.arange(50.0)})
    data = Episodes([ramp])
    scale = units(data)
    persist = open_loop(PersistLast(), windows(data, 10), 4, scale)["x"] * scale["x"]
    torch.testing.assert_close(persist, torch.arange(1.0, 7.0).double(), rtol=1e-6, atol=0)
    parts = windows(data, 10)
    mean = open_loop(TrainingMean(data), parts, 4, scale)["x"] * scale["x"]
    expected = [np.sqrt(np.mean([(p["x"][4 + h, 0] - 24.5) ** 2 for p in parts])) for h in range(6)]
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


def test_moments_are_numpys_and_a_constant_feature_has_scale_one():
    x = np.random.default_rng(0).normal(3.0, 2.0, (40, 2)).astype(np.float32)
    x[:, 1] = 7.0
    data = Episodes([make_episode("a", {"x": x[:15]}), make_episode("b", {"x": x[15:]})])
    loc, scale = moments(data)["x"]
    np.testing.assert_allclose(loc, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale, [x[:, 0].std(), 1.0], rtol=1e-5)


@pytest.mark.parametrize("level", [5000.0, -5000.1, 1e5, 0.1])
def test_a_constant_feature_far_from_zero_has_no_spread(level):
    draw = np.random.default_rng(0)
    x = np.stack(
        [
            np.full(999, level),
            level + np.where(np.arange(999) % 2, 0.0, np.spacing(np.float32(abs(level)))),
            level + 0.01 * abs(level) * draw.normal(size=999),
        ],
        1,
    ).astype(np.float32)
    data = Episodes([make_episode("a", {"x": x[:300]}), make_episode("b", {"x": x[300:]})], 10.0)
    loc, scale = moments(data)["x"]
    np.testing.assert_allclose(scale, [1.0, 1.0, x[:, 2].astype(float).std()], rtol=1e-5)
    np.testing.assert_allclose(loc, x.astype(float).mean(0), rtol=1e-6)


def test_statistics_that_are_written_for_lerobot_far_from_zero(tmp_path):
    x = np.stack([np.full(999, 5000.1), 5000.1 + 0.001 * np.arange(999)], 1).astype(np.float32)
    write_lerobot(Episodes([make_episode("a", {"x": x})], 10.0), tmp_path / "log")
    found = json.loads((tmp_path / "log/meta/stats.json").read_text())["observation.x"]["std"]
    np.testing.assert_allclose(found, [0, x[:, 1].astype(float).std()], rtol=1e-6, atol=1e-9)


def test_a_horizon_that_no_episode_has():
    data = Episodes([make_episode("short", {"x": np.zeros(8)})])
    with pytest.raises(DataError, match="no episode has 20 rows, the longest has 8"):
        windows(data, 20)
    with pytest.raises(DataError, match="horizon of 4"):
        Ridge(data, data, 6)
