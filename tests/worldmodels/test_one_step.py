"""The ensemble of one-step predictors: its costs by hand, what it finds in a system that is known,
and where it is not to be trusted.
"""

import math

import numpy as np
import pytest
import torch
from step_parts import trained

from pixyz.types import PixyzError
from worldmodels.data import DataError, Episodes, make_episode, pad, windows
from worldmodels.doubt import Doubt, Thresholds, scores, thresholds, with_drift
from worldmodels.drift import Drift, running
from worldmodels.one_step import OneStep
from worldmodels.one_step_config import OneStepConfig
from worldmodels.open_loop import PersistLast, moments, open_loop

SMALL = OneStepConfig(members=4, units=16)
UNITS = ("loc", "scale")
_first, _rest = slice(None, -1), slice(1, None)


def robot(steps, seed, drag=0.0, stuck=False):
    """A joint that goes to its command: p' = p + 0.5 (c - p) - drag, c' = c + a, noise of 0.02."""
    rng = np.random.default_rng(seed)
    p, c = np.zeros((steps, 1)), np.zeros((steps, 1))
    action = rng.uniform(-0.3, 0.3, (steps, 1))
    for t in range(steps - 1):
        c[t + 1] = np.clip(c[t] + action[t] + 0.02 * rng.normal(), -1, 1)
        pull = 0.0 if stuck else 0.5 * (c[t] - p[t])
        p[t + 1] = p[t] + pull - drag + 0.02 * rng.normal()
    reward = np.concatenate([[0.0], -np.abs(p[:-1, 0])])
    return make_episode(f"robot{seed}", {"p": p, "c": c}, action, reward)


def learned(updates=300):
    torch.manual_seed(0)
    train = Episodes([robot(200, seed) for seed in range(10)])
    model = OneStep(train.shapes, 1, OneStepConfig(members=4, units=32))
    model.fit_units(train)
    return trained(model, pad(list(train)), updates), train


@pytest.fixture(scope="module")
def found():
    return learned()


@pytest.mark.parametrize("lately", [(), (1.0, 4.0)])
def test_one_row_is_asked_as_many_are(lately):
    torch.manual_seed(1)
    data = Episodes([robot(20, 0)])
    config = OneStepConfig(members=4, units=16, linear=bool(lately), lately=lately)
    model = OneStep(data.shapes, 1, config)
    model.fit_units(data)
    x = {k: torch.from_numpy(data[0][k]) for k in ("p", "c")}
    action, after = torch.from_numpy(data[0]["action"]), {k: v.flip(0) for k, v in x.items()}
    row, then = ({k: v[3] for k, v in each.items()} for each in (x, after))
    for ask, more in (
        (model.disagreement, ()),
        (model.surprise, (then,)),
        (model.residual, (then,)),
    ):
        many = ask(x, action, *(after for _ in more))
        torch.testing.assert_close(ask(row, action[3], *more), many[3])


def test_costs_by_hand_and_only_of_steps_that_were_made():
    torch.manual_seed(1)
    data = Episodes([robot(6, 0), robot(4, 1)])
    model = OneStep(data.shapes, 1, SMALL)
    model.fit_units(data)
    batch = pad(list(data))
    nats, made = model.nats(batch)
    assert made.tolist() == [[True, True]] * 3 + [[True, False]] * 2 and (nats[3:, 1] == 0).all()
    x = torch.cat([batch["p"], batch["c"]], -1)
    for t, b in ((0, 0), (2, 1), (4, 0)):
        given = torch.cat([model.x(x[t, b]), model.action(batch["action"][t, b])])
        loc, raw = model.ensemble.net(given[None]).chunk(2, -1)
        scale = torch.nn.functional.softplus(raw) + 0.01
        gap = (model.y(x[t + 1, b] - x[t, b]) - loc[0]) / scale[0]
        change = 0.5 * gap.square() + scale[0].log() + 0.5 * math.log(2 * math.pi)
        cont = (~batch["is_terminal"][t + 1, b]).float()
        w = model.w(torch.stack([batch["reward"][t + 1, b], cont]))
        worth = 0.5 * (w - model.worth.net(given[None])[0]).square() + 0.5 * math.log(2 * math.pi)
        torch.testing.assert_close(nats[t, b], change.sum(-1).mean() + worth.sum(-1).mean())
    batch["is_first"][2, 0] = True
    assert model.nats(batch)[1][:, 0].tolist() == [True, False, True, True, True]


def test_units_are_those_of_the_log():
    data = Episodes([robot(50, s) for s in range(3)])
    model = OneStep(data.shapes, 1, SMALL)
    model.fit_units(data)
    change = np.concatenate([np.diff(e["p"], axis=0) for e in data])
    np.testing.assert_allclose(model.y.scale[0], change.std(), rtol=1e-5)
    actions = np.concatenate([e["action"][:-1] for e in data])
    np.testing.assert_allclose(model.action.scale, actions.std(0), rtol=1e-5)
    np.testing.assert_allclose(model.reach, np.abs(actions).max(0), rtol=1e-6)
    assert model.w.scale[1] == 1.0  # no episode ends: nothing to scale


def test_it_forecasts_a_system_that_it_has_learned(found):
    model, train = found
    test = Episodes([robot(200, 50)])
    parts, units = windows(test, 15), {k: s for k, (_, s) in moments(train).items()}
    own, last = (open_loop(f, parts, 5, units)["all"] for f in (model, PersistLast()))
    assert own[0] < 0.35 * last[0] and own[9] < 0.6 * last[9]
    with pytest.raises(PixyzError, match="reads actions"):
        model.forecast({k: torch.zeros(1, 1, 1) for k in ("p", "c")}, None, 2)


def test_imagined_steps_are_those_of_the_robot(found):
    model, _ = found
    torch.manual_seed(0)
    obs = {"p": torch.full((4000, 1), 0.1), "c": torch.full((4000, 1), 0.2)}
    step = model.imagine(obs, torch.full((4000, 1), 0.05))
    # p' = 0.1 + 0.5 * 0.1, c' = 0.25, the reward is -|p|
    assert step.obs["p"].mean().item() == pytest.approx(0.15, abs=0.01)
    assert step.obs["p"].std().item() == pytest.approx(0.02, rel=0.2)
    assert step.obs["c"].mean().item() == pytest.approx(0.25, abs=0.01)
    assert step.reward.mean().item() == pytest.approx(-0.1, abs=0.01)
    assert not step.terminal.any() and step.doubt.shape == (4000,)
    given = model._read({k: v[:1] for k, v in obs.items()}, torch.full((1, 1), 0.05))
    reward = model.worth.parameters_of(given)[0][..., 0].std(-1, correction=0)
    torch.testing.assert_close(step.doubt[:1], model.ensemble.uncertainty(given) + reward)


def test_an_end_of_an_episode_is_imagined():
    torch.manual_seed(0)
    made = []
    for seed in range(20):  # it ends where p passes 0.3
        p = np.linspace(0, 0.4, 9)[:, None] + 0.01 * np.random.default_rng(seed).normal()
        made.append(make_episode(f"{seed}", {"p": p}, np.ones((9, 1)), np.zeros(9), terminal=True))
    data = Episodes(made)
    model = OneStep(data.shapes, 1, SMALL)
    model.fit_units(data)
    batch, optimizer = pad(made), torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        model.nats(batch)[0].mean().backward()
        optimizer.step()
    step = model.imagine({"p": torch.tensor([[0.1], [0.35]])}, torch.ones(2, 1))
    assert step.terminal.tolist() == [False, True]


def test_scores_of_a_robot_that_is_like_the_log_and_of_one_that_is_not(found):
    model, _ = found
    usual = scores(model, robot(300, 60))
    assert usual.surprise.mean().item() == pytest.approx(1.0, abs=0.35)
    heavy = scores(model, robot(300, 61, drag=0.08))  # four deviations of the noise
    stuck = scores(model, robot(300, 62, stuck=True))
    assert heavy.surprise.mean() > 3 * usual.surprise.mean()
    assert stuck.disagreement.mean() > 3 * usual.disagreement.mean()


def test_thresholds_are_passed_at_their_rate_and_by_what_is_unlike(found):
    model, _ = found
    trusted = thresholds(model, [robot(2000, 70)], ticks=5, rate=0.01)
    other = scores(model, robot(4000, 71))
    for name in ("disagreement", "surprise"):
        share = (running(getattr(other, name), 5) > getattr(trusted, name)).float().mean().item()
        assert share < 0.04
    assert (
        running(scores(model, robot(300, 72, drag=0.08)).surprise, 5) > trusted.surprise
    ).float().mean() > 0.9


def test_a_threshold_is_the_mean_of_its_rank(found):
    model, _ = found
    episode = robot(105, 80)
    trusted = thresholds(model, [episode], ticks=6, rate=0.1)
    means = np.convolve(scores(model, episode).surprise.numpy(), np.ones(6) / 6, "valid")
    assert len(means) == 99
    assert trusted.surprise == pytest.approx(np.sort(means)[89], rel=1e-5)
    with pytest.raises(DataError, match=r"needs at least 999 means over 6 rows .* got 99"):
        thresholds(model, [episode], ticks=6, rate=1e-3)


def test_doubts_need_a_full_window_and_none_of_a_number_that_is_none(tmp_path):
    trusted = Thresholds(1.0, 2.0, ticks=3, rate=0.01)
    doubt = Doubt(trusted)
    assert [doubt.add(surprise=v) for v in (9.0, 9.0)] == [None, None]
    assert doubt.add(surprise=0.0) == "surprise is 6, trusted to 2"
    assert doubt.add(disagreement=0.0) == "surprise is 6, trusted to 2"
    doubt.reset()
    assert doubt.add(surprise=9.0) is None
    assert doubt.add(disagreement=float("nan")) == "disagreement is nan, trusted to 1"
    assert Thresholds.load(trusted.save(tmp_path / "t.json")) == trusted
    for text in ("{}", "[1]", '{"disagreement": NaN, "surprise": 1, "ticks": 1, "rate": 0.1}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError):
            Thresholds.load(tmp_path / "bad.json")


def test_the_linear_part_is_least_squares_and_a_linear_robot_needs_no_networks():
    data = Episodes([robot(400, s) for s in range(3)])
    model = OneStep(data.shapes, 1, OneStepConfig(members=4, units=16, linear=True))
    model.fit_units(data)
    rows = [np.concatenate([e["p"], e["c"], e["action"]], -1) for e in data]
    x = np.concatenate([r[:-1] for r in rows]).astype(np.float64)
    y = np.concatenate([np.diff(r[:, :2], axis=0) for r in rows]).astype(np.float64)
    loc, unit = (np.concatenate([getattr(s, k) for s in (model.x, model.action)]) for k in UNITS)
    x, y = (x - loc) / unit, (y - y.mean(0)) / y.std(0)
    expected = np.linalg.solve(x.T @ x / len(x) + 1e-6 * np.eye(3), x.T @ y / len(x))
    np.testing.assert_allclose(model.linear, expected, atol=1e-4)
    with torch.no_grad():  # networks that say nothing: p' = 0.5 p + 0.5 c
        for each in (model.ensemble.net.weights[-1], model.ensemble.net.biases[-1]):
            each.zero_()
    obs = {"p": torch.tensor([[0.3], [0.1]]), "c": torch.tensor([[0.1], [0.4]])}
    following = model.forecast({k: v[None] for k, v in obs.items()}, torch.zeros(1, 2, 1), 1)
    torch.testing.assert_close(
        following["p"][0, :, 0], torch.tensor([0.2, 0.25]), atol=0.01, rtol=0
    )
    batch = pad(list(data))
    left = (y - x @ expected).reshape(3, 399, 2)[0]
    nats, _ = model.nats(batch)
    scale = math.log(2) + 0.01  # softplus(0) and the least
    cost = (0.5 * (left / scale) ** 2 + math.log(scale) + 0.5 * math.log(2 * math.pi)).sum(-1)
    w = model.w(torch.stack([batch["reward"], (~batch["is_terminal"]).float()], -1))[1:, 0]
    given = torch.cat([model.x(model.joined(batch)), model.action(batch["action"])], -1)[:-1, 0]
    worth = 0.5 * (w - model.worth.net(given).mean(1)).square()
    spread = 0.5 * model.worth.net(given).var(1, correction=0)
    worth = (worth + spread + 0.5 * math.log(2 * math.pi)).sum(-1)
    np.testing.assert_allclose(nats[:, 0].detach(), cost + worth.detach().numpy(), atol=2e-3)


def test_weights_without_a_linear_part_are_those_of_before():
    assert "linear" not in OneStep({"x": (3,)}, 2, SMALL).state_dict()
    with_it = OneStepConfig(members=4, units=16, linear=True)
    assert OneStep({"x": (3,)}, 2, with_it).state_dict()["linear"].shape == (5, 3)


def test_residuals_are_surprise_with_its_signs(found):
    model, _ = found
    episode = robot(300, 61, drag=0.08)
    each = scores(model, episode)
    assert each.residual.shape == (299, 2)
    before, after = ({k: torch.from_numpy(episode[k][s]) for k in "pc"} for s in (_first, _rest))
    surprise = model.surprise(before, torch.from_numpy(episode["action"][:-1]), after)
    torch.testing.assert_close(each.surprise, surprise)
    assert each.residual[:, 0].mean() < -2  # it is dragged back


def test_drift_sees_what_surprise_does_not(found):
    model, _ = found
    valid, dragged = [robot(400, s) for s in range(90, 96)], robot(400, 61, drag=0.016)
    trusted = with_drift(thresholds(model, valid, 10, 0.01), model, valid, 50)
    drift = trusted.drift
    assert drift is not None and drift.ticks == 50
    usual = drift.of(running(scores(model, robot(2000, 97)).residual, 50))
    each = scores(model, dragged)
    assert (usual > drift.most).float().mean() < 0.05
    assert (drift.of(running(each.residual, 50)) > drift.most).float().mean() > 0.9
    assert (running(each.surprise, 10) > trusted.surprise).float().mean() < 0.3
    doubt, said = Doubt(trusted), []
    for residual in each.residual:
        said.append(doubt.add(residual))
    assert said[:49] == [None] * 49 and sum(s is not None for s in said[49:]) > 300
    assert all(s is None or s.startswith("drift is ") for s in said)
    doubt.reset()
    assert doubt.add(each.residual[0]) is None


def test_thresholds_with_a_drift_are_those_that_were_saved(tmp_path):
    drift = Drift(3, [0.0, 1.0], [1.0, 2.0], 5.0)
    trusted = Thresholds(1.0, 2.0, ticks=3, rate=0.01, drift=drift)
    assert Thresholds.load(trusted.save(tmp_path / "t.json")) == trusted
    text = (tmp_path / "t.json").read_text()
    (tmp_path / "t.json").write_text(text.replace("5.0", "-5.0"))
    with pytest.raises(DataError, match="drift: expected ticks"):
        Thresholds.load(tmp_path / "t.json")


def test_what_it_cannot_predict_is_refused():
    with pytest.raises(PixyzError, match="vectors"):
        OneStep({"image": (4, 4, 3)}, 1)
    with pytest.raises(PixyzError, match="actions of size 0"):
        OneStep({"x": (3,)}, 0)
