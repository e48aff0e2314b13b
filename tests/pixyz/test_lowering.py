"""What lowering promises: numbers are folded, values build nothing, nothing is kept, the split loop
can be checked.
"""

import gc
import linecache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixyz import PixyzError
from pixyz.distributions import Bernoulli, Deterministic, Normal
from pixyz.losses import E, IterativeLoss, LogProb, Loss, Parameter
from pixyz.plan.run.plan import forget_sources
from pixyz.types import ShapeError

D = 3


class Net(Normal):
    def __init__(self, var: str, cond: str, name: str = "p") -> None:
        super().__init__(var=var, cond_var=cond, name=name, scale=torch.ones(D))
        self.net = nn.Linear(D, D)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"loc": self.net(given[self.cond_var[0]])}


def pair() -> tuple[Normal, Normal]:
    torch.manual_seed(0)
    return Net("z", "x", "q"), Net("x", "z")


def steps(loss: Loss) -> int:
    return sum(loss.plan.counts().values())


def test_a_plan_is_written_as_it_was_before() -> None:
    """Steps that are written at one place, such as the totals under a mean, keep one order,
    wherever they lie in memory.
    """
    q, p = pair()
    texts, held = set(), []
    for _ in range(12):
        texts.add(E(q, LogProb(p) - LogProb(q)).mean().plan.source)
        held.append([object() for _ in range(len(held) * 7)])
    assert len(texts) == 1


def test_numbers_are_folded() -> None:
    q, p = pair()
    plain = E(q, LogProb(p)).mean()
    same = (2.0 * E(q, 1.0 * LogProb(p) + 0.0) / 2.0 / 1).mean() * (Parameter("b") * 0 + 1)
    folded = E(q, 1 * LogProb(p) + 0 - 0).mean() * ((3.0 - 1.0) / 2.0) + (1.0 - 1.0)
    x = {"x": torch.randn(4, D), "b": 1.0}
    values = []
    for loss in (plain, same, folded):
        torch.manual_seed(1)
        values.append(loss.eval(x))
    torch.testing.assert_close(values[1:], [values[0]] * 2)
    number = sum("= 1.0" in line for line in folded.plan.source.splitlines())
    # the numbers themselves are steps, but no lines
    assert number == 0 and steps(folded) <= steps(plain) + 12
    assert len(folded.plan.source.splitlines()) == len(plain.plan.source.splitlines())


def test_new_values_build_nothing_and_leave_nothing() -> None:
    q, p = pair()
    loss = (E(q, LogProb(p)) * Parameter("beta")).mean()

    def run(n: int) -> None:
        for i in range(n):
            loss.eval({"x": torch.randn(1 + i % 3, D), "beta": float(i)})

    run(10)
    plans = len(loss._plans)
    gc.collect()
    before, files = len(gc.get_objects()), len(linecache.cache)
    run(1500)
    gc.collect()
    assert len(loss._plans) == plans
    assert len(gc.get_objects()) - before < 200 and len(linecache.cache) == files


def test_a_dropped_loss_takes_its_source_along() -> None:
    q, p = pair()
    loss = E(q, LogProb(p)).mean()
    loss.eval({"x": torch.randn(2, D)})
    name = loss.plan.filename
    assert name in linecache.cache
    del loss
    gc.collect()
    # as the next plan does: a collector must not change linecache while it goes through its entries
    forget_sources()
    assert name not in linecache.cache


class Centred(Deterministic):
    """A network that mixes the rows of a batch."""

    def __init__(self, mixes: bool) -> None:
        super().__init__("h", ["h_prev", "x"], name="f", features_shape=[D])
        self.net, self.mixes = nn.Linear(2 * D, D), mixes

    def forward(self, h_prev: Tensor, x: Tensor) -> dict[str, Tensor]:
        return {"h": torch.tanh(self.net(torch.cat([h_prev, x], -1)))}


class Head(Net):
    count = 0
    counts = False

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        self.count += self.counts
        return {"loc": self.net(given[self.cond_var[0]]) + self.count}


@pytest.mark.parametrize("counts", [False, True])
def test_check_tells_a_network_that_keeps_a_state_in_python(counts: bool) -> None:
    torch.manual_seed(0)
    f, p = Centred(False), Head("x", "h")
    p.counts = counts
    loss = IterativeLoss(
        -E(f, LogProb(p)),
        series_var=["x"],
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
        reduction="frame",
    )
    x = {"x": torch.randn(5, 4, D)}
    state = torch.get_rng_state()
    if counts:
        with pytest.raises(PixyzError, match="the split loop is not the plain one"):
            loss.check(x)
    else:
        loss.check(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(w.grad is None for w in loss.parameters())


def test_signs_cancel() -> None:
    q, p = pair()
    a, b = E(q, LogProb(p)), LogProb(Net("x", "y"))
    for loss, signs in (
        (a.__neg__().__neg__(), 0),
        (b - (-a), 0),
        (-a - (-b), 0),
        (-a + b, 0),
        (-a - b, 1),
        (-2.0 * -a, 0),
        (-1.5 * -(a - b), 0),
    ):
        assert sum("= -" in line for line in loss.plan.source.splitlines()) == signs


def test_changing_signs_changes_no_value() -> None:
    a, b = Parameter("a"), Parameter("b")
    x = {"a": torch.tensor([2.0, -3.0]), "b": torch.tensor([5.0, 7.0])}
    va, vb = x["a"], x["b"]
    for loss, value in (
        (a.__neg__().__neg__(), va),
        (b - (-a), vb + va),
        (-a - (-b), vb - va),
        (-a + b, vb - va),
        (a + (-b), va - vb),
        (-a - b, -va - vb),
        (-a + (-b), -va - vb),
        (3 * (-a), -3 * va),
        ((-a) * 3, -3 * va),
        (-2.0 * -(a - b), 2 * (va - vb)),
        ((-a) / 2, -va / 2),
        (-a * -b, va * vb),
        (-(a * 1 + 0), -va),
        (0 - a, -va),
        (1 / (-b), -1 / vb),
    ):
        torch.testing.assert_close(loss.eval(x), value)


class Logits(Bernoulli):
    """Its class does not say whether it returns ``probs`` or ``logits``."""

    def __init__(self, answers: str) -> None:
        super().__init__("x", "z")
        self.answers, self.calls = answers, 0

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        answer = self.answers[self.calls % len(self.answers)]
        self.calls += 1
        return {"logits": z} if answer == "l" else {"probs": torch.sigmoid(z)}


def test_many_networks_may_return_either_parameter() -> None:
    """What a class returns is a guess for its next object, and no more than that."""
    given = {"x": torch.ones(2, 3), "z": torch.randn(2, 3)}
    wanted = torch.nn.functional.logsigmoid(given["z"]).sum(-1)
    for answers in ("l" * 40, "p" * 40, "lp" * 20):
        networks = [Logits(a) for a in answers]
        total: Loss = LogProb(networks[0])
        for network in networks[1:]:
            total = total + LogProb(network)
        torch.testing.assert_close(total.eval(given), 40 * wanted)
        before = [n.calls for n in networks]
        torch.testing.assert_close(total.eval(given), 40 * wanted)
        assert [n.calls for n in networks] == [c + 1 for c in before]


def test_a_network_that_changes_its_mind_is_refused() -> None:
    network = Logits("lp")
    given = {"x": torch.ones(2, 3), "z": torch.randn(2, 3)}
    twice = E(
        Normal("z", "m", loc="m", scale=1.0),
        LogProb(network) * Parameter("w") + LogProb(network.replace_var(z="m")),
    )
    with pytest.raises(PixyzError, match="other parameters at each call"):
        twice.eval({"x": given["x"], "m": given["z"], "w": 1.0})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_mean_of_sums_over_features_is_taken_at_once(dtype):
    p, q, r = (
        Normal("x", loc=m, scale=1.0, features_shape=[3], name=f"p_{i}").to(dtype)
        for i, m in enumerate((0.0, 1.0, -2.0))
    )
    x = {"x": torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).to(dtype)}
    inner = -2 * LogProb(p) - (LogProb(q) / 4 - LogProb(r))
    loss = inner.mean()
    assert "mean_of_sums" in loss.plan.source
    exact = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    # a half type's is taken in float32
    near = {
        "rtol": exact,
        "atol": exact,
        "check_dtype": dtype.itemsize >= 4,
    }
    torch.testing.assert_close(loss.eval(x), inner.eval(x).mean(), **near)
    named = (LogProb(p).named("a") + LogProb(q)).mean()
    value, found = named.eval(x, return_dict=True)
    torch.testing.assert_close(value, (LogProb(p) + LogProb(q)).mean().eval(x), **near)
    torch.testing.assert_close(found["a"], LogProb(p).eval(x), **near)


@pytest.mark.parametrize(("first", "second"), [(1, 5), (5, 1), (5, 5)])
def test_the_mean_of_sums_counts_a_batch_of_one_once_a_row(first, second):
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[3], name="p")
    q = Normal("y", loc=1.0, scale=2.0, features_shape=[3], name="q")
    draw = torch.Generator().manual_seed(0)
    x = {"x": torch.randn(first, 3, generator=draw), "y": torch.randn(second, 3, generator=draw)}
    loss = (LogProb(p) - LogProb(q)).mean()
    assert "mean_of_sums" in loss.plan.source
    torch.testing.assert_close(loss.eval(x), (LogProb(p).eval(x) - LogProb(q).eval(x)).mean())


def test_the_mean_of_sums_of_batches_that_do_not_fit_is_refused():
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[3], name="p")
    q = Normal("y", loc=1.0, scale=2.0, features_shape=[3], name="q")
    with pytest.raises(ShapeError, match=r"different sizes, \[3, 5\]"):
        (LogProb(p) - LogProb(q)).mean().eval({"x": torch.zeros(5, 3), "y": torch.zeros(3, 3)})


class _Shared(torch.autograd.Function):
    """The identity, with a gradient that is divided by the number of rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g / len(g)


class Averaged(Net):
    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"loc": _Shared.apply(self.net(given[self.cond_var[0]]))}


def test_check_compares_gradients_where_values_agree() -> None:
    torch.manual_seed(0)
    x = {"x": torch.randn(5, 4, D)}
    for head, right in ((Net("x", "h"), True), (Averaged("x", "h"), False)):
        loss = IterativeLoss(
            -E(Centred(False), LogProb(head)),
            series_var=["x"],
            update_value={"h": "h_prev"},
            init={"h_prev": 0},
        )
        if right:
            loss.check(x)
            continue
        with pytest.raises(
            PixyzError,
            match=r"the split loop is not the plain one: the gradient of .*net\.\w+ differs by",
        ):
            loss.check(x)
