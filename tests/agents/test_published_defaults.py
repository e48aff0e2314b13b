"""The defaults are the published ones, by name and number (Hafner et al., Nature 2025; the code's
size1m).
"""

import pytest
import torch

from agents.config import load_config
from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.heads import ActionSpec
from agents.dreamer.normalize import ReturnRange
from agents.dreamer.optimizer import LaProp
from agents.settings import RunSettings
from pixyz.distributions import BoundedNormal, GroupedOneHot, TwoHot
from worldmodels import RSSMConfig
from worldmodels.normalization import RMSNorm

AGENT = {
    "units": 64,
    "actor_layers": 3,
    "critic_layers": 3,
    "bins": 255,
    "batch": 16,
    "length": 64,
    "horizon": 15,
    "discount_horizon": 333.0,
    "lam": 0.95,
    "entropy": 3e-4,
    "slow_rate": 0.02,
    "slow_regularizer": 1.0,
    "replay_value": 0.3,
    "return_rate": 0.01,
    "return_limit": 1.0,
    "lr": 4e-5,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-20,
    "clip": 0.3,
    "warmup": 1000,
    "stored_latents": True,
    "precision": "float32",
}
MODEL = {
    "latent": "categorical",
    "core": "block_gru",
    "vectors": "symlog",
    "predicts": "value",
    "representation": "reconstruction",
    "rewards": "two_hot",
    "deter": 512,
    "hidden": 64,
    "groups": 32,
    "classes": 4,
    "blocks": 8,
    "units": 64,
    "depth": 4,
    "strided": False,
    "bins": 255,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "prior_layers": 2,
    "posterior_layers": 1,
    "reward_layers": 1,
    "continue_layers": 1,
    "free_nats": 1.0,
    "dyn_scale": 1.0,
    "rep_scale": 0.1,
    "unimix": 0.01,
}
RATES = {k: AGENT[k] for k in ("lr", "beta1", "beta2", "eps", "clip", "warmup")}
OURS = {
    "model": RSSMConfig(),
    "unimix": 0.01,  # of choices; as in the paper, the newest published code has none
    "curiosity": 0.0,
    "members": 5,
    "candidates": 0,
    "plan_horizon": 5,
    "rounds": 4,
    "elites": 24,
    "proposals": 16,
    "halving": 0,
    "latents": "float32",
    "chunk": 0,
    "beside": True,  # of chunks, which are none
    "whole": False,
    "max_rows": 0,  # nothing of ours is on
}


@pytest.mark.parametrize(("name", "value"), [*AGENT.items(), *OURS.items()])
def test_agent(name, value):
    assert getattr(DreamerV3Config(), name) == value


@pytest.mark.parametrize(("name", "value"), MODEL.items())
def test_world_model(name, value):
    assert getattr(RSSMConfig(), name) == value


def test_none_is_left_out():
    """A new setting is to be looked up, too."""
    assert set(vars(DreamerV3Config())) == {*AGENT, *OURS, "kind"}
    # of Gaussian latents, and of fast logs
    assert set(vars(RSSMConfig())) == {
        *MODEL,
        "min_scale",
        "predicts",
        "align_scale",  # without a decoder
        "redundancy",
    }


def test_discount():
    assert DreamerV3Config().discount == 1 - 1 / 333


@pytest.fixture(scope="module")
def agent():
    return DreamerV3({"x": (3,)}, ActionSpec(2))


def test_what_an_agent_is_built_with(agent):
    assert agent.imagined.lam == agent.recorded.lam == 0.95
    assert agent.imagined.discount == 1.0  # it is learned with the continuation
    assert agent.recorded.discount == 1 - 1 / 333
    assert (agent.imagined.scale.rate, agent.imagined.scale.limit) == (0.01, 1.0)
    assert agent.imagined.scale.levels.tolist() == pytest.approx([0.05, 0.95])
    assert agent.imagined.scale.bounds.tolist() == [0.0, 0.0]
    assert (agent.policy.min_scale, agent.policy.max_scale) == (0.1, 1.0)
    assert agent.model.prior.unimix == agent.model.posterior.unimix == 0.01
    assert all(m.eps == 1e-4 for m in agent.modules() if isinstance(m, RMSNorm))
    rates = agent.optimizer.param_groups[0]
    assert {k: rates[k] for k in RATES} == RATES and rates["halving"] == 0


def test_discrete_choices_have_a_uniform_share():
    agent = DreamerV3({"x": (3,)}, ActionSpec(4, True))
    assert agent.policy.unimix == 0.01 and not agent.policy.straight_through


def test_pieces_by_themselves():
    rates = LaProp([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert {k: rates[k] for k in RATES} == RATES
    assert (
        ReturnRange().levels.tolist() == pytest.approx([0.05, 0.95]) and ReturnRange().rate == 0.01
    )
    assert GroupedOneHot(2, 2, logits=torch.zeros(4)).unimix == 0.01
    assert (BoundedNormal("a").min_scale, BoundedNormal("a").max_scale) == (0.1, 1.0)
    bins = TwoHot("r", logits=torch.zeros(1, 255)).bins
    assert bins.shape == (255,) and bins[127] == 0
    assert bins[-1].item() == pytest.approx(485165194.4, rel=1e-6) and torch.equal(
        bins, -bins.flip(0)
    )


def test_outputs_at_the_start(agent):
    """Reward and value are exactly 0, and the policy is all but 0."""
    state = {"deter": torch.randn(9, 512), "stoch": torch.randn(9, 128)}
    for head in (agent.model.reward, agent.value, agent.slow_value):
        assert head.sample_mean(state).abs().max() == 0
    assert agent.policy.sample_mean(state).abs().max() < 0.1


SIZES = {  # deter, hidden, classes, depth, units
    "1m": (512, 64, 4, 4, 64),
    "12m": (2048, 256, 16, 16, 256),
    "25m": (3072, 384, 24, 24, 384),
    "50m": (4096, 512, 32, 32, 512),
    "100m": (6144, 768, 48, 48, 768),
    "200m": (8192, 1024, 64, 64, 1024),
    "400m": (12288, 1536, 96, 96, 1536),
}


class Weightless(torch.overrides.TorchFunctionMode):
    """Weights have shapes, and take no memory."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        more = {"device": "meta"} if function is torch.empty else {}
        return function(*args, **{**(kwargs or {}), **more})


@pytest.mark.parametrize("name", SIZES)
def test_sizes_by_name(name):
    settings = load_config(RunSettings, f"dreamer_v3/size{name}")
    m = settings.agent.model
    assert (m.deter, m.hidden, m.classes, m.depth, m.units) == SIZES[name]
    assert m.groups == 32 and settings.agent.units == m.units
    with Weightless():
        agent = DreamerV3({"image": (64, 64, 3)}, ActionSpec(6), settings.agent)
    count = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    assert 0.75 < count / (int(name[:-1]) * 1e6) < 1.1
