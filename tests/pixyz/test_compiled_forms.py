"""What is written in another way for a compiler gives the same values and gradients."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pixyz.distributions import TwoHot
from pixyz.distributions.families.one_hot import MANY, one_hot_sample, softmax_last
from pixyz.plan import Options
from pixyz.plan.run.compiled import settings
from worldmodels.networks import gated


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).requires_grad_()


def density(bins: int) -> Callable[[Tensor], Tensor]:
    p = TwoHot("r", logits=torch.zeros(1, bins), bins=bins)
    edges = torch.cat([p.bins[:2], p.bins.mean()[None], p.bins[-1:] * 2, p.bins[:1] * 2]).double()
    x = torch.cat([edges, torch.linspace(-3.0, 3.0, 15).double()]).unsqueeze(-1)
    return lambda logits: p.log_density(x, p.derive_log_probs(logits))


FORMS = {
    **{f"two_hot_{k}": (density(k), (20, k)) for k in (3, 15, 255)},
    **{f"softmax_{k}": (softmax_last, (30, 3, k)) for k in (1, 2, 4, 15, 16, 20)},
    "gated": (lambda x: gated(*x.unbind(0)), (4, 5, 6)),
}


@pytest.mark.parametrize("name", FORMS)
def test_values_and_gradients(name: str) -> None:
    torch._dynamo.reset()
    form, shape = FORMS[name]
    x = draw(*shape)
    weight = draw(*form(x).shape, seed=1).detach()
    found = []
    for run in (form, torch.compile(form, backend="eager", fullgraph=True)):
        value = run(x)
        found.append((value, torch.autograd.grad((weight * value).sum(), x)[0]))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("rows", [1, MANY - 1, MANY, 3 * MANY])
@pytest.mark.parametrize("classes", [1, 2, 7, 8, 15, 16, 20])
def test_softmax_along_classes_or_along_rows(rows: int, classes: int) -> None:
    """By its definition, from logits that are far apart; and its gradient."""
    x = 300.0 * draw(rows, classes)
    weight = draw(rows, classes, seed=1).detach()
    for dtype, digits in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        given = x.detach().to(dtype).requires_grad_()
        exact = given.detach().double()
        e = np.exp(exact.numpy() - exact.numpy().max(-1, keepdims=True))
        expected = e / e.sum(-1, keepdims=True)
        found = softmax_last(given)
        assert np.allclose(found.detach().double().numpy(), expected, rtol=0.0, atol=digits)
        [gradient] = torch.autograd.grad((weight.to(dtype) * found).sum(), given)
        w = weight.numpy()
        slope = expected * (w - (expected * w).sum(-1, keepdims=True))
        assert np.allclose(gradient.double().numpy(), slope, rtol=0.0, atol=10 * digits)


@pytest.mark.parametrize("classes", [1, 2, 4, 15, 16, 20])
def test_one_hot_draws(classes: int) -> None:
    torch._dynamo.reset()
    probs = draw(50, 3, classes).detach().softmax(-1)
    probs[:5, :, 0] = 0.0
    u = torch.rand(50, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u[0], u[1] = 0.0, 1.0 - 2**-53
    found = torch.compile(one_hot_sample, backend="eager", fullgraph=True)(u, probs)
    assert torch.equal(found, one_hot_sample(u, probs)) and torch.equal(
        found.sum(-1), torch.ones(50, 3).double()
    )


def test_kernels_are_called_from_cpp_where_no_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        how = settings(Options(chunk=8, mode="max-autotune"), fallback_random=True)["options"]
        assert how["cpp_wrapper"] is not gpu and how["max_autotune"] and how["fallback_random"]
    assert settings(Options(chunk=8, backend="eager")) == {"backend": "eager"}
