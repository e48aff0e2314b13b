"""What carried and lagged values begin with: numbers, rows, batches, draws."""

import pytest
import torch
from torch import nn

from pixyz.distributions import Deterministic, Normal, Scan
from pixyz.losses import E, IterativeLoss, LogProb
from pixyz.types import ShapeError

T, B, D = 3, 4, 2


class Add(Deterministic):
    def __init__(self, shape=(D,)):
        super().__init__("h", ["x", "h_prev"], features_shape=shape)

    def forward(self, x, h_prev):
        return {"h": x + h_prev}


class Sum(Add):
    def forward(self, x, h_prev):
        return {"h": x.sum(-1) + h_prev}


class Cell(Add):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(D, D)

    def forward(self, x, h_prev):
        return {"h": self.cell(x, h_prev)}


def _sum(step, init, shape=(D,), **options):
    p = Normal("h", loc=0.0, scale=1.0, features_shape=shape)
    return IterativeLoss(
        E(step, LogProb(p)),
        series_var=["x"],
        update_value={"h": "h_prev"},
        init={"h_prev": init},
        returns="h",
        **options,
    )


@pytest.mark.parametrize("step", [Add, Cell])
@pytest.mark.parametrize("reset", [None, "f"])
def test_init_with_a_batch_dimension_is_rows(step, reset):
    torch.manual_seed(0)
    h, d = step(), {"x": torch.randn(T, B, D), "f": torch.zeros(T, B)}
    if reset:
        d["f"][1, 2] = 1.0
    wanted = _sum(h, torch.full((D,), 5.0), reset_var=reset).eval(d)
    assert wanted.shape == (B,)
    for init in (torch.full((1, D), 5.0), torch.full((B, D), 5.0), torch.full((1,), 5.0)):
        value, found = _sum(h, init, reset_var=reset).eval(d, return_dict=True)
        assert torch.allclose(value, wanted) and found["h"].shape == (T, B, D)


def test_rows_of_an_init_are_those_of_the_batch():
    torch.manual_seed(0)
    rows, d = nn.Parameter(torch.randn(B, D)), {"x": torch.randn(T, B, D)}
    value, found = _sum(Add(), rows).eval(d, return_dict=True)
    assert torch.allclose(found["h"], rows + d["x"].cumsum(0))
    value.sum().backward()
    assert rows.grad.shape == (B, D)
    first = {**d, "f": torch.ones(T, B)}
    found = _sum(Add(), rows, reset_var="f").eval(first, return_dict=True)[1]
    assert torch.allclose(found["h"], rows + d["x"])


def test_rows_of_an_init_with_particles():
    torch.manual_seed(0)
    rows, d = torch.randn(B, D), {"x": torch.randn(T, B, D)}
    scan = Scan(Add(), series_var=["x"], update_value={"h": "h_prev"}, init={"h_prev": rows})
    found = scan.sample(d, sample_shape=[5])["h"]
    assert torch.allclose(found, (rows + d["x"].cumsum(0))[:, None].expand(T, 5, B, D))


def test_init_of_declared_single_numbers():
    d = {"x": torch.randn(T, B, D)}
    wanted = 2.5 + d["x"].sum(-1).cumsum(0)
    for init in (2.5, torch.tensor(2.5), torch.tensor([2.5]), torch.full((B,), 2.5)):
        found = _sum(Sum([]), init, []).eval(d, return_dict=True)[1]["h"]
        assert torch.allclose(found, wanted)


@pytest.mark.parametrize("shape", [(D + 1,), (1, 1, D), (B, D + 1)])
def test_init_that_is_no_row_is_refused(shape):
    with pytest.raises(ShapeError, match=r"init of 'h_prev' is a tensor .* give a tensor \[2\]"):
        _sum(Add(), torch.zeros(shape)).eval({"x": torch.zeros(T, B, D)})


def test_init_of_unknown_features_may_not_have_a_batch_dimension():
    d = {"x": torch.randn(T, B, D)}
    value = _sum(Add(None), torch.zeros(D)).eval(d)
    assert torch.allclose(value, _sum(Add(), 0).eval(d))
    with pytest.raises(ShapeError, match="declare features_shape"):
        _sum(Add(None), torch.zeros(1, D)).eval(d)


def test_init_of_a_lag_is_one_row():
    class Before(Deterministic):
        def __init__(self):
            super().__init__("h", ["x", "before"], features_shape=[D])

        def forward(self, x, before):
            return {"h": before}

    def loss(init):
        p = Normal("h", loc=0.0, scale=1.0, features_shape=[D])
        lags = {"before": ("x", -1)}
        step = E(Before(), LogProb(p))
        return IterativeLoss(step, series_var="x", lags=lags, init={"before": init}, reduction=None)

    d = {"x": torch.randn(T, B, D)}
    found = loss(torch.tensor([7.0, 8.0])).eval(d)
    wanted = -0.5 * (7.0**2 + 8.0**2) - torch.tensor(2 * torch.pi).log()
    assert torch.allclose(found[0], wanted.expand(B))
    with pytest.raises(ShapeError, match="first value of a lag"):
        loss(torch.zeros(B, D)).eval(d)
