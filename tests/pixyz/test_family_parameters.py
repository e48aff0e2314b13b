"""How families take their parameters: numbers, tensors, learned constants, networks; what is
refused.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions import Bernoulli, Categorical, GroupedOneHot, Normal, TwoHot
from pixyz.types import PixyzError, ShapeError


def test_numbers_and_tensors_as_parameters() -> None:
    p = Normal(var="x", loc=1, scale=2, features_shape=[3])
    assert p.get_params()["loc"].shape == (1, 3) and p.features_shape == torch.Size([3])
    x = torch.randn(5, 3)
    torch.testing.assert_close(p.get_log_prob(x), td.Normal(1.0, 2.0).log_prob(x).sum(-1))
    mixed = Normal(var="x", loc=torch.zeros(3), scale=2.0)
    assert mixed.features_shape == torch.Size([3]) and mixed.sample(batch_n=2)["x"].shape == (2, 3)
    late = Normal(var="x", loc=0.0, scale=torch.ones(2, 3))
    assert late.sample(batch_n=5)["x"].shape == (5, 2, 3)
    scalar = Normal(var="x", loc=0.0, scale=1.0)
    assert scalar.sample(batch_n=5)["x"].shape == (5,) and scalar.sample(
        sample_shape=[7], batch_n=5
    )["x"].shape == (7, 5)


def test_a_constant_is_expanded_to_the_declared_shape() -> None:
    p = Normal(var="x", loc=torch.arange(3.0), scale=1.0, features_shape=[2, 3])
    assert p.sample(batch_n=4)["x"].shape == (4, 2, 3)
    with pytest.raises(ShapeError, match=r"loc.*\[4\].*\[2, 3\]"):
        Normal(var="x", loc=torch.zeros(4), scale=1.0, features_shape=[2, 3])


def test_a_learned_constant_gets_gradients() -> None:
    loc = nn.Parameter(torch.zeros(3))
    p = Normal(var="x", loc=loc, scale=1.0)
    assert [id(w) for w in p.parameters()] == [id(loc)]
    x = torch.randn(5, 3)
    p.get_log_prob(x).sum().backward()
    torch.testing.assert_close(loc.grad, x.sum(0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Normal(var="x", loc="z", scale=1.0), "z.*cond_var"),
        (lambda: Normal(var=["x", "y"]), "one variable"),
        (lambda: Bernoulli(var="x", probs=0.5, logits=0.0), "probs or logits"),
        (
            lambda: Categorical(var="x", probs=torch.ones(2), logits=torch.ones(2)),
            "probs or logits",
        ),
        (lambda: GroupedOneHot(2, 3, unimix=1.0), "unimix"),
        (lambda: Normal(var="x", loc=0.0).sample(), "scale.*missing"),
        (lambda: Normal(var="x", cond_var="x"), "cond_var"),
        (lambda: Normal(var="x", loc=torch.zeros(3, requires_grad=True)), "nn.Parameter"),
        (lambda: Normal(var="self"), "self"),
        (lambda: TwoHot(bins=4), "odd"),
        (lambda: TwoHot(bins=torch.tensor([0.0, 1.0, 2.0])), "symmetric"),
        (lambda: TwoHot(bins=torch.tensor([1.0, 0.0, -1.0])), "increasing"),
    ],
)
def test_wrong_constructions_are_explained(make: Callable[[], object], words: str) -> None:
    with pytest.raises(PixyzError, match=words):
        make()


class Net(Bernoulli):
    """A network that returns ``probs`` or ``logits``."""

    def __init__(self, key: str) -> None:
        super().__init__(var="x", cond_var="z")
        self.key = key

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {self.key: z.sigmoid() if self.key == "probs" else z}


def test_networks_may_return_probs_or_logits() -> None:
    z, x = torch.randn(5, 3, dtype=torch.float64), torch.ones(5, 3, dtype=torch.float64)
    values = [Net(key).get_log_prob({"x": x, "z": z}) for key in ("probs", "logits")]
    torch.testing.assert_close(*values)
    assert "logits" in Net("logits").get_params(z)
    with pytest.raises(PixyzError, match=r"probs.*loc"):
        Net("loc").get_log_prob({"x": x, "z": z})
