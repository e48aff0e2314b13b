"""An RSSM that predicts changes: its density by hand, no worse than the last frame one step ahead,
first frames of their own.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixyz.distributions import Normal
from pixyz.expression import LogProb
from pixyz.types import PixyzError
from worldmodels import RSSM, RSSMConfig
from worldmodels.change import Changes
from worldmodels.data import Episodes, Windows, make_episode, split, windows
from worldmodels.open_loop import PersistLast, changes, moments, open_loop, roughness

CONFIG = RSSMConfig(
    latent="gaussian",
    core="gru",
    vectors="gaussian",
    predicts="change",
    deter=16,
    hidden=16,
    groups=4,
    units=16,
    encoder_layers=1,
    decoder_layers=1,
    bins=11,
    depth=1,
    free_nats=0.0,
    rep_scale=1.0,
)


def arm(rows: int = 1200, seed: int = 0) -> Episodes:
    """Slow sines of three joints at 125 Hz, their velocities, and torques."""
    draw, t = np.random.default_rng(seed), np.arange(rows) / 125
    q = sum(
        draw.uniform(0.2, 0.6, 3)
        * np.sin(2 * np.pi * draw.uniform(0.05, 0.4, 3) * t[:, None] + draw.uniform(0, 6, 3))
        for _ in range(3)
    )
    v = np.gradient(q, 1 / 125, axis=0)
    torque = np.gradient(v, 1 / 125, axis=0) + 3 * np.sin(q)
    return Episodes([make_episode("arm", {"position": q, "velocity": v}, torque)], 125.0, "arm")


def build(data: Episodes, **more: object) -> RSSM:
    torch.manual_seed(0)
    model = RSSM(data.shapes, data.action_size, RSSMConfig(**{**CONFIG.__dict__, **more}))  # type: ignore[arg-type]
    model.standardize(moments(data), changes(data))
    return model


def given(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        **batch,
        "reward": batch["reward"].unsqueeze(-1),
        "cont": torch.ones_like(batch["reward"]).unsqueeze(-1),
    }


class Forecast:
    """The mean of four draws of a model."""

    def __init__(self, model: RSSM) -> None:
        self.model = model

    def forecast(self, seen: dict[str, Tensor], action: Tensor, steps: int) -> dict[str, Tensor]:
        state = {k: v[-1] for k, v in self.model.filter(given({**seen})).items()}
        found = [self.model.sample(state, steps, action) for _ in range(4)]
        return {k: torch.stack([f[k] for f in found]).mean(0) for k in self.model.keys}


def test_one_step_ahead_it_is_never_worse_than_the_last_frame() -> None:
    """Before the first update, and after some on a quarter of a log whose test part lies elsewhere;
    a model of values is.
    """
    parts = split(arm(), "time", valid=0.3, test=0.4)
    units = {k: s for k, (_, s) in moments(parts.train).items()}
    test = windows(parts.test, 40, stride=10)
    last = open_loop(PersistLast(), test, 20, units)["all"]
    errors = {}
    for name in ("change", "value"):
        torch.manual_seed(0)
        model = RSSM(parts.train.shapes, 3, RSSMConfig(**{**CONFIG.__dict__, "predicts": name}))
        model.standardize(moments(parts.train), changes(parts.train) if name == "change" else None)
        errors[f"{name} at first"] = open_loop(Forecast(model), test, 20, units)["all"]
        draw, optimizer = Windows(parts.train, 8, 16), torch.optim.AdamW(model.parameters(), 1e-3)
        for _ in range(60):
            loss = model.objective.eval(given(draw.draw()))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
        errors[name] = open_loop(Forecast(model), test, 20, units)["all"]
    assert (
        errors["change at first"][0] < 0.3 * last[0]
        and (errors["change at first"] < 1.02 * last).all()
    )
    assert errors["change"][0] < 0.6 * last[0] and errors["value"][0] > 10 * last[0], (errors, last)


def test_its_density_is_that_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Normal,
        "noise",
        staticmethod(lambda shape, like: torch.full(tuple(shape), 0.3, dtype=like.dtype)),
    )
    data = arm(300)
    model = build(data).double()
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    draw = Windows(data, 2, 6).draw()
    batch = {k: v.double() if v.is_floating_point() else v for k, v in given(draw).items()}
    batch["is_first"][0], batch["is_first"][3, 1] = True, True  # a new episode within one of them
    states = model.filter(batch)
    d = model.decoder
    previous = {
        f"{k}_prev": torch.cat([torch.zeros_like(states[k][:1]), states[k][:-1]])
        for k in ("now", "before")
    }
    previous = {k: v * (~batch["is_first"]).unsqueeze(-1) for k, v in previous.items()}
    hidden = d.mlp(*[v.flatten(0, 1) for v in (states["deter"], states["stoch"])])
    units, steps = moments(data), changes(data)
    total = torch.zeros(6, 2, dtype=torch.float64)
    for key in model.keys:
        (loc, unit), (gain, step) = ((a.double(), b.double()) for a, b in (units[key], steps[key]))
        x = (batch[key] - loc) / unit
        for t in range(6):
            for b in range(2):
                past = t - (3 if b == 1 and t >= 3 else 0)  # frames of this episode before it
                if past == 0:
                    mean, scale = d.heads[key](hidden)[2 * t + b], d.log_scale[key].exp()
                else:
                    line = x[t - 1, b] + (gain * (x[t - 1, b] - x[t - 2, b]) if past > 1 else 0)
                    width = (
                        step
                        if past > 1
                        else (step / (1 - gain**2).clamp(min=1e-6).sqrt()).clamp(max=1)
                    )
                    mean, scale = (
                        line + width * d.changes[key](hidden)[2 * t + b],
                        d.change_scale[key].exp() * width,
                    )
                total[t, b] += (
                    torch.distributions.Normal(mean, scale).log_prob(x[t, b]).sum()
                    - unit.log().sum()
                )
    inputs = {
        k: v.flatten(0, 1)
        for k, v in {**states, **previous, **{k: batch[k] for k in model.keys}}.items()
    }
    found = LogProb(d).eval({k: inputs[k] for k in (*d.var, *d.cond_var)})
    torch.testing.assert_close(found.unflatten(0, (6, 2)), total, rtol=1e-5, atol=1e-4)
    assert states["now"][:, :, -1].eq(1).all()
    assert states["before"][..., -1].tolist() == [[0, 0], [1, 1], [1, 1], [1, 0], [1, 1], [1, 1]]


def test_a_sample_goes_on_from_the_last_frame() -> None:
    data = arm(300)
    model = build(data)
    batch = given(Windows(data, 3, 8).draw())
    state = {k: v[-1] for k, v in model.filter(batch, mean=True).items()}
    drawn = model.sample(state, 5, torch.zeros(5, 3, 3), mean=True)
    units, steps = moments(data), changes(data)
    for key in model.keys:
        now, before = ((batch[key][t] - units[key][0]) / units[key][1] for t in (-1, -2))
        for row in drawn[key]:  # the networks of changes begin at 0
            now, before = now + steps[key][0] * (now - before), now
            torch.testing.assert_close(
                row, now * units[key][1] + units[key][0], rtol=1e-4, atol=1e-5
            )
    # without a frame: the mean of first frames
    free = model.sample(model.initial(3), 2, torch.zeros(2, 3, 3))
    assert torch.isfinite(free["position"]).all() and free["now"].shape == (2, 3, 7)
    ahead = model.predict(state, {"action_prev": torch.zeros(3, 3)}, mean=True)
    torch.testing.assert_close(ahead["now"], drawn["now"][0])
    seen = model.observe(
        state, {**{k: batch[k][-1] for k in model.keys}, "action_prev": torch.zeros(3, 3)}
    )
    torch.testing.assert_close(seen["before"], state["now"])


def test_changes_are_the_regression_of_one_change_on_the_one_before() -> None:
    draw = np.random.default_rng(0)
    step = np.zeros((4000, 2))
    for t in range(1, 4000):
        step[t] = [0.8, 0.0] * step[t - 1] + 0.1 * draw.normal(size=2)
    x = np.concatenate(
        [step.cumsum(0), np.full((4000, 1), 5000.0), (-1.0) ** np.arange(4000)[:, None]], 1
    )
    data = Episodes([make_episode("a", {"x": x[:1000]}), make_episode("b", {"x": x[1000:]})])
    (gain, left), unit = changes(data)["x"], moments(data)["x"][1]
    np.testing.assert_allclose(gain[:2], [0.8, 0.0], atol=0.03)
    np.testing.assert_allclose((left * unit)[:2], [0.1, 0.1], rtol=0.05)
    # nothing changes; and what turns back has no line
    assert left[2] == 1 and gain[2:].tolist() == [
        0,
        0,
    ]
    assert roughness(arm()) < 0.02 and roughness(data) > 0.3
    still = [
        make_episode(e.name, {"x": np.concatenate([e["position"], 0 * e["position"] + 7], 1)})
        for e in arm()
    ]
    line = Episodes([make_episode("line", {"x": np.arange(50.0)[:, None]})])
    assert roughness(Episodes(still)) == roughness(arm().select(["position"])) < 0.02, (
        "what never changes does not count"
    )
    assert roughness(line) < 1e-6 and changes(line)["x"][1].tolist() == [1]
    assert roughness(Episodes([make_episode("a", {"x": np.ones((9, 2))})])) == 1
    short = Episodes([make_episode("a", {"x": x[:2]})])
    assert changes(short)["x"][1].tolist() == [1, 1, 1, 1]


def test_series_as_changes_and_back() -> None:
    torch.manual_seed(0)
    flow, x = Changes(2).double(), torch.randn(9, 3, 2, dtype=torch.float64).cumsum(0)
    flow.steps.set([0.7, 0.0], [0.1, 2.0])
    gain, step = torch.tensor([0.7, 0.0]).double(), torch.tensor([0.1, 2.0]).double()
    first = torch.zeros(9, 3, dtype=torch.bool)
    first[4, 1] = True
    y = flow(x, first)
    for t, b in ((0, 0), (4, 1)):
        torch.testing.assert_close(y[t, b], x[t, b])
    for t, b in ((1, 0), (5, 1)):  # a second frame has no line
        whole_change = torch.tensor([0.1 / (1 - 0.7**2) ** 0.5, 2.0])
        torch.testing.assert_close(
            y[t, b], (x[t, b] - x[t - 1, b]) / whole_change, rtol=1e-6, atol=0
        )
    for t, b in ((2, 0), (4, 0), (8, 2), (6, 1)):
        line = x[t - 1, b] + gain * (x[t - 1, b] - x[t - 2, b])
        torch.testing.assert_close(y[t, b], (x[t, b] - line) / step, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(flow.inverse(y[6:], x[4:6])[:, 0], x[6:, 0])
    torch.testing.assert_close(flow.inverse(flow(x)[1:], x[:1]), x[1:])
    # one frame: persistence
    assert torch.equal(flow.inverse(torch.zeros_like(y[:3]), x[:1]), x[:1].expand(3, -1, -1))
    whole = torch.autograd.functional.jacobian(
        lambda v: flow(v.reshape(9, 1, 2)).flatten(), x[:, 0].flatten()
    )
    torch.testing.assert_close(torch.linalg.slogdet(whole)[1], flow.log_det(torch.tensor(9)))


def test_units_are_saved_with_the_weights_and_wrong_ones_are_refused() -> None:
    data = arm(200)
    model = build(data)
    twin = RSSM(data.shapes, 3, CONFIG)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.decoder.steps["velocity"].scale, changes(data)["velocity"][1])
    assert twin.encoder.__dict__["steps"] is twin.decoder.steps
    values = RSSM(data.shapes, 3, RSSMConfig(**{**CONFIG.__dict__, "predicts": "value"}))
    for wrong in (
        lambda: values.standardize(moments(data), changes(data)),
        lambda: model.standardize(moments(data), {}),
        lambda: RSSM(data.shapes, 3, RSSMConfig(predicts="change")),
        lambda: RSSM({"camera": (16, 16, 3)}, 3, CONFIG),
    ):
        with pytest.raises(PixyzError):
            wrong()
    mixed = RSSM({"camera": (16, 16, 3), "x": (2,)}, 1, CONFIG)
    state = mixed.initial(2)
    found = mixed.sample(state, 3, torch.zeros(3, 2, 1))
    assert found["camera"].shape == (3, 2, 16, 16, 3) and math.isfinite(
        F.mse_loss(found["x"], torch.zeros(3, 2, 2))
    )
