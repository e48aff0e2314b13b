"""DreamerV3's objective: split loops, plain loops and the hand-written form are one function."""

import copy
import pickle

import pytest
import torch
from hand_dreamer import dreamer_loss, world_model

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.heads import ActionSpec
from pixyz.plan.run import row_loop as rows
from worldmodels import RSSM, LatentDynamics, RSSMConfig, SequenceModel

SHAPES = {"orient": (3,), "velocity": (2,)}


def small(**more) -> RSSMConfig:
    sizes = {
        "deter": 32,
        "hidden": 16,
        "groups": 4,
        "classes": 4,
        "blocks": 4,
        "units": 16,
        "bins": 21,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "prior_layers": 1,
        "free_nats": 0.1,
    }
    return RSSMConfig(**{**sizes, **more})


def config(model=None, **more) -> DreamerV3Config:
    sizes = {
        "units": 16,
        "actor_layers": 1,
        "critic_layers": 1,
        "bins": 21,
        "batch": 3,
        "length": 6,
        "horizon": 4,
    }
    return DreamerV3Config(model=model or small(), **{**sizes, **more})


def recorded(steps, batch, model, actions=2, discrete=False, dtype=torch.float64):
    g = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    flags = torch.rand(3, steps, batch, generator=g) < 0.2
    action = torch.tanh(normal(steps, batch, actions))
    if discrete:
        action = torch.nn.functional.one_hot(action.argmax(-1), actions).to(dtype)
    return {
        "orient": normal(steps, batch, 3),
        "velocity": normal(steps, batch, 2),
        "action": action,
        "reward": normal(steps, batch),
        "is_first": flags[0],
        "is_last": flags[1],
        "is_terminal": flags[1] & flags[2],
        "deter": normal(steps, batch, model.deter),
        "stoch": normal(steps, batch, model.stoch),
    }


def awake(module: torch.nn.Module) -> torch.nn.Module:
    """Give zero-initialised layers weights, so that no gradient is zero by chance."""
    g = torch.Generator().manual_seed(5)
    for p in module.parameters():
        with torch.no_grad():
            p.add_(0.05 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return module


def value_and_gradients(module, loss):
    module.zero_grad(set_to_none=True)
    loss.backward()
    return loss.item(), {
        n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None
    }


def assert_equal_gradients(a, b, tolerance=1e-10):
    assert a[0] == pytest.approx(b[0], rel=tolerance)
    assert a[1].keys() == b[1].keys() and a[1]
    scale = max(g.abs().max() for g in b[1].values())
    for name, gradient in a[1].items():
        assert (gradient - b[1][name]).abs().max() <= tolerance * scale, name


LATENTS = [
    {"latent": "categorical", "core": "block_gru"},
    {"latent": "categorical", "core": "gru", "classes": 3, "groups": 5},
    {"latent": "gaussian", "core": "block_gru"},
    {"latent": "gaussian", "core": "gru"},
]


@pytest.mark.parametrize("kind", LATENTS)
def test_world_model_equals_loop_and_hand(kind):
    forms = {}
    for name in ("split", "loop", "hand"):
        torch.manual_seed(0)
        model = awake(RSSM(SHAPES, 2, small(**kind), fission=name != "loop").double())
        x = recorded(7, 3, model.config)
        x["reward"], x["cont"] = (
            x["reward"].unsqueeze(-1),
            (~x["is_terminal"]).double().unsqueeze(-1),
        )
        x |= {
            "deter_prev": x["deter"][0],
            "stoch_prev": x["stoch"][0],
            "action_prev": x["action"][0],
        }
        torch.manual_seed(1)
        loss = world_model(model, x)["loss"] if name == "hand" else model.objective.eval(x)
        forms[name] = value_and_gradients(model, loss)
    assert_equal_gradients(forms["split"], forms["loop"])
    assert_equal_gradients(forms["split"], forms["hand"])


@pytest.mark.parametrize("kind", LATENTS)
@pytest.mark.parametrize("discrete", [False, True])
def test_all_losses_equal_loop_and_hand(kind, discrete, monkeypatch):
    forms = {}
    for name in ("split", "loop", "hand", "slabs", "rows"):
        monkeypatch.setattr(rows, "MOST_ROWS", 5 if name == "rows" else 2048)
        torch.manual_seed(0)
        c = config(small(**kind), max_rows=4 if name == "slabs" else 0)
        agent = awake(
            DreamerV3(SHAPES, ActionSpec(2, discrete), c, fission=name != "loop").double()
        )
        x = agent.prepare(recorded(7, 3, c.model, discrete=discrete))
        torch.manual_seed(1)
        loss = dreamer_loss(agent, x) if name == "hand" else agent.objective.eval(x)
        forms[name] = value_and_gradients(agent, loss)
    assert_equal_gradients(forms["split"], forms["loop"])
    assert_equal_gradients(forms["split"], forms["hand"])
    assert_equal_gradients(forms["split"], forms["slabs"])
    assert_equal_gradients(forms["split"], forms["rows"])


def test_a_compiled_agent_learns_as_one_that_is_not(monkeypatch):
    found = []
    for compiled in (False, True):
        monkeypatch.setattr(rows, "MOST_ROWS", 9 if compiled else 2048)
        torch.manual_seed(0)
        c = config(small(), chunk=3 if compiled else 0, whole=compiled, beside=False)
        agent = DreamerV3(SHAPES, ActionSpec(2), c).double()
        agent.objective.compile(c.chunk, whole=c.whole, backend="aot_eager")
        torch.manual_seed(1)
        found.append([agent.learn(recorded(7, 3, c.model)).metrics for _ in range(3)])
    for a, b in zip(*found, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


def test_every_trained_weight_has_a_gradient_and_the_slow_critic_none():
    torch.manual_seed(0)
    agent = awake(DreamerV3(SHAPES, ActionSpec(2), config()).double())
    agent.objective.eval(agent.prepare(recorded(7, 3, agent.config.model))).backward()
    for name, p in agent.named_parameters():
        if name.startswith("slow_value"):
            assert p.grad is None, name
        else:
            assert p.grad is not None and p.grad.abs().max() > 0, name


@pytest.mark.parametrize("part", ["policy", "value"])
def test_gradients_reach_only_what_they_should(part):
    """The policy's loss moves the policy alone; the imagined value loss moves the value alone."""
    torch.manual_seed(0)
    agent = awake(DreamerV3(SHAPES, ActionSpec(2), config()).double())
    x = agent.prepare(recorded(7, 3, agent.config.model))
    _, found = agent.objective.eval(x, return_dict=True)
    found[part].mean().backward()
    moved = {
        name.split(".")[0]
        for name, p in agent.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    assert moved == {part}


def test_size1m_has_the_published_number_of_weights():
    agent = DreamerV3(SHAPES, ActionSpec(1))
    assert sum(p.numel() for p in agent.parameters() if p.requires_grad) == 637_446


def test_bfloat16_gradients_reach_every_weight():
    torch.manual_seed(0)
    agent = awake(DreamerV3(SHAPES, ActionSpec(2), config(precision="bfloat16")))
    batch = recorded(7, 3, agent.config.model, dtype=torch.float32)
    before = {n: p.clone() for n, p in agent.named_parameters()}
    agent.learn(batch)
    assert all(not torch.equal(p, before[n]) for n, p in agent.named_parameters())


def test_learning_lowers_the_loss_of_one_batch():
    torch.manual_seed(0)
    agent = DreamerV3(SHAPES, ActionSpec(2), config(lr=3e-3, warmup=1))
    batch = recorded(7, 3, agent.config.model, dtype=torch.float32)
    losses = [agent.learn(batch).metrics for _ in range(60)]
    assert losses[-1]["rec"] < 0.7 * losses[0]["rec"]
    assert losses[-1]["rew"] < 0.7 * losses[0]["rew"]


def test_a_batch_that_is_not_finite_is_refused_before_the_update():
    agent = DreamerV3(SHAPES, ActionSpec(2), config())
    batch = recorded(7, 3, agent.config.model, dtype=torch.float32)
    batch["orient"][4, 1, 0] = float("nan")
    before = copy.deepcopy(agent.state_dict())
    with pytest.raises(FloatingPointError, match="orient"):
        agent.learn(batch)
    after = agent.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k != "imagined.scale.bounds")
    assert after["imagined.scale.bounds"].isfinite().all()


def test_copy_and_pickle_after_learning_and_acting():
    torch.manual_seed(0)
    agent = DreamerV3(SHAPES, ActionSpec(2), config())
    batch = recorded(7, 3, agent.config.model, dtype=torch.float32)
    agent.learn(batch)
    obs = {
        "orient": torch.randn(1, 3),
        "velocity": torch.randn(1, 2),
        "is_first": torch.ones(1, dtype=torch.bool),
    }
    agent.act(obs, agent.initial(1))
    for twin in (copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))):
        found = []
        for each in (agent, twin):
            torch.manual_seed(2)
            found.append(each.objective.eval(each.prepare(batch)).item())
        assert found[0] == found[1]


@pytest.mark.parametrize("discrete", [False, True])
def test_acting(discrete):
    torch.manual_seed(0)
    agent = awake(DreamerV3(SHAPES, ActionSpec(3, discrete), config()))
    obs = {
        "orient": torch.randn(5, 3),
        "velocity": torch.randn(5, 2),
        "is_first": torch.zeros(5, dtype=torch.bool),
    }
    state = agent.initial(5)
    for explore in (True, False):
        action, new = agent.act(obs, state, explore=explore)
        assert action.shape == (5, 3) and action.abs().max() <= 1 and not action.requires_grad
        assert set(new) == {"deter", "stoch", "action"}
        if discrete:
            assert torch.equal(action.sum(-1), torch.ones(5))
    begun = {**obs, "is_first": torch.ones(5, dtype=torch.bool)}
    old = {k: torch.randn_like(v) for k, v in state.items()}
    torch.manual_seed(4)
    a, _ = agent.act(begun, old)
    torch.manual_seed(4)
    b, _ = agent.act(begun, agent.initial(5))
    assert torch.equal(a, b)


def test_models_keep_the_protocols():
    model = RSSM(SHAPES, 2, small())
    assert isinstance(model, SequenceModel) and isinstance(model, LatentDynamics)


def test_the_objective_prints_all_its_terms():
    agent = DreamerV3(SHAPES, ActionSpec(2), config())
    text = str(agent.objective)
    for piece in (
        r"D_{KL}",
        r"\log p(orient,velocity|deter,stoch)",
        r"\log \pi(action_{prev}|deter_{prev},stoch_{prev})",
        r"\log v(ret|",
        "H \\left[",
    ):
        assert piece in text
    assert "for t" in agent.objective.plan.source
