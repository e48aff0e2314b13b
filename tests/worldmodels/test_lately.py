"""What was unexpected lately: its means by numpy, one tick at a time as all at once, and what the
members of an ensemble that read it know of a robot that is off to one side.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from step_parts import trained
from torch import Tensor

from agents.pretrain.models import StepModel
from pixyz.types import PixyzError
from worldmodels.data import Episode, Episodes, make_episode, pad
from worldmodels.disagreement import StepEnsemble
from worldmodels.doubt import scores
from worldmodels.lately import LEAST, Lately
from worldmodels.one_step import OneStep
from worldmodels.one_step_config import OneStepConfig

TIMES = (2, 16)
READS = OneStepConfig(members=5, units=32, linear=True, lately=TIMES, prior=0.5)
BLIND = OneStepConfig(members=5, units=32, linear=True)
NOISE = 0.02


def robot(steps: int, seed: int, drag: float = 0.0) -> Episode:
    """A joint that goes to its command, p' = p + 0.5 (c - p) - drag, c' = c + a, read by sensors
    with noise of 0.02.
    """
    rng = np.random.default_rng(seed)
    p, c = np.zeros((steps, 1)), np.zeros((steps, 1))
    action = rng.uniform(-0.3, 0.3, (steps, 1))
    for t in range(steps - 1):
        c[t + 1] = np.clip(c[t] + action[t], -1, 1)
        p[t + 1] = p[t] + 0.5 * (c[t] - p[t]) - drag
    seen = {k: v + NOISE * rng.normal(size=v.shape) for k, v in (("p", p), ("c", c))}
    return make_episode(f"robot{seed}", seen, action, np.zeros(steps))


def made_of(config: OneStepConfig, train: Episodes) -> OneStep:
    torch.manual_seed(0)
    model = OneStep(train.shapes, 1, config)
    model.fit_units(train)
    return model


def learned(config: OneStepConfig, updates: int = 200) -> OneStep:
    train = Episodes([robot(200, seed) for seed in range(10)])
    return trained(made_of(config, train), pad(list(train)), updates)


@pytest.fixture(scope="module")
def reads() -> OneStep:
    return learned(READS)


@pytest.fixture(scope="module")
def blind() -> OneStep:
    return learned(BLIND)


def auroc(usual: Tensor, other: Tensor) -> float:
    return (other[:, None] > usual).double().mean().item()


def means(
    residuals: NDArray[np.float64], first: NDArray[np.bool_], n: float
) -> NDArray[np.float64]:
    """A sum of all residuals since the episode began, each with its own weight, ``[T, D]``."""
    found = np.zeros((len(first), residuals.shape[1]))
    for t in range(len(first)):
        begun = max(np.flatnonzero(first[: t + 1]), default=0)
        for s in range(begun, t):
            found[t] += residuals[s] / n * (1 - 1 / n) ** (t - 1 - s)
    return found


# ---------------------------------------------------------------- what is read


def test_means_are_weighted_sums_that_begin_anew_with_an_episode() -> None:
    rng = np.random.default_rng(0)
    residuals, first = rng.normal(size=(39, 3)), np.zeros(40, bool)
    first[[0, 17, 18]] = True
    lately = Lately(3, [1, 2.5, 20]).double()
    found = lately.series(torch.from_numpy(residuals), torch.from_numpy(first))
    assert found.shape == (40, 3, 3) and (found[[0, 17, 18]] == 0).all()
    for i, n in enumerate((1, 2.5, 20)):
        np.testing.assert_allclose(found[:, i], means(residuals, first, n), atol=1e-12)
    # of one tick: the last one
    np.testing.assert_allclose(found[1:17, 0], residuals[:16], rtol=1e-12)
    lately.fit([found])
    unit = found.square().mean(0).sqrt()
    torch.testing.assert_close(lately(found), (found / unit).flatten(-2))


def test_what_is_not_finite_is_left_out_and_what_is_nothing_is_not_made_large() -> None:
    lately = Lately(2, [4])
    state = lately.follow(lately.initial(), torch.tensor([8.0, 4.0]))
    state = lately.follow(state, torch.tensor([math.nan, math.inf]))
    assert state.tolist() == [[2.0, 1.0]]
    lately.fit([torch.full((5, 1, 2), 1e-9)])
    assert lately.unit.tolist() == [[pytest.approx(LEAST)] * 2]


def test_a_model_reads_what_its_own_least_squares_leaves() -> None:
    data = Episodes([robot(60, s) for s in range(4)])
    model = made_of(READS, data)
    rows = [np.concatenate([e["p"], e["c"], e["action"]], -1).astype(np.float64) for e in data]
    x = np.concatenate([r[:-1] for r in rows])
    y = np.concatenate([np.diff(r[:, :2], axis=0) for r in rows])
    all_rows = np.concatenate([r[:, :2] for r in rows])
    loc = np.r_[all_rows.mean(0), x[:, 2].mean()]
    unit = np.r_[all_rows.std(0), x[:, 2].std()]
    z, y = (x - loc) / unit, (y - y.mean(0)) / y.std(0)
    least = np.linalg.solve(z.T @ z / len(z) + 1e-6 * np.eye(3), z.T @ y / len(z))
    left = (y - z @ least).reshape(4, 59, 2)
    first = np.eye(1, 60, dtype=bool)[0]
    found = model.history(pad(list(data)))
    for b in range(4):
        for i, n in enumerate(TIMES):
            np.testing.assert_allclose(found[:, b, i], means(left[b], first, n), atol=2e-5)
    unit = np.sqrt((found[:-1].numpy() ** 2).mean((0, 1)))
    np.testing.assert_allclose(model.lately.unit, unit, rtol=1e-4)


def test_one_tick_at_a_time_is_all_at_once(reads: OneStep) -> None:
    episode = robot(120, 50, drag=0.02)
    whole = scores(reads, episode)
    lately = reads.initial(1)
    for t in range(119):
        now, after = (
            {k: torch.from_numpy(episode[k][i : i + 1]) for k in "pc"} for i in (t, t + 1)
        )
        action = torch.from_numpy(episode["action"][t : t + 1])
        apart = reads.disagreement(now, action, lately)
        residual = reads.residual(now, action, after, lately)
        torch.testing.assert_close(apart[0], whole.disagreement[t], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(residual[0], whole.residual[t], rtol=1e-4, atol=1e-5)
        surprise = reads.surprise(now, action, after, lately)
        torch.testing.assert_close(surprise[0], whole.surprise[t], rtol=1e-4, atol=1e-5)
        lately = reads.follow(lately, now, action, after)
    series = {k: torch.from_numpy(episode[k]) for k in ("p", "c", "action", "is_first")}
    torch.testing.assert_close(reads.history(series)[-1], lately[0], rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- what is known


def test_members_disagree_on_a_robot_that_is_off_to_one_side(
    reads: OneStep, blind: OneStep
) -> None:
    """By half of the noise that a sensor has: states and actions are those of the log."""
    found = {}
    for name, model in (("reads", reads), ("blind", blind)):
        usual, heavy = (
            torch.cat([scores(model, robot(200, s, drag)).disagreement[40:] for s in seeds])
            for drag, seeds in ((0.0, range(60, 64)), (0.02, range(70, 74)))
        )
        found[name] = auroc(usual, heavy)
    assert found["reads"] > 0.9 and found["blind"] < 0.65


def test_it_forecasts_better_where_sensors_are_noisy(reads: OneStep, blind: OneStep) -> None:
    """What a sensor added is in the next change with the opposite sign."""
    batch = pad([robot(200, s) for s in range(80, 84)])
    with torch.no_grad():
        nats = {m: (lambda n, made: n.sum() / made.sum())(*m.nats(batch)) for m in (reads, blind)}
    assert nats[reads] < nats[blind] - 0.05
    series = {k: batch[k] for k in ("p", "c", "action", "is_first")}
    before, after = ({k: batch[k][i] for k in "pc"} for i in (slice(-1), slice(1, None)))
    action = batch["action"][:-1]
    errors = {}
    for model in (reads, blind):
        read = model._read(before, action, model.history(series)[:-1])
        gap = model.y(model.joined(after) - model.joined(before)) - model._predicted(read)[0].mean(
            -2
        )
        errors[model] = gap.square().mean().item()
    assert errors[reads] < 0.97 * errors[blind]


def test_what_is_far_is_not_hidden_from_surprise(reads: OneStep) -> None:
    usual, heavy = (scores(reads, robot(300, 90, drag)).surprise[40:].mean() for drag in (0, 0.1))
    assert heavy > 3 * usual


# ---------------------------------------------------------------- priors


def test_members_answer_in_ways_of_their_own_that_are_nothing_in_sum() -> None:
    torch.manual_seed(0)
    scale = torch.tensor([1.0, 0.0, 3.0])
    ensemble = StepEnsemble(
        {"x": 2, "c": 64}, 1, "y", members=4, units=8, size=3, deviations=True, prior="c"
    )
    parts = torch.randn(500, 2), torch.randn(500, 64), torch.randn(500, 1)
    before, spread = ensemble.predicted(*parts)
    assert torch.count_nonzero(ensemble.prior) == 0
    ensemble.draw_prior(scale)
    found, same = ensemble.predicted(*parts)
    torch.testing.assert_close(same, spread)
    torch.testing.assert_close(found.mean(1), before.mean(1), atol=1e-5, rtol=0)
    own = torch.einsum("nc,kcd->nkd", parts[1], ensemble.prior)
    torch.testing.assert_close(found - before, own, atol=1e-5, rtol=0)
    deviation = own.square().mean((0, 1)).sqrt()
    torch.testing.assert_close(deviation, scale, rtol=0.1, atol=1e-7)
    assert not ensemble.prior.requires_grad


def test_costs_with_what_was_unexpected_by_hand() -> None:
    data = Episodes([robot(6, 0), robot(4, 1)])
    model = made_of(READS, data)
    assert "lately_{prev}" in str(model.objectives[0])
    assert "lately_prev" in model.objectives[0].input_var
    batch = pad(list(data))
    nats, _ = model.nats(batch)
    x, history = torch.cat([batch["p"], batch["c"]], -1), model.history(batch)
    for t, b in ((0, 0), (2, 1), (4, 0)):
        read, action = model.x(x[t, b]), model.action(batch["action"][t, b])
        c = (history[t, b] / model.lately.unit).flatten()
        loc, raw = model.ensemble.net(torch.cat([read, c, action])[None])[0].chunk(2, -1)
        loc = loc + torch.stack([c @ prior for prior in model.ensemble.prior])
        scale = torch.nn.functional.softplus(raw) + 0.01
        left = model.y(x[t + 1, b] - x[t, b]) - torch.cat([read, action]) @ model.linear
        cost = 0.5 * ((left - loc) / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi)
        w = model.w(torch.stack([batch["reward"][t + 1, b], torch.tensor(1.0)]))
        worth = 0.5 * (w - model.worth.net(torch.cat([read, action])[None])[0]).square()
        worth = worth + 0.5 * math.log(2 * math.pi)
        expected = cost.sum(-1).mean() + worth.sum(-1).mean()
        torch.testing.assert_close(nats[t, b], expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- kept, and imagined


def test_a_model_is_that_of_its_seed_and_what_was_saved_is_what_it_was(reads: OneStep) -> None:
    data = Episodes([robot(60, s) for s in range(4)])
    first, second = (made_of(READS, data).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    again = OneStep({"p": (1,), "c": (1,)}, 1, READS).eval()
    again.load_state_dict(reads.state_dict())
    episode = robot(50, 3, drag=0.05)
    for one, other in zip(scores(reads, episode), scores(again, episode)):
        assert torch.equal(one, other)


def test_weights_without_it_are_those_of_before() -> None:
    names = set(OneStep({"x": (3,)}, 2, BLIND).state_dict())
    assert not any("lately" in n or "prior" in n for n in names)
    more = set(OneStep({"x": (3,)}, 2, READS).state_dict()) - names
    assert more == {"lately.times", "lately.unit", "ensemble.prior"}


def test_steps_that_are_imagined_are_followed(reads: OneStep) -> None:
    batch = pad([robot(40, s, drag=0.03) for s in range(2)])
    seen = {k: v[:30] for k, v in batch.items()}
    obs, action = {k: seen[k][-1] for k in "pc"}, batch["action"][29:31]
    lately = reads.history(seen)[-1]
    torch.manual_seed(0)
    step = reads.imagine(obs, action[0], lately)
    torch.testing.assert_close(step.lately, reads.follow(lately, obs, action[0], step.obs))
    assert not torch.equal(step.doubt, reads.imagine(obs, action[0]).doubt)
    found = reads.forecast(seen, action, 2)
    for now, i in ((action[0], 0), (action[1], 1)):
        loc = reads._predicted(reads._read(obs, now, lately))[0].mean(-2)
        after = reads._apart(reads.joined(obs) + reads.y.inverse(loc))
        torch.testing.assert_close(found["p"][i], after["p"])
        obs, lately = after, reads.follow(lately, obs, now, after)
    drawn = StepModel(reads).drawn(seen, batch["action"][29:34], 5, 400)["p"]
    expected = reads.forecast(seen, batch["action"][29:34], 5)["p"]
    torch.testing.assert_close(drawn.mean(2), expected, atol=0.02, rtol=0)


def test_settings_that_make_no_sense_are_refused() -> None:
    for given, said in (
        ({"lately": (0.5,), "linear": True}, "each at least 1"),
        ({"lately": (math.inf,), "linear": True}, "each at least 1"),
        ({"lately": (4,)}, "give linear=true"),
        ({"prior": 1.0}, "give lately"),
        ({"prior": -1.0}, "prior must be"),
    ):
        with pytest.raises(PixyzError, match=said):
            OneStepConfig(**given)  # type: ignore[arg-type]
