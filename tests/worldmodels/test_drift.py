"""The drift of residuals: by hand, as a law, and where it is not to be had."""

import numpy as np
import pytest
import torch

from worldmodels.data import DataError
from worldmodels.doubt import Doubt, Thresholds
from worldmodels.drift import LEAST, Drift, fit_drift, quantile, running


def episodes(count, steps, seed, off=0.0, noise=False, size=4):
    """Normal residuals; ``noise``: those of a sensor's noise, ``e[t + 1] - e[t]``."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        e = rng.normal(size=(steps + 1, size))
        z = (e[1:] - e[:-1]) / np.sqrt(2) if noise else e[1:]
        found.append(torch.from_numpy(z + off))
    return found


def by_hand(residuals, ticks, rate):
    """The same with numpy and loops."""
    means = [
        np.array([z[t : t + ticks].mean(0) for t in range(len(z) - ticks + 1)])
        for z in map(np.asarray, residuals)
    ]
    drifts = []
    for i, own in enumerate(means):
        others = np.concatenate([m for j, m in enumerate(means) if j != i])
        drifts += [np.mean((m - others.mean(0)) ** 2 / others.var(0)) for m in own]
    rank = int(np.ceil((len(drifts) + 1) * (1 - rate) - 1e-9))
    rows = np.concatenate(means)
    return rows.mean(0), rows.var(0), np.sort(drifts)[rank - 1]


def test_a_drift_is_that_of_the_equation():
    residuals = episodes(5, 40, 0, off=0.3)
    drift = fit_drift(residuals, ticks=8, rate=0.02)
    mean, variance, most = by_hand(residuals, 8, 0.02)
    np.testing.assert_allclose(drift.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(drift.variance, variance, rtol=1e-9)
    assert drift.most == pytest.approx(most, rel=1e-9) and drift.ticks == 8
    other = episodes(1, 20, 1)[0]
    means = np.array([other[t : t + 8].numpy().mean(0) for t in range(13)])
    expected = ((means - mean) ** 2 / variance).mean(-1)
    np.testing.assert_allclose(drift.of(running(other, 8)), expected, rtol=1e-6)


@pytest.mark.parametrize("noise", [False, True])
def test_residuals_like_those_of_the_log_are_chi_squared(noise):
    ticks, size = 10, 4
    drift = fit_drift(episodes(200, 200, 0, noise=noise), ticks, rate=0.01)
    other = episodes(200, 200, 1, noise=noise)
    found = size * torch.cat([drift.of(running(z, ticks)[::ticks]) for z in other])
    # chi squared with 4 degrees: mean 4, variance 8, P(> 9.4877) = 0.05, P(> 13.2767) = 0.01
    assert found.mean().item() == pytest.approx(4.0, abs=0.15)
    assert found.var().item() == pytest.approx(8.0, abs=0.9)
    assert (found > 9.4877).double().mean().item() == pytest.approx(0.05, abs=0.01)
    assert size * drift.most == pytest.approx(13.2767, rel=0.06)


def test_a_variance_is_that_of_means_not_that_of_ticks():
    ticks = 10
    white, noise = (fit_drift(episodes(100, 200, 0, noise=n), ticks, 0.01) for n in (False, True))
    # white: 1 / W; e[t + 1] - e[t] adds up to two ends: 2 / (2 W^2)
    np.testing.assert_allclose(white.variance, 1 / ticks, rtol=0.1)
    np.testing.assert_allclose(noise.variance, 1 / ticks**2, rtol=0.1)


def test_more_ticks_see_less():
    shares = []
    for ticks in (5, 20, 80):
        drift = fit_drift(episodes(50, 300, 0), ticks, rate=0.01)
        off = [drift.of(running(z, ticks)) for z in episodes(20, 300, 1, off=0.3)]
        shares.append((torch.cat(off) > drift.most).double().mean().item())
    assert shares[0] < 0.1 < shares[1] < shares[2] and shares[2] > 0.95


def test_a_feature_that_is_known_exactly_is_nothing_by_little():
    residuals = [torch.cat([z, torch.zeros(len(z), 1).double()], -1) for z in episodes(5, 300, 0)]
    drift = fit_drift(residuals, 10, 0.01)
    assert drift.variance[-1] == LEAST
    means = torch.tensor([*drift.mean[:-1], 0.01])
    assert drift.of(means).item() == pytest.approx(1 / 5, rel=1e-3)


def test_one_long_episode_is_cut_and_a_short_one_has_none():
    (long,) = episodes(1, 2000, 0)
    drift = fit_drift([long], 10, 0.01)
    cut = fit_drift(long.chunk(5), 10, 0.01)
    assert drift == cut
    with pytest.raises(DataError, match=r"two episodes of at least 50 steps .* got 0"):
        fit_drift(episodes(3, 40, 0), 50)
    with pytest.raises(DataError, match=r"needs at least 999 means over 50 rows .* got 102"):
        fit_drift(episodes(2, 100, 0), 50)


def test_numbers_that_make_no_sense_are_refused():
    for change in (
        {"most": float("nan")},
        {"most": 0.0},
        {"variance": [0.0]},
        {"mean": [float("inf")]},
        {"mean": []},
        {"ticks": 0},
    ):
        with pytest.raises(DataError, match="drift: expected"):
            Drift(**({"ticks": 1, "mean": [0.0], "variance": [1.0], "most": 1.0} | change))
    assert quantile(torch.arange(9.0), 0.1, 1) == 8.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_residual_that_is_not_finite_is_doubted_at_once(value):
    drift = Drift(ticks=3, mean=[0.0, 0.0], variance=[1.0, 1.0], most=3.0)
    doubt = Doubt(Thresholds(1.0, 4.0, ticks=2, rate=0.1, drift=drift))
    said = [doubt.add(residual=torch.tensor([value if t == 1 else 0.0, 0.0])) for t in range(6)]
    assert [s is not None for s in said] == [False, True, True, True, False, False]
    assert "drift is" in said[1] and "trusted to 3" in said[1]
    doubt.reset()
    assert [doubt.add(residual=torch.full((2,), 9.0)) is not None for _ in range(3)] == [0, 0, 1]
