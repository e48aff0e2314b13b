"""What carried and lagged values begin with: numbers, rows, batches, draws."""

import pytest
import torch
from torch import nn

from pixyz.distributions import Deterministic, Normal, Scan
from pixyz.losses import E, IterativeLoss, LogProb, Parameter
from pixyz.types import PixyzError, ShapeError

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
    for shape in ((1, D), (B, D)):
        with pytest.raises(ShapeError, match="declare features_shape"):
            _sum(Add(None), torch.zeros(shape)).eval(d)


def test_init_of_unknown_features_may_be_a_matrix():
    class Spread(Deterministic):
        def __init__(self):
            super().__init__("h", ["x", "h_prev"])

        def forward(self, x, h_prev):
            return {"h": h_prev + x.unsqueeze(-1)}

    scan = Scan(Spread(), ["x"], {"h": "h_prev"}, init={"h_prev": torch.eye(B)})
    x = torch.zeros(T, B, B)
    assert torch.equal(scan.sample({"x": x})["h"], torch.eye(B).expand(T, B, B, B))


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


def _scan(init, **options):
    options = {"series_var": ["x"], **options}
    return Scan(Add(), update_value={"h": "h_prev"}, init={"h_prev": init}, **options)


def _all_differ(x):
    return len(set(x.flatten().tolist())) == x.numel()


START = {"loc": torch.zeros(D), "scale": 1.0}


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"fission": False}])
def test_each_sequence_and_particle_begins_with_a_draw_of_its_own(options):
    scan = _scan(Normal("h_prev", **START), **options)
    d = {"x": torch.zeros(T, B, D)}
    for shape in ((), (5,), (2, 3)):
        h = scan.sample(d, sample_shape=shape)["h"]
        assert h.shape == (T, *shape, B, D) and torch.equal(h, h[:1].expand_as(h))
        assert _all_differ(h[0])
    torch.manual_seed(0)
    first = scan.sample(d)["h"][0]
    torch.manual_seed(0)
    torch.testing.assert_close(first, torch.randn(B, D))


@pytest.mark.parametrize("fission", [True, False])
def test_each_reset_draws_again(fission):
    scan = _scan(Normal("h_prev", **START), reset_var="f", fission=fission)
    d = {"x": torch.zeros(T, B, D), "f": torch.zeros(T, B)}
    d["f"][1, 2:] = 1.0
    for shape in ((), (5,)):
        h = scan.sample(d, sample_shape=shape)["h"]
        assert torch.equal(h[1][..., :2, :], h[0][..., :2, :]) and torch.equal(h[2], h[1])
        assert _all_differ(torch.cat([h[0], h[1][..., 2:, :]], -2))
        assert _all_differ(scan.sample({**d, "f": torch.ones(T, B)}, sample_shape=shape)["h"])
    mean = E(scan, Parameter("h").mean()).eval(d, sample_mean=True)
    assert mean == 0.0


def test_a_start_is_learned_and_may_have_a_condition():
    loc = nn.Parameter(torch.zeros(D))
    loss = _sum(Add(), Normal("h_prev", loc=loc, scale=1.0))
    loss.eval({"x": torch.ones(T, B, D)}).sum().backward()
    assert loc.grad.abs().min() > 0
    scan = _scan(Normal("h_prev", "s", loc="s", scale=1e-3, features_shape=[D]))
    d = {"x": torch.zeros(T, B, D), "s": torch.randn(B, D)}
    h = scan.sample(d, sample_shape=[5])["h"]
    torch.testing.assert_close(h, d["s"].expand_as(h), atol=0.1, rtol=0.0)
    assert _all_differ(h[0])


def test_a_start_that_is_a_joint_needs_a_batch():
    joint = Normal("h_prev", "u", loc="u", scale=1.0) * Normal("u", **START)
    with pytest.raises(PixyzError, match="would share one draw"):
        _scan(joint).sample({"x": torch.zeros(T, B, D)})
    joint = Normal("h_prev", "u", loc="u", scale=1.0) * Normal("u", "s", loc="s", scale=1.0)
    d = {"x": torch.zeros(T, B, D), "s": torch.zeros(B, D)}
    assert _all_differ(_scan(joint).sample(d, sample_shape=[3])["h"][0])


def test_a_start_without_a_series():
    class Keep(Deterministic):
        def __init__(self):
            super().__init__("h", "h_prev", features_shape=[D])

        def forward(self, h_prev):
            return {"h": h_prev}

    start = Normal("h_prev", **START)
    scan = Scan(Keep(), steps=T, update_value={"h": "h_prev"}, init={"h_prev": start})
    h = scan.sample(batch_n=B, sample_shape=[5])["h"]
    assert h.shape == (T, 5, B, D) and _all_differ(h[0])


def test_a_lag_begins_with_a_draw_for_each_sequence():
    class Before(Deterministic):
        def __init__(self):
            super().__init__("h", ["x", "before", "h_prev"], features_shape=[D])

        def forward(self, x, before, h_prev):
            return {"h": before}

    p = Normal("h", loc=0.0, scale=1.0, features_shape=[D])
    loss = IterativeLoss(
        E(Before(), LogProb(p)),
        series_var="x",
        lags={"before": ("x", -1)},
        update_value={"h": "h_prev"},
        init={"before": Normal("before", **START), "h_prev": 0},
        reset_var="f",
        returns="h",
    )
    d = {"x": torch.zeros(T, B, D), "f": torch.zeros(T, B)}
    h = loss.eval(d, return_dict=True)[1]["h"]
    assert _all_differ(h[0]) and (h[1:] == 0).all()
    assert _all_differ(loss.eval({**d, "f": torch.ones(T, B)}, return_dict=True)[1]["h"])
