"""The contract of sequence models, clause by clause, over every model.

Draws are made still where two computations are to be compared exactly: base noise is replaced by a
constant.
"""

from __future__ import annotations

import copy

import pytest
import torch
from model_parts import MODELS, A, B, D, T, data, every, make, ragged, rows, same
from torch import Tensor

from pixyz.types import PixyzError
from worldmodels.estimators import bounds, estimate
from worldmodels.particles import particle_filter
from worldmodels.types import LatentDynamics, SequenceModel, Smoother

STRAIGHT_THROUGH = ("rssm_categorical", "hrssm", "hrssm_acts")
TEXTS = {
    "dmm": r"\mathbb{E}_{f(h|x)} \left[\frac{1}{N} \sum_{t=0}^{t_{max} - 1} "
    r"\left(\mathbb{E}_{q(z|z_{q prev},h)} \left[- \log p(x|z) \right] + "
    r"\beta D_{KL} \left[q(z|z_{q prev},h)||p(z|z_{prev}) \right]\right) \right]",
    "vrnn": r"\frac{1}{N} \sum_{t=0}^{t_{max} - 1} "
    r"\mathbb{E}_{f(h|e,z,h_{prev})q(z|e,h_{prev})\phi(e|x)} "
    r"\left[- \log p(x|z,h_{prev}) + "
    r"\beta D_{KL} \left[q(z|e,h_{prev})||p(z|h_{prev}) \right] \right]",
    "newtonian": r"\frac{1}{N} \sum_{t=0}^{t_{max} - 1} "
    r"\mathbb{E}_{d(v|x,x_{prev},n)c(n,later|n_{prev})q(x|I)f(v_{next}|x_{prev},v_{prev},"
    r"action_{prev})} \left[later \left(\mathbb{E}_{p(x_{next}|x_{prev},v_{next},n)} \left[- "
    r"\log p(I|x_{next}) \right] + "
    r"\beta D_{KL} \left[q(x|I)||p(x|x_{prev},v_{next},n) \right]\right) \right]",
    "slac": r"\frac{1}{N} \sum_{t=0}^{t_{max} - 1} \mathbb{E}_{p(z_{2}|z_{1},z_{2 "
    r"prev},action_{prev},n)q(z_{1}|e,z_{2 prev},action_{prev},n)"
    r"\phi(e|x)c(n|n_{prev})} \left[- \log p(x|z_{1},z_{2}) + \beta D_{KL} "
    r"\left[q(z_{1}|e,z_{2 prev},action_{prev},n)||"
    r"p(z_{1}|z_{2 prev},action_{prev},n) \right] \right]",
    "td_vae": r"\mathbb{E}_{f(b|x)} \left[\mathbb{E}_{t(x_{2},b_{1},b_{2},\delta,valid|x,b)} "
    r"\left[\frac{1}{N} \sum_{t=0}^{t_{max} - 1} "
    r"\mathbb{E}_{p_{B}(z_{2}|b_{2})} \left[\beta "
    r"\left(\mathbb{E}_{q(z_{1}|z_{2},b_{1},b_{2},\delta)} \left[\log "
    r"p_{B}(z_{2}|b_{2}) - \log p_{T}(z_{2}|z_{1},\delta) \right] + D_{KL} "
    r"\left[q(z_{1}|z_{2},b_{1},b_{2},\delta)||"
    r"p_{B}(z_{1}|b_{1}) \right]\right) - \log p(x_{2}|z_{2}) \right] \right] \right]",
}


@every
def test_it_is_a_sequence_model(name: str) -> None:
    model = make(name)
    assert isinstance(model, SequenceModel) and (isinstance(model, Smoother) or not model.smooths)
    # whether a policy can act in it: model.acts, test_imagination.py
    assert isinstance(model, LatentDynamics)
    assert set(model.initial(B)) == set(model.state_names) and set(model.feature_names) <= set(
        model.state_names
    )
    if name in TEXTS:
        assert model.objective.loss_text == TEXTS[name]
    # held once
    assert len(list(model.named_parameters(remove_duplicate=False))) == len(
        list(model.parameters())
    )
    twin = copy.deepcopy(model)
    torch.manual_seed(2)
    value = model.objective.eval(data())
    torch.manual_seed(2)
    assert torch.equal(twin.objective.eval(data()), value)
    with torch.no_grad():
        next(twin.parameters()).add_(1.0)
    torch.manual_seed(2)
    assert not torch.equal(twin.objective.eval(data()), value)


@every
def test_filtering_a_chopped_sequence_equals_filtering_the_whole(name: str) -> None:
    model, x = make(name), ragged((6, 3, 5, 6))
    whole = model.filter(x, mean=True)
    head = model.filter(rows(x, 0, 3), mean=True)
    state = {k: v[-1] for k, v in head.items()}
    tail = model.filter({**rows(x, 3, 6), "action_prev": x["action"][2]}, state, mean=True)
    same(whole, {k: torch.cat([head[k], tail[k]]) for k in head})


@every
def test_observing_step_by_step_is_filtering(name: str) -> None:
    model, x = make(name), data()
    whole, state = model.filter(x, mean=True), model.initial(B)
    if name.startswith("td_vae"):  # its first state is a draw
        assert not torch.equal(state["z"], model.initial(B)["z"])
    for t in range(T):
        step = {k: x[k][t] for k in [*model.keys, *model.flags]}
        step["action_prev"] = x["action"][t - 1] if t else torch.zeros_like(x["action"][0])
        state = model.observe(state, step, mean=True)
        same(state, {k: v[t] for k, v in whole.items()})


@every
def test_filtering_does_not_look_ahead_and_smoothing_does(name: str) -> None:
    model, x = make(name), data()
    other = {**x, **{k: torch.cat([x[k][:4], 1 - x[k][4:]]) for k in model.keys}}
    seen, changed = model.filter(x, mean=True), model.filter(other, mean=True)
    same({k: v[:4] for k, v in seen.items()}, {k: v[:4] for k, v in changed.items()})
    assert any((seen[k][4:] - changed[k][4:]).abs().max() > 1e-6 for k in seen)
    if not model.smooths:
        with pytest.raises(PixyzError, match="filter"):
            model.smooth(x)
        return
    seen, changed = model.smooth(x, mean=True), model.smooth(other, mean=True)
    assert any((seen[k][:4] - changed[k][:4]).abs().max() > 1e-6 for k in seen)


@every
def test_prediction_with_recorded_actions_is_imagination(name: str) -> None:
    model, x = make(name), data()
    state = {k: v[-1] for k, v in model.filter(x, mean=True).items()}
    action = x["action"].flip(0)
    dreamt = model.sample(state, T, action if model.acts else None, mean=True)
    assert dreamt[model.keys[0]].shape == (T, B, D)
    at = state
    for t in range(T):
        at = model.predict(at, {"action_prev": action[t]}, mean=True)
        same({k: at[k] for k in at if k in dreamt}, {k: dreamt[k][t] for k in at if k in dreamt})
    if model.acts:
        with pytest.raises(PixyzError, match="action"):
            model.sample(state, T)


@every
@pytest.mark.usefixtures("still")
def test_a_ragged_batch_equals_its_sequences_one_by_one(name: str) -> None:
    model, lengths = make(name), (6, 3, 5, 2)
    x = ragged(lengths)
    nats, weights, states = model.bound.eval(x), model.log_weight.eval(x), model.filter(x)
    frames, total = 0, 0.0
    pairs = 1 if name.startswith("td_vae") else 0
    for i, length in enumerate(lengths):
        one = {k: v[:length, i : i + 1] for k, v in x.items() if k != "mask"}
        torch.testing.assert_close(model.bound.eval(one), nats[i : i + 1])
        torch.testing.assert_close(model.log_weight.eval(one), weights[i : i + 1])
        if not name.startswith("td_vae"):
            same(
                {k: v[-1] for k, v in model.filter(one).items()},
                {k: v[-1, i : i + 1] for k, v in states.items()},
            )
        if "jumpy" not in name:
            frames, total = (
                frames + length - pairs,
                total + model.objective.eval(one) * (length - pairs),
            )
    if frames:
        torch.testing.assert_close(model.objective.eval(x), total / frames)


@every
def test_masked_frames_change_nothing(name: str) -> None:
    model, x = make(name), ragged()
    dirty = {k: v.clone() for k, v in x.items()}
    for k in ("x", "I", "y", "action", "reward", "cont"):
        dirty[k][dirty["mask"] == 0] = float("nan")
    found = []
    for batch in (x, dirty):
        torch.manual_seed(3)
        value = model.objective.eval(batch)
        found.append(
            [value, *torch.autograd.grad(value, list(model.parameters()), allow_unused=True)]
        )
        torch.manual_seed(3)
        found[-1] += [
            model.bound.eval(batch),
            model.log_weight.eval(batch),
            *model.filter(batch).values(),
        ]
    for a, b in zip(*found, strict=True):
        assert a is None or (torch.isfinite(a).all() and torch.equal(a, b))


@pytest.mark.parametrize("name", [n for n in MODELS if n not in STRAIGHT_THROUGH])
def test_gradients_are_those_of_the_bound(name: str) -> None:
    """Along a random direction, against a central difference, on the same draws."""
    model, x = make(name), ragged()
    parameters = list(model.parameters())
    direction = [torch.randn_like(p) for p in parameters]

    def moved(by: float) -> Tensor:
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(by * d)
        torch.manual_seed(4)
        return model.bound.eval(x).sum()

    grads = torch.autograd.grad(moved(0.0), parameters, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(grads, direction, strict=True) if g is not None)
    numeric = (moved(1e-7) - moved(-2e-7)) / 2e-7  # so near that it seldom meets a corner of a ReLU
    torch.testing.assert_close(slope, numeric, rtol=1e-6, atol=1e-6)


@every
def test_the_loop_equals_its_split_form(name: str) -> None:
    x, found = ragged(), []
    for fission in (True, False):
        model = make(name, fission)
        torch.manual_seed(5)
        value = model.objective.eval(x)
        found.append(
            [value, *torch.autograd.grad(value, list(model.parameters()), allow_unused=True)]
        )
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@every
def test_draws_of_the_log_weight_average_to_the_bound(name: str) -> None:
    model, x = make(name), ragged()
    repeated = {k: v.repeat_interleave(2000, 1) for k, v in x.items()}
    torch.manual_seed(6)
    with torch.no_grad():
        weights, bound = (
            e.eval(repeated).unflatten(0, (B, 2000)) for e in (model.log_weight, model.bound)
        )
    error = (weights.var(1) / 2000 + bound.var(1) / 2000).sqrt()
    assert ((weights.mean(1) + bound.mean(1)).abs() < 5 * error).all()
    found = estimate(model.log_weight, x, 200)
    assert found.log_weights.shape == (200, B) and (found.importance > found.bound).all()


@every
def test_samples_and_reconstructions_have_the_observations_shape(name: str) -> None:
    model, x = make(name), ragged()
    assert {k: v.shape for k, v in model.reconstruct(x).items()} == {
        k: x[k].shape for k in model.keys
    }
    drawn = model.sample(model.initial(B), 7, torch.zeros(7, B, A).double() if model.acts else None)
    assert drawn[model.keys[0]].shape == (7, B, D) and all(
        v.shape[:2] == (7, B) for v in drawn.values()
    )
    with pytest.raises(PixyzError):
        model.filter({})


class Told(list[tuple[int, int]]):
    """What a progress callback is told."""

    def __call__(self, done: int, todo: int) -> None:
        self.append((done, todo))


@every
def test_estimates_in_pieces_are_those_of_the_whole(name: str, still: None) -> None:
    model, x = make(name), ragged()
    whole = estimate(model.log_weight, x, 4, width=100).log_weights
    assert (
        torch.equal(whole, estimate(model.log_weight, x, 4, width=100).log_weights)
        and whole[0].unique().numel() == B
    )
    for given in (model, model.log_weight):
        for width, memory in ((100, 1e9), (3, 1e9), (100, 1.0), (5, 2e4), (100, 1e5), (1, 1.0)):
            told = Told()
            found = estimate(given, x, 4, width, memory, told)
            torch.testing.assert_close(found.log_weights, whole, rtol=1e-9, atol=1e-9)
            assert told == sorted(set(told)) and told[-1] == (4 * 16, 4 * 16)
    value = model.bound.eval(x)
    for memory in (1e9, 1e5, 1.0):
        told = Told()
        found_bounds = bounds(model.bound, x, memory, told)
        torch.testing.assert_close(found_bounds, value.detach(), rtol=1e-9, atol=1e-9)
        assert told[-1] == (B, B) and (len(told) == B or memory > 1.0)


@pytest.mark.parametrize("name", ["vrnn_acts", "dmm_acts", "rssm_gaussian", "slac"])
@pytest.mark.parametrize("value", [0.7, float("nan")])
def test_an_action_of_a_masked_frame_is_not_carried_on(
    name: str, value: float, still: None
) -> None:
    model, x = make(name), {**data(), "mask": torch.ones(T, B)}
    x["mask"][:2, 1], x["mask"][3, 2] = 0, 0  # in front, and in between
    x["action"][x["mask"] == 0] = value
    with torch.no_grad():
        wanted = model.log_weight.eval(x)
        assert torch.isfinite(wanted).all()
        torch.testing.assert_close(particle_filter(model, x, 1).log_likelihood, wanted)
    for memory in (1e9, 1.0):
        torch.testing.assert_close(estimate(model, x, 2, memory=memory).log_weights[1], wanted)


@pytest.mark.parametrize("name", ["rssm_gaussian", "rssm_changes"])
def test_one_particle_after_a_given_action_is_the_weight(name: str, still: None) -> None:
    model, x = make(name), data()
    x["action_prev"] = torch.full((B, A), 0.7, dtype=torch.float64)
    with torch.no_grad():
        found = particle_filter(model, x, 1).log_likelihood
        torch.testing.assert_close(found, model.log_weight.eval(x))
        assert not torch.allclose(found, particle_filter(model, data(), 1).log_likelihood)
    for memory in (1e9, 1.0):
        torch.testing.assert_close(estimate(model, x, 2, memory=memory).log_weights[1], found)
