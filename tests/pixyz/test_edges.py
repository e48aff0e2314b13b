"""First and last steps of an IterativeLoss: by hand, ragged, backward, split and not."""

import pytest
import torch
from torch import nn

from pixyz.distributions import Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb
from pixyz.types import VariableError

T, B, D = 5, 4, 2


class Linear(Normal):
    def __init__(self, var, cond, name, size=D):
        super().__init__(var, cond, name, features_shape=[size])
        self.net = nn.Linear(D * len(cond), 2 * size)

    def forward(self, **given):
        loc, scale = self.net(torch.cat([given[v] for v in self.cond_var], -1)).chunk(2, -1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


@pytest.fixture
def parts():
    torch.manual_seed(0)
    found = {
        "q": Linear("z", ["x", "z_prev"], "q"),
        "p": Linear("z", ["z_prev"], "p"),
        "e": Linear("x", ["z"], "e"),
        "p0": Normal("z", name="p_0", loc=0.3, scale=1.5, features_shape=[D]),
        "g": Linear("y", ["z", "z_prev"], "g"),
    }
    return {k: v.double() for k, v in found.items()}


def objective(parts, **options):
    q, p, e, p0, g = (parts[k] for k in ("q", "p", "e", "p0", "g"))
    return IterativeLoss(
        E(q, -LogProb(e)) + KullbackLeibler(q, p),
        series_var="x",
        update_value={"z": "z_prev"},
        init={"z_prev": 0.5},
        returns="z",
        first_step=E(q, -LogProb(e)) + 2 * KullbackLeibler(q, p0),
        last_step=E(q, -LogProb(g)),
        **options,
    )


MASKS = {
    "whole": None,
    "ragged": [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1]],
    "late": [[1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 0, 0]],
}


def data(mask):
    torch.manual_seed(1)
    x = {
        "x": torch.randn(T, B, D, dtype=torch.float64),
        "y": torch.randn(B, D, dtype=torch.float64),
    }
    return (
        x if MASKS[mask] is None else {**x, "mask": torch.tensor(MASKS[mask], dtype=torch.float64)}
    )


def normal(params):
    return torch.distributions.Normal(params["loc"], params["scale"])


def by_hand(parts, batch, z, reverse):
    """``[T, B]`` from the path that was drawn."""
    mask = batch.get("mask", torch.ones(T, B, dtype=torch.float64))
    found = torch.zeros(T, B, dtype=torch.float64)
    for b in range(B):
        frames = [t for t in range(T) if mask[t, b]]
        frames = frames[::-1] if reverse else frames
        before = torch.full((D,), 0.5, dtype=torch.float64)
        for t in frames:
            x, now = batch["x"][t, b], z[t, b]
            q = normal(parts["q"](x=x, z_prev=before))
            cost = -normal(parts["e"](z=now)).log_prob(x).sum()
            if t == frames[0]:
                cost = (
                    cost
                    + 2
                    * torch.distributions.kl_divergence(
                        q,
                        torch.distributions.Normal(
                            torch.full((D,), 0.3, dtype=torch.float64),
                            torch.full((D,), 1.5, dtype=torch.float64),
                        ),
                    ).sum()
                )
            else:
                cost = (
                    cost
                    + torch.distributions.kl_divergence(q, normal(parts["p"](z_prev=before))).sum()
                )
            if t == frames[-1]:
                cost = cost - normal(parts["g"](z=now, z_prev=before)).log_prob(batch["y"][b]).sum()
            found[t, b] = cost
            before = now
    return found


@pytest.mark.parametrize("fission", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("reduction", ["sum", "frame", None])
def test_first_and_last_step_are_those_of_each_sequence(parts, mask, reverse, reduction, fission):
    batch = data(mask)
    loss = objective(parts, reverse=reverse, reduction=reduction, fission=fission)
    torch.manual_seed(2)
    value, found = loss.eval(batch, return_dict=True)
    frames = by_hand(parts, batch, found["z"], reverse)
    valid = batch["mask"].sum() if "mask" in batch else T * B
    expected = {"sum": frames.sum(0), "frame": frames.sum() / valid, None: frames}[reduction]
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("mask", MASKS)
def test_split_loop_equals_plain_loop_with_gradients(parts, mask):
    found = []
    for fission in (True, False):
        torch.manual_seed(3)
        value = objective(parts, reduction="frame", fission=fission).eval(data(mask))
        found.append(
            [
                value,
                *torch.autograd.grad(value, [w for p in parts.values() for w in p.parameters()]),
            ]
        )
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_step_that_ends_in_a_mean(parts):
    q, p, e = parts["q"], parts["p"], parts["e"]
    step, last = (
        (E(q, -LogProb(e)) + KullbackLeibler(q, p)).mean(),
        E(q, -LogProb(parts["g"])).mean(),
    )
    options = {"series_var": "x", "update_value": {"z": "z_prev"}, "init": {"z_prev": 0}}
    values = []
    for loss in (IterativeLoss(step, last_step=last, **options), IterativeLoss(step, **options)):
        torch.manual_seed(4)
        values.append(loss.eval(data("whole")))
    assert values[0].shape == () and values[0] != values[1]


def test_how_it_prints(parts):
    text = objective(parts, max_iter=5).loss_text
    assert (
        r"_{t=0} + \sum_{t=1}^{4}" in text
        and r"\log g(y|z,z_{prev})" in text
        and text.endswith("_{t=4}")
    )


def test_another_draw_of_a_carried_variable_is_refused(parts):
    other = Linear("z", ["x"], "q_1").double()
    loss = IterativeLoss(
        E(parts["q"], -LogProb(parts["e"])),
        series_var="x",
        update_value={"z": "z_prev"},
        init={"z_prev": 0},
        first_step=E(other, -LogProb(parts["e"])),
    )
    with pytest.raises(VariableError, match="drawn by two different distributions"):
        loss.eval(data("whole"))
