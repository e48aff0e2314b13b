"""Networks that left a time loop, some rows at a time: the same values and gradients, in less
memory.
"""

import pytest
import torch
from lowering_parts import B, D, Function, Gauss, T, carried, series
from torch import Tensor, nn

from pixyz import PixyzError
from pixyz.distributions import Bernoulli, Deterministic, Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter
from pixyz.plan.run.slabs import in_slabs


class Learned(Normal):
    """A scale ``[D]`` of its own, which has no rows."""

    def __init__(self) -> None:
        super().__init__("x", ["h", "z"], name="p", features_shape=[D])
        self.net, self.raw = (
            nn.Linear(2 * D, D).double(),
            nn.Parameter(torch.zeros(D, dtype=torch.float64)),
        )

    def forward(self, h: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"loc": self.net(torch.cat([h, z], 1)), "scale": self.raw.exp()}


def model(x: object = None) -> Loss:
    torch.manual_seed(0)
    f, q, prior = (
        Function("h", ["h_prev", "z_prev"]),
        Gauss("z", ["h", "x"], "q"),
        Gauss("z", ["h"]),
    )
    step = E(f * q, -LogProb(x or Learned()) + KullbackLeibler(q, prior))  # type: ignore[arg-type]
    return IterativeLoss(step, **carried("h", "z")).mean()  # type: ignore[arg-type]


def run(loss: Loss, steps: int = T) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(3)
    value = loss.eval({"x": series(1, steps, B, D)})
    return value, torch.autograd.grad(value, list(loss.parameters()))


@pytest.mark.parametrize("max_rows", [2, D + 1, 4, 5, T * B - 1, T * B, 1000])
def test_values_and_gradients_are_those_of_one_call(max_rows: int) -> None:
    loss = model()
    wanted = [run(loss), run(loss, 7)]
    assert loss.in_slabs(max_rows) is loss
    for _ in range(2):  # the first run, which tries the networks, and a later one
        torch.testing.assert_close(run(loss), wanted[0])
    torch.testing.assert_close(run(loss, 7), wanted[1])
    with torch.no_grad():
        torch.manual_seed(3)
        torch.testing.assert_close(loss.eval({"x": series(1, T, B, D)}), wanted[0][0])
    assert "in_slabs" in loss.plan.source
    loss.check({"x": series(1, T, B, D)})
    loss.compile(2, whole=True, backend="eager")
    torch.testing.assert_close([run(loss) for _ in range(2)], [wanted[0]] * 2)
    assert "in_slabs" not in loss.in_slabs(0).plan.source


class Droppy(Deterministic):
    def __init__(self) -> None:
        super().__init__("y", ["h"], name="g", features_shape=[D])
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, h: Tensor) -> dict[str, Tensor]:
        return {"y": self.weight * nn.functional.dropout(h + 1.0, 0.5)}


def test_what_is_computed_again_drops_the_same_units() -> None:
    torch.manual_seed(0)
    f, g = Function("h", ["h_prev", "x"]), Droppy()
    loss = IterativeLoss(E(f * g, Parameter("y")), **carried()).mean().in_slabs(2)  # type: ignore[arg-type]
    for _ in range(2):
        value = loss.eval({"x": series()})
        (grad,) = torch.autograd.grad(value, [g.weight])
        torch.testing.assert_close(grad, value.detach())  # it is linear in its weight


class Bits(Bernoulli):
    """``probs`` where logits were expected; counts its calls."""

    def __init__(self, norm: bool) -> None:
        super().__init__("x", ["h", "z"], name="p", features_shape=[D])
        self.net = nn.Sequential(
            nn.Linear(2 * D, D), nn.BatchNorm1d(D) if norm else nn.Identity(), nn.Sigmoid()
        ).double()
        self.sizes: list[int] = []

    def forward(self, h: Tensor, z: Tensor) -> dict[str, Tensor]:
        self.sizes.append(len(h))
        return {"probs": self.net(torch.cat([h, z], 1))}


def test_calls_have_at_most_so_many_rows_and_a_loop_keeps_what_it_must() -> None:
    p, pinned = Bits(norm=False), Bits(norm=True)
    for bits, sizes in ((p, [4, 4, 4, 3]), (pinned, [B] * T)):
        loss, x = model(bits).in_slabs(4), {"x": series(1, T, B, D).sigmoid()}
        loss.eval(x)
        bits.sizes.clear()
        with torch.no_grad():
            assert loss.eval(x).isfinite()
        assert bits.sizes == sizes


def test_less_is_held() -> None:
    scaling = pytest.importorskip("scaling", exc_type=ImportError)

    class Wide(Learned):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(  # type: ignore[assignment]
                nn.Linear(2 * D, 64),
                *(m for _ in range(9) for m in (nn.Tanh(), nn.Linear(64, 64))),
                nn.Linear(64, D),
            ).double()

    loss, x = model(Wide()), series(1, 300, B, D)

    def step() -> None:
        loss.eval({"x": x}).backward()
        loss.zero_grad(set_to_none=True)

    whole = scaling.peak_bytes(step)
    loss.in_slabs(100)
    assert scaling.peak_bytes(step) < 0.4 * whole


def test_of_what_is_between_nothing_is_kept_for_the_backward_pass() -> None:
    """What autograd saves outside of the slabs: arguments and results of networks, but none of
    their activations.
    """
    width, rows = 64, 40

    class Deep(Learned):
        def __init__(self) -> None:
            super().__init__()
            layers = [
                nn.Linear(2 * D, width),
                *(m for _ in range(5) for m in (nn.Tanh(), nn.Linear(width, width))),
            ]
            self.net = nn.Sequential(*layers, nn.Linear(width, D)).double()  # type: ignore[assignment]

    loss, x = model(Deep()), {"x": series(1, rows, B, D)}
    loss.eval(x)

    def saved() -> int:
        """Elements of tensors ``[rows, ..., width]`` that are kept."""
        found: list[int] = []

        def keep(t: Tensor) -> Tensor:
            found.append(
                t.numel() if t.shape[-1:] == (width,) and not isinstance(t, nn.Parameter) else 0
            )
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            loss.eval(x)
        return sum(found)

    whole = saved()
    assert whole >= 5 * rows * B * width
    loss.in_slabs(10).eval(x)
    assert saved() < 0.05 * whole


def test_arguments_without_rows_are_given_to_every_slab() -> None:
    def network(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return x @ w, w.sum()

    x, w = torch.randn(5, 2), torch.randn(2, 3)
    found, total = in_slabs(network, (True, False), 2, x, w)
    torch.testing.assert_close(found, x @ w)
    assert total.shape == () and torch.equal(total, w.sum())


@pytest.mark.parametrize("rows", [4, 6, 7, 12])
@pytest.mark.parametrize("max_rows", [2, 3, 4, 6])
def test_a_result_without_rows_may_be_as_long_as_a_slab(rows: int, max_rows: int) -> None:
    scale, x = torch.arange(float(max_rows)), torch.randn(rows, max_rows)
    found, alone = in_slabs(lambda v: (2 * v, scale), (True,), max_rows, x)
    assert torch.equal(found, 2 * x) and torch.equal(alone, scale)


@pytest.mark.parametrize("max_rows", [-1, 1])
def test_a_number_of_rows_that_makes_no_slab_is_refused(max_rows: int) -> None:
    with pytest.raises(
        PixyzError,
        match=f"max_rows must be a number of rows from 2 on, or 0 for all at once; got {max_rows}",
    ):
        model().in_slabs(max_rows)
