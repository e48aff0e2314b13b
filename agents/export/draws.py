"""Every draw of a function as an input of it: noise is recorded once,
and handed in from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from agents.errors import UsageError

KINDS: dict[Any, str] = {
    torch.rand: "uniform",
    torch.rand_like: "uniform",
    torch.randn: "normal",
    torch.randn_like: "normal",
}
OTHERS = frozenset(
    {
        "bernoulli",
        "bernoulli_",
        "cauchy_",
        "exponential_",
        "geometric_",
        "log_normal_",
        "multinomial",
        "normal",
        "normal_",
        "poisson",
        "rand",
        "randint",
        "randint_like",
        "randn",
        "random_",
        "randperm",
        "rrelu",
        "dropout",
        "uniform_",
    }
)


class Draw(NamedTuple):
    """One draw: ``"uniform"`` in [0, 1) or ``"normal"``, and what was drawn.

    >>> Draw("normal", torch.zeros(2)).kind
    'normal'
    """

    kind: str
    value: Tensor


class Recorded(TorchFunctionMode):
    """Within the context draws are kept in ``draws``, in their order.

    Raises:
        UsageError: something is drawn that is neither uniform nor normal noise of its own.

    >>> with Recorded() as recorded:
    ...     noise = torch.randn(3)
    >>> recorded.draws[0].kind, torch.equal(recorded.draws[0].value, noise)
    ('normal', True)
    """

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kind = KINDS.get(function)
        if kind is None:
            _check(function, args, kwargs or {})
            return function(*args, **(kwargs or {}))
        value: Tensor = function(*args, **(kwargs or {}))
        self.draws.append(Draw(kind, value.clone()))
        return value


class Given(TorchFunctionMode):
    """Within the context every draw gives the next of ``noise``; :func:`given` sees that none is
    left.

    >>> noise = [torch.tensor([0.5, -0.5])]
    >>> with Given(noise):
    ...     torch.randn(2)
    tensor([ 0.5000, -0.5000])
    """

    def __init__(self, noise: Sequence[Tensor]) -> None:
        super().__init__()
        self.noise, self.taken = noise, 0

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function not in KINDS:
            _check(function, args, kwargs or {})
            return function(*args, **(kwargs or {}))
        self.taken += 1
        if self.taken > len(self.noise):
            raise UsageError(
                f"expected {len(self.noise)} draws, got another: "
                f"the function draws differently each time"
            )
        return self.noise[self.taken - 1]


@contextmanager
def given(noise: Sequence[Tensor]) -> Iterator[None]:
    """As :class:`Given`.

    Raises:
        UsageError: fewer draws were made than there is noise.
    """
    mode = Given(noise)
    with mode:
        yield
    if mode.taken != len(noise):
        raise UsageError(
            f"expected {len(noise)} draws, got {mode.taken}: "
            f"the function draws differently each time"
        )


def _check(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    name = getattr(function, "__name__", "")
    still = name in ("dropout", "rrelu") and not kwargs.get(
        "training", args[2] if len(args) > 2 else False
    )
    if name in OTHERS and not still:
        raise UsageError(
            f"expected draws by torch.rand and torch.randn, got {name}: "
            f"it cannot be exported as an input"
        )
