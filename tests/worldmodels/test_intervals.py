"""Intervals: radii by hand, what they hold on data that fit the promise, and what is refused."""

import math

import numpy as np
import pytest
import torch

from worldmodels.data import DataError, Episodes, make_episode, windows
from worldmodels.intervals import Intervals, calibrate, coverage
from worldmodels.open_loop import PersistLast, TrainingMean


def noise(count, seed, steps=6, scale=(1.0, 3.0), images=False):
    """Windows that are independent of each other; the second feature is thrice as wide."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        series = {"x": rng.normal(size=(steps, 2)) * scale, "y": rng.normal(size=(steps, 1))}
        if images:
            series["image"] = np.zeros((steps, 4, 4, 3), np.uint8)
        made.append(make_episode(f"{i}", series))
    return Episodes(made)


class Zero:
    """Predicts 0, so that errors are the rows themselves."""

    def forecast(self, seen, action, steps):
        return {k: torch.zeros(steps, *seen[k].shape[1:]) for k in ("x", "y")}


def test_the_radius_is_the_error_of_its_rank_by_hand():
    data = noise(19, 0)
    found = calibrate(Zero(), windows(data, 6), seen=4, level=0.9)
    rows = np.stack([e["x"][4:] for e in data])  # [windows, H, D]
    ranked = np.sort(np.abs(rows), 0)
    assert found.radius["x"].shape == (2, 2) and found.radius["y"].shape == (2, 1)
    np.testing.assert_allclose(found.radius["x"], ranked[math.ceil(20 * 0.9) - 1])


def test_the_share_held_on_other_windows_is_the_one_promised():
    """The expectation over calibrations is k / (n + 1), exactly, whatever the distribution."""
    count, level, shares = 49, 0.8, []
    for seed in range(40):
        found = calibrate(Zero(), windows(noise(count, seed), 6), 4, level)
        held = coverage(found, Zero(), windows(noise(200, 1000 + seed), 6), 4).share
        assert set(held) == {"x", "y", "all"} and held["all"].shape == (2,)
        shares.append(held["all"].mean().item())
    # the deviation of a mean of 40: about sqrt(0.8 * 0.2 / 50 / 6 / 40) = 0.004
    assert np.mean(shares) == pytest.approx(math.ceil(50 * level) / 50, abs=0.012)


def test_all_together_is_the_mean_over_features():
    found = Intervals(0.9, {"x": torch.full((2, 2), 1.0), "y": torch.full((2, 1), 9.0)})
    held, width = coverage(found, Zero(), windows(noise(50, 3), 6), 4)
    assert width["x"].tolist() == [[2.0, 2.0]] * 2
    torch.testing.assert_close(held["all"], (2 * held["x"] + held["y"]) / 3)
    assert held["y"].min() == 1.0 and held["x"].max() < 0.8


def test_a_wider_feature_and_a_longer_horizon_have_their_own_radius():
    found = calibrate(Zero(), windows(noise(400, 1), 6), 4).radius["x"]
    assert (found[:, 1] / found[:, 0]).min() > 2.4
    walk = np.cumsum(np.random.default_rng(0).normal(size=(4000, 1)), 0)
    parts = windows(Episodes([make_episode("walk", {"x": walk})]), 14)
    grown = calibrate(PersistLast(), parts, 5).radius["x"].squeeze(-1)
    assert grown[8] / grown[0] == pytest.approx(3.0, rel=0.1)  # the square root of 9


def test_ends_and_what_lies_outside():
    found = Intervals(0.9, {"x": torch.tensor([[1.0], [2.0]])})
    forecast = {"x": torch.tensor([[[0.0]], [[5.0]]]), "elsewhere": torch.zeros(2, 1, 1)}
    low, high = found.around(forecast)["x"]
    assert low.flatten().tolist() == [-1.0, 3.0] and high.flatten().tolist() == [1.0, 7.0]
    for value, out in ((7.0, False), (7.1, True), (float("nan"), True)):
        truth = {"x": torch.tensor([[[0.5]], [[value]]])}
        assert found.outside(forecast, truth)["x"].flatten().tolist() == [False, out]
    assert found.around({"x": torch.zeros(1, 3, 1)})["x"][0].shape == (1, 3, 1)
    for wrong in (torch.zeros(3, 1, 1), torch.zeros(2, 1, 2), torch.zeros(2, 1)):
        with pytest.raises(DataError, match=r"x: expected a forecast \[H, B, 1\] of at most 2"):
            found.around({"x": wrong})
    with pytest.raises(DataError, match="expected some of the keys"):
        found.around({"z": torch.zeros(1, 1, 1)})


class Loud(Zero):
    """Knows that the first row says how loud a window is."""

    def spread(self, seen, action, steps):
        loud = seen["y"][:1].abs()
        wide = {k: loud.expand(steps, -1, v.shape[-1]) for k, v in seen.items() if k in ("x", "y")}
        return self.forecast(seen, action, steps), wide


def loud(count, seed):
    """Windows of which each has a loudness of its own, 1 or 10, in its first row."""
    made = []
    for e in noise(count, seed):
        times = 10.0 if int(e.name) % 2 else 1.0
        y = np.concatenate([[[times]], times * e["y"][1:]])
        made.append(make_episode(e.name, {"x": times * e["x"], "y": y}))
    return windows(Episodes(made), 6)


def test_relative_intervals_hold_quiet_and_loud_windows_alike(tmp_path):
    level, found = 0.8, []
    for model in (Zero(), Loud()):
        intervals = calibrate(model, loud(400, 0), 4, level)
        other = loud(400, 1)
        found.append(
            [coverage(intervals, model, other[i::2], 4).share["all"].mean().item() for i in (0, 1)]
        )
    assert found[0][0] > 0.99 and found[0][1] < 0.7  # one radius for both
    assert found[1] == [pytest.approx(level, abs=0.04)] * 2
    assert intervals.relative
    again = Intervals.load(intervals.save(tmp_path / "i.safetensors"))
    assert again.relative
    forecast, spread = {"y": torch.zeros(2, 3, 1)}, {"y": torch.full((2, 3, 1), 5.0)}
    low, high = again.around(forecast, spread)["y"]
    torch.testing.assert_close(high, -low)
    torch.testing.assert_close(high[:, 0], 5.0 * intervals.radius["y"])
    truth = {"y": high * 1.01}
    assert again.outside(forecast, truth, spread)["y"].all()
    with pytest.raises(DataError, match="give those as spread"):
        again.around(forecast)


def test_coverage_asks_for_what_was_calibrated():
    for steps in (1, 2):
        found = Intervals(0.9, {"x": torch.ones(steps, 2), "y": torch.ones(steps, 1)})
        with pytest.raises(DataError, match=rf"x: expected .* of at most {steps} horizons"):
            coverage(found, Zero(), windows(noise(30, 0, steps=9), 9), 4)
    found = Intervals(0.9, {"x": torch.ones(5, 2), "y": torch.ones(5, 1)})
    assert coverage(found, Zero(), windows(noise(30, 0), 6), 4).share["all"].shape == (2,)
    with pytest.raises(DataError, match=r"calibrate \['y'\], too"):
        coverage(Intervals(0.9, {"x": torch.ones(2, 2)}), Zero(), windows(noise(30, 0), 6), 4)
    with pytest.raises(DataError, match=r"the log's units were given .* deviations of the draws"):
        coverage(found, Loud(), windows(noise(30, 0), 6), 4)


def test_draws_that_do_not_differ_mark_no_more_than_coverage_says():
    class Certain(Zero):
        def spread(self, seen, action, steps):
            found = self.forecast(seen, action, steps)
            return found, {k: torch.zeros_like(v) for k, v in found.items()}

    found = calibrate(Certain(), windows(noise(50, 0), 6), 4)
    data = noise(200, 1)
    held = coverage(found, Certain(), windows(data, 6), 4).share
    truth = {"x": torch.from_numpy(np.stack([e["x"][4:] for e in data], 1))}
    forecast = {"x": torch.zeros_like(truth["x"])}
    out = found.outside(forecast, truth, forecast)["x"].double().mean((1, 2))
    torch.testing.assert_close(1 - out, held["x"])
    low, high = found.around(forecast, forecast)["x"]
    assert (high - low).min() > 1.0


def test_images_have_no_intervals_and_too_few_windows_are_refused():
    data = noise(8, 0, images=True)
    with pytest.raises(DataError, match=r"need at least 9 windows .* got 8"):
        calibrate(TrainingMean(data.select(["x", "y"])), windows(data, 6), 4)
    more = noise(9, 0, images=True)
    assert set(calibrate(PersistLast(), windows(more, 6), 4).radius) == {"x", "y"}
    with pytest.raises(DataError, match="intervals are of vectors"):
        calibrate(PersistLast(), windows(more.select(["image"]), 6), 4)
    with pytest.raises(DataError, match="level"):
        calibrate(PersistLast(), windows(more, 6), 4, level=1.0)


def test_a_forecast_that_is_not_finite_is_refused():
    class Broken(Zero):
        def forecast(self, seen, action, steps):
            found = super().forecast(seen, action, steps)
            found["y"][-1, 0] = float("nan")
            return found

    with pytest.raises(DataError, match="y: expected finite"):
        calibrate(Broken(), windows(noise(20, 0), 6), 4)


def test_a_file_holds_them(tmp_path):
    found = calibrate(Zero(), windows(noise(30, 2), 6), 4, 0.75)
    again = Intervals.load(found.save(tmp_path / "intervals.safetensors"))
    assert again.level == 0.75 and again.horizon == 2
    assert all(torch.equal(again.radius[k], r) for k, r in found.radius.items())
    (tmp_path / "other").write_bytes(b"no such file")
    for name in ("other", "missing"):
        with pytest.raises(DataError, match=r"expected a file of Intervals\.save"):
            Intervals.load(tmp_path / name)
