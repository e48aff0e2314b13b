"""A normal by the logarithm of its scale: everything is what it is by the scale, and no logarithm
is taken.
"""

import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import Normal, TanhNormal
from pixyz.losses import ELBO, E, Entropy, KullbackLeibler, LogProb, Loss
from pixyz.types import PixyzError

B, X, Z = 5, 3, 4


def network(family: type[Normal], by_logarithm: bool, name: str, seed: int) -> Normal:
    class Network(family):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__("z", "x", name=name)
            torch.manual_seed(seed)
            self.net = nn.Linear(X, 2 * Z).double()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            loc, log_scale = self.net(x).chunk(2, -1)
            return (
                {"loc": loc, "log_scale": log_scale}
                if by_logarithm
                else {"loc": loc, "scale": log_scale.exp()}
            )

    return Network()


def losses(family: type[Normal], by_logarithm: bool) -> dict[str, Loss]:
    q, p = (network(family, by_logarithm, n, i) for i, n in enumerate("qp"))
    constants = (
        {"loc": 0.3, "log_scale": 0.2}
        if by_logarithm
        else {"loc": 0.3, "scale": torch.tensor(0.2).double().exp()}
    )
    fixed = family("z", features_shape=[Z], name="r", **constants).double()
    standard = family("z", loc=0.0, scale=1.0, features_shape=[Z], name="s").double()
    found = {
        "log_prob": LogProb(q).mean(),
        "kl": KullbackLeibler(q, p).mean(),
        "kl to constants": KullbackLeibler(q, fixed).mean(),
        "kl to a standard": KullbackLeibler(q, standard).mean(),
        "kl from constants": KullbackLeibler(fixed, q).mean(),
        "elbo": ELBO(standard, q).mean(),
        "at another's draw": E(q, LogProb(p) - LogProb(fixed)).mean(),
        "detached": KullbackLeibler(q.detach(), p).mean() + KullbackLeibler(q, p.frozen()).sum(),
    }
    return found | ({"entropy": Entropy(q).mean()} if family is Normal else {})


@pytest.mark.parametrize("family", [Normal, TanhNormal])
def test_every_loss_is_the_same(family: type[Normal]) -> None:
    z = torch.rand(B, Z, dtype=torch.float64)
    given = {"x": torch.randn(B, X, dtype=torch.float64), "z": z}
    for name, by_scale in losses(family, False).items():
        by_logarithm = losses(family, True)[name]
        results = []
        for loss in (by_scale, by_logarithm):
            torch.manual_seed(0)
            value = loss.eval(given)
            weights = [w for w in loss.parameters() if w.requires_grad]
            results.append((value, *torch.autograd.grad(value, weights, allow_unused=True)))
        for a, b in zip(*results, strict=True):
            if a is None or b is None:
                assert a is b, name
            else:
                torch.testing.assert_close(a, b, msg=name)


def test_no_logarithm_is_taken() -> None:
    for by_logarithm in (True, False):
        found = losses(Normal, by_logarithm)
        for name in ("kl", "kl to a standard", "elbo", "entropy"):
            # what the networks return is known then
            found[name].eval({"x": torch.randn(B, X, dtype=torch.float64)})
            assert (".log()" in str(found[name].plan)) != by_logarithm or name == "kl", name


def test_a_constant_and_a_bound_variable() -> None:
    p = Normal("x", "s", loc=0.0, log_scale="s", features_shape=[2])
    x, s = torch.randn(3, 2), torch.randn(3, 2)
    expected = torch.distributions.Normal(0.0, s.exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(p.get_log_prob({"x": x, "s": s}), expected)
    torch.testing.assert_close(p.torch_dist({"s": s}).scale, s.exp())
    with pytest.raises(PixyzError, match="scale or log_scale, not both"):
        Normal("x", loc=0.0, scale=1.0, log_scale=0.0)


@pytest.mark.parametrize("shape", [(), (2,), (4, 2), (5, 4, 2)])
def test_the_short_form_for_a_standard_normal_has_the_shape_of_the_long_one(
    shape: tuple[int, ...],
) -> None:
    for features in ([], [2]):
        x = torch.randn(shape)
        values = []
        for off in (0.0, 1e-30):  # the second is not quite standard
            p = Normal("x", loc=off, scale=1.0, features_shape=features)
            values.append(p.get_log_prob({"x": x}, sum_features=False))
        torch.testing.assert_close(values[0], values[1])
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[2])
    with torch.no_grad():
        before = p.get_log_prob({"x": torch.ones(3, 2)})
        p.loc += 1.0  # constants that are written to
    torch.testing.assert_close(p.get_log_prob({"x": torch.ones(3, 2)}), before + 1.0)
