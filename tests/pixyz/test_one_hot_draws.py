"""One-hot draws: by classes and by index one function, and the gradient that passes straight
through.
"""

import pytest
import torch
from torch import Tensor

from pixyz.distributions.families import one_hot
from pixyz.distributions.families.one_hot import one_hot_sample, straight_through, with_uniform
from pixyz.distributions.families.two_hot import Between


def by_hand(u: Tensor, probs: Tensor) -> Tensor:
    """The first class whose cumulative probability exceeds ``u`` of the total."""
    found = torch.zeros_like(probs)
    for row, (number, p) in enumerate(zip(u.flatten().tolist(), probs.flatten(0, -2), strict=True)):
        edges = p.cumsum(-1)
        over = [k for k in range(len(p)) if edges[k] > number * edges[-1]]
        found.view(-1, len(p))[row, over[0] if over else len(p) - 1] = 1.0
    return found


@pytest.mark.parametrize("searched", [0, 2048])
@pytest.mark.parametrize("few", [1, 16, 100])
@pytest.mark.parametrize("classes", [1, 2, 4, 15, 16, 33])
def test_draws_are_the_first_class_above(
    classes: int, few: int, searched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_hot, "FEW", few)
    monkeypatch.setattr(one_hot, "SEARCHED", searched)
    g = torch.Generator().manual_seed(classes)
    probs = torch.randn(40, 3, classes, generator=g).mul(3).softmax(-1)
    u = torch.rand(40, 3, 1, generator=g)
    u[:5], u[5:10] = 0.0, 1.0 - 2.0**-24
    found = one_hot_sample(u, probs.requires_grad_())
    assert found.dtype == probs.dtype and torch.equal(found, by_hand(u, probs.detach()))


def test_more_numbers_than_probabilities() -> None:
    u, probs = torch.rand(50, 2, 1), torch.tensor([0.2, 0.3, 0.5])
    assert torch.equal(one_hot_sample(u, probs), by_hand(u, probs.expand(50, 2, 3)))


def test_a_sample_with_the_gradient_of_its_probabilities() -> None:
    probs = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    sample, weight = (
        torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]],
        torch.randn(4, 3, dtype=torch.float64),
    )
    out = straight_through(sample, probs)
    assert torch.equal(out, sample)
    (found,) = torch.autograd.grad((out * weight * probs).sum(), probs, create_graph=True)
    torch.testing.assert_close(found, weight * probs + weight * sample)
    (second,) = torch.autograd.grad(found.sum(), probs)
    torch.testing.assert_close(second, 2 * weight)
    assert straight_through(sample, probs.detach()) is sample


def test_a_share_of_the_uniform_distribution() -> None:
    probs = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(with_uniform(probs, 0.01), 0.99 * probs + 0.0025, rtol=1e-15, atol=0)
    assert torch.autograd.gradcheck(lambda p: with_uniform(p, 0.1), probs)


def test_a_number_between_two_entries() -> None:
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    w = torch.rand(6, 1, dtype=torch.float64, requires_grad=True)
    i = torch.tensor([[0], [1], [3], [3], [2], [0]])
    assert torch.autograd.gradcheck(lambda a, b: Between.apply(a, i, i + 1, b), (x, w))
    torch.testing.assert_close(Between.apply(x, i, i + 1, w), Between.formula(x, i, i + 1, w))
