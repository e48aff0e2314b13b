"""The made-up device itself: what is noted, what is not,
and that its numbers are those of the CPU.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from made_up_device import Made, move, register, to_device, watched
from torch import Tensor, nn

NAMES = ("strays", "reads", "uploads")
NOTED: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "a tensor on the CPU": ("strays", lambda x: torch.zeros(3)),
    "one that meets it": ("strays", lambda x: x + [torch.ones(3), x.sum()][0]),
    "a list as an index": ("strays", lambda x: x[[0, 1]]),
    "a number": ("reads", lambda x: x.sum().item()),
    "a condition": ("reads", lambda x: 1 if x.isfinite().all() else 0),
    "numbers": ("reads", lambda x: x.tolist()),
    "a copy back": ("reads", lambda x: x.cpu()),
    "rows by a mask": ("reads", lambda x: x[x > 0]),
    "places": ("reads", lambda x: (x > 0).nonzero()),
    "equality": ("reads", lambda x: torch.equal(x, x)),
    "a checked factor": ("reads", lambda x: torch.linalg.cholesky(x.exp().diag())),
    "deviations": ("reads", lambda x: torch.normal(x, x.exp())),
    "numbers to it": ("uploads", lambda x: torch.tensor([1.0, 2.0], device=x.device)),
    "a number to it": ("uploads", lambda x: torch.tensor(1.0, device=x.device)),
}
QUIET: dict[str, Callable[[Tensor], Any]] = {
    "a number in a formula": lambda x: x * 2 + torch.tensor(3.0),
    "made on it": lambda x: (
        torch.zeros(2, device=x.device) + x.new_ones(2) + torch.rand(2, device=x.device)
    ),
    "a number by a mask": lambda x: x.clone().masked_fill_(x > 0, 0.0),
    "set by a mask": lambda x: x.clone().__setitem__(x > 0, 0.0),
    "an index on it": lambda x: x[x.argsort()],
    "quantiles": lambda x: torch.quantile(x, torch.full((2,), 0.5, device=x.device)),
    "classes": lambda x: nn.functional.one_hot(x.argsort(), 3),
}


def noted(of: Callable[[Tensor], Any]) -> dict[str, int]:
    register()
    with watched() as watch:
        x = to_device(torch.tensor([0.5, -1.0, 2.0]))
        watch.clear()
        of(x)
        return {n: len(getattr(watch, n)) for n in NAMES if getattr(watch, n)}


@pytest.mark.parametrize("what", NOTED)
def test_what_an_accelerator_would_not_like_is_noted(what: str) -> None:
    kind, of = NOTED[what]
    assert noted(of).get(kind, 0) >= 1
    if kind == "reads":
        assert noted(of) == {"reads": 1}


@pytest.mark.parametrize("what", QUIET)
def test_what_it_takes_is_not(what: str) -> None:
    assert noted(QUIET[what]) == {}


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
def test_networks_and_optimizers_are_those_of_the_cpu(cell: type[nn.Module]) -> None:
    register()
    torch.manual_seed(0)
    here = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), cell(4, 5))
    there, x, found = move(copy.deepcopy(here)), torch.randn(6, 3), []
    for network in (here, there):
        with watched() as watch:
            optimizer = torch.optim.Adam(network.parameters(), fused=True)
            for _ in range(2):
                given = to_device(x) if network is there else x
                watch.clear()
                loss = network(given)[0].square().mean()
                loss.backward()
                optimizer.step()
        found.append([loss.detach(), *(p.detach() for p in network.parameters())])
    assert not watch.strays and not watch.reads and not watch.uploads
    for a, b in zip(*found, strict=True):
        assert isinstance(b, Made)
        torch.testing.assert_close(b.held, a)


def test_moving_keeps_the_objects() -> None:
    register()
    layer = nn.BatchNorm1d(2)
    before = [*layer.parameters(), *layer.buffers()]
    after = [*move(layer).parameters(), *layer.buffers()]
    assert all(a is b and isinstance(a, Made) for a, b in zip(before, after, strict=True))
