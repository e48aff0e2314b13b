"""An ensemble of one-step predictors: its loss by hand, what it moves, and that it is unsure where
there were no data.
"""

import math

import torch

from worldmodels import RSSM, RSSMConfig
from worldmodels.disagreement import StepEnsemble

STATE, MEMBERS = {"deter": 8, "stoch": 3}, 4
CONFIG = RSSMConfig(latent="gaussian", core="gru", deter=8, hidden=6, groups=3, units=6, bins=11)


def model_of():
    torch.manual_seed(0)
    ensemble = StepEnsemble(STATE, 2, "stoch", MEMBERS, units=6)
    return RSSM({"x": (3,)}, 2, CONFIG, terms={"ensemble": ensemble.term()}).double(), ensemble


def batch_of(steps=5, rows=3):
    g = torch.Generator().manual_seed(1)
    batch = {
        "x": torch.randn(steps, rows, 3, generator=g).double(),
        "action": torch.randn(steps, rows, 2, generator=g).double(),
    }
    batch |= {
        "reward": torch.zeros(steps, rows, 1).double(),
        "cont": torch.ones(steps, rows, 1).double(),
    }
    return batch | {"is_first": torch.zeros(steps, rows, dtype=torch.bool)}


def test_it_is_a_term_of_a_model_by_hand_and_moves_the_members_alone():
    model, ensemble = model_of()
    batch = batch_of()
    batch["is_first"][3, 1] = True
    _, found = model.objective.eval(batch, return_dict=True)
    stoch, deter = found["stoch"], found["deter"]
    keep = (~batch["is_first"]).double().unsqueeze(-1)
    before = [
        torch.cat([torch.zeros_like(v[:1]), v[:-1]]) * keep for v in (deter, stoch, batch["action"])
    ]
    for t in range(5):
        loc = ensemble.net(*[v[t] for v in before])
        gap = stoch[t].unsqueeze(1) - loc
        wanted = (0.5 * gap**2 + 0.5 * math.log(2 * math.pi)).sum((1, 2))
        assert torch.allclose(found["ensemble"][t], wanted)
    model.zero_grad(set_to_none=True)
    found["ensemble"].mean().backward()
    moved = {
        n.split(".")[0]
        for n, p in model.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    assert moved == {"own_networks"}
    assert len(list(model.parameters())) == len({id(p) for p in model.parameters()})


def test_it_says_how_far_the_members_are_apart():
    _, ensemble = model_of()
    ensemble = ensemble.double()
    given = {k: torch.randn(2, 7, size).double() for k, size in {**STATE, "action": 2}.items()}
    found = ensemble.uncertainty(given)
    loc = ensemble(
        deter_prev=given["deter"][1], stoch_prev=given["stoch"][1], action_prev=given["action"][1]
    )["loc"]
    assert found.shape == (2, 7) and loc.shape == (7, MEMBERS, 3)
    assert torch.allclose(
        found[1], ((loc - loc.mean(1, keepdim=True)) ** 2).mean(1).sqrt().mean(-1)
    )


def test_members_agree_on_data_and_not_elsewhere():
    torch.manual_seed(0)
    ensemble = StepEnsemble({"s": 2}, 1, "s", members=5, units=32)
    optimizer = torch.optim.Adam(ensemble.parameters(), 3e-3)
    s, a = torch.rand(256, 2) * 0.5, torch.rand(256, 1) * 0.5  # one corner
    known, loss = {"s": s, "action": a}, ensemble.term()
    first = ensemble.uncertainty(known).mean()
    for _ in range(150):
        optimizer.zero_grad()
        loss.mean().eval({"s_prev": s, "action_prev": a, "s": torch.sin(3 * s) + a}).backward()
        optimizer.step()
    far = {"s": -s - 0.5, "action": -a - 0.5}
    assert ensemble.uncertainty(known).mean() < 0.3 * first
    assert ensemble.uncertainty(far).mean() > 3 * ensemble.uncertainty(known).mean()
