"""What the golden expressions are made of: the table, inputs, networks, and how one is evaluated.

Weights are a fixed pattern, so that only the noise of normal draws, whose stream both libraries
share, depends on a generator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz import distributions as pd

# B * Z fills a whole block of the normal generator: draws together equal draws in turn
B, X, Z, Y = (
    4,
    3,
    4,
    3,
)


@dataclass
class Golden:
    """An expression: what is printed, what is computed from which inputs, whose weights get
    gradients.
    """

    shown: Any
    compute: Callable[[dict[str, Any]], Tensor]
    inputs: dict[str, Any]
    modules: list[Any] = field(default_factory=list)


CASES: dict[str, Callable[[], Golden]] = {}


def golden(function: Callable[[], Golden]) -> Callable[[], Golden]:
    """Add an expression to the table."""
    CASES[function.__name__] = function
    return function


def of(loss: Any, inputs: dict[str, Any], *modules: Any) -> Golden:
    """A loss and its evaluation."""
    return Golden(loss, lambda x: loss.eval(x), inputs, list(modules))


def fill(modules: list[Any]) -> list[nn.Parameter]:
    """Set all weights to a pattern."""
    found = list({id(p): p for m in modules for p in m.parameters()}.values())
    with torch.no_grad():
        for i, p in enumerate(found):
            k = torch.arange(p.numel(), dtype=p.dtype)
            p.copy_(0.5 * torch.sin(1.7 * k + 0.3 * k * k + i).reshape(p.shape))
    return found


def evaluate(name: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Build an expression in float64 and compute it: its inputs, value, gradients and text.

    Args:
        inputs: recorded inputs, in the place of the expression's own.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        made = CASES[name]()
        weights = fill(made.modules)
        given = dict(made.inputs if inputs is None else inputs)
        leaves = {
            k: v.requires_grad_()
            for k, v in given.items()
            if isinstance(v, Tensor) and v.is_floating_point()
        }
        torch.manual_seed(1)
        value = made.compute(given)
        wanted = [*weights, *leaves.values()]
        grads: list[Tensor | None] = [None] * len(wanted)
        if value.requires_grad:
            grads = list(torch.autograd.grad(value.sum(), wanted, allow_unused=True))
        return {
            "inputs": given,
            "value": value.detach(),
            "gradients": grads,
            "text": str(made.shown),
        }
    finally:
        torch.set_default_dtype(before)


# --------------------------------------------------------------------------------------------
# inputs


def wave(*shape: int, shift: float = 0.0) -> Tensor:
    """Numbers between -1 and 1."""
    count = int(torch.tensor(shape).prod())
    return torch.sin(2.3 * torch.arange(count, dtype=torch.get_default_dtype()) + shift).reshape(
        shape
    )


def positive(*shape: int) -> Tensor:
    """Numbers between 0.5 and 1.5."""
    return 1.0 + 0.5 * wave(*shape, shift=0.5)


def unit(*shape: int) -> Tensor:
    """Numbers between 0.1 and 0.9."""
    return 0.5 + 0.4 * wave(*shape, shift=0.9)


def simplex(*shape: int) -> Tensor:
    """Positive numbers that sum to one in the last dimension."""
    found = positive(*shape)
    return found / found.sum(-1, keepdim=True)


def bits(*shape: int) -> Tensor:
    return (wave(*shape, shift=0.3) > 0).to(torch.get_default_dtype())


def one_hot(count: int, classes: int) -> Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


# --------------------------------------------------------------------------------------------
# distributions with networks


class Encoder(pd.Normal):
    """q(z|x)."""

    def __init__(
        self, var: str = "z", cond: str = "x", name: str = "q", sizes: tuple[int, int] = (X, Z)
    ) -> None:
        super().__init__(var=[var], cond_var=[cond], name=name)
        self.fc1, self.fc2 = nn.Linear(*sizes), nn.Linear(*sizes)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        (x,) = given.values()
        return {"loc": self.fc1(x), "scale": F.softplus(self.fc2(x))}


class Inference(pd.Normal):
    """q(z|x)."""

    def __init__(self) -> None:
        super().__init__(var=["z"], cond_var=["x"], name="q")
        self.fc1, self.fc2 = nn.Linear(X, Z), nn.Linear(X, Z)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": self.fc1(x), "scale": F.softplus(self.fc2(x))}


class InferenceY(pd.Normal):
    """q(z|x,y)."""

    def __init__(self) -> None:
        super().__init__(var=["z"], cond_var=["x", "y"], name="q")
        self.fc1, self.fc2 = nn.Linear(X + Y, Z), nn.Linear(X + Y, Z)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        both = torch.cat([x, y], 1)
        return {"loc": self.fc1(both), "scale": F.softplus(self.fc2(both))}


class Generator(pd.Bernoulli):
    """p(x|z)."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc = nn.Linear(Z, X)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.sigmoid(self.fc(z))}


class GeneratorNormal(pd.Normal):
    """p(x|z), real."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc = nn.Linear(Z, X)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        loc = self.fc(z)
        return {"loc": loc, "scale": torch.ones_like(loc)}


class GeneratorY(pd.Bernoulli):
    """p(x|z,y)."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z", "y"], name="p")
        self.fc = nn.Linear(Z + Y, X)

    def forward(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.sigmoid(self.fc(torch.cat([z, y], 1)))}


class Classifier(pd.Categorical):
    """q(y|x)."""

    def __init__(self) -> None:
        super().__init__(var=["y"], cond_var=["x"], name="q")
        self.fc = nn.Linear(X, Y)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.softmax(self.fc(x), -1)}


class Discriminator(pd.Deterministic):
    """t = d(x)."""

    def __init__(self, var: str = "x", size: int = X) -> None:
        super().__init__(var=["t"], cond_var=[var], name="d")
        self.fc = nn.Linear(size, 1)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        (x,) = given.values()
        return {"t": torch.sigmoid(self.fc(x))}


class Feature(pd.Deterministic):
    """h = f(x)."""

    def __init__(self) -> None:
        super().__init__(var=["h"], cond_var=["x"], name="f")
        self.fc = nn.Linear(X, Z)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"h": torch.tanh(self.fc(x))}


class Transition(pd.Normal):
    """p(z|z_prev)."""

    def __init__(self, name: str = "p") -> None:
        super().__init__(var=["z"], cond_var=["z_prev"], name=name)
        self.fc1, self.fc2 = nn.Linear(Z, Z), nn.Linear(Z, Z)

    def forward(self, z_prev: Tensor) -> dict[str, Tensor]:
        return {"loc": self.fc1(z_prev), "scale": F.softplus(self.fc2(z_prev))}


class Filter(pd.Normal):
    """q(z|x,z_prev)."""

    def __init__(self) -> None:
        super().__init__(var=["z"], cond_var=["x", "z_prev"], name="q")
        self.fc1, self.fc2 = nn.Linear(X + Z, Z), nn.Linear(X + Z, Z)

    def forward(self, x: Tensor, z_prev: Tensor) -> dict[str, Tensor]:
        both = torch.cat([x, z_prev], -1)
        return {"loc": self.fc1(both), "scale": F.softplus(self.fc2(both))}


class Cell(pd.Deterministic):
    """h = f(x, z, h_prev)."""

    def __init__(self) -> None:
        super().__init__(var=["h"], cond_var=["x", "z", "h_prev"], name="f")
        self.cell = nn.GRUCell(X + Z, Z)

    def forward(self, x: Tensor, z: Tensor, h_prev: Tensor) -> dict[str, Tensor]:
        return {"h": self.cell(torch.cat([z, x], -1), h_prev)}


class Slice(pd.Deterministic):
    """x_t = x[t]."""

    def __init__(self) -> None:
        super().__init__(var=["x_t"], cond_var=["x", "t"], name="s")

    def forward(self, x: Tensor, t: int) -> dict[str, Tensor]:
        return {"x_t": x[t]}


def prior(var: str = "z", size: int = Z, name: str = "p_{prior}") -> Any:
    return pd.Normal(
        var=[var], loc=torch.tensor(0.0), scale=torch.tensor(1.0), features_shape=[size], name=name
    )
