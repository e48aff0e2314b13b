"""How many kernels an update of DreamerV3 starts: it does not grow."""

import json

import torch
from kernels import RESULTS, kernels, parts
from test_dreamer_v3 import SHAPES, config, recorded

from agents.dreamer import DreamerV3
from agents.dreamer.heads import ActionSpec


def test_views_are_none_and_a_list_is_one() -> None:
    x = torch.ones(3, 4)
    found = kernels(lambda: torch._foreach_add_([x.t()[:2], x.view(-1)], 1.0))
    assert found == {"_foreach_add_": 1}
    assert kernels(lambda: torch.nn.functional.silu(x @ x.t())) == {"mm": 1, "silu": 1}


def test_the_recorded_numbers_are_those_of_the_goal() -> None:
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    last = {line["size"]: line for line in lines}
    assert sum(last["size1m"]["declared"].values()) <= 8000
    assert all(
        sum(line["declared"].values()) <= sum(line["hand"].values()) for line in last.values()
    )


ROWS = 12
"""Sequences: so many that what is not in the loop is softmaxed along its rows at each length."""


def test_a_step_more_of_filtering_and_of_imagination_starts_no_more_than_it_did() -> None:
    """Counted at two lengths and two horizons, so that what is done once is not in it."""

    def count(steps: int, horizon: int) -> dict[str, int]:
        torch.manual_seed(0)
        settings = config(horizon=horizon)
        agent = DreamerV3(SHAPES, ActionSpec(2), settings)
        x = agent.prepare(recorded(steps, ROWS, settings.model, dtype=torch.float32))
        found = parts(agent, lambda: agent.objective.eval(x))
        return {k: v.total() for k, v in found.items()}

    short, long, far = count(6, 4), count(8, 4), count(6, 6)
    filtering = {k: (long[k] - short[k]) / 2 for k in short}
    imagining = {k: (far[k] - short[k]) / 2 for k in short}
    assert filtering == {"losses": 44.0, "backward": 39.0, "optimizer": 0.0}
    assert imagining == {"losses": 56.0, "backward": 0.0, "optimizer": 0.0}
