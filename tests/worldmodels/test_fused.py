"""Cells whose backward pass is written out: the same as torch.nn's form, and weights get their
gradients once a run.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixyz.plan.once import one_run
from worldmodels import fused, networks
from worldmodels.networks import MLP, BlockGRU, Layer, linear
from worldmodels.straight import norm_silu

Grads = dict[str, Tensor]


def shaken(module: nn.Module) -> nn.Module:
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g))
    return module.double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MODULES: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "dense": (lambda: linear(5, 4), [(3, 5)]),
    "dense of parts": (lambda: linear(7, 4), [(3, 5), (3, 2)]),
    "layer": (lambda: Layer(5, 4), [(3, 5)]),
    "layer of parts": (lambda: Layer(7, 4), [(3, 4), (3, 1), (3, 2)]),
    "layers": (lambda: MLP(7, 6, 2, 3), [(3, 5), (3, 2)]),
    "no layer": (lambda: MLP(5, 6, 0, 3), [(3, 5)]),
    "a row": (lambda: MLP(5, 6, 1, 3), [(5,)]),
    "a series": (lambda: MLP(5, 6, 1), [(2, 3, 5)]),
    "nothing": (lambda: MLP(5, 6, 1), [(0, 5)]),
    "block GRU": (lambda: BlockGRU(8, 3, 2, 4, 2), [(3, 8), (3, 3), (3, 2)]),
}


def made(name: str) -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    build, shapes = MODULES[name]
    return shaken(build()), [draw(*s, seed=i).tanh().requires_grad_() for i, s in enumerate(shapes)]


def value_and_gradients(module: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, Grads]:
    out = module(*inputs)
    loss = (out * draw(*out.shape, seed=9)).sum() + out.square().sum()
    wanted = {**dict(module.named_parameters()), **{f"input {i}": x for i, x in enumerate(inputs)}}
    return out, dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True))


def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "fused", lambda module, inputs: None)


@pytest.mark.parametrize("name", MODULES)
def test_each_equals_its_form_in_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = made(name)
    out, found = value_and_gradients(module, inputs)
    with torch.no_grad(), one_run():
        for _ in range(3):  # the first as it is, the others packed
            torch.testing.assert_close(module(*inputs), out, rtol=1e-12, atol=1e-13)
        packed = module(*inputs)
    torch.testing.assert_close(packed, out, rtol=0, atol=0)
    plain(monkeypatch)
    wanted_out, wanted = value_and_gradients(module, inputs)
    torch.testing.assert_close(out, wanted_out, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["layers", "block GRU"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    module, inputs = made(name)
    weights = {n: p.detach().requires_grad_() for n, p in module.named_parameters()}

    def call(*given: Tensor) -> Any:
        held = dict(zip(weights, given[len(inputs) :], strict=True))
        return torch.func.functional_call(module, held, tuple(given[: len(inputs)]))

    assert torch.autograd.gradcheck(call, (*inputs, *weights.values()), fast_mode=True)


@pytest.mark.parametrize("name", ["layers", "block GRU"])
@pytest.mark.parametrize("most", [1, 5, 1000])
def test_a_series_gives_its_weights_one_gradient(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = made(name)
    monkeypatch.setattr(fused, "ROWS", most)
    gathered = []
    for operation in (networks.Chain, networks.GatedBlocks):
        gather = operation.gather
        monkeypatch.setattr(
            operation, "gather", lambda o, r, g=gather: (gathered.append(len(r[0])), g(o, r))[1]
        )

    def series() -> Grads:
        with one_run():
            total = torch.zeros((), dtype=torch.float64)
            given = list(inputs)
            for t in range(6):
                out = module(*given)
                total = total + (out * draw(*out.shape, seed=t)).sum()
                given[0] = nn.functional.pad(out, (0, given[0].shape[-1] - out.shape[-1]))
        return dict(
            zip(
                dict(module.named_parameters()),
                torch.autograd.grad(total, list(module.parameters())),
                strict=True,
            )
        )

    found = series()
    assert gathered == {1: [3] * 6, 5: [6, 6, 6], 1000: [18]}[most]
    plain(monkeypatch)
    torch.testing.assert_close(found, series(), rtol=1e-11, atol=1e-12)


def test_what_did_not_ask_for_the_weights_gradients_adds_nothing_to_them() -> None:
    module, (x,) = made("layer")
    with one_run():
        a, b = module(x), module(2 * x)
    alone = torch.autograd.grad(b.sum(), module.parameters(), retain_graph=True)
    torch.autograd.grad(a.sum() + b.sum(), x, retain_graph=True)
    again = torch.autograd.grad(b.sum(), module.parameters(), retain_graph=True)
    both = torch.autograd.grad(a.sum() + b.sum(), module.parameters())
    torch.testing.assert_close(again, alone, rtol=0, atol=0)
    own = torch.autograd.grad(module(x).sum(), module.parameters())
    torch.testing.assert_close(both, tuple(p + q for p, q in zip(own, alone, strict=True)))


def test_weights_that_were_changed_before_backward_are_found() -> None:
    module, (x,) = made("layer")
    out = module(x)
    with torch.no_grad():
        module[0].weight.add_(1.0)
    with pytest.raises(RuntimeError, match="step the optimizer after backward"):
        out.sum().backward()


def test_other_weights_in_a_run_are_seen_and_constant_ones_get_no_gradient() -> None:
    module, inputs = made("block GRU")
    other = {n: p.detach() + 0.5 for n, p in module.named_parameters()}
    with one_run():
        first = module(*inputs)
        second = torch.func.functional_call(module, other, tuple(inputs))
        third = module(*inputs)
    torch.testing.assert_close(first, third, rtol=0, atol=0)
    twin = copy.deepcopy(module)
    twin.load_state_dict(other)
    torch.testing.assert_close(second, twin(*inputs), rtol=0, atol=0)
    second.sum().backward()
    assert all(p.grad is None for p in module.parameters()) and inputs[0].grad is not None


def test_a_part_with_a_hook_or_a_weight_of_its_own_making_runs_as_it_is() -> None:
    module, inputs = made("layers")
    wanted = module(*inputs)
    seen: list[int] = []
    module[0][0].register_forward_hook(lambda *given: seen.append(1))
    torch.testing.assert_close(module(*inputs), wanted)
    assert seen == [1]
    module, inputs = made("layers")
    nn.utils.parametrizations.weight_norm(module[0][0])
    out, found = value_and_gradients(module, inputs)
    torch.testing.assert_close(out, wanted)
    assert found["0.0.parametrizations.weight.original0"].abs().sum() > 0
    module, inputs = made("layers")
    module[1] = nn.Sequential(module[1], nn.Identity())
    torch.testing.assert_close(module(*inputs), wanted)


def test_transforms_pass_through() -> None:
    module, inputs = made("layer")
    rows = torch.func.vmap(lambda x: module(x.unsqueeze(0)).squeeze(0))(*inputs)
    torch.testing.assert_close(rows, module(*inputs))


def test_there_is_no_second_derivative() -> None:
    module, (x,) = made("layer")
    (first,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("name", ["dense of parts", "layers", "block GRU"])
def test_autocast_rounds_products_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = made(name)
    module, given = module.float(), [x.detach().float().requires_grad_() for x in inputs]

    def low() -> tuple[Tensor, Grads]:
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            out = module(*given)
        wanted = {
            **dict(module.named_parameters()),
            **{f"input {i}": x for i, x in enumerate(given)},
        }
        return out, dict(
            zip(wanted, torch.autograd.grad(out.square().sum(), list(wanted.values())), strict=True)
        )

    exact = value_of_squares(module, given)
    out, found = low()
    assert out.dtype == torch.float32 and all(g.dtype == torch.float32 for g in found.values())
    plain(monkeypatch)
    other_out, other = low()
    assert (out - other_out).abs().max() < 0.02 * other_out.abs().max()
    for key, gradient in found.items():
        size = exact[key].abs().max()
        assert (gradient - exact[key]).abs().max() <= 2 * (
            other[key] - exact[key]
        ).abs().max() + 0.01 * size, key


def value_of_squares(module: nn.Module, given: list[Tensor]) -> Grads:
    wanted = {**dict(module.named_parameters()), **{f"input {i}": x for i, x in enumerate(given)}}
    return dict(
        zip(
            wanted,
            torch.autograd.grad(module(*given).square().sum(), list(wanted.values())),
            strict=True,
        )
    )


# ------------------------------------------------------------------------- once, no gradient


@pytest.mark.parametrize("name", MODULES)
def test_without_a_gradient_the_first_call_is_kernel_by_kernel(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And equals torch.nn's form to the last bit."""
    module, inputs = made(name)
    with torch.no_grad():
        found = module.straight(tuple(inputs))
        called = module(*inputs)
        plain(monkeypatch)
        expected = module(*inputs)
    assert found is not None
    assert torch.equal(found, expected) and torch.equal(called, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 3, 64, 100, 512])
def test_the_norm_without_a_gradient_has_the_bits_of_torch(size: int, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(size)
    norm = networks.RMSNorm(size).to(dtype)
    for shape in [(size,), (1, size), (40, size), (2, 3, size)]:
        for power in range(-4, 5):
            x = torch.randn(shape, generator=g, dtype=dtype) * 10.0**power
            with torch.no_grad():
                norm.weight.copy_(torch.randn(size, generator=g, dtype=dtype))
                expected = nn.functional.silu(norm(x))
                before = x.clone()
                found = norm_silu(norm, x)
            assert found is not None and torch.equal(found, expected)
            assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["layer", "layers", "block GRU"])
def test_parts_with_hooks_are_called(name: str) -> None:
    module, inputs = made(name)
    part = next(m for m in module.modules() if isinstance(m, networks.RMSNorm))
    seen = []
    part.register_forward_hook(lambda *given: seen.append(given))
    with torch.no_grad():
        assert module.straight(tuple(inputs)) is None
        module(*inputs)
    assert len(seen) == 1


def test_a_weight_that_is_computed_is_asked_for() -> None:
    module, inputs = made("layer")
    nn.utils.parametrizations.weight_norm(module[0])
    with torch.no_grad():
        assert module.straight(tuple(inputs)) is None
        weight = module[0].weight
        expected = module[2](module[1](nn.functional.linear(inputs[0], weight, module[0].bias)))
        torch.testing.assert_close(module(*inputs), expected)
