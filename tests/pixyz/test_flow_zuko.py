"""zuko's flows as distributions: the numbers are zuko's own."""

import sys

import pytest
import torch

from pixyz.distributions import ZukoDistribution
from pixyz.flows import ZukoFlow
from pixyz.losses import E, LogProb
from pixyz.types import PixyzError


@pytest.mark.parametrize("name", ["NSF", "MAF"])
def test_zuko_is_zuko(name):
    zuko = pytest.importorskip("zuko")
    settings = {"transforms": 2, "hidden_features": (16,)}
    p = ZukoDistribution(name, "x", 2, cond_var=["a", "b"], context=3, **settings)
    assert p.prob_text == "p(x|a,b)"
    torch.manual_seed(0)
    for weight in p.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    theirs = getattr(zuko.flows, name)(features=2, context=3, **settings)
    theirs.transform.load_state_dict(p.flow.transform.state_dict())
    given = {"x": torch.randn(5, 2), "a": torch.randn(5, 1), "b": torch.randn(5, 2)}
    wanted = theirs(torch.cat([given["a"], given["b"]], 1)).log_prob(given["x"])
    torch.testing.assert_close(p.get_log_prob(given), wanted)
    drawn = p.sample(given, sample_shape=[3])
    assert drawn["x"].shape == (3, 5, 2)
    x = drawn["x"].flatten(0, 1)
    a, b = (given[k].repeat(3, 1) for k in "ab")
    z, logdet = p.flow.forward_and_logdet(x, [a, b])
    torch.testing.assert_close(z, drawn["u"].flatten(0, 1), rtol=1e-3, atol=1e-4)
    back, opposite = p.flow.inverse_and_logdet(z, [a, b])
    torch.testing.assert_close(back, x, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(opposite, -logdet, rtol=1e-3, atol=1e-3)
    value = E(p, LogProb(p)).mean().eval({"a": given["a"], "b": given["b"]})
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, list(p.parameters())))


def test_zuko_leaves_the_argument_checks_on():
    pytest.importorskip("zuko")
    before = torch.distributions.Distribution._validate_args
    ZukoFlow("MAF", features=2, hidden_features=(8,))
    assert torch.distributions.Distribution._validate_args is before


def test_zuko_errors():
    pytest.importorskip("zuko")
    with pytest.raises(PixyzError, match=r"no flow 'NSFF'; it has .*'MAF'"):
        ZukoFlow("NSFF", features=2)
    with pytest.raises(PixyzError, match="base BoxUniform"):
        ZukoDistribution("NCSF", "x", 2)
    with pytest.raises(PixyzError, match="a lazy transform or a name"):
        ZukoFlow(3)


def test_zuko_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(PixyzError, match=r"pip install zuko"):
        ZukoFlow("NSF", features=2)
