"""Images are uint8 or floats in [0, 1]; others are refused by the first evaluation and under debug,
and cost nothing later.
"""

import copy

import pytest
import torch

import pixyz
from agents.dreamer import DreamerV3, DreamerV3Config
from agents.spaces import ActionSpec
from agents.tdmpc import TDMPC, TDMPCConfig
from pixyz.types import PixyzError
from worldmodels import RSSM, RSSMConfig
from worldmodels.images import PIXELS

SIZES = RSSMConfig(deter=8, hidden=8, groups=2, classes=3, blocks=2, units=8, bins=11, depth=1)
SHAPES = {"camera": (16, 16, 1), "x": (2,)}
T, B = 4, 3
WRONG = {
    "0 to 255": (
        lambda x: x.float(),
        "'camera' in .*must lie between 0 and 1, got .*uint8, or divided by 255",
    ),
    "-1 to 1": (lambda x: x.float() / 127.5 - 1, "'camera' in .*must lie between 0 and 1, got -"),
    "int64": (
        lambda x: x.long(),
        r"'camera' in .*must be uint8 or floats in \[0, 1\], got torch.int64",
    ),
}


def batch():
    g = torch.Generator().manual_seed(0)
    rows = {
        "camera": torch.randint(0, 256, (T, B, 16, 16, 1), dtype=torch.uint8, generator=g),
        "x": 300 * torch.randn(T, B, 2, generator=g),
        "action": torch.rand(T, B, 2, generator=g),
        "reward": torch.zeros(T, B),
    }
    return rows | {
        k: torch.zeros(T, B, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")
    }


def model():
    torch.manual_seed(0)
    return RSSM(SHAPES, 2, SIZES)


def given(change=lambda x: x):
    rows = batch()
    return {
        **rows,
        "camera": change(rows["camera"]),
        "reward": rows["reward"].unsqueeze(-1),
        "cont": torch.ones(T, B, 1),
    }


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_world_model_refuses_them(change, message):
    with pytest.raises(PixyzError, match=message):
        model().objective.eval(given(change))
    with pytest.raises(PixyzError, match=message):
        model().filter(given(change))
    with pytest.raises(PixyzError, match=message):
        model().decoder.get_log_prob(
            {
                "camera": change(batch()["camera"][0]),
                "x": torch.zeros(B, 2),
                "deter": torch.zeros(B, SIZES.deter),
                "stoch": torch.zeros(B, SIZES.stoch),
            }
        )


def test_floats_in_the_unit_interval_are_the_same_images():
    rssm = model()
    torch.manual_seed(1)
    expected = rssm.objective.eval(given())
    torch.manual_seed(1)
    torch.testing.assert_close(rssm.objective.eval(given(lambda x: x / 255)), expected)


def test_later_runs_look_under_debug_only(monkeypatch):
    rssm, looked = model(), []
    rssm.objective.eval(given())
    misfit = type(PIXELS).misfit
    monkeypatch.setattr(type(PIXELS), "misfit", lambda self, x: looked.append(1) or misfit(self, x))
    rssm.objective.eval(given(lambda x: x.float()))
    assert not looked
    with pytest.raises(PixyzError, match="must lie between 0 and 1"), pixyz.debug():
        rssm.objective.eval(given(lambda x: x.float()))


AGENTS = {
    "dreamer": lambda: DreamerV3(
        SHAPES,
        ActionSpec(2),
        DreamerV3Config(
            SIZES, units=8, actor_layers=1, critic_layers=1, bins=11, batch=B, length=T, horizon=2
        ),
    ),
    "tdmpc": lambda n_step=1: TDMPC(
        SHAPES,
        ActionSpec(2),
        TDMPCConfig(
            latent=8,
            units=8,
            encoder_units=8,
            critics=2,
            bins=11,
            depth=1,
            horizon=T - n_step,
            n_step=n_step,
            candidates=8,
            proposals=2,
            rounds=1,
            elites=2,
        ),
    ),
}


@pytest.mark.parametrize("build", AGENTS.values(), ids=AGENTS)
@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_an_agent_refuses_them_and_nothing_has_moved(build, change, message):
    agent, rows = build(), batch()
    rows |= {k: torch.zeros(T, B, *shape) for k, shape in agent.stored.items()}
    before = copy.deepcopy(agent.state_dict())
    with pytest.raises(PixyzError, match=message):
        agent.learn({**rows, "camera": change(rows["camera"])})
    assert all(torch.equal(v, before[k]) for k, v in agent.state_dict().items())
    obs = {k: rows[k][0] for k in (*SHAPES, "is_first")}
    with pytest.raises(PixyzError, match=message.replace("in .*", ".*")):
        agent.act({**obs, "camera": change(obs["camera"])}, agent.initial(B))
    agent.act(obs, agent.initial(B))


@pytest.mark.parametrize("n_step", [1, 2])
def test_the_planner_looks_at_what_its_targets_read(n_step):
    agent, rows = AGENTS["tdmpc"](n_step), batch()
    camera = rows["camera"].float()
    camera[0] /= 255
    with pytest.raises(PixyzError, match=r"'camera.* in .*must lie between 0 and 1"):
        agent.learn({**rows, "camera": camera})
