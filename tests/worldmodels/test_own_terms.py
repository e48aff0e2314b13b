"""Own terms of a model's objective: filtered once, weighted, named, their weights held once."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from model_parts import A, B, D, T, ragged
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Normal
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import KullbackLeibler
from pixyz.types import PixyzError, ShapeError, VariableError
from worldmodels.dmm import DMM, DMMConfig
from worldmodels.heads import ScalarHead
from worldmodels.hrssm import HRSSM, HRSSMConfig
from worldmodels.mrssm import MRSSM, MRSSMConfig
from worldmodels.newtonian_vae import NewtonianVAE, NewtonianVAEConfig
from worldmodels.own_terms import Terms
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig
from worldmodels.slac import SLAC, SLACConfig
from worldmodels.state_space import StateSpaceModel
from worldmodels.td_vae import TDVAE, TDVAEConfig
from worldmodels.vrnn import VRNN, VRNNConfig

RSSM_SIZES = RSSMConfig(deter=8, hidden=6, groups=3, classes=4, blocks=2, units=6, bins=11, depth=1)
BUILD: dict[str, tuple[Callable[[Terms | None], StateSpaceModel], dict[str, int]]] = {
    "dmm": (lambda terms: DMM(D, DMMConfig(3, 5, 4, 6, dropout=0.0), terms=terms), {"z": 3}),
    "vrnn": (lambda terms: VRNN(D, VRNNConfig(3, 5, 8), terms=terms), {"h": 5}),
    "slac": (lambda terms: SLAC(D, A, SLACConfig(3, 4, 8, 5), terms=terms), {"z1": 3, "z2": 4}),
    "hrssm": (
        lambda terms: HRSSM(D, HRSSMConfig(2, 3, 4, 5, 4, length=2.0), terms=terms),
        {"s": 3, "z": 2},
    ),
    "mrssm": (
        lambda terms: MRSSM({"x": D, "y": 2}, A, MRSSMConfig(4, 3, 6), terms=terms),
        {"h": 4, "s": 3},
    ),
    "newtonian": (
        lambda terms: NewtonianVAE(D, A, NewtonianVAEConfig(6, 4, 0.5), terms=terms),
        {"x": 2, "v": 2},
    ),
    "rssm": (
        lambda terms: RSSM({"x": (D,)}, A, RSSM_SIZES, terms=terms),
        {"deter": 8, "stoch": 12},
    ),
}
each = pytest.mark.parametrize("name", BUILD)
SCALE = 0.7


class Touch(Normal):
    """``p(touch|...)``: a further series, from variables of a step."""

    def __init__(self, read: dict[str, int], var: str = "touch", size: int = 2) -> None:
        super().__init__(var, list(read), "p_t", features_shape=[size])
        self.net = nn.Linear(sum(read.values()), size)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.net(torch.cat([given[v] for v in self.cond_var], -1))
        return {"loc": loc, "scale": torch.full_like(loc, SCALE)}


def build(name: str, terms: Terms | None = None) -> StateSpaceModel:
    torch.manual_seed(0)
    return BUILD[name][0](terms).double().eval()


def batch() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(3)
    return {**ragged(), "touch": torch.randn(T, B, 2, generator=g, dtype=torch.float64)}


@each
def test_value_and_gradient_are_the_sum_by_hand_and_it_filters_once(name: str) -> None:
    read, x = BUILD[name][1], batch()
    head = Touch(read)
    model, plain = build(name, {"felt": -0.3 * LogProb(head)}), build(name)
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("own_networks")}
    plain.load_state_dict(weights)
    torch.manual_seed(1)
    value, found = model.objective.eval(x, return_dict=True)
    torch.manual_seed(1)
    alone, seen = plain.objective.eval(x, return_dict=True)
    loc = head.net(torch.cat([seen[k] for k in read], -1))
    nats = -torch.distributions.Normal(loc, SCALE).log_prob(x["touch"]).sum(-1)
    by_hand = alone + 0.3 * (nats * x["mask"]).sum() / x["mask"].sum()
    torch.testing.assert_close(value, by_hand)
    there = x["mask"] != 0
    torch.testing.assert_close(found["felt"][there], 0.3 * nats[there])
    own = dict(model.named_parameters())
    ours = torch.autograd.grad(
        value, [own[k] for k in dict(plain.named_parameters())], allow_unused=True
    )
    theirs = torch.autograd.grad(
        by_hand, list(plain.parameters()), allow_unused=True, retain_graph=True
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.grad(by_hand, head.net.weight)[0].abs().sum() > 0
    loops = [m.objective.plan.source.count("for t") for m in (model, plain)]
    assert loops[0] == loops[1]
    model.bound.eval(ragged())  # and nothing else reads the series
    model.log_weight.eval(ragged())
    model.filter(ragged())


@each
def test_their_weights_are_the_models_each_once(name: str) -> None:
    read, x = BUILD[name][1], batch()
    head = Touch(read)
    terms = {
        "felt": -LogProb(head),
        "again": -0.1 * LogProb(head.at(touch="touch_too")) + Parameter("w", default=1.0),
    }
    model = build(name, terms)
    held = list(model.named_parameters(remove_duplicate=False))
    assert len(held) == len(list(model.parameters())) == len(list(build(name).parameters())) + 2
    own = [k for k, _ in held if k.startswith("own_networks")]
    assert own == [f"own_networks.term_felt.0.net.{k}" for k in ("weight", "bias")]
    x["touch_too"] = x["touch"]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    costs = []
    for _ in range(20):
        value, found = model.objective.eval(x, return_dict=True)
        costs.append((found["felt"] * x["mask"]).sum().item())
        optimizer.zero_grad()
        value.backward()
        assert head.net.weight.grad is not None
        optimizer.step()
    assert sum(costs[-5:]) < sum(costs[:5])
    twin, other = (
        copy.deepcopy(model),
        build(name, {"felt": -LogProb(Touch(read)), "again": Parameter("w", default=0.0)}),
    )
    other.load_state_dict(model.state_dict())
    for found in (twin, other):
        torch.manual_seed(2)
        a = found.objective.eval(x)
        assert (
            next(p for k, p in found.named_parameters() if k.startswith("own_networks"))
            is not head.net.weight
        )
        if found is twin:
            torch.manual_seed(2)
            assert torch.equal(a, model.objective.eval(x))
            with torch.no_grad():
                next(p for k, p in twin.named_parameters() if k.startswith("own_networks")).add_(
                    1.0
                )
            torch.manual_seed(2)
            assert not torch.equal(twin.objective.eval(x), a)


def test_terms_of_the_models_own_distributions() -> None:
    """A function of the model makes them; nothing is held a second time, stop-gradients and second
    draws work.
    """

    def terms(model: RSSM) -> dict[str, Loss]:
        second = E(
            model.prior.detach().at(stoch="other"), -LogProb(Touch({"deter": 8, "other": 12}))
        )
        return {
            "closer": 0.5 * KullbackLeibler(model.posterior, model.prior.detach()),
            "blind": second,
        }

    model, x = build("rssm", terms), batch()
    assert len(list(model.named_parameters(remove_duplicate=False))) == len(
        list(model.parameters())
    )
    assert sum(k.startswith("own_networks") for k in model.state_dict()) == 2
    torch.manual_seed(1)
    value, found = model.objective.eval(x, return_dict=True)
    assert found["closer"].shape == found["blind"].shape == found["dyn"].shape == (T, B)
    assert torch.isfinite(value)
    free = model.config.free_nats
    kl = found["closer"] / 0.5
    there = x["mask"] != 0
    torch.testing.assert_close(found["rep"][there], kl.clamp(min=free)[there])


def test_an_agent_adds_them_with_the_models_terms() -> None:
    """Under ``model.scan()``, as DreamerV3's objective has them."""
    model, x = build("rssm", {"felt": -0.3 * LogProb(Touch({"stoch": 12}))}), batch()
    del x["mask"]
    torch.manual_seed(1)
    value, found = model.objective.eval(x, return_dict=True)
    torch.manual_seed(1)
    whole, again = E(model.scan(), model.terms().mean()).eval(x, return_dict=True)
    torch.testing.assert_close(value, whole)
    torch.testing.assert_close(found["felt"], again["felt"])


def test_td_vae_has_terms_of_a_pair() -> None:
    make = lambda terms: TDVAE(D, TDVAEConfig(3, 5, 4), terms=terms)  # noqa: E731
    model = make({"felt": -LogProb(Touch({"z_2": 3}, "x_2", D))})
    value, found = model.objective.eval({"x": torch.zeros(T, B, D)}, return_dict=True)
    assert torch.isfinite(value) and found["felt"].shape == (T, B)
    with pytest.raises(VariableError, match="touch"):
        make({"felt": LogProb(Touch({"z_2": 3}))})


@each
def test_it_says_what_is_wrong(name: str) -> None:
    read, x = BUILD[name][1], batch()
    with pytest.raises(
        VariableError, match=r"'felt' reads 'touch'.*add 'touch' of \[T, B, \.\.\.\]"
    ):
        build(name, {"felt": -LogProb(Touch(read))}).objective.eval(
            {k: v for k, v in x.items() if k != "touch"}
        )
    for taken in ({"rssm": "dyn", "hrssm": "g"}.get(name, "kl"), next(iter(read)), "mask", "touch"):
        with pytest.raises(VariableError, match=f"may not be called '{taken}'"):
            build(name, {taken: -LogProb(Touch(read))})
    with pytest.raises(
        PixyzError, match=r"'felt' was expected to be a loss, such as -LogProb\(head\), got Touch"
    ):
        build(name, {"felt": Touch(read)})  # type: ignore[dict-item]
    with pytest.raises(ShapeError, match="'felt' was expected to be one number a frame"):
        build(name, {"felt": LogProb(Touch(read), sum_features=False)}).objective.eval(x)
    with pytest.raises(ShapeError, match="touch"):
        build(name, {"felt": LogProb(Touch(read))}).objective.eval(
            {**x, "touch": x["touch"][:, :1]}
        )


class Weighted(Loss):
    """A loss with a weight of its own beside a distribution."""

    def __init__(self, inner: Loss) -> None:
        super().__init__()
        self.inner, self.weight = inner, nn.Parameter(torch.ones(()))


def test_weights_beside_the_models_distributions_are_refused() -> None:
    with pytest.raises(PixyzError, match="put its weights into a distribution"):
        build("rssm", lambda model: {"felt": Weighted(LogProb(model.prior))})


class Scores(Deterministic):
    """A weight of frames that a network computes."""

    def __init__(self) -> None:
        super().__init__("score", ["deter"], "w")

    def forward(self, deter: Tensor) -> dict[str, Tensor]:
        return {"score": deter.square().sum(-1)}


def test_a_term_may_draw() -> None:
    model, x = build("rssm", {"size": 0.1 * E(Scores(), Parameter("score"))}), batch()
    _, found = model.objective.eval(x, return_dict=True)
    torch.testing.assert_close(found["size"], 0.1 * found["deter"].square().sum(-1))


def test_a_series_of_a_term_has_the_shape_that_its_density_declares() -> None:
    model, x = (
        build(
            "slac",
            {"rew": -LogProb(ScalarHead("reward", "p_r", 7, 6, 1, 11, cond_var=["z1", "z2"]))},
        ),
        batch(),
    )
    found = []
    for reward in (x["reward"], x["reward"].squeeze(-1)):
        torch.manual_seed(0)
        found.append(model.objective.eval({**x, "reward": reward}))
    assert torch.equal(*found)
    with pytest.raises(ShapeError, match=r"'reward' of the shape \[T, B, 1\] = \[6, 4, 1\]"):
        model.objective.eval({**x, "reward": x["reward"].expand(T, B, 2)})
