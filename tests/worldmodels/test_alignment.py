"""RSSMs without a decoder: their alignment is the published formula, and they keep the contract."""

import numpy as np
import pytest
import torch

from pixyz.types import PixyzError
from worldmodels import RSSM, RSSMConfig, check_model
from worldmodels.alignment import Barlow, InfoNCE

KINDS = ["barlow", "infonce", "next_embedding"]
T, B = 6, 3
SCALE = {"barlow": 0.05, "infonce": 1.0, "next_embedding": 0.05}


def make(kind, **more):
    torch.manual_seed(0)
    sizes = {"core": "gru", "deter": 8, "hidden": 8, "groups": 3, "units": 5, "encoder_layers": 1}
    config = RSSMConfig(latent="gaussian", representation=kind, redundancy=0.01, **sizes, **more)
    return RSSM({"x": (4,)}, 2, config).double()


def recorded():
    rng = torch.Generator().manual_seed(1)

    def drawn(*size):
        return torch.randn(T, B, *size, generator=rng, dtype=torch.float64)

    first = torch.zeros(T, B, dtype=torch.bool)
    first[0], first[4, 1] = True, True
    batch = {"x": drawn(4), "action": drawn(2), "reward": drawn(1), "is_first": first}
    return {**batch, "cont": torch.ones(T, B, 1, dtype=torch.float64)}


def by_numpy(kind, guess, embed, counts):
    """The formulas, from rows ``[N, E]`` of which some count."""
    guess, embed = guess[counts], embed[counts]
    if kind == "infonce":
        logits = guess @ embed.T
        return np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits))
    z = [(x - x.mean(0)) / (x.std(0, ddof=1) + 1e-8) for x in (guess, embed)]
    c = z[0].T @ z[1] / len(guess)
    off = c[~np.eye(len(c), dtype=bool)]
    return ((1 - np.diag(c)) ** 2).sum() + 0.01 * (off**2).sum()


def expected(kind, model, batch, valid):
    states = model.filter(batch, mean=True)
    embed = model.encoder.forward(x=batch["x"].flatten(0, 1))["embed"]
    read = states["deter"] if kind == "next_embedding" else model.features(states)
    guess = read.flatten(0, 1) @ model.projection.net.weight.T
    counts = valid & ~batch["is_first"] if kind == "next_embedding" else valid
    return by_numpy(kind, *(x.detach().numpy() for x in (guess, embed)), counts.numpy().ravel())


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_is_the_published_formula(kind):
    model, batch = make(kind), recorded()
    loss, found = model.objective.eval(batch, return_dict=True, sample_mean=True)
    align = expected(kind, model, batch, torch.ones(T, B, dtype=torch.bool))
    assert found["align_cost"].mean().item() == pytest.approx(align, rel=1e-9)
    rest = found["rew"] + found["con"] + found["dyn"] + 0.1 * found["rep"]
    assert loss.item() == pytest.approx(rest.mean().item() + SCALE[kind] * align, rel=1e-9)
    weighted = make(kind, align_scale=0.5).objective.eval(batch, sample_mean=True)
    assert weighted.item() == pytest.approx(rest.mean().item() + 0.5 * align, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_frames_do_not_count(kind):
    model, batch = make(kind), recorded()
    mask = torch.ones(T, B, dtype=torch.float64)
    mask[4:, 0] = 0
    loss, found = model.objective.eval({**batch, "mask": mask}, return_dict=True, sample_mean=True)
    align = expected(kind, model, {**batch, "mask": mask}, mask.bool())
    names = ("rew", "con", "dyn", "rep")
    costs = sum(
        w * found[k][mask.bool()].mean() for k, w in zip(names, (1, 1, 1, 0.1), strict=True)
    )
    if kind == "next_embedding":  # its mean over frames is the same number for all
        align = found["align_cost"][mask.bool()].mean().item()
    assert loss.item() == pytest.approx(costs.item() + SCALE[kind] * align, rel=1e-9)


def test_it_prints():
    text = str(make("barlow").objective)
    assert r"L_{barlow}(align|e_{hat},embed)\hat e(e_{hat}|deter,stoch)" in text
    assert r"\hat e(e_{hat}|deter)" in str(make("next_embedding").objective)


@pytest.mark.parametrize("align", [Barlow(0.1), InfoNCE()])
def test_the_embedding_is_a_constant(align):
    guess = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    embed = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    align.forward(guess, embed)["align"].mean().backward()
    assert embed.grad is None and guess.grad.abs().sum() > 0
    dead = torch.zeros(2, 4, 3, dtype=torch.float64, requires_grad=True)
    align.forward(dead, embed)["align"].mean().backward()
    assert dead.grad.isfinite().all()


def test_what_has_no_decoder_says_so():
    model = make("infonce")
    assert model.decoder is None and not model.decodes
    with pytest.raises(PixyzError, match="without a decoder"):
        model.reconstruct(recorded())
    assert set(model.sample(model.initial(2), action=torch.zeros(3, 2, 2).double())) == {
        "deter",
        "stoch",
    }
    with pytest.raises(PixyzError, match="representation"):
        RSSMConfig(vectors="gaussian", predicts="change", representation="barlow")


def test_it_keeps_the_contract():
    check_model(make("next_embedding"), recorded())
