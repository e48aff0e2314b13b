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


def _lagged(init):
    """A loss whose ``h`` is the frame before, which ``init`` begins."""

    class Before(Deterministic):
        def __init__(self):
            super().__init__("h", ["x", "before", "h_prev"], features_shape=[D])

        def forward(self, x, before, h_prev):
            return {"h": before}

    p = Normal("h", loc=0.0, scale=1.0, features_shape=[D])
    return IterativeLoss(
        E(Before(), LogProb(p)),
        series_var="x",
        lags={"before": ("x", -1)},
        update_value={"h": "h_prev"},
        init={"before": init, "h_prev": 0},
        reset_var="f",
        returns="h",
    )


def test_a_lag_begins_with_a_draw_for_each_sequence():
    loss = _lagged(Normal("before", **START))
    d = {"x": torch.zeros(T, B, D), "f": torch.zeros(T, B)}
    h = loss.eval(d, return_dict=True)[1]["h"]
    assert _all_differ(h[0]) and (h[1:] == 0).all()
    assert _all_differ(loss.eval({**d, "f": torch.ones(T, B)}, return_dict=True)[1]["h"])


class Next(Normal):
    """Of first order: the next value from the last one."""

    def __init__(self):
        super().__init__("h", "h_prev", features_shape=[D])
        self.a = nn.Linear(D, D)

    def forward(self, h_prev):
        return {"loc": self.a(h_prev), "scale": torch.ones_like(h_prev)}


def _alone(init, step=None):
    return Scan(step or Next(), steps=T, update_value={"h": "h_prev"}, init={"h_prev": init})


@pytest.mark.parametrize(
    "init", [torch.zeros(D), torch.zeros(1, D), torch.zeros(B, D), torch.zeros(()), 0, 0.0, 2.5]
)
def test_batch_n_says_how_many_rows_a_start_without_a_series_has(init):
    scan = _alone(init)
    assert _all_differ(h := scan.sample(batch_n=B)["h"]) and h.shape == (T, B, D)
    assert _all_differ(h := scan.sample(batch_n=B, sample_shape=[5])["h"])
    assert h.shape == (T, 5, B, D)
    mean = scan.sample(batch_n=B, sample_mean=True)["h"]
    first = scan.dists.a(torch.as_tensor(init).float().expand(B, D))
    torch.testing.assert_close(mean[0], first)
    if torch.as_tensor(init).shape != (B, D):
        assert scan.sample(batch_n=7)["h"].shape == (T, 7, D)


def test_other_rows_than_batch_n_are_refused():
    scan = _alone(torch.zeros(B, D))
    assert scan.sample()["h"].shape == (T, B, D)
    with pytest.raises(ShapeError, match=r"batch_n=5, but init of 'h_prev' has 4 rows; leave"):
        scan.sample(batch_n=5)


def test_a_number_has_the_type_of_the_weights():
    assert _alone(0, Next().double()).sample(batch_n=B)["h"].dtype == torch.float64

    class Keep(Deterministic):
        def __init__(self):
            super().__init__("h", "h_prev", features_shape=[D])

        def forward(self, h_prev):
            return {"h": h_prev + 1}

    h = _alone(1, Keep()).sample(batch_n=B)["h"]
    assert h.dtype == torch.float32 and torch.equal(h[-1], torch.full((B, D), T + 1.0))


def test_a_number_of_unknown_rows_and_one_of_unknown_shape():
    with pytest.raises(PixyzError, match=r"its batch is not known.*give a tensor \[B, 2\]"):
        _alone(0).sample()
    open_step = Normal("h", "h_prev", loc="h_prev", scale=1.0)
    for init in (0, 0.5):
        with pytest.raises(PixyzError, match="its shape is not known: declare features_shape"):
            _alone(init, open_step).sample(batch_n=B)


@pytest.mark.parametrize("reset", [None, "f"])
@pytest.mark.parametrize("value", [0, 0.0, 2, 0.5])
def test_a_number_begins_a_series_that_is_given(value, reset):
    torch.manual_seed(0)
    step, d = Next(), {"h": torch.randn(T, B, D), "f": torch.zeros(T, B)}
    d["f"][1, 2:] = 1.0
    found = [
        IterativeLoss(
            LogProb(step),
            series_var="h",
            update_value={"h": "h_prev"},
            init={"h_prev": init},
            reset_var=reset,
        ).eval(d)
        for init in (value, torch.full((D,), float(value)))
    ]
    assert found[0].shape == (B,)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(("value", "dtype"), [(1, torch.int64), (1.5, torch.float32)])
def test_a_number_keeps_the_type_of_a_series_that_holds_it(value, dtype):
    seen = []

    class Table(Normal):
        def __init__(self):
            super().__init__("x", "k_prev", features_shape=[D])

        def forward(self, k_prev):
            seen.append(k_prev.dtype)
            return {"loc": k_prev[:, None].expand(-1, D) * 1.0, "scale": torch.ones(D)}

    loss = IterativeLoss(
        LogProb(Table()),
        series_var=["x", "k"],
        update_value={"k": "k_prev"},
        init={"k_prev": value},
    )
    loss.eval({"x": torch.zeros(T, B, D), "k": torch.ones(T, B, dtype=torch.int64)})
    assert set(seen) == {dtype}


def test_rows_of_a_number_come_from_what_the_step_reads():
    class Mixed(Normal):
        def __init__(self):
            super().__init__("h", ["h_prev", "c"], features_shape=[D])

        def forward(self, h_prev, c):
            return {"loc": torch.cat([h_prev, c], -1)[:, :D], "scale": torch.ones_like(h_prev)}

    prior = Normal("h", loc=0.0, scale=1.0, features_shape=[D], name="r")
    loss = IterativeLoss(
        E(Mixed(), LogProb(prior)), steps=T, update_value={"h": "h_prev"}, init={"h_prev": 0}
    )
    assert loss.eval({"c": torch.zeros(B, 3)}).shape == (B,)

    class Two(Deterministic):
        def __init__(self):
            super().__init__(["h", "g"], ["h_prev", "g_prev"], features_shape=[D])

        def forward(self, h_prev, g_prev):
            return {"h": h_prev + 1, "g": torch.cat([h_prev, g_prev], -1)[:, D:]}

    update = {"h": "h_prev", "g": "g_prev"}
    scan = Scan(Two(), steps=T, update_value=update, init={"h_prev": 0})
    assert scan.sample({"g_prev": torch.zeros(B, D)})["h"].shape == (T, B, D)


@pytest.mark.parametrize("value", [0, 2.5])
def test_a_lag_begins_with_a_number(value):
    loss = _lagged(value)
    d = {"x": torch.randn(T, B, D), "f": torch.zeros(T, B)}
    d["f"][2, 1] = 1.0
    h = loss.eval(d, return_dict=True)[1]["h"]
    assert (h[0] == value).all() and (h[2, 1] == value).all() and torch.equal(h[1], d["x"][0])
