"""A network that left its loop is tried on two rows at least;
until these come it stays on trial.
"""

import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import CustomProb, Deterministic, Normal
from pixyz.losses import E, IterativeLoss, LogProb, Loss, Parameter

D = 3


class Contrast(Deterministic):
    """The score of a row among all rows of its batch, as in InfoNCE (van den Oord et al. 2018)."""

    def __init__(self) -> None:
        super().__init__("s", "x")
        self.net = nn.Linear(D, D)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        scores = self.net(x) @ x.T
        return {"s": scores.log_softmax(-1).diagonal()}


class Row(Deterministic):
    """A network of rows that notes how many it was called with."""

    def __init__(self) -> None:
        super().__init__("s", "x")
        self.net, self.sizes = nn.Linear(D, 1), list[int]()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.sizes.append(len(x))
        return {"s": self.net(x).squeeze(-1)}


def objective(f: Deterministic, fission: bool = True) -> Loss:
    return IterativeLoss(E(f, Parameter("s")), series_var="x", fission=fission)


def data(steps: int, rows: int) -> dict[str, Tensor]:
    return {"x": torch.randn(steps, rows, D, generator=torch.Generator().manual_seed(steps + rows))}


@pytest.mark.parametrize(
    "prepare",
    [
        lambda loss: loss,
        lambda loss: loss.in_slabs(4),
        lambda loss: loss.compile(2, whole=True, backend="eager"),
    ],
)
@pytest.mark.parametrize("first", [[(1, 1)], [(1, 1), (1, 1)], [(1, 1), (1, 2)], [(1, 1), (2, 1)]])
def test_rows_that_mix_are_found_whatever_came_first(first, prepare) -> None:
    torch.manual_seed(0)
    f = Contrast()
    loss, plain = prepare(objective(f)), objective(f, fission=False)
    for shape in first:
        torch.testing.assert_close(loss.eval(data(*shape)), plain.eval(data(*shape)))
    for shape in ((4, 3), (1, 1), (5, 2)):
        torch.testing.assert_close(loss.eval(data(*shape)), plain.eval(data(*shape)))
    assert any("its rows depend on one another" in note for note in loss.plan.notes)
    loss.check(data(4, 3))


def test_a_density_of_ones_own_is_on_trial_too() -> None:
    loss = IterativeLoss(
        LogProb(CustomProb(lambda x: x.sum(-1).log_softmax(0), var="x")), series_var="x"
    )
    loss.eval(data(1, 1))
    torch.testing.assert_close(loss.eval(data(4, 3)), data(4, 3)["x"].sum(-1).log_softmax(1).sum(0))


def test_two_rows_end_the_trial() -> None:
    f = Row()
    loss = objective(f)
    for shape, calls in (
        ((1, 1), [1]),
        ((1, 1), [1]),
        ((2, 1), [2, 1]),
        ((2, 1), [2]),
        ((1, 1), [1]),
    ):
        f.sizes.clear()
        loss.eval(data(*shape))
        assert f.sizes == calls
    assert len(loss._plans) == 1


def test_the_draws_are_those_of_a_plan_that_was_never_wrong() -> None:
    """The trial that sends a network back to its loop leaves no trace in the noise."""

    class Noisy(Normal):
        def __init__(self) -> None:
            super().__init__("x", "u")

        def forward(self, u: Tensor) -> dict[str, Tensor]:
            return {"loc": u, "scale": torch.ones_like(u)}

    f = Contrast()
    late, plain = (
        IterativeLoss(E(f * Noisy(), Parameter("s")), series_var="u", fission=fission)
        for fission in (True, False)
    )
    late.eval({"u": data(1, 1)["x"]})
    found = []
    for loss in (late, plain):
        torch.manual_seed(3)
        found.append(loss.eval({"u": data(4, 3)["x"]}))
    torch.testing.assert_close(*found)
