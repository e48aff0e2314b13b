"""IterativeLoss and Scan: the split loop equals the plain loop, resets, masks,
chopped sequences.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Mean, Normal, Scan, SeriesFunction
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Parameter

D, H, Z, T, B = 5, 6, 4, 7, 3


class Encoder(Deterministic):
    def __init__(self) -> None:
        super().__init__("e", "x", name="enc")
        self.net = nn.Linear(D, H)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"e": self.net(x).tanh()}


class Core(Deterministic):
    def __init__(self) -> None:
        super().__init__("h", ["h_prev", "z_prev"], name="f", features_shape=[H])
        self.net = nn.Linear(H + Z, H)

    def forward(self, h_prev: Tensor, z_prev: Tensor) -> dict[str, Tensor]:
        return {"h": self.net(torch.cat([h_prev, z_prev], 1)).tanh()}


class Gauss(Normal):
    def __init__(self, var: str, cond: list[str], name: str, size: int, out: int) -> None:
        super().__init__(var=var, cond_var=cond, name=name, features_shape=[out])
        self.net = nn.Linear(size, 2 * out)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[c] for c in self.cond_var], 1)).chunk(2, 1)
        return {"loc": loc, "scale": F.softplus(scale) + 0.1}


class World:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.enc, self.f = Encoder(), Core()
        self.q, self.prior = Gauss("z", ["h", "e"], "q", 2 * H, Z), Gauss("z", ["h"], "p", H, Z)
        self.dec = Gauss("x", ["h", "z"], "p", H + Z, D)
        self.parts = nn.ModuleList([self.enc, self.f, self.q, self.prior, self.dec]).double()
        self.carry = {"h": "h_prev", "z": "z_prev"}
        self.zero = {"h_prev": 0, "z_prev": 0}

    def loss(self, **options: object) -> IterativeLoss:
        kl = KullbackLeibler(self.q.detach(), self.prior).clamp(min=0.1) + 0.1 * KullbackLeibler(
            self.q, self.prior.detach()
        )
        step = E(self.enc * self.f * self.q, -LogProb(self.dec)) + E(self.f, kl)
        return IterativeLoss(
            step, series_var="x", update_value=self.carry, init=self.zero, **options
        )


def data() -> dict[str, Tensor]:
    torch.manual_seed(1)
    first = torch.zeros(T, B)
    first[0] = 1
    first[3, 1] = 1
    return {"x": torch.randn(T, B, D, dtype=torch.float64), "is_first": first}


def value_and_grads(
    loss: object, x: dict[str, Tensor], parameters: list[nn.Parameter]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(2)
    value = loss.eval(x).mean()  # type: ignore[attr-defined]
    return value, torch.autograd.grad(value, parameters)


@pytest.mark.parametrize("reset", [None, "is_first"])
def test_split_loop_equals_plain_loop(reset: str | None) -> None:
    world, x = World(), data()
    parameters = list(world.parts.parameters())
    split, plain = world.loss(reset_var=reset), world.loss(reset_var=reset, fission=False)
    (a, ga), (b, gb) = value_and_grads(split, x, parameters), value_and_grads(plain, x, parameters)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for u, v in zip(ga, gb, strict=True):
        torch.testing.assert_close(u, v, rtol=1e-9, atol=1e-11)
    looped = split.plan.counts()["loop"]
    assert looped < plain.plan.counts()["loop"] / 2
    assert split.plan.counts()["sunk"] > 10


def by_hand(world: World, x: Tensor, first: Tensor) -> Tensor:
    """The same objective as a loop over torch.distributions."""
    h, z = x.new_zeros(B, H), x.new_zeros(B, Z)
    noise = torch.randn(T, B, Z, dtype=torch.float64)
    total = x.new_zeros(B)
    for t in range(T):
        keep = (1 - first[t])[:, None]
        h = world.f(h_prev=h * keep, z_prev=z * keep)["h"]
        post, prior = world.q(h=h, e=world.enc(x=x[t])["e"]), world.prior(h=h)
        z = post["loc"] + post["scale"] * noise[t]

        def normal(p: dict[str, Tensor]) -> torch.distributions.Normal:
            return torch.distributions.Normal(p["loc"], p["scale"])

        def stop(p: dict[str, Tensor]) -> torch.distributions.Normal:
            return normal({k: v.detach() for k, v in p.items()})

        total = total - normal(world.dec(h=h, z=z)).log_prob(x[t]).sum(-1)
        total = total + torch.distributions.kl_divergence(stop(post), normal(prior)).sum(-1).clamp(
            min=0.1
        )
        total = total + 0.1 * torch.distributions.kl_divergence(normal(post), stop(prior)).sum(-1)
    return total


def test_equals_hand_written_loop() -> None:
    world, x = World(), data()
    parameters = list(world.parts.parameters())
    value, grads = value_and_grads(world.loss(reset_var="is_first"), x, parameters)
    torch.manual_seed(2)
    hand = by_hand(world, x["x"], x["is_first"]).mean()
    torch.testing.assert_close(value, hand)
    for u, v in zip(grads, torch.autograd.grad(hand, parameters), strict=True):
        torch.testing.assert_close(u, v)


def test_masked_frames_hold_the_carry_and_have_no_gradient() -> None:
    world, x = World(), data()
    mask = torch.ones(T, B)
    mask[5:, 0] = 0
    loss = world.loss(returns=["h", "z"], mask_var="mask")
    dirty = {**x, "mask": mask, "x": x["x"].clone()}
    dirty["x"][5:, 0] = float("nan")
    torch.manual_seed(2)
    value, found = loss.eval(dirty, return_dict=True)
    grads = torch.autograd.grad(value.sum(), list(world.parts.parameters()))
    assert all(torch.isfinite(g).all() for g in grads)
    torch.testing.assert_close(found["h_prev"][0], found["h"][4, 0])
    torch.manual_seed(2)
    again = loss.eval({**x, "mask": mask})
    torch.testing.assert_close(value, again)
    torch.manual_seed(2)
    keyword = world.loss().eval(x, mask=mask)
    torch.testing.assert_close(value, keyword)


def test_chopped_sequence_equals_whole() -> None:
    world, x = World(), data()
    world.q.forward = lambda h, e: {
        "loc": h[:, :Z] + e[:, :Z],
        "scale": torch.full_like(h[:, :Z], 1e-30),
    }
    loss = world.loss(returns=["h", "z"])
    whole = loss.eval({"x": x["x"]})
    head, found = loss.eval({"x": x["x"][:3]}, return_dict=True)
    tail = loss.eval({"x": x["x"][3:], "h_prev": found["h_prev"], "z_prev": found["z_prev"]})
    torch.testing.assert_close(whole, head + tail)


class Return(SeriesFunction):
    def __init__(self) -> None:
        super().__init__("ret", ["r", "v"], like={"ret": "r"})

    def forward(self, r: Tensor, v: Tensor) -> dict[str, Tensor]:
        return {"ret": (r + v[1:]).squeeze(-1)}


def test_imagination_from_every_state() -> None:
    world, x = World(), data()
    policy = Gauss("a", ["h_prev", "z_prev"], r"\pi", H + Z, 2).double()
    reward, critic = (
        Gauss("r", ["h", "z"], "r", H + Z, 1).double(),
        Gauss("v", ["h", "z"], "v", H + Z, 1).double(),
    )
    seen = Scan(
        world.enc * world.f * world.q, series_var="x", update_value=world.carry, init=world.zero
    )
    dream = Scan(
        policy * world.f * world.prior,
        steps=4,
        update_value=world.carry,
        start={"h_prev": "h", "z_prev": "z"},
        path={"h_all": "h_prev", "z_all": "z_prev"},
        grad=False,
    )
    means = Mean(reward, "r") * Mean(critic.at(h="h_all", z="z_all"), "v") * Return()
    loss = E(
        seen,
        -LogProb(world.dec).mean()
        + E(dream, E(means, Parameter("ret").detach() * LogProb(policy)).mean()),
    )
    torch.manual_seed(2)
    value = loss.eval({"x": x["x"]})
    grads = torch.autograd.grad(value, list(policy.parameters()), retain_graph=True)
    assert all(g.abs().sum() > 0 for g in grads)
    assert all(
        g is None for g in torch.autograd.grad(value, list(reward.parameters()), allow_unused=True)
    )
    assert str(loss.plan).count("loop over") == 2
    assert "no_grad" in loss.plan.source
