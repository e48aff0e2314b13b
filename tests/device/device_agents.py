"""Agents on a device that is not the CPU: updates and acting, and which reads of an update wait for
it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up_device import Made, compare, move, register, to_device, watched
from test_dreamer_v3 import SHAPES, awake, config, recorded, small

from agents.dreamer import DreamerV3
from agents.dreamer.heads import ActionSpec
from agents.pretrain.learner import LogLearner
from agents.pretrain.models import build
from agents.pretrain.settings import DMMSettings, RSSMSettings, TDVAESettings, VRNNSettings
from worldmodels import DMMConfig, TDVAEConfig, VRNNConfig

READS = 1
"""Of an update or an action (docs/performance.md): the loss, its parts and the gradient's norm;
whether it is finite.
"""
Ask = Callable[[dict[str, torch.Tensor]], Any]
# the made-up device casts nothing, so numbers are not compared
KINDS = {
    "continuous": {},
    "discrete": {"discrete": True},
    "without stored latents": {"stored_latents": False},
    "images": {"shapes": {"orient": (3,), "camera": (16, 16, 3)}},
    "gaussian": {"model": {"latent": "gaussian", "core": "gru"}},
    "slabs": {"max_rows": 4},
    "bfloat16": {"precision": "bfloat16"},
}


def batch_for(
    shapes: dict[str, tuple[int, ...]], settings: Any, discrete: bool
) -> dict[str, torch.Tensor]:
    found = recorded(7, 3, settings.model, discrete=discrete, dtype=torch.float32)
    if "camera" in shapes:
        found["camera"] = torch.rand(
            7, 3, *shapes["camera"], generator=torch.Generator().manual_seed(0)
        )
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_stays_on_the_device_and_reads_once(kind: str) -> None:
    register()
    given = dict(KINDS[kind])
    shapes, discrete = given.pop("shapes", SHAPES), given.pop("discrete", False)
    settings = config(small(**given.pop("model", {})), **given)
    batch, obs = batch_for(shapes, settings, discrete), {}
    results = []
    for there in (False, True):
        torch.manual_seed(0)
        agent = awake(DreamerV3(shapes, ActionSpec(2, discrete), settings))
        with watched() as watch:
            rows = batch
            if there:
                move(agent)
                rows = to_device(batch)
            obs = {k: rows[k][0] for k in (*shapes, "is_first")}
            for _ in range(2):
                watch.clear()
                learned = agent.learn(rows)
                noted = {"update": [list(watch.strays), list(watch.reads), list(watch.uploads)]}
                state = agent.initial(3)
                watch.clear()
                for explore in (False, True):
                    state = agent.act(obs, state, explore=explore)[1]
                noted["act"] = [list(watch.strays), list(watch.reads), list(watch.uploads)]
        results.append([learned.metrics, {**state, **learned.stored}])
    for name, most in (("update", READS), ("act", 2 * READS)):  # two actions
        strays, reads, uploads = noted[name]
        assert not strays and not uploads and len(reads) == most, noted
    (here, tensors), (metrics, others) = results
    assert all(isinstance(v, Made) for v in others.values())
    if kind != "bfloat16":
        assert metrics == pytest.approx(here, rel=1e-4, abs=1e-6)
        for k, v in tensors.items():
            torch.testing.assert_close(others[k].held, v, rtol=1e-4, atol=1e-5)
    slots = [s for p in agent.optimizer.state.values() for s in p.values()]
    assert slots and all(isinstance(s, Made) for s in slots)
    assert all(isinstance(p, Made) for p in agent.state_dict().values())


PRETRAINED = {
    "rssm": RSSMSettings(model=small()),
    "dmm": DMMSettings(model=DMMConfig(3, 5, 4, 6)),
    "vrnn": VRNNSettings(model=VRNNConfig(3, 5, 8)),
    "tdvae": TDVAESettings(model=TDVAEConfig(3, 5, 4)),
    "rssm_changes": RSSMSettings(
        model=replace(small(), vectors="gaussian", predicts="change"), predicts="change"
    ),
    "vrnn_changes": VRNNSettings(model=VRNNConfig(3, 5, 8, "gaussian"), predicts="change"),
}


def log() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    steps, rows = 6, 4
    flags = {
        k: torch.zeros(steps, rows, dtype=torch.bool)
        for k in ("is_first", "is_last", "is_terminal")
    }
    return {
        "x": torch.rand(steps, rows, 3, generator=draw),
        "action": torch.rand(steps, rows, 2, generator=draw),
        **flags,
        "reward": torch.rand(steps, rows, generator=draw),
        "mask": torch.arange(steps)[:, None] < torch.tensor([6, 3, 5, 2]),
    }


@pytest.mark.parametrize("kind", PRETRAINED)
def test_pretraining_stays_on_the_device(kind: str) -> None:
    def learned(model: Any) -> Ask:
        learner = LogLearner(model, PRETRAINED[kind])

        def ask(v: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            learner.learn(v)
            return [p.detach() for p in model.parameters()]

        return ask

    compare(lambda: (build(PRETRAINED[kind], {"x": (3,)}, 2), log()), learned, {"_to_copy": 1})


@pytest.mark.parametrize("kind", PRETRAINED)
def test_forecasts_of_pretrained_models_stay_on_the_device(kind: str) -> None:
    def forecast(model: Any) -> Ask:
        return lambda v: [model.bound(v), model.forecast(v, v["action"][:3], 3, draws=2)]

    compare(lambda: (build(PRETRAINED[kind], {"x": (3,)}, 2), log()), forecast)
