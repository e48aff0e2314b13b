"""Distributions made of others and losses that no golden expression has, on a device that is not
the CPU; and that no class is left out.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_parts import families
from golden_expressions import CASES
from golden_parts import (
    Encoder,
    Filter,
    Generator,
    GeneratorY,
    Inference,
    Transition,
    X,
    Y,
    Z,
    bits,
    one_hot,
    prior,
    wave,
)
from law_parts import LAWS
from made_up_device import compare, move, register, to_device, watched
from test_flows import FLOWS
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz import flows as pf
from pixyz import losses as pl
from pixyz.models.model import Model

B = 4
Made = tuple[list[Any], dict[str, Tensor], Any]
Asked = Callable[[dict[str, Tensor]], Any]
OTHERS: dict[str, Callable[[], Made]] = {}


def other(function: Callable[[], Made]) -> Callable[[], Made]:
    OTHERS[function.__name__] = function
    return function


def density(p: pd.Distribution, given: dict[str, Tensor], *more: Any) -> Made:
    """Density and draws."""
    drawn = {k: v for k, v in given.items() if k in p.input_var}
    rows = {} if drawn else {"batch_n": B}
    loss = p.log_prob()
    return [p, *more], given, lambda v: [loss.eval(v), p.sample({k: v[k] for k in drawn}, **rows)]


def evaluated(loss: pl.Loss, given: dict[str, Tensor], *modules: Any) -> Made:
    return [loss, *modules], given, loss.eval


def normal(var: str = "x", size: int = X, **more: Any) -> pd.Normal:
    return pd.Normal(var=var, features_shape=[size], **{"loc": 0.3, "scale": 1.5, **more})


@other
def two_hot() -> Made:
    p = pd.TwoHot("x", "logits", logits="logits", bins=11)
    loss = p.log_prob()
    return (
        [p],
        {"x": wave(B, 1), "logits": wave(B, 11)},
        lambda v: [loss.eval(v), p.sample_mean({"logits": v["logits"]})],
    )


@other
def mean() -> Made:
    p = pd.Mean(Generator(), "m")
    return [p], {"z": wave(B, Z)}, p.sample


@other
def log_density() -> Made:
    p = pd.LogDensity(normal(), "l")
    return [p], {"x": wave(B, X)}, p.sample


@other
def gate() -> Made:
    p = pd.Gate("z", new="z_new", old="z_prev", by="m")
    return [p], {"z_new": wave(B, 2), "z_prev": wave(B, 2, shift=1.0), "m": bits(B)}, p.sample


@other
def custom() -> Made:
    p = pd.CustomProb(lambda z: -z.abs(), var="z", name="p")
    return evaluated(p.log_prob(), {"z": wave(B, Z)}, p)


@other
def independent() -> Made:
    return density(pd.Independent(normal(), 1), {"x": wave(B, X)})


@other
def mixture_of_normals() -> Made:
    p = pd.MixtureOfNormal([Inference(), Encoder("z", "y", "r", (Y, Z))])
    return density(p, {"x": bits(B, X), "y": one_hot(B, Y), "z": wave(B, Z)})


@other
def mixture_of_networks() -> Made:
    parts = [normal(loc=float(i), name=f"p_{i}") for i in range(2)]
    p = pd.MixtureModel(parts, pd.Categorical(var="i", probs=torch.tensor([0.3, 0.7])))
    posterior = p.posterior().prob()
    return (
        [p],
        {"x": wave(B, X), "i": one_hot(B, 2)},
        lambda v: [p.sample(batch_n=B), posterior.eval(v)],
    )


@other
def element_wise_product() -> Made:
    q = pd.ElementWiseProductOfNormal(
        pd.Normal(var="z", cond_var="x", loc="x", scale=1.0, name="q"), name="q"
    )
    return density(q, {"x": bits(B, X), "z": wave(B, X)})


@other
def frozen_and_detached() -> Made:
    q = Inference()
    loss = (q.frozen().log_prob() - q.detach().log_prob()).mean()
    return evaluated(loss, {"x": bits(B, X), "z": wave(B, Z)}, q)


@other
def drawn_by_its_mean() -> Made:
    q = Inference()
    prior = pd.Normal("z", loc=0.0, scale=1.0, features_shape=[Z], name="p_z")
    loss = pl.E(q.drawn_with(pd.Draw(mean=True)), prior.log_prob()).mean()
    return evaluated(loss, {"x": bits(B, X)}, q)


@other
def marginal_by_enumeration() -> Made:
    y = pd.Categorical(var="y", probs=torch.tensor([0.2, 0.3, 0.5]), name="p_y")
    p = (GeneratorY() * y).marginalize_var("y")
    return evaluated(p.log_prob(), {"x": bits(B, X), "z": wave(B, Z)}, p)


@other
def relaxed() -> Made:
    return density(pd.RelaxedBernoulli(var="x", probs=0.4), {"x": bits(B, 1)})


@other
def transformed() -> Made:
    return density(
        pd.TransformedDistribution(normal("z"), pf.RealNVP(X, 2, (4,)), var="x"), {"x": wave(B, X)}
    )


@other
def preprocessed() -> Made:
    flow = pf.FlowList([pf.Preprocess(), pf.Flatten((1, 2, 2))])
    p = pd.InverseTransformedDistribution(normal("z", 4), flow, var="x")
    return evaluated(p.log_prob(), {"x": 0.5 + 0.3 * wave(B, 1, 2, 2)}, p)


@other
def zuko_flow() -> Made:
    pytest.importorskip("zuko")
    p = pd.ZukoDistribution("NSF", "x", 2, transforms=1, hidden_features=(4,))
    return density(p, {"x": wave(B, 2)})


@other
def scan() -> Made:
    p = pd.Scan(
        Filter() * Generator().replace_var(x="x_rec"),
        ["x"],
        {"z": "z_prev"},
        init={"z_prev": torch.zeros(Z)},
    )
    return [p], {"x": bits(5, B, X)}, p.sample


@other
def masked_and_reset_series() -> Made:
    q, p, t = Filter(), Generator(), Transition()
    step = pl.KullbackLeibler(q, t) - pl.E(q, p.log_prob())
    loss = pl.IterativeLoss(
        step,
        series_var=["x"],
        update_value={"z": "z_prev"},
        init={"z_prev": torch.zeros(Z)},
        mask_var="mask",
        reset_var="first",
    )
    mask = torch.arange(5)[:, None] < torch.tensor([5, 3, 4, 1])
    return evaluated(loss, {"x": bits(5, B, X), "mask": mask, "first": bits(5, B) > 0}, q, p, t)


@other
def series_with_lags() -> Made:
    t = Transition()
    loss = pl.IterativeLoss(
        t.log_prob(), series_var=["z"], lags={"z_prev": ("z", -1)}, reduction="frame"
    )
    return evaluated(loss, {"z": wave(5, B, Z)}, t)


class Total(pd.SeriesFunction):
    def __init__(self) -> None:
        super().__init__("y", "x", series_var="x")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": x.cumsum(0)}


@other
def function_of_series() -> Made:
    p = Total()
    return [p], {"x": wave(5, B, X)}, p.sample


@other
def in_slabs() -> Made:
    q, p = Inference(), Generator()
    loss = pl.IterativeLoss(pl.E(q, p.log_prob()), series_var=["x"]).mean().in_slabs(6)
    return evaluated(loss, {"x": bits(5, B, X)}, q, p)


@other
def without_fission() -> Made:
    q, p = Filter(), Generator()
    loss = pl.IterativeLoss(
        pl.E(q, p.log_prob()),
        series_var=["x"],
        update_value={"z": "z_prev"},
        init={"z_prev": torch.zeros(Z)},
        fission=False,
    )
    return evaluated(loss.mean(), {"x": bits(5, B, X)}, q, p)


@other
def importance_weighted() -> Made:
    p, q = Generator() * prior(), Inference()
    return evaluated(pl.IWAE(p, q, 3).mean(), {"x": bits(B, X)}, p, q)


@other
def shared_out() -> Made:
    q = Inference()
    return evaluated(
        pl.DataParalleledLoss(pl.KullbackLeibler(q, prior())).mean(), {"x": bits(B, X)}, q
    )


@other
def clamped_and_chosen() -> Made:
    q, z = Inference(), prior()
    loss = pl.MaxLoss(pl.KullbackLeibler(q, z), pl.ValueLoss(0.5)).mean() + pl.Parameter(
        "beta", default=0.5
    )
    return evaluated(loss, {"x": bits(B, X)}, q, z)


@pytest.fixture(autouse=True)
def _double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", OTHERS)
def test_others(name: str) -> None:
    asked: list[Asked] = []

    def build() -> tuple[list[Any], dict[str, Tensor]]:
        modules, given, ask = OTHERS[name]()
        asked.append(ask)
        return modules, given

    compare(build, lambda _: asked[-1])


def test_what_is_an_error_on_the_cpu_is_nan_there() -> None:
    """Where to look would be to wait; the loss is looked at in any case."""
    flow = pf.ChannelConv(2)
    with torch.no_grad():
        flow.weight.fill_(1.0)
    wide = pd.MultivariateNormal(var="x", cond_var="c", loc=torch.zeros(2), covariance_matrix="c")
    # not positive definite
    given = {
        "x": torch.zeros(1, 2),
        "c": torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]),
    }
    for call in (lambda: flow.inverse(wave(1, 2)), lambda: wide.get_log_prob(given)):
        with pytest.raises(torch.linalg.LinAlgError):
            call()
    register()
    move(flow), move(wide)
    with watched() as watch:
        z, given = to_device([wave(1, 2), given])
        wide.get_log_prob(given)
        watch.clear()
        found = [flow.inverse(z), wide.get_log_prob(given)]
    assert not watch.strays and not watch.reads and not watch.uploads
    assert all(x.held.isnan().all() for x in found)


def test_no_class_is_left_out() -> None:
    """Every class of distributions, flows and losses that the packages offer is part of a case here
    or in the other files.
    """
    shown = [CASES[n]().shown for n in CASES] + [m for made in OTHERS.values() for m in made()[0]]
    objects = [
        part
        for s in shown
        for part in ([s.distributions, s.loss_cls] if isinstance(s, Model) else [s])
    ]
    objects += (
        [law.bound() for law in LAWS]
        + [f.bound() for f in families()]
        + [make() for make, *_ in FLOWS.values()]
    )
    seen = {
        cls
        for o in objects
        for m in (o.modules() if isinstance(o, nn.Module) else [o])
        for cls in type(m).__mro__
    }
    for package in (pd, pf, pl):
        offered = [getattr(package, n) for n in package.__all__]
        left = [
            c.__name__
            for c in offered
            if inspect.isclass(c) and issubclass(c, nn.Module) and c not in seen
        ]
        assert not left, f"{package.__name__}: {left}"
