"""Returns, return range and optimiser against their definitions."""

import copy

import pytest
import torch

from agents.dreamer.normalize import ReturnRange
from agents.dreamer.optimizer import LaProp
from agents.dreamer.returns import ImaginedReturn, ReplayReturn, lambda_return


def test_lambda_return_is_the_weighted_sum_of_n_step_returns():
    torch.manual_seed(0)
    steps, lam = 5, 0.9
    r, live, v = (torch.rand(steps + 1, 2, 1, dtype=torch.float64) for _ in range(3))
    found = lambda_return(r, live, v, lam)
    for t in range(steps):
        n_step = []
        for n in range(1, steps - t + 1):
            total, weight = 0.0, 1.0
            for k in range(1, n + 1):
                total = total + weight * r[t + k]
                weight = weight * live[t + k]
            n_step.append(total + weight * v[t + n])
        mixed = (
            sum((1 - lam) * lam ** (n - 1) * g for n, g in enumerate(n_step[:-1], 1))
            + lam ** (steps - t - 1) * n_step[-1]
        )
        assert torch.allclose(found[t], mixed)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_its_ends(lam):
    r, live, v = torch.rand(4, 2, 1), torch.rand(4, 2, 1), torch.rand(4, 2, 1)
    found = lambda_return(r, live, v, lam)
    if lam == 0.0:
        assert torch.allclose(found, r[1:] + live[1:] * v[1:])
    else:
        assert torch.allclose(found[0], r[1] + live[1] * (r[2] + live[2] * (r[3] + live[3] * v[3])))


def test_imagined_weights_stop_at_the_predicted_end():
    torch.manual_seed(0)
    function = ImaginedReturn(0.95, 1.0, ReturnRange()).eval()
    c = torch.ones(5, 2, 1)
    c[2, 0] = 0.0
    found = function(torch.rand(5, 2, 1), c, torch.rand(5, 2, 1))
    assert found["w_pi"].T.tolist() == [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    x = torch.rand(5, 2)
    assert torch.allclose((found["w"] * x).mean(), (found["w_pi"] * x[:-1]).mean())
    assert (
        found["w"][-1].abs().max() == 0
        and found["ret"].shape == (5, 2, 1)
        and found["boot"].shape == (2, 1)
    )


def test_recorded_returns_do_not_cross_the_end_of_an_episode():
    function = ReplayReturn(0.95, 0.99)
    r, boot = torch.rand(4, 1, 1), torch.rand(4, 1, 1)
    last, terminal = torch.zeros(4, 1, dtype=torch.bool), torch.zeros(4, 1, dtype=torch.bool)
    last[2] = True
    found = function(r, last, terminal, boot)
    # truncated: bootstrapped by the state's own value
    assert torch.allclose(found["ret_seen"][1], r[2] + 0.99 * boot[2])
    terminal[2] = True
    assert torch.allclose(function(r, last, terminal, boot)["ret_seen"][1], r[2])
    assert found["w_seen"][2] == 0 and found["w_seen"][3] == 0 and found["w_seen"][0] > 0


def test_return_range():
    scale = ReturnRange(rate=0.5)
    returns = torch.linspace(-100.0, 100.0, 2001)
    assert scale(returns) == pytest.approx(0.5 * 180.0, rel=1e-3)
    assert scale(returns) == pytest.approx(0.75 * 180.0, rel=1e-3)
    scale.eval()
    before = scale.bounds.clone()
    assert scale(returns) == pytest.approx(135.0, rel=1e-3) and torch.equal(scale.bounds, before)
    assert ReturnRange()(torch.zeros(5)) == 1.0


def laprop_by_hand(p, grads, lr, b1, b2, eps, clip, warmup, halving):
    n, m = torch.zeros_like(p), torch.zeros_like(p)
    for k, g in enumerate(grads, 1):
        g = g * min(1.0, clip * max(1e-3, p.norm().item()) / g.norm().item())
        n = b2 * n + (1 - b2) * g * g
        m = b1 * m + (1 - b1) * g / ((n / (1 - b2**k)).sqrt() + eps)
        p = p - lr * min(1.0, k / warmup) * 0.5 ** (k / halving) * m / (1 - b1**k)
    return p


def test_laprop_is_its_formula():
    torch.manual_seed(0)
    p = torch.nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    grads = [torch.randn(4, 3, dtype=torch.float64) * s for s in (5.0, 0.01, 1.0, 30.0)]
    wanted = laprop_by_hand(p.detach().clone(), grads, 0.1, 0.9, 0.99, 1e-8, 0.3, 3, 7)
    optimizer = LaProp([p], lr=0.1, beta2=0.99, eps=1e-8, clip=0.3, warmup=3, halving=7)
    for g in grads:
        p.grad = g.clone()
        optimizer.step()
    assert torch.allclose(p, wanted, rtol=1e-12)


def test_laprop_goes_on_from_its_state():
    def steps(optimizer, p, count):
        for i in range(count):
            p.grad = torch.full_like(p, 0.1 * (i + 1))
            optimizer.step()

    whole = torch.nn.Parameter(torch.ones(3))
    straight = LaProp([whole], lr=0.1, warmup=5)
    steps(straight, whole, 2)
    part = torch.nn.Parameter(whole.detach().clone())
    resumed = LaProp([part], lr=0.1, warmup=5)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    steps(straight, whole, 3)
    steps(resumed, part, 3)
    assert torch.equal(whole, part)
