"""Latent overshooting against a computation by hand."""

import pytest
import torch
from torch.distributions import Normal as N
from torch.distributions import kl_divergence

from pixyz.distributions import Normal
from pixyz.types import PixyzError
from worldmodels.overshooting import overshooting
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig

T, B, NOISE = 7, 3, 0.4


def setup(fission: bool = True) -> tuple[RSSM, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    config = RSSMConfig(
        "gaussian", deter=8, hidden=6, groups=3, blocks=2, units=6, bins=11, depth=1
    )
    model = RSSM({"x": (3,)}, 2, config, fission).double()
    first = torch.zeros(T, B, dtype=torch.bool)
    first[0], first[4, 1] = True, True
    return model, {
        "x": torch.randn(T, B, 3).double(),
        "action": torch.randn(T, B, 2).double(),
        "is_first": first,
        "reward": torch.randn(T, B, 1).double(),
        "cont": torch.ones(T, B, 1).double(),
    }


@pytest.mark.parametrize("first", [1, 2])
def test_it_equals_a_loop_over_starts_and_distances(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Normal,
        "noise",
        staticmethod(lambda shape, like: torch.full(tuple(shape), NOISE, dtype=like.dtype)),
    )
    (model, x), depth, weights = setup(), 3, [0.5, 0.7, 0.2][3 - 3 + first - 1 :]
    states = model.scan().sample(x, return_all=False, reparam=True)
    total, count = torch.zeros(()).double(), 0
    for i in range(B):
        for t in range(T - depth):
            if x["is_first"][t + 1 : t + depth + 1, i].any():
                continue
            count += 1
            deter, stoch = states["deter"][t, i : i + 1], states["stoch"][t, i : i + 1]
            for d in range(1, depth + 1):
                deter = model.dynamics(
                    deter_prev=deter,
                    stoch_prev=stoch,
                    action_prev=x["action"][t + d - 1, i : i + 1],
                )["deter"]
                p = model.prior(deter=deter)
                q = model.posterior(
                    deter=states["deter"][t + d, i : i + 1], embed=states["embed"][t + d, i : i + 1]
                )
                if d >= first:
                    q = {k: v.detach() for k, v in q.items()}
                    total = total + weights[d - first] * kl_divergence(N(**q), N(**p)).sum()
                stoch = p["loc"] + NOISE * p["scale"]
    loss = overshooting(model, depth, weights, first)
    value = loss.eval(x)
    torch.testing.assert_close(value, total / count / depth)
    wanted = torch.autograd.grad(total / count / depth, list(model.parameters()), allow_unused=True)
    for a, b in zip(
        torch.autograd.grad(value, list(model.parameters()), allow_unused=True), wanted, strict=True
    ):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


def test_it_adds_to_the_objective_and_the_loop_is_only_the_filter() -> None:
    found = []
    for fission in (True, False):
        model, x = setup(fission)
        loss = model.objective + 0.3 * overshooting(model, 3)
        torch.manual_seed(1)
        value = loss.eval(x)
        found.append([value, *torch.autograd.grad(value, list(model.parameters()))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    assert str(overshooting(setup()[0], 2).plan).count("loop over") == 1


def test_wrong_distances_are_explained() -> None:
    model, _ = setup()
    for wrong in ({"depth": 1}, {"depth": 3, "weights": [1.0]}, {"depth": 3, "first": 0}):
        with pytest.raises(PixyzError, match="overshooting"):
            overshooting(model, **wrong)
