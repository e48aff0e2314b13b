"""The two-hot distribution: bins, means, clipping,
and the cross-entropy that is its log-density.
"""

import math

import pytest
import torch
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions import TwoHot
from pixyz.distributions.families.two_hot import symexp_bins, two_hot
from pixyz.losses import IterativeLoss, LogProb


def test_the_bins_are_symexp_of_equal_steps() -> None:
    bins = symexp_bins(255)
    assert (
        bins.shape == (255,)
        and bins[127] == 0
        and torch.equal(bins, -bins.flip(0))
        and (bins.diff() > 0).all()
    )
    steps = torch.linspace(-20, 20, 255, dtype=torch.float64)
    torch.testing.assert_close(
        bins.double(), steps.sign() * steps.abs().expm1(), rtol=1e-6, atol=1e-6
    )


def test_the_mean_of_zero_logits_is_exactly_zero() -> None:
    p = TwoHot(var="r", cond_var="l", logits="l")
    for dtype in (torch.float32, torch.float64):
        mean = p.sample_mean(torch.zeros(7, 255, dtype=dtype))
        assert mean.shape == (7, 1) and mean.dtype == dtype and (mean == 0).all()


@pytest.mark.parametrize("count", [3, 41, 255])
def test_two_hot_keeps_the_mean(count: int) -> None:
    bins = symexp_bins(count).double()
    x = torch.cat([torch.linspace(-9, 9, 61).double().sinh(), bins])
    below, above, weight = two_hot(x, bins)
    target = (
        F.one_hot(below, count) * (1 - weight)[:, None] + F.one_hot(above, count) * weight[:, None]
    )
    torch.testing.assert_close(target @ bins, x)
    torch.testing.assert_close(target.sum(-1), torch.ones_like(x))
    assert ((target > 0).sum(-1) <= 2).all()
    p = TwoHot(var="r", cond_var="l", logits="l", bins=bins)
    torch.testing.assert_close(p.sample_mean(target.log()), x[:, None])


def test_two_hot_clips_beyond_the_ends() -> None:
    bins = symexp_bins(41)
    for x, end in ((1e12, -1), (-1e12, 0), (float("inf"), -1)):
        below, above, weight = two_hot(torch.tensor([x]), bins)
        target = (
            F.one_hot(below, 41) * (1 - weight)[:, None] + F.one_hot(above, 41) * weight[:, None]
        )
        wanted = torch.zeros(1, 41)
        wanted[0, end] = 1
        torch.testing.assert_close(target, wanted)


def test_two_hot_log_density_is_the_cross_entropy() -> None:
    bins = symexp_bins(41).double()
    p = TwoHot(var="r", cond_var="l", logits="l", bins=bins)
    logits = torch.randn(6, 41, dtype=torch.float64)
    x = torch.tensor([[0.0], [0.3], [-7.0], [1e5], [-1e12], [2.5]], dtype=torch.float64)
    below, above, weight = two_hot(x[:, 0], bins)
    target = F.one_hot(below, 41) * (1 - weight)[:, None] + F.one_hot(above, 41) * weight[:, None]
    wanted = (target * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(p.get_log_prob({"r": x, "l": logits}), wanted)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda l: p.get_log_prob({"r": x, "l": l}), [logits], fast_mode=True
    )
    logits = logits.detach()
    series = IterativeLoss(LogProb(p), series_var=["r", "l"], reduction=None)
    both = series.eval(
        {"r": torch.stack([x, x.flip(0)]), "l": torch.stack([logits, logits.flip(0)])}
    )
    torch.testing.assert_close(both, torch.stack([wanted, wanted.flip(0)]))
    torch.testing.assert_close(p.get_entropy(logits), td.Categorical(logits=logits).entropy())


def test_two_hot_with_constant_logits() -> None:
    p = TwoHot(var="r", logits=torch.zeros(255))
    torch.testing.assert_close(p.get_log_prob(torch.randn(6, 1)), torch.full((6,), -math.log(255)))
    assert p.sample_mean().shape == (1, 1)


def test_two_hot_is_not_sampled() -> None:
    with pytest.raises(NotImplementedError, match="sampled"):
        TwoHot(var="r", logits=torch.zeros(255)).sample()


def test_the_most_likely_logits_predict_the_target() -> None:
    """Gradient descent on the log-density leads the mean to the target."""
    bins = symexp_bins(255)
    logits = torch.zeros(3, 255, requires_grad=True)
    p = TwoHot(var="r", cond_var="l", logits="l", bins=bins)
    x = torch.tensor([[-3.0], [0.5], [120.0]])
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(80):
        optimiser.zero_grad()
        (-p.get_log_prob({"r": x, "l": logits}).sum()).backward()
        optimiser.step()
    torch.testing.assert_close(p.sample_mean(logits.detach()), x, rtol=0.05, atol=0.2)
