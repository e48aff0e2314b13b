"""The temperature of relaxed families: a number, learned, from a network, or a variable."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz.losses import Expectation, IterativeLoss, KullbackLeibler, LogProb
from pixyz.types import VariableError

B, D = 4, 3
FAMILIES = [
    pd.RelaxedBernoulli,
    pd.RelaxedCategorical,
    pd.ConcreteBernoulli,
    pd.ConcreteCategorical,
]
each = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
draw = torch.Generator().manual_seed(0)
logits = torch.randn(B, D, dtype=torch.float64, generator=draw)
heat = torch.tensor([0.3, 0.7, 1.0, 2.5], dtype=torch.float64)


def of_row(family: Any, i: int) -> Any:
    return family(var="x", cond_var="l", logits="l", temperature=float(heat[i])).double()


def network(family: Any, **options: Any) -> Any:
    """``l`` and ``t`` pass through a network that returns both parameters."""

    class Net(family):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("x", ["l", "t"], **options)
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, l: Tensor, t: Tensor) -> dict[str, Tensor]:
            return {"logits": l * self.scale, "temperature": t * self.scale}

    return Net().double()


def bound(family: Any) -> Any:
    return family("x", ["l", "t"], logits="l", temperature="t")


@each
@pytest.mark.parametrize("make", [network, bound])
@pytest.mark.parametrize("shape", [(B,), (B, 1)], ids=str)
def test_each_row_has_its_temperature(family: Any, make: Any, shape: tuple[int, ...]) -> None:
    p, given = make(family), {"l": logits, "t": heat.reshape(shape).clone().requires_grad_()}
    for _ in range(2):
        torch.manual_seed(1)
        x = p.sample(given, reparam=True)["x"]
        assert (
            torch.autograd.grad(x.square().sum(), [given["t"]], retain_graph=True)[0].abs().min()
            > 0
        )
        for i in range(B):
            torch.manual_seed(1)
            alone = of_row(family, i).sample({"l": logits})["x"]
            torch.testing.assert_close(x[i], alone[i])
            density = of_row(family, i).get_log_prob({"x": x[i : i + 1], "l": logits[i : i + 1]})
            torch.testing.assert_close(p.get_log_prob({"x": x, **given})[i : i + 1], density)


@each
def test_a_temperature_of_each_feature_and_many_draws(family: Any) -> None:
    """``[B, D]`` for Bernoulli variables; with draws in front, and along a series."""
    if family.event_dims:
        t = heat[:, None]
    else:
        t = heat[:, None] * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    p = network(family)
    x = p.sample({"l": logits, "t": t}, sample_shape=[5])["x"]
    found = p.get_log_prob({"x": x, "l": logits, "t": t})
    wanted = torch.stack([p.get_log_prob({"x": row, "l": logits, "t": t}) for row in x])
    torch.testing.assert_close(found, wanted)
    series = {"x": x, "l": logits.expand(5, B, D), "t": t.expand(5, *t.shape)}
    torch.testing.assert_close(
        IterativeLoss(LogProb(p), series_var=["x", "l", "t"]).eval(series), wanted.sum(0)
    )


@pytest.mark.parametrize("family", [pd.ConcreteBernoulli, pd.ConcreteCategorical])
def test_the_density_of_each_row_has_mass_one(family: Any) -> None:
    """In one dimension: by the trapezoidal rule, in the logit of ``x``."""
    u = torch.linspace(-35.0, 35.0, 20001, dtype=torch.float64)
    x = torch.sigmoid(u)
    volume = torch.sigmoid(u) * torch.sigmoid(-u)
    if family is pd.ConcreteBernoulli:
        values, l = x[:, None, None].expand(-1, B, 1), logits[:, :1]
    else:
        values, l = torch.stack([x, torch.sigmoid(-u)], -1)[:, None].expand(-1, B, 2), logits[:, :2]
    density = bound(family).get_log_prob({"x": values, "l": l, "t": heat}).exp() * volume[:, None]
    torch.testing.assert_close(
        torch.trapezoid(density, u, dim=0), torch.ones(B, dtype=torch.float64), rtol=0, atol=2e-4
    )


@each
def test_gradients_to_a_learned_temperature_stop_where_they_should(family: Any) -> None:
    t = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    p = family("x", "l", logits="l", temperature=t).double()
    assert p.temperature is t and "temperature" in dict(p.named_parameters())
    for q, flows in ((p, True), (p.frozen(), False), (p.detach(), False)):
        loss = Expectation(
            q, LogProb(pd.Normal("x", loc=torch.zeros(D), scale=1.0).double())
        ).mean()
        value = loss.eval({"l": logits.clone().requires_grad_()})
        grad = (
            torch.autograd.grad(value, [t], allow_unused=True)[0] if value.requires_grad else None
        )
        assert (grad is not None) == flows


@each
def test_what_holds_for_every_distribution(family: Any) -> None:
    """Renamed, copied, pickled; a divergence does not read the temperature; numbers can be
    annealed.
    """
    p, given = bound(family), {"l": logits, "t": heat}
    x = p.sample(given)["x"]
    wanted = p.get_log_prob({"x": x, **given})
    torch.testing.assert_close(
        p.replace_var(t="s", x="y").get_log_prob({"y": x, "l": logits, "s": heat}), wanted
    )
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        torch.testing.assert_close(twin.get_log_prob({"x": x, **given}), wanted)
    assert set(p.get_params(given)) == {"logits", "temperature"}
    cold = family("x", "l", logits="l", temperature=0.5).double()
    assert set(cold.get_params({"l": logits})) == {"logits"}
    torch.manual_seed(0)
    warm = cold.sample({"l": logits})["x"]
    cold.temperature.fill_(0.01)
    torch.manual_seed(0)
    assert not torch.equal(cold.sample({"l": logits})["x"], warm)
    if family in (pd.RelaxedBernoulli, pd.RelaxedCategorical):
        q = family("x", ["l", "t"], logits="l", temperature="t", name="q")
        kl = KullbackLeibler(q, family("x", logits=torch.zeros(D), name="p").double())
        torch.testing.assert_close(kl.eval(given), kl.eval({"l": logits, "t": 2 * heat}))


@each
def test_networks_may_or_may_not_return_it(family: Any) -> None:
    """Parameters in either form, with the temperature or without it."""

    class Net(family):  # type: ignore[misc]
        mode = "probs"

        def forward(self, l: Tensor) -> dict[str, Tensor]:
            found = {"logits": l} if "logits" in self.mode else {"probs": l.softmax(-1)}
            return (
                {**found, "temperature": torch.full((len(l), 1), 0.5)}
                if " t" in self.mode
                else found
            )

    for mode in ("probs", "probs t", "logits", "logits t"):
        p = Net("x", "l")
        p.mode = mode
        reference = family(
            "x", "l", **{mode.split()[0]: "l"}, temperature=0.5 if " t" in mode else 0.1
        )
        given = {"l": logits.float() if "logits" in mode else logits.float().softmax(-1)}
        torch.manual_seed(0)
        x = p.sample({"l": logits.float()})["x"]
        torch.manual_seed(0)
        torch.testing.assert_close(x, reference.sample(given)["x"])


def test_a_name_must_be_a_condition() -> None:
    with pytest.raises(
        VariableError, match="temperature='t' names a variable that is not in cond_var"
    ):
        pd.RelaxedBernoulli("x", probs=torch.tensor(0.5), temperature="t")
