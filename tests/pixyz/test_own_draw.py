"""The log-density of a distribution's own draw is computed from the noise that made it: same value,
same gradients.
"""

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions import BoundedNormal, Normal, TanhNormal
from pixyz.losses import ELBO, E, IterativeLoss, KullbackLeibler, LogProb, Loss

B, X, Z = 5, 3, 4
FORM = "minus_log_density_of_noise"


class Net(Normal):
    def __init__(self, var: str = "z", cond: str = "x", size: int = X) -> None:
        super().__init__(var, cond, name="q")
        self.net = nn.Linear(size, 2 * Z).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(given[self.cond_var[0]]).chunk(2, -1)
        return {"loc": loc, "scale": nn.functional.softplus(scale)}


class Heavier(Net):
    """A density of its own for the draw of a normal."""

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return td.StudentT(3.0, loc, scale).log_prob(x)


def at_own_draw(
    q: Net, x: Tensor, density: type[td.Distribution], **more: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    loc, scale = q.forward(x=x).values()
    z = loc + scale * torch.randn(B, Z, dtype=torch.float64)
    value = density(*more.values(), loc, scale).log_prob(z).sum(-1).sum()
    return value, torch.autograd.grad(value, list(q.parameters()))


def run(loss: Loss, q: nn.Module, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    value = loss.eval({"x": x}).sum()
    return value, torch.autograd.grad(value, list(q.parameters()))


@pytest.mark.parametrize(
    ("kind", "density", "short"), [(Net, td.Normal, True), (Heavier, td.StudentT, False)]
)
def test_value_and_gradients(kind: type[Net], density: type[td.Distribution], short: bool) -> None:
    torch.manual_seed(1)
    q, x = kind(), torch.randn(B, X, dtype=torch.float64)
    loss = E(q, LogProb(q))
    found = run(loss, q, x)
    wanted = at_own_draw(q, x, density, **({} if short else {"df": 3.0}))
    for a, b in zip((found[0], *found[1]), (wanted[0], *wanted[1]), strict=True):
        torch.testing.assert_close(a, b)
    assert (FORM in loss.plan.source) == short


def test_only_of_the_very_same_parameters() -> None:
    q, other, x = Net(), Net(), torch.randn(B, X, dtype=torch.float64)
    prior = Normal("z", loc=0.0, scale=1.0, features_shape=[Z])
    for loss in (
        E(q, LogProb(other)),
        E(q, LogProb(q.detach())),
        E(q.detach(), LogProb(q)),
        E(q, LogProb(prior)),
        LogProb(q),
    ):
        assert FORM not in loss.plan.source
    for loss in (
        ELBO(prior, q),
        KullbackLeibler(q, prior, analytical=False),
        E(q.detach(), LogProb(q.detach())),
    ):
        assert loss.plan.source.count(FORM) == 1
    assert FORM not in E(q, LogProb(q)).share(False).plan.source
    # the pathwise part alone: another gradient, the same value
    path = run(E(q, LogProb(q.detach())), q, x)
    whole = run(E(q, LogProb(q)), q, x)
    torch.testing.assert_close(path[0], whole[0])
    assert (path[1][0] - whole[1][0]).abs().max() > 1e-3


@pytest.mark.parametrize("family", [BoundedNormal, TanhNormal])
def test_families_made_from_the_normal_keep_their_density(family: type[Normal]) -> None:
    q = family("z", ["m", "s"], loc="m", scale="s")
    given = {
        "m": torch.randn(B, Z, dtype=torch.float64),
        "s": torch.rand(B, Z, dtype=torch.float64) + 0.5,
    }
    torch.manual_seed(0)
    value = E(q, LogProb(q)).eval(given)
    torch.manual_seed(0)
    z = q.sample(given, return_all=False)["z"]
    torch.testing.assert_close(
        value, q.as_torch(loc=given["m"], scale=given["s"]).log_prob(z).sum(-1)
    )


def test_in_a_time_loop_and_with_particles() -> None:
    torch.manual_seed(2)
    q, p = Net("z", "z_prev", Z), Net("z", "z_prev", Z)
    for more in ({}, {"sample_shape": [3]}):
        step = E(q, LogProb(q) - LogProb(p), **more)
        x = {
            "z_prev": torch.randn(B, Z, dtype=torch.float64),
            "u": torch.zeros(6, B, 1, dtype=torch.float64),
        }
        found = []
        for fission in (True, False):
            loss = IterativeLoss(
                step, series_var=["u"], update_value={"z": "z_prev"}, fission=fission
            )
            torch.manual_seed(0)
            value = loss.eval(x).sum()
            found.append((value, *torch.autograd.grad(value, [*q.parameters(), *p.parameters()])))
            assert FORM in loss.plan.source
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)
