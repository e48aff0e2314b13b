"""Networks that return parameters without a batch dimension (a learned scale, a number), and
networks without conditions.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import Categorical, MixtureModel, MultivariateNormal, Normal
from pixyz.losses import Expectation, IterativeLoss, KullbackLeibler, LogProb

B, D, T = 4, 3, 5
SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "number": lambda s: s[0],
    "row": lambda s: s,
    "one row": lambda s: s[None],
    "column": lambda s: s[:1].expand(1, 1),
}
each = pytest.mark.parametrize("kind", list(SCALES))


class Net(Normal):
    """The scale as ``kind`` says, or the same for each row."""

    def __init__(self, var: str, cond_var: object, kind: str, full: bool, name: str = "p") -> None:
        super().__init__(var, cond_var, name)  # type: ignore[arg-type]
        self.net, self.spread = nn.Linear(D, D), nn.Parameter(torch.tensor([0.5, 0.7, 0.9]))
        self.kind, self.full = kind, full

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.net(sum(given.values()))
        scale = SCALES[self.kind](self.spread)
        return {"loc": loc, "scale": scale.expand_as(loc) if self.full else scale}


def pair(kind: str, full: bool) -> tuple[Net, Net]:
    torch.manual_seed(0)
    return Net("z", ["x", "z_prev"], kind, full, "q"), Net("x", "z", kind, full)


x = torch.randn(T, B, D, generator=torch.Generator().manual_seed(1))


@each
@pytest.mark.parametrize("fission", [True, False])
def test_a_scale_without_rows_is_that_of_each_row(kind: str, fission: bool) -> None:
    """With particles, along a series, and in a loop: values and gradients."""
    found = []
    for full in (False, True):
        q, p = pair(kind, full)
        inner = Expectation(q, LogProb(p) - LogProb(q))
        many = Expectation(q, LogProb(p) - LogProb(q), sample_shape=[7])
        loop = IterativeLoss(inner, series_var=["x"], update_value={"z": "z_prev"}, fission=fission)
        direct, series = {"x": x[0], "z_prev": x[1]}, {"x": x, "z_prev": x[0]}
        for loss, given in ((inner, direct), (many, direct), (loop, series)):
            torch.manual_seed(2)
            value = loss.eval(given)
            assert value.shape == (B,)
            found.append(
                [value, *torch.autograd.grad(value.sum(), [q.spread, q.net.weight, p.spread])]
            )
    for a, b in zip(found[:3], found[3:], strict=True):
        for one, other in zip(a, b, strict=True):
            torch.testing.assert_close(one, other)


@each
def test_joints_are_drawn_and_scored(kind: str) -> None:
    _, p = pair(kind, False)
    joint = p * Normal("z", loc=torch.zeros(D), scale=1.0)
    drawn = joint.sample(batch_n=B, sample_shape=[2, 6])
    assert drawn["x"].shape == (2, 6, B, D)
    rows = [
        joint.get_log_prob({k: v[i, j] for k, v in drawn.items()})
        for i in range(2)
        for j in range(6)
    ]
    torch.testing.assert_close(joint.get_log_prob(drawn), torch.stack(rows).reshape(2, 6, B))


def test_one_matrix_for_all_rows() -> None:
    class Full(MultivariateNormal):
        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"loc": z, "scale_tril": torch.eye(D) + torch.ones(D, D).tril() / 4}

    p = Full("x", "z")
    z = torch.randn(B, D)
    drawn = p.sample({"z": z}, sample_shape=[7])["x"]
    found = p.get_log_prob({"x": drawn, "z": z})
    torch.testing.assert_close(
        found, torch.stack([p.get_log_prob({"x": row, "z": z}) for row in drawn])
    )
    torch.testing.assert_close(found, p.torch_dist({"z": z}).log_prob(drawn))
    assert Expectation(p, LogProb(p), sample_shape=[7]).eval({"z": z}).shape == (B,)


class Learned(Normal):
    """A distribution whose parameters are learned and depend on nothing."""

    def __init__(self, var: str = "z", rows: int = 1) -> None:
        super().__init__(var, name="p")
        self.mean = nn.Parameter(torch.arange(3.0).repeat(rows, 1))

    def forward(self) -> dict[str, Tensor]:
        return {"loc": self.mean, "scale": torch.full_like(self.mean, 0.5)}


def test_a_network_without_conditions_is_drawn() -> None:
    p = Learned()
    assert p.sample()["z"].shape == (1, D) and p.sample(batch_n=B)["z"].shape == (B, D)
    many = p.sample(sample_shape=[4000])["z"]
    assert many.shape == (4000, 1, D) and (many.mean(0) - p.mean).abs().max() < 0.05
    assert p.sample(batch_n=B, sample_shape=[7])["z"].shape == (7, B, D)
    assert Learned(rows=B).sample(sample_shape=[7])["z"].shape == (7, B, D)
    torch.testing.assert_close(p.sample_mean(), p.mean)


@pytest.mark.parametrize("count", [1, 7])
def test_a_network_without_conditions_in_expressions(count: int) -> None:
    p, q = Learned(), Normal("x", "z", loc="z", scale=torch.ones(D))
    loss = Expectation(p, LogProb(q), sample_shape=[count])
    value = loss.eval({"x": x[0]})
    assert value.shape == (B,) and torch.autograd.grad(value.sum(), [p.mean])[0].abs().sum() > 0
    kl = KullbackLeibler(p, Normal("z", loc=torch.zeros(D), scale=0.5))
    torch.testing.assert_close(kl.eval(), 2.0 * p.mean.square().sum(-1))
    assert (q * p).sample(batch_n=B, sample_shape=[count])["x"].shape == (count, B, D)


def test_networks_without_conditions_in_a_mixture() -> None:
    p = MixtureModel([Learned(), Learned()], Categorical("c", probs=torch.tensor([0.4, 0.6])))
    torch.testing.assert_close(p.get_log_prob({"z": x[0]}), Learned().get_log_prob({"z": x[0]}))
    assert p.sample(batch_n=B, sample_shape=[7])["z"].shape == (7, B, D)
