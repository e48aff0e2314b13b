"""IterativeLoss against loops written by hand: lags, lengths, the number of the step, direction,
products of series.
"""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal as N

from pixyz.distributions import Deterministic, Gate, Normal, Scan
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Parameter
from pixyz.types import PixyzError, VariableError

T, B, D = 6, 4, 2


class Leaky(Normal):
    """``h = 0.5 h_prev + x``, almost exactly."""

    def __init__(self) -> None:
        super().__init__(var="h", cond_var=["h_prev", "x"], features_shape=[D], scale=1e-7)

    def forward(self, h_prev: Tensor, x: Tensor) -> dict[str, Tensor]:
        return {"loc": 0.5 * h_prev + x}


def chain() -> Normal:
    return Normal(var="x", cond_var="x_prev", loc="x_prev", scale=1.0)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(T, B, D, generator=torch.Generator().manual_seed(0))


def pairs(x: Tensor) -> Tensor:
    """``log p(x[t] | x[t - 1])``, ``[T - 1, B]``."""
    return N(x[:-1], 1.0).log_prob(x[1:]).sum(-1)


def test_a_lag_without_start_shortens_the_range(x: Tensor) -> None:
    options = {"series_var": "x", "lags": {"x_prev": ("x", -1)}}
    torch.testing.assert_close(
        IterativeLoss(LogProb(chain()), reduction=None, **options).eval(x), pairs(x)
    )
    torch.testing.assert_close(IterativeLoss(LogProb(chain()), **options).eval(x), pairs(x).sum(0))
    torch.testing.assert_close(
        IterativeLoss(LogProb(chain()), reduction="frame", **options).eval(x), pairs(x).mean()
    )
    torch.testing.assert_close(
        IterativeLoss(LogProb(chain()), max_iter=3, reduction=None, **options).eval(x), pairs(x)[:3]
    )
    two = Normal(var="x", cond_var=["a", "b"], loc="a", scale=1.0)
    both = IterativeLoss(
        LogProb(two) + Parameter("b").sum() * 0,
        series_var="x",
        lags={"a": ("x", -2), "b": ("x", 1)},
        reduction=None,
    )
    torch.testing.assert_close(both.eval(x), N(x[:-3], 1.0).log_prob(x[2:-1]).sum(-1))


def test_a_lag_with_a_start_is_filled(x: Tensor) -> None:
    loss = IterativeLoss(
        LogProb(chain()),
        series_var="x",
        lags={"x_prev": ("x", -1)},
        init={"x_prev": 0},
        reduction=None,
    )
    first = N(0.0, 1.0).log_prob(x[:1]).sum(-1)
    torch.testing.assert_close(loss.eval(x), torch.cat([first, pairs(x)]))
    start = torch.randn(B, D)
    given = loss.eval({"x": x, "x_prev": start})
    torch.testing.assert_close(given, torch.cat([N(start, 1.0).log_prob(x[:1]).sum(-1), pairs(x)]))


def test_a_filled_lag_of_a_masked_frame_has_no_gradient(x: Tensor) -> None:
    """Whatever a masked frame holds, it reaches nothing: not the value, and not the weights as 0 *
    NaN.
    """
    net = Leaky()
    net.gain = torch.nn.Parameter(torch.ones(D))  # type: ignore[assignment]
    net.forward = lambda h_prev, x: {"loc": 0.5 * h_prev + net.gain * x}  # type: ignore[method-assign]
    loss = IterativeLoss(
        E(net.at(x="x_prev"), Parameter("h")).sum(),
        series_var="y",
        lags={"x_prev": ("x", -1)},
        update_value={"h": "h_prev"},
        init={"h_prev": 0, "x_prev": 0},
        mask_var="mask",
    )
    mask = torch.ones(T, B)
    mask[3:, 0] = 0
    found = []
    for fill in (0.0, float("nan")):
        dirty = torch.where(mask[..., None] != 0, x, torch.tensor(fill))
        torch.manual_seed(0)
        value = loss.eval({"x": dirty, "y": x, "mask": mask})
        found.append((value, *torch.autograd.grad(value, [net.gain])))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert found[0][1].abs().min() > 0


def test_lags_are_cut_where_a_sequence_begins(x: Tensor) -> None:
    first = torch.zeros(T, B)
    first[0], first[3, 1] = 1, 1
    given = {"x": x, "first": first}
    filled = IterativeLoss(
        LogProb(chain()),
        series_var="x",
        lags={"x_prev": ("x", -1)},
        init={"x_prev": 0},
        reset_var="first",
        reduction=None,
    )
    wanted = torch.cat([N(0.0, 1.0).log_prob(x[:1]).sum(-1), pairs(x)])
    wanted[3, 1] = N(0.0, 1.0).log_prob(x[3, 1]).sum()
    torch.testing.assert_close(filled.eval(given), wanted)
    cut = pairs(x)
    cut[2, 1] = 0
    ahead = chain().replace_var(x="x_next", x_prev="x")
    for p, lags in ((chain(), {"x_prev": ("x", -1)}), (ahead, {"x_next": ("x", 1)})):
        options = {"series_var": "x", "lags": lags, "reset_var": "first"}
        torch.testing.assert_close(
            IterativeLoss(LogProb(p), reduction=None, **options).eval(given), cut
        )
        mean = IterativeLoss(LogProb(p), reduction="frame", **options).eval(given)
        torch.testing.assert_close(mean, cut.sum() / (cut.numel() - 1))


def test_flags_that_may_be_left_out(x: Tensor) -> None:
    """One expression for both kinds of batches; a plan is for what it was given."""
    first, valid = torch.zeros(T, B), torch.ones(T, B)
    first[3, 1], valid[4, 2] = 1, 0
    carried = {"series_var": "x", "update_value": {"h": "h_prev"}, "init": {"h_prev": 0}}
    flags = {"reset_var": "first", "mask_var": "valid"}
    maybe = {**carried, **flags, "optional_var": ["first", "valid"]}
    term = E(Leaky(), Parameter("h").sum())
    loss, scan = IterativeLoss(term, reduction=None, **maybe), Scan(Leaky(), **maybe)
    assert loss.input_var == ["x"] and scan.cond_var == ["x"]
    for names in ((), ("first",), ("valid",), ("first", "valid"), ()):
        given = {"x": x} | {k: v for k, v in {"first": first, "valid": valid}.items() if k in names}
        own = {k: v for k, v in flags.items() if v in names}
        torch.testing.assert_close(
            loss.eval(given), IterativeLoss(term, reduction=None, **carried, **own).eval(given)
        )
        torch.testing.assert_close(
            scan.sample(given)["h"], Scan(Leaky(), **carried, **own).sample(given)["h"]
        )
    with pytest.raises(VariableError, match=r"optional_var names \['x'\]"):
        Scan(Leaky(), **carried, optional_var="x")


@pytest.mark.parametrize("fission", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("steps", [None, 3])
def test_a_recurrence(x: Tensor, reverse: bool, steps: int | None, fission: bool) -> None:
    loss = IterativeLoss(
        E(Leaky(), Parameter("h")),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
        reverse=reverse,
        max_iter=steps,
        reduction=None,
        returns="h",
        fission=fission,
    )
    value, found = loss.eval(x, return_dict=True)
    used = x[:steps]
    h, rows = torch.zeros(B, D), {}
    for t in range(len(used))[:: -1 if reverse else 1]:
        h = rows[t] = 0.5 * h + used[t]
    torch.testing.assert_close(
        value, torch.stack([rows[t] for t in range(len(used))]), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(found["h"], value)
    torch.testing.assert_close(found["h_prev"], h, rtol=1e-4, atol=1e-5)


def test_the_number_of_the_step(x: Tensor) -> None:
    loss = IterativeLoss(
        Parameter("t") * LogProb(chain()),
        series_var="x",
        lags={"x_prev": ("x", -1)},
        timestep_var="t",
        reduction=None,
    )
    torch.testing.assert_close(loss.eval(x), pairs(x) * torch.arange(T - 1)[:, None])
    assert loss.input_var == ["x"]


def test_means_inside_a_step_are_over_the_batch(x: Tensor) -> None:
    options = {"series_var": "x", "lags": {"x_prev": ("x", -1)}}
    inside = IterativeLoss(LogProb(chain()).mean(), **options).eval(x)
    torch.testing.assert_close(inside, pairs(x).mean(1).sum())
    torch.testing.assert_close(
        IterativeLoss(LogProb(chain()), **options).mean().eval(x), pairs(x).sum(0).mean()
    )
    mask = torch.ones(T - 1, B)
    mask[2:, 0] = 0
    series = {"x": x[1:], "x_prev": x[:-1], "mask": mask}
    valid = IterativeLoss(
        LogProb(chain()).mean(), series_var=["x", "x_prev"], mask_var="mask", reduction=None
    )
    torch.testing.assert_close(valid.eval(series), (pairs(x) * mask).sum(1) / mask.sum(1))


def test_a_weight_may_be_constant_in_time_or_not(x: Tensor) -> None:
    given = {"x": x[1:], "x_prev": x[:-1]}
    loss = IterativeLoss(
        Parameter("w") * LogProb(chain()), series_var=["x", "x_prev"], reduction=None
    )
    for w in (2.0, torch.tensor(2.0), torch.arange(B).float()):
        torch.testing.assert_close(loss.eval({**given, "w": w}), w * pairs(x))
    timed = IterativeLoss(
        Parameter("w") * LogProb(chain()), series_var=["x", "x_prev", "w"], reduction=None
    )
    w = torch.randn(T - 1, B)
    torch.testing.assert_close(timed.eval({**given, "w": w}), w * pairs(x))


def test_particles_are_carried_whole(x: Tensor) -> None:
    """With noise of one unit a step, the particles of a random walk have the variance t."""
    walk = Normal(var="h", cond_var="h_prev", loc="h_prev", scale=1.0)
    square = Parameter("h") * Parameter("h")
    loss = IterativeLoss(
        E(walk, square, sample_shape=[4000]),
        max_iter=5,
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": torch.zeros(D)},
        reduction=None,
    )
    torch.manual_seed(0)
    value = loss.eval(x)
    assert value.shape == (5, B, D)
    wanted = torch.arange(1.0, 6.0)[:, None, None].expand_as(value)
    torch.testing.assert_close(value, wanted, rtol=0.15, atol=0.0)


def test_terms_of_a_step_see_one_path(x: Tensor) -> None:
    """Two terms over a carried variable: the same draw."""
    noisy = Normal(var="h", cond_var="h_prev", loc="h_prev", scale=1.0)
    step = E(noisy, Parameter("h")) - E(noisy, Parameter("h"))
    loss = IterativeLoss(
        step,
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": torch.zeros(D)},
        max_iter=3,
    )
    torch.testing.assert_close(loss.eval(x), torch.zeros(B, D))
    other = IterativeLoss(step, series_var="x", max_iter=3)
    assert other.eval({"x": x, "h_prev": torch.zeros(B, D)}).abs().min() > 0


def test_divergence_of_series_and_its_terms(x: Tensor) -> None:
    q, p = Leaky(), Normal(var="h", cond_var="h_prev", loc="h_prev", scale=1.0)
    kl = KullbackLeibler(q, p)
    loss = IterativeLoss(
        E(q, kl),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
        terms={"kl": 2 * kl},
        returns="h",
    )
    value, found = loss.eval(x, return_dict=True)
    torch.testing.assert_close(found["kl"].sum(0), 2 * value)
    assert found["kl"].shape == (T, B) and found["h"].shape == (T, B, D)


def test_scan_draws_what_the_loss_sees(x: Tensor) -> None:
    scan = Scan(
        Leaky(),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
        path={"all": "h_prev"},
    )
    found = scan.sample({"x": x})
    assert found["h"].shape == (T, B, D) and found["all"].shape == (T + 1, B, D)
    torch.testing.assert_close(found["all"][1:], found["h"])
    torch.testing.assert_close(found["all"][0], torch.zeros(B, D))
    torch.testing.assert_close(found["h"][1], 0.5 * x[0] + x[1], rtol=1e-4, atol=1e-4)
    value = E(scan, Parameter("h").mean()).eval(x)
    torch.testing.assert_close(value, found["h"].mean(), rtol=1e-4, atol=1e-4)


def test_a_detached_scan_has_no_gradient_and_the_scan_keeps_its_own(x: Tensor) -> None:
    """The twin is asked after the original: its plans are its own."""
    scan = Scan(Leaky(), series_var="x", update_value={"h": "h_prev"}, init={"h_prev": 0})
    given = {"x": x.clone().requires_grad_()}
    assert scan.sample(given, reparam=True)["h"].requires_grad
    assert not scan.detach().sample(given, reparam=True)["h"].requires_grad
    assert scan.sample(given, reparam=True)["h"].requires_grad


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_iter": 0}, "max_iter"),
        ({"reduction": "mean"}, "reduction"),
        ({"update_value": {"y": "y_prev"}}, "y"),
        ({"init": {"z": 0}}, "z"),
        ({"lags": {"x_prev": ("x", -2)}, "init": {"x_prev": 0}}, "-1"),
        ({"returns": "nothing"}, "nothing"),
    ],
)
def test_wrong_options_are_explained(x: Tensor, options: dict[str, object], words: str) -> None:
    with pytest.raises(PixyzError, match=words):
        IterativeLoss(LogProb(chain()), **{"series_var": "x", **options}).eval(
            {"x": x, "x_prev": x[0], "y_prev": x[0]}
        )


def test_series_of_different_lengths_are_refused(x: Tensor) -> None:
    loss = IterativeLoss(LogProb(chain()), series_var=["x", "x_prev"])
    with pytest.raises(PixyzError, match="length"):
        loss.eval({"x": x, "x_prev": x[1:]})
    with pytest.raises(PixyzError, match="steps"):
        IterativeLoss(LogProb(chain()), max_iter=9, series_var=["x", "x_prev"]).eval(
            {"x": x, "x_prev": x}
        )
    with pytest.raises(VariableError, match="x_prev"):
        loss.eval({"x": x})


def test_a_loop_without_series_takes_its_batch_from_what_it_reads() -> None:
    """A loop over layers: the start is one row, the step reads an input ``[B, D]``."""

    class Layer(Leaky):
        def forward(self, h_prev: Tensor, x: Tensor) -> dict[str, Tensor]:
            return {"loc": torch.cat([h_prev, x], 1).unflatten(1, (2, D)).sum(1)}

    scan = Scan(Layer(), steps=3, update_value={"h": "h_prev"}, init={"h_prev": torch.ones(D)})
    x = torch.randn(B, D)
    torch.testing.assert_close(
        scan.sample({"x": x})["h"],
        1 + torch.arange(1.0, 4.0)[:, None, None] * x,
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("shape", [(B,), (B, 1)])
def test_a_gate_takes_the_new_value_where_it_is_open(shape: tuple[int, ...]) -> None:
    g = torch.tensor([0.0, 1.0, 0.25, 1.0]).reshape(shape).requires_grad_()
    given = {"new": torch.randn(B, D), "old": torch.randn(B, D), "g": g}
    found = Gate("z", "new", "old", "g").sample(given, reparam=True)["z"]
    torch.testing.assert_close(found, torch.lerp(given["old"], given["new"], g.reshape(B, 1)))
    (slope,) = torch.autograd.grad(found.sum(), [g])
    torch.testing.assert_close(slope.flatten(), (given["new"] - given["old"]).sum(1))
    flag = Gate("z", "new", "old", "g").sample({**given, "g": g.detach() > 0.5})["z"]
    torch.testing.assert_close(
        flag, torch.where((g > 0.5).reshape(B, 1), given["new"], given["old"])
    )


class Walk(Deterministic):
    """``h = h_prev + eps``."""

    def __init__(self) -> None:
        super().__init__("h", ["h_prev", "eps"], features_shape=[D])

    def forward(self, h_prev: Tensor, eps: Tensor) -> dict[str, Tensor]:
        return {"h": h_prev + eps}


@pytest.mark.parametrize("fission", [True, False])
@pytest.mark.parametrize("kind", ["scan", "loss", "start"])
def test_noise_of_constant_parameters_is_drawn_at_each_step(kind: str, fission: bool) -> None:
    """A walk whose noise reads no condition: its steps are independent, and no straight line."""
    step = Walk() * Normal("eps", loc=0.0, scale=1.0, features_shape=[D])
    options = {"update_value": {"h": "h_prev"}, "fission": fission}
    many = 1000
    if kind == "scan":
        scan = Scan(step, series_var="u", init={"h_prev": 0}, **options)
        h = scan.sample({"u": torch.zeros(many, 1, 1)})["h"]
    elif kind == "start":
        h = Scan(step, steps=many, **options).sample({"h_prev": torch.zeros(1, D)})["h"]
    else:
        loss = IterativeLoss(
            E(step, Parameter("h")), series_var="u", init={"h_prev": 0}, returns="h", **options
        )
        h = loss.eval({"u": torch.zeros(many, 1, 1)}, return_dict=True)[1]["h"]
    steps = h.diff(dim=0)[:, 0]
    torch.testing.assert_close(steps.std(0), torch.ones(D), atol=0.1, rtol=0.0)
    assert (steps[1:] * steps[:-1]).mean(0).abs().max() < 0.12
