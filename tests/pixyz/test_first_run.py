"""The first run of a plan calls each network once, whatever it finds out; and leaves what one call
leaves.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import Bernoulli, Categorical, Deterministic, Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter

X, Z = 4, 3
prior = Normal(
    "z", name="p_{prior}", features_shape=[Z], loc=torch.tensor(0.0), scale=torch.tensor(1.0)
)


class Counted(Normal):
    """A network that notes its calls; ``between`` stands after its layer."""

    def __init__(
        self, var: str, cond_var: str, sizes: tuple[int, int], scale: Any, between: nn.Module
    ) -> None:
        super().__init__(var, cond_var)
        self.net, self.scale, self.calls = (
            nn.Sequential(nn.Linear(*sizes), between),
            scale,
            list[int](),
        )

    def forward(self, **values: Tensor) -> dict[str, Any]:
        (given,) = values.values()
        self.calls.append(len(given))
        return {"loc": self.net(given), "scale": self.scale}


class Pixels(Bernoulli):
    """A decoder that returns logits where probabilities are expected."""

    def __init__(self, key: str) -> None:
        super().__init__("x", "z")
        self.net, self.key, self.calls = nn.Linear(Z, X), key, list[int]()

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        self.calls.append(len(z))
        logits = self.net(z)
        return {"logits": logits} if self.key == "logits" else {"probs": logits.sigmoid()}


def encoder(scale: Any = 0.5, between: nn.Module | None = None) -> Counted:
    torch.manual_seed(0)
    return Counted("z", "x", (X, Z), scale, between or nn.Identity())


def bits() -> dict[str, Tensor]:
    return {"x": (torch.rand(5, X, generator=torch.Generator().manual_seed(1)) > 0.5).float()}


def elbo(q: Counted, p: Any) -> Loss:
    return (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()


@pytest.mark.parametrize("key", ["logits", "probs"])
@pytest.mark.parametrize("scale", [0.5, torch.tensor(0.5), torch.full((Z,), 0.5)])
def test_each_network_is_called_once(scale: Any, key: str) -> None:
    q, p = encoder(scale), Pixels(key)
    loss = elbo(q, p)
    for _ in range(3):
        with torch.no_grad():
            loss.eval(bits())
        assert (q.calls, p.calls) == ([5], [5])
        q.calls.clear()
        p.calls.clear()


@pytest.mark.parametrize("key", ["logits", "probs"])
@pytest.mark.parametrize("scale", [0.5, torch.tensor(0.5), torch.full((Z,), 0.5)])
def test_gradients_of_the_first_run_are_those_of_later_ones(scale: Any, key: str) -> None:
    """Bit for bit: a network of a drawn value with a gradient is called again if the run begins
    again, no other one is.
    """
    q, p = encoder(scale), Pixels(key)
    loss = elbo(q, p)
    gradients = []
    for run in range(3):
        torch.manual_seed(2)
        value = loss.eval(bits())
        gradients.append(torch.autograd.grad(value, [*q.parameters(), *p.parameters()]))
        assert q.calls == [5] and p.calls in ([5], [5, 5][: 2 - bool(run)])
        q.calls.clear()
        p.calls.clear()
    assert all(
        torch.equal(first, later) for first, later in zip(gradients[0], gradients[2], strict=True)
    )


def test_dropout_is_drawn_once_and_what_follows_is_drawn_after_it() -> None:
    q, p = encoder(between=nn.Dropout(0.5)), Pixels("probs")
    loss = elbo(q, p)
    values = []
    for _ in range(3):
        torch.manual_seed(2)
        values.append((loss.eval(bits()).item(), torch.rand(()).item()))
    assert values[0] == values[1] == values[2]
    assert q.calls == [5, 5, 5]


def test_running_statistics_move_once() -> None:
    q = encoder(between=nn.BatchNorm1d(Z))
    elbo(q, Pixels("probs")).eval(bits())
    assert int(q.net[1].num_batches_tracked) == 1


def test_terms_that_do_not_share_call_as_often_as_they_are() -> None:
    q = encoder()
    loss = elbo(q, Pixels("probs")).share(False)
    loss.eval(bits())
    assert q.calls == [5, 5]


def test_other_values_are_another_call() -> None:
    """A network that changes its mind in each call finds no call of the same values, and the error
    says so.
    """

    class Moving(Normal):
        def __init__(self) -> None:
            super().__init__("z", "x")
            self.n = 0

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            self.n += 1
            return {"loc": x[:, :Z] + self.n, "scale": torch.ones_like(x[:, :Z])}

    f = Moving()
    first, second = (
        E(f.detach() if detached else f, Parameter("z")).mean().eval(bits())
        for detached in (True, False)
    )
    assert f.n == 2 and not torch.equal(first, second)


def test_what_a_trial_put_back_is_not_taken_from_it() -> None:
    """A counter in a buffer moves once for each step, though the series has one step, whose rows
    are the same.
    """

    class Counter(Deterministic):
        n: Tensor

        def __init__(self) -> None:
            super().__init__("s", "x")
            self.register_buffer("n", torch.zeros(()))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            self.n += 1
            return {"s": x.sum(-1) * self.n}

    f = Counter()
    loss = IterativeLoss(E(f, Parameter("s")), series_var="x")
    torch.testing.assert_close(loss.eval({"x": torch.ones(1, 2, X)}), torch.full((2,), float(X)))
    assert f.n == 1


@pytest.mark.parametrize("kind", ["float32", "float64", "categorical"])
def test_a_marginal_is_trained_after_a_first_run_in_inference_mode(kind):
    """A plan holds all values of a finite variable."""
    dtype = torch.float64 if kind == "float64" else torch.float32

    class P(Normal):
        def __init__(self, size):
            super().__init__("x", "k", features_shape=[2])
            self.net = nn.Linear(size, 2)

        def forward(self, k):
            return {"loc": self.net(k), "scale": torch.ones(len(k), 2, dtype=dtype)}

    if kind == "categorical":
        k, size = Categorical("k", probs=torch.tensor([0.3, 0.7])), 2
    else:
        k, size = Bernoulli("k", probs=torch.tensor([0.3])), 1
    p, x = (P(size) * k).to(dtype), {"x": torch.randn(4, 2, dtype=dtype)}
    marginal = p.marginalize_var("k")
    loss = marginal.log_prob().mean()
    with torch.inference_mode():
        first, direct = loss.eval(x), marginal.get_log_prob(x)
    value = loss.eval(x)
    value.backward()
    torch.testing.assert_close(value.detach(), first.clone())
    assert marginal.get_log_prob(x).requires_grad and direct.shape == (4,)
    assert all(w.grad is not None for w in p.parameters())
