"""Shapes at the doors of models: what is meant is taken, anything else is refused; nothing is
broadcast by accident.
"""

from __future__ import annotations

import pytest
import torch
from model_parts import MODELS, A, B, T, data, every, make, ragged, same
from torch import Tensor

from pixyz.expression import LogProb
from pixyz.types import PixyzError, ShapeError
from worldmodels.decoder import Reconstruction
from worldmodels.doors import ModelLoss
from worldmodels.estimators import bounds, estimate, frames
from worldmodels.heads import ContinueHead, ScalarHead
from worldmodels.mrssm import MRSSM, MRSSMConfig
from worldmodels.overshooting import overshooting
from worldmodels.particles import particle_filter
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig
from worldmodels.slac import SLAC, SLACConfig
from worldmodels.vrnn import VRNN, VRNNConfig

EXPRESSIONS = ("objective", "bound", "log_weight")


def other_forms(x: dict[str, Tensor]) -> dict[str, Tensor]:
    """Flags as ``[T, B, 1]``, single features as ``[T, B]``."""
    flags = ("mask", "is_first", "x_given", "y_given")
    return {
        k: v.unsqueeze(-1) if k in flags else v.squeeze(-1) if k in ("reward", "cont") else v
        for k, v in x.items()
    }


@every
def test_one_trailing_dimension_more_or_less_is_taken_as_meant(name: str) -> None:
    model, x = make(name), ragged()
    for ask in EXPRESSIONS:
        found = []
        for batch in (x, other_forms(x)):
            torch.manual_seed(1)
            found.append(getattr(model, ask).eval(batch))
        assert torch.equal(*found), ask
    same(model.filter(x, mean=True), model.filter(other_forms(x), mean=True))
    same(model.reconstruct(x), model.reconstruct(other_forms(x)))
    if model.smooths:
        same(model.smooth(x, mean=True), model.smooth(other_forms(x), mean=True))
    step, state = {k: v[0] for k, v in x.items() if k != "mask"}, model.filter(x, mean=True)
    state = {k: v[0] for k, v in state.items()}
    step["action_prev"] = step["action"]
    same(model.observe(state, step, mean=True), model.observe(state, other_forms(step), mean=True))


@every
def test_other_shapes_are_refused_with_both(name: str) -> None:
    model, x = make(name), ragged()
    key = model.keys[0]
    wrong = {"mask": x["mask"].t(), key: x[key][..., :2]}
    if model.acts:
        wrong["action"] = x["action"][:, :1]
    if model.recurrence["reset_var"]:
        wrong["is_first"] = x["is_first"][0]
    if "reward" in model.objective.input_var:
        wrong |= {"reward": x["reward"].expand(T, B, 2), "cont": x["cont"][:, :1]}
    for k, value in wrong.items():
        asks = [model.filter, model.reconstruct, *[getattr(model, e).eval for e in EXPRESSIONS]]
        if k in ("reward", "cont"):
            asks = asks[2:]
        for ask in asks:
            with pytest.raises(ShapeError) as caught:
                ask({**x, k: value})
            assert k in str(caught.value) and f"got {list(value.shape)}" in str(caught.value)
            assert str(list(x[key].shape)) in str(caught.value) or k == key
    state = {k: v[:1] for k, v in model.initial(B).items()}
    with pytest.raises(ShapeError, match=r"\[4, \.\.\.\]"):
        model.filter(x, state)


RESETS = [n for n in MODELS if make(n).recurrence["reset_var"]]
WHOLE = [n for n in MODELS if n not in RESETS]


def begun(x: dict[str, Tensor], *places: tuple[int, int]) -> dict[str, Tensor]:
    """The batch with an episode's beginning at frames of sequences."""
    flag = torch.zeros(T, B, dtype=torch.bool)
    for t, b in places:
        flag[t, b] = True
    return {**x, "is_first": flag}


@pytest.mark.parametrize("name", RESETS)
@pytest.mark.usefixtures("still")
def test_episodes_of_one_sequence_are_sequences(name: str) -> None:
    model, x = make(name), data()
    both = begun(x, (0, 0), (4, 0))
    one, two = ({k: v[s, :1] for k, v in both.items()} for s in (slice(0, 4), slice(4, T)))
    for ask in ("bound", "log_weight"):
        loss = getattr(model, ask)
        torch.testing.assert_close(loss.eval(both)[:1], loss.eval(one) + loss.eval(two))
    same({k: v[4:, :1] for k, v in model.filter(both).items()}, model.filter(two))
    if name == "vrnn":  # it reads no flag where there is none
        plain = {"x": x["x"]}
        assert torch.equal(model.bound.eval(plain), model.bound.eval(begun(plain, (0, 1))))


@pytest.mark.parametrize("name", WHOLE)
def test_an_episode_within_a_sequence_is_refused_where_one_is_read(name: str) -> None:
    model, x = make(name), {**data(), "mask": torch.ones(T, B)}
    asks = [model.filter, model.reconstruct, *[getattr(model, e).eval for e in EXPRESSIONS]]
    asks += [lambda b: estimate(model, b, 2), lambda b: bounds(model.bound, b), model.read_context]
    asks += [model.smooth] if model.smooths else []
    asks += [lambda b: particle_filter(model, b, 2)] if model.has_step_weight else []
    wrong = begun(x, (0, 0), (4, 2))
    for ask in asks:
        for batch in (wrong, other_forms(wrong)):
            with pytest.raises(PixyzError, match="'is_first' is set in frame 4 of sequence 2"):
                ask(batch)  # type: ignore[operator]
    # a sequence may be padded in front, and what is masked is not read
    x["mask"][:2, 1], x["mask"][4, 2] = 0, 0
    fine = begun(x, (0, 0), (2, 1), (4, 2))
    for expression in EXPRESSIONS:
        found = []
        for batch in (begun(x), fine):
            torch.manual_seed(1)
            found.append(getattr(model, expression).eval(batch))
        assert torch.equal(*found), expression


@pytest.mark.parametrize("name", MODELS)
def test_the_first_frame_of_an_episode_forgets_the_state_that_is_given(name: str) -> None:
    model, x = make(name), data()
    x["action_prev"] = torch.full((B, A), 0.7, dtype=torch.float64)
    state = {k: v[-1] + 1.0 for k, v in model.filter(x, mean=True).items()}
    found = model.filter(begun(x, (0, 0), (0, 2)), state, mean=True)
    fresh = model.filter({k: v for k, v in x.items() if k != "action_prev"}, mean=True)
    held = model.filter(x, state, mean=True)
    for k in found:
        torch.testing.assert_close(found[k][:, ::2], fresh[k][:, ::2], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(found[k][:, 1::2], held[k][:, 1::2], rtol=1e-9, atol=1e-10)
    late = {**begun(x, (2, 1)), "mask": torch.ones(T, B)}
    late["mask"][:2, 1] = 0
    found = model.filter(late, state, mean=True)
    same({k: v[1, 1:2] for k, v in found.items()}, {k: v[1:2] for k, v in state.items()})
    alone = model.filter({k: v[2:, 1:2] for k, v in x.items() if k != "action_prev"}, mean=True)
    same({k: v[2:, 1:2] for k, v in found.items()}, alone)


def test_sums_with_an_objective_look_too() -> None:
    model = VRNN(3, VRNNConfig(2, 4, 4))
    x = {"x": torch.rand(6, 4, 3), "mask": torch.ones(6, 4)}
    odd = {**x, "mask": torch.ones(4, 6)}
    a, b = model.objective, model.bound
    for loss in (
        a + 1,
        1 + a,
        a - 1,
        1 - a,
        2 * a,
        a * 2,
        a / 2,
        -a,
        a + b,
        b.mean(),
        b.sum(),
        b.sum() / 3 + 2 * a,
    ):
        assert isinstance(loss, ModelLoss) and torch.isfinite(loss.eval(x)).all()
        with pytest.raises(ShapeError, match="mask"):
            loss.eval(odd)
    torch.manual_seed(0)
    value = a.eval(x["x"], mask=x["mask"])
    torch.manual_seed(0)
    assert torch.equal(a.eval({"x": x["x"]}, mask=x["mask"].unsqueeze(-1)), value)
    with pytest.raises(ShapeError, match="mask"):
        a.eval({"x": x["x"]}, mask=odd["mask"])
    particle_filter(model, {**x, "mask": x["mask"].unsqueeze(-1)}, 2)


@pytest.mark.parametrize("name", ["vrnn", "dmm", "vrnn_acts"])
def test_estimators_look_too(name: str, still: None) -> None:
    model, x = make(name), ragged()
    other = other_forms(x)
    for given in (model, model.log_weight):
        found, wanted = estimate(given, other, 2), estimate(given, x, 2)
        assert torch.equal(found.frames, wanted.frames)
        assert found.per_sequence(found.bound) == wanted.per_sequence(wanted.bound)
        with pytest.raises(ShapeError, match="mask"):
            estimate(given, {**x, "mask": x["mask"].t()}, 2)
    torch.testing.assert_close(bounds(model.bound, other), bounds(model.bound, x))
    assert frames(other).tolist() == [6, 3, 5, 2]
    with pytest.raises(ShapeError, match=r"'mask' of the shape \[T, B\] = \[6, 4\]"):
        frames({"x": x["x"], "mask": x["mask"].t()})


def test_estimators_take_what_an_objective_reads_besides(still: None) -> None:
    for name, more in (
        ("vrnn", {"beta": torch.tensor(0.5)}),
        ("dmm", {"beta": 0.5}),
        ("td_vae_jumpy", {"jump": torch.tensor([1, 2, 3, 4])}),
    ):
        model, x = make(name), ragged()
        wanted = estimate(model, x, 3).log_weights
        for width, memory in ((100, 1e9), (2, 1e9), (100, 1.0)):
            found = estimate(model, {**x, **more}, 3, width, memory).log_weights  # type: ignore[arg-type]
            torch.testing.assert_close(found, wanted)
        nats = bounds(model.bound, {**x, **more}, memory=1.0)  # type: ignore[arg-type]
        torch.testing.assert_close(nats, model.bound.eval(x))
        if model.has_step_weight:
            particle_filter(model, {**x, **more}, 2)  # type: ignore[arg-type]


def test_overshooting_looks_too() -> None:
    model, x = make("rssm_gaussian"), ragged()
    for loss in (overshooting(model, 2), model.objective + overshooting(model, 2)):
        torch.manual_seed(0)
        value = loss.eval(x)
        torch.manual_seed(0)
        assert torch.equal(loss.eval(other_forms(x)), value)
        with pytest.raises(ShapeError, match="mask"):
            loss.eval({**x, "mask": x["mask"].t()})


def test_overshooting_says_how_many_frames_it_needs() -> None:
    model, x = make("rssm_gaussian"), ragged()
    far = overshooting(model, 3)
    short = {k: v[:3] for k, v in x.items()}
    for loss in (far, model.objective + far, far + model.objective, 2 * (far + far)):
        assert torch.isfinite(loss.eval({k: v[:4] for k, v in x.items()})).all()
        with pytest.raises(ShapeError, match=r"'x' of at least 4 frames, .* got \[3, 4, 3\]"):
            loss.eval(short)
    assert torch.isfinite((model.objective + overshooting(model, 2)).eval(short))


def test_a_vector_of_one_feature_may_come_without_it() -> None:
    model = VRNN(1, VRNNConfig(2, 4, 4))
    x = torch.rand(6, 4, 1)
    torch.manual_seed(0)
    value = model.objective.eval({"x": x})
    torch.manual_seed(0)
    assert torch.equal(model.objective.eval({"x": x.squeeze(-1)}), value)


def test_an_old_state_that_is_not_finite_is_forgotten_at_a_reset() -> None:
    model, x = make("rssm_gaussian"), ragged()
    step = {
        "x": x["x"][0],
        "action_prev": torch.zeros(B, A).double(),
        "is_first": torch.ones(B, dtype=torch.bool),
    }
    lost = {k: torch.full_like(v, float("nan")) for k, v in model.initial(B).items()}
    same(model.observe(lost, step, mean=True), model.observe(model.initial(B), step, mean=True))


@pytest.mark.parametrize(
    "key", ["joint.position", "keys", "type", "values", "forward", "mask", "beta", ""]
)
def test_names_of_observations_work_or_are_refused_in_one_line(key: str) -> None:
    sizes = RSSMConfig(deter=8, hidden=6, groups=3, classes=4, blocks=2, units=6, bins=11, depth=1)
    for build in (
        lambda: RSSM({key: (3,)}, 2, sizes),
        lambda: MRSSM({key: 3}, 2, MRSSMConfig(4, 3, 6)),
    ):
        with pytest.raises(PixyzError) as caught:
            build()
        assert repr(key) in str(caught.value) or f"{key}" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 64, 64), (16, 64, 64), (4, 84, 84), (16, 48, 64)])
def test_images_with_channels_first_are_refused_with_the_word(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="channels first, or like a stack"):
        RSSM({"pixels": shape}, 2)
    RSSM(
        {"pixels": (64, 64, 12)},
        2,
        RSSMConfig(deter=8, hidden=6, groups=3, blocks=2, units=6, depth=1),
    )


def test_heads_read_the_state_of_any_model() -> None:
    """An SLAC with a reward head as an own term, read by names of its own."""
    terms = {
        "rew": -LogProb(ScalarHead("reward", "p_r", 7, 6, 1, 11, cond_var=["z1", "z2"])),
        "con": -LogProb(ContinueHead(7, 6, 1, cond_var=["z1", "z2"])),
    }
    model = SLAC(3, 2, SLACConfig(3, 4, 8, 5), terms=terms).double()
    _, found = model.objective.eval(ragged(), return_dict=True)
    assert found["rew"].shape == found["con"].shape == (T, B)
    p = Reconstruction({"x": (3,)}, 7, 6, 1, 1, cond_var=["z1", "z2"]).double()
    assert p.sample({"z1": torch.zeros(2, 3).double(), "z2": torch.zeros(2, 4).double()})[
        "x"
    ].shape == (2, 3)
