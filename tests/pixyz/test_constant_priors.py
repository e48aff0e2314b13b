"""Priors whose parameters are constants: the shorter formula of a standard normal holds as long as
it is one.
"""

import pytest
import torch
from torch import nn

from pixyz.distributions import Normal
from pixyz.flows import ActNorm2d
from pixyz.losses import E, KullbackLeibler, LogProb


class Q(Normal):
    def __init__(self, size=2):
        super().__init__("z", "x", name="q", features_shape=[size])
        self.size = size

    def forward(self, x):
        loc = x.expand(-1, self.size)
        return {"loc": loc, "scale": torch.full_like(loc, 0.5)}


def _prior(size=2):
    return Normal("z", loc=torch.zeros(size), scale=1.0)


X = {"x": torch.randn(4, 1, generator=torch.Generator().manual_seed(0))}


def _through_data(p):
    p.loc.data.copy_(torch.tensor([3.0, -2.0]))


def _through_numpy(p):
    p.loc.numpy()[...] = [3.0, -2.0]


def _other_memory(p):
    p.loc.data = torch.tensor([[3.0, -2.0]])


def _in_place(p):
    p.loc.copy_(torch.tensor([3.0, -2.0]))


def _scale(p):
    p.scale.data.fill_(2.0)


def _replaced(p):
    p.loc = torch.tensor([[3.0, -2.0]])


@pytest.mark.parametrize(
    "write", [_through_data, _through_numpy, _other_memory, _in_place, _scale, _replaced]
)
def test_a_prior_that_was_written_to_counts_from_the_next_call(write):
    q, p = Q(), _prior()
    losses = [KullbackLeibler(q, p), LogProb(p)]
    d = {**X, "z": torch.randn(4, 2)}
    old = [loss.eval(d) for loss in losses]
    write(p)
    again = [loss.eval(d) for loss in losses]
    for loss, value, before in zip((KullbackLeibler(q, p), LogProb(p)), again, old, strict=True):
        torch.testing.assert_close(value, loss.eval(d))
        assert not torch.allclose(value, before)
    for name, first in (("loc", 0.0), ("scale", 1.0)):
        getattr(p, name).data.fill_(first)
    for loss, before in zip(losses, old, strict=True):
        torch.testing.assert_close(loss.eval(d), before)


def test_a_long_prior_is_seen_where_it_is_written_in_place():
    p = _prior(5000)
    loss, z = LogProb(p), {"z": torch.randn(4, 5000)}
    before = loss.eval(z)
    p.loc.fill_(3.0)
    torch.testing.assert_close(loss.eval(z), LogProb(p).eval(z))
    assert not torch.allclose(loss.eval(z), before)


@pytest.mark.parametrize("size", [2, 5000])
def test_a_prior_that_was_made_in_inference_mode(size):
    with torch.inference_mode():
        p = _prior(size)
    q, other, z = Q(size), _prior(size), {**X, "z": torch.randn(4, size)}
    for _ in range(2):
        for made, wanted in (
            (KullbackLeibler(q, p), KullbackLeibler(q, other)),
            (LogProb(p), LogProb(other)),
        ):
            torch.testing.assert_close(made.eval(z), wanted.eval(z))
    loss = LogProb(p)
    loss.eval(z)
    with torch.inference_mode():
        p.loc.fill_(3.0)
    torch.testing.assert_close(loss.eval(z), LogProb(_shifted(size)).eval(z))


def _shifted(size):
    return Normal("z", loc=torch.full((size,), 3.0), scale=1.0)


def test_a_prior_within_torch_func():
    """What ``torch.func`` puts in the place of a tensor has no memory to compare."""
    q, p = Q(), _prior()
    loss, z = E(q, LogProb(p)).mean(), torch.randn(4, 1)

    names = [n for n, _ in nn.Module.named_buffers(loss) if n.endswith("loc")]
    assert names

    def at(loc):
        held = dict.fromkeys(names, loc)
        torch.manual_seed(0)
        return torch.func.functional_call(loss, held, ({"x": z},))[0]

    gradient = torch.func.grad(at)(torch.zeros(1, 2))
    torch.manual_seed(0)
    drawn = q.sample({"x": z})["z"]
    torch.testing.assert_close(gradient, drawn.mean(0, keepdim=True))


def test_actnorm_that_was_made_in_inference_mode():
    with torch.inference_mode():
        flow = ActNorm2d(3)
        flow.forward_and_logdet(torch.randn(4, 3, 2, 2))
        assert bool(flow.inited)
        flow.forward_and_logdet(torch.randn(4, 3, 2, 2))
