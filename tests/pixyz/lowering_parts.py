"""Networks and data of the laws of lowering; they see one batch dimension, always."""

import inspect
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor import exc

from pixyz.distributions import Bernoulli, Deterministic, Distribution, Normal
from pixyz.losses import Loss

D, B, T = 2, 3, 5


def no_compiler() -> Exception:
    """What torch raises where there is no C++ compiler; until 2.6 it had no type of its own."""
    inner = exc.InvalidCxxCompiler()
    if hasattr(exc, "InductorError"):
        return exc.InductorError(inner, inspect.currentframe())
    return BackendCompilerFailed("inductor", inner)  # type: ignore[call-arg]


class Net:
    cond_var: list[str]

    def begin(self, out: int) -> None:
        self.net = nn.Linear(D * len(self.cond_var), out).double()

    def all(self, given: dict[str, Tensor]) -> Tensor:
        return self.net(torch.cat([given[c] for c in self.cond_var], 1))  # type: ignore[no-any-return]


class Function(Net, Deterministic):
    def __init__(self, var: str, cond: list[str]) -> None:
        super().__init__(var, cond, name="f", features_shape=[D])
        self.begin(D)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {self.var[0]: torch.tanh(self.all(given))}


class Gauss(Net, Normal):
    def __init__(self, var: str, cond: list[str], name: str = "p") -> None:
        super().__init__(var=var, cond_var=cond, name=name, features_shape=[D])
        self.begin(2 * D)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.all(given).chunk(2, 1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


class Bits(Bernoulli):
    """A decoder that returns logits."""

    def __init__(self) -> None:
        super().__init__("x", "z", name="p")
        self.net = nn.Linear(D, D).double()

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z)}


class Sum(Deterministic):
    """``h = h_prev + x``."""

    def __init__(self) -> None:
        super().__init__("h", ["h_prev", "x"], name="f", features_shape=[D])

    def forward(self, h_prev: Tensor, x: Tensor) -> dict[str, Tensor]:
        return {"h": h_prev + x}


def series(seed: int = 0, *shape: int) -> Tensor:
    return torch.randn(
        *(shape or (T, B, D)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def carried(*names: str) -> dict[str, object]:
    names = names or ("h",)
    zero = torch.zeros(D, dtype=torch.float64)
    return {
        "series_var": "x",
        "update_value": {n: f"{n}_prev" for n in names},
        "init": {f"{n}_prev": zero for n in names},
    }


def seeded(loss: Loss, x: dict[str, object]) -> Tensor:
    torch.manual_seed(0)
    return loss.eval(x)  # type: ignore[no-any-return]


forms = pytest.mark.parametrize("fission", [True, False])


def computed_from(names: Iterable[str], nodes: Iterable[Distribution]) -> list[str]:
    """The variables ``names`` that ``nodes`` draw, and those that they are computed from among
    them.
    """
    owner = {n.var[0]: n for n in nodes}
    found: list[str] = []
    stack = [n for n in names if n in owner]
    while stack:
        name = stack.pop()
        if name not in found:
            found.append(name)
            stack += [c for c in owner[name].cond_var if c in owner]
    return found
