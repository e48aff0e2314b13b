"""The RSSM as a sequence model: filtering, prediction and imagination are one model."""

import pytest
import torch

from pixyz.distributions import Deterministic
from pixyz.types import PixyzError
from worldmodels import RSSM, RSSMConfig

KINDS = ["categorical", "gaussian"]


def build(latent="categorical", shapes=None):
    torch.manual_seed(0)
    c = RSSMConfig(
        latent=latent, deter=16, hidden=8, groups=3, classes=4, blocks=4, units=8, bins=11, depth=1
    )
    return RSSM(shapes or {"x": (3,)}, 2, c).double()


def data(steps=6, batch=4):
    g = torch.Generator().manual_seed(1)
    draw = lambda *s: torch.randn(*s, generator=g, dtype=torch.float64)  # noqa: E731
    first = torch.zeros(steps, batch, dtype=torch.bool)
    first[0], first[3, 1] = True, True
    return {
        "x": draw(steps, batch, 3),
        "action": torch.tanh(draw(steps, batch, 2)),
        "reward": draw(steps, batch, 1),
        "cont": torch.ones(steps, batch, 1, dtype=torch.float64),
        "is_first": first,
    }


@pytest.mark.parametrize("latent", KINDS)
def test_steps_of_filtering_equal_the_objective_s_path(latent):
    """``deter`` depends on draws only through the past: with the path's own ``stoch`` both agree at
    every step.
    """
    model, x = build(latent), data()
    _, found = model.objective.eval(x, return_dict=True)
    action = torch.zeros(4, 2, dtype=torch.float64)
    state = model.initial(4)
    for t in range(6):
        step = {"x": x["x"][t], "action_prev": action, "is_first": x["is_first"][t]}
        seen = model.observe(state, step)
        assert torch.allclose(seen["deter"], found["deter"][t])
        state, action = {"deter": found["deter"][t], "stoch": found["stoch"][t]}, x["action"][t]


@pytest.mark.parametrize("latent", KINDS)
def test_a_chopped_sequence_equals_the_whole(latent):
    model, x = build(latent), data()
    scan = model.scan()
    torch.manual_seed(2)
    whole = scan.sample(x, return_all=False, reparam=True)
    # the same noise for both parts: draw the parts with the noise of the whole
    noise_shape = (6, 4, 3, 1) if latent == "categorical" else (6, 4, 3)
    torch.manual_seed(2)
    noise = (torch.rand if latent == "categorical" else torch.randn)(
        noise_shape, dtype=torch.float64
    )
    from pixyz.distributions import GroupedOneHot, Normal

    parts, state = [], {}
    for rows in (slice(0, 2), slice(2, 6)):
        family = GroupedOneHot if latent == "categorical" else Normal
        old = family.noise
        family.noise = staticmethod(lambda shape, like, rows=rows: noise[rows])
        try:
            part = (
                build(latent)
                .scan()
                .sample(
                    {**{k: v[rows] for k, v in x.items()}, **state}, return_all=False, reparam=True
                )
            )
        finally:
            family.noise = old
        parts.append(part)
        state = {
            "deter_prev": part["deter"][-1],
            "stoch_prev": part["stoch"][-1],
            "action_prev": x["action"][rows][-1],
        }
    for name in ("deter", "stoch"):
        assert torch.allclose(torch.cat([p[name] for p in parts]), whole[name])


@pytest.mark.parametrize("latent", KINDS)
def test_imagine_is_repeated_prediction(latent):
    model = build(latent)
    actions = torch.tanh(torch.randn(3, 4, 2, dtype=torch.float64))
    taken = iter(actions)
    torch.manual_seed(5)
    dream = model.imagine(model.initial(4), lambda state: next(taken), 3)
    torch.manual_seed(5)
    state = model.initial(4)
    for t in range(3):
        state = model.predict(state, {"action_prev": actions[t]})
        assert torch.equal(dream["deter"][t], state["deter"]) and torch.equal(
            dream["stoch"][t], state["stoch"]
        )
    assert model.features(dream).shape == (3, 4, model.config.features)


class Push(Deterministic):
    def __init__(self):
        super().__init__("action", ["deter", "stoch"], name="a", features_shape=[2])

    def forward(self, deter, stoch):
        return {"action": deter[:, :2].tanh()}


@pytest.mark.parametrize("latent", KINDS)
def test_imagination_of_a_distribution_is_compiled_or_not_the_same(latent):
    model, policy = build(latent), Push()
    start = {k: torch.randn_like(v) for k, v in model.initial(4).items()}
    found = []
    for chunk in (0, 2):
        dream = model._dream(policy, 5, chunk)
        if chunk:
            dream.compile(chunk, backend="eager")
        torch.manual_seed(3)
        found.append(model.imagine(start, policy, 5, chunk))
        assert model._dream(policy, 5, chunk) is dream  # and its plan
    whole, chunked = found
    for name in ("deter", "stoch", "action"):
        torch.testing.assert_close(chunked[name], whole[name])
    state = start
    for t in range(5):  # deterministic parts follow from the states before
        action = policy.sample(state)["action"]
        torch.testing.assert_close(whole["action"][t], action)
        torch.testing.assert_close(
            whole["deter"][t], model.predict(state, {"action_prev": action})["deter"]
        )
        state = {k: whole[k][t] for k in ("deter", "stoch")}
    whole["stoch"].sum().backward()
    assert any(p.grad is not None for p in model.prior.parameters())
    with pytest.raises(PixyzError, match="distribution"):
        model.imagine(start, lambda state: policy.sample(state)["action"], 5, chunk=2)


def test_a_dream_scan_follows_its_policy():

    model = build()
    start = {
        "deter": torch.randn(5, 16, dtype=torch.float64),
        "stoch": torch.randn(5, 12, dtype=torch.float64),
    }
    found = model.dream(Push(), 4).sample(start, return_all=False)
    assert found["deter_all"].shape == (5, 5, 16) and found["action_prev"].shape == (4, 5, 2)
    assert torch.equal(found["deter_all"][0], start["deter"])
    assert torch.allclose(found["action_prev"], found["deter_all"][:-1, :, :2].tanh())
    assert not found["deter_all"].requires_grad


def test_images_and_vectors_together_train():
    torch.manual_seed(0)
    c = RSSMConfig(deter=16, hidden=8, groups=3, classes=4, blocks=4, units=8, bins=11, depth=1)
    model = RSSM({"x": (3,), "pixels": (16, 16, 3)}, 2, c)
    x = {k: v.float() if v.dtype == torch.float64 else v for k, v in data().items()}
    x["pixels"] = torch.randint(0, 256, (6, 4, 16, 16, 3), dtype=torch.uint8)
    model.objective.eval(x).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_free_nats_stop_the_gradient_of_a_small_kl():
    c = RSSMConfig(
        deter=16, hidden=8, groups=3, classes=4, blocks=4, units=8, bins=11, free_nats=1e6
    )
    model = RSSM({"x": (3,)}, 2, c).double()
    _, found = model.objective.eval(data(), return_dict=True)
    assert torch.equal(found["dyn"], torch.full_like(found["dyn"], 1e6))
    model.objective.eval(data()).backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in model.prior.parameters())


def test_it_says_what_is_wrong():
    with pytest.raises(PixyzError, match="reward"):
        RSSM({"reward": (3,)}, 2)
    with pytest.raises(PixyzError, match=r"\(2, 2\)"):
        RSSM({"x": (2, 2)}, 2)
    with pytest.raises(PixyzError, match="is_first"):
        build().objective.eval({k: v for k, v in data().items() if k != "is_first"})


def test_what_is_in_the_loop_and_what_is_not():
    text = build().objective.plan.source
    loop = text[text.index("for t") : text.index("torch.stack")]
    assert "enc(" not in loop and "p(x|" not in loop and "p(stoch|deter)" not in loop
    assert loop.count("f(deter|") == 1 and loop.count("q(stoch|deter,embed)") >= 1
