"""Every family: a value or parameters of other dimensions, and scales that are not positive, are
refused by name and shape, when a plan runs first and whenever debug mode is on.
"""

import re

import pytest
import torch
from law_parts import LAWS, Law, points
from torch import Tensor, nn

import pixyz
from pixyz import distributions as pd
from pixyz.distributions import Categorical, Distribution, Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb
from pixyz.types import PixyzError, ShapeError

ROWS = 4
each = pytest.mark.parametrize(
    "law", [law for law in LAWS if law.univariate], ids=lambda law: law.name
)
POSITIVE = ("scale", "rate", "df", "concentration", "concentration1", "concentration0", "alpha")


def column(x: Tensor) -> Tensor:
    """The first number of ``[B, D]`` for each row, ``[ROWS, 1]``."""
    return x[:1, :1].expand(ROWS, 1).clone()


@each
@pytest.mark.parametrize("flat", [False, True])
def test_a_column_and_a_row(law: Law, flat: bool) -> None:
    """``[B]`` against ``[B, 1]``, for the value and for each parameter where there are several."""
    right = {k: column(v) for k, v in law.params.items()} | {"x": column(points(law)[0])}
    if flat:
        right = {k: v.squeeze(-1) for k, v in right.items()}
    for turned in right if len(law.params) > 1 else ["x"]:
        other = right[turned].unsqueeze(-1) if flat else right[turned].squeeze(-1)
        wrong = {**right, turned: other}
        for debugging in (False, True):
            with pytest.raises(ShapeError) as caught, pixyz.debug(debugging):
                LogProb(law.bound()).mean().eval(wrong)
            text = str(caught.value)
            assert "p(x|" in text and "[4]" in text and "[4, 1]" in text
            assert all(k in text for k in (law.params if turned == "x" else [turned]))
    p = law.bound()
    assert p.get_log_prob(right).shape == (ROWS,)


@each
def test_a_scale_of_zero_has_no_density(law: Law) -> None:
    """But for a Poisson distribution; and for a bounded normal, whose raw scale is any number."""
    right = {k: column(v) for k, v in law.params.items()}
    value = column(points(law)[0])
    of_zero = law.make in (pd.BoundedNormal, pd.Poisson)
    for key in [k for k in law.params if k in POSITIVE and not of_zero]:
        wrong = {**right, key: torch.zeros(ROWS, 1, dtype=torch.float64)}
        name = re.escape(f"{key!r} [4, 1] of {law.make.__name__}")
        match = rf"p\(x\|.*: {name} must be positive where 'x' is scored, it is 0 in 4 places"
        for debugging in (False, True):
            with pytest.raises(PixyzError, match=match), pixyz.debug(debugging):
                LogProb(law.bound()).eval({**wrong, "x": value})
            with pytest.raises(PixyzError, match=match), pixyz.debug(debugging):
                law.bound().get_log_prob({**wrong, "x": value})


class Deviation(Normal):
    """A network that returns the deviation that it is told."""

    def __init__(self) -> None:
        super().__init__("z", "x", name="q")
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": 0.0 * x, "scale": self.weight * x}


def test_of_a_network_in_every_place() -> None:
    prior = Normal("z", loc=0.0, scale=1.0)
    x, zero = torch.ones(ROWS, 2), torch.tensor([[1.0, 0.0]]).expand(ROWS, 2)
    q = Deviation()
    match = r"q\(z\|x\): 'scale' \[4, 2\] of Normal must be positive where 'z' is scored"
    with pytest.raises(PixyzError, match=match):
        q.get_log_prob({"x": zero, "z": x})
    with pytest.raises(PixyzError, match=match):
        E(prior, LogProb(Deviation())).eval({"x": zero})
    with pytest.raises(PixyzError, match="of Normal must be positive where 'z' is scored"):
        IterativeLoss(LogProb(Deviation()), series_var=["x", "z"]).eval(
            {"x": zero[None].expand(3, -1, -1), "z": x[None].expand(3, -1, -1)}
        )
    assert q.sample({"x": zero})["z"].shape == (ROWS, 2)  # what rounds to 0 can be drawn
    assert KullbackLeibler(q, prior).eval({"x": x}).shape == (ROWS,)


def test_a_matrix_by_its_diagonal() -> None:
    factor = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    p = pd.MultivariateNormal("x", loc=torch.zeros(2), scale_tril=factor)
    with pytest.raises(PixyzError, match=r"the diagonal of 'scale_tril' \[1, 2, 2\] of Multi"):
        p.get_log_prob({"x": torch.zeros(1, 2)})


@pytest.mark.parametrize("family", [pd.RelaxedBernoulli, pd.ConcreteCategorical])
def test_a_temperature_of_each_row(family: type[Distribution]) -> None:
    p = family(var="x", cond_var=["l", "t"], logits="l", temperature="t")  # type: ignore[call-arg]
    given = {"l": torch.zeros(ROWS, 3), "t": torch.full((ROWS,), 0.5)}
    assert p.sample(given)["x"].shape == (ROWS, 3)
    q = family(var="x", cond_var=["l", "t"], logits="l", temperature="t")  # type: ignore[call-arg]
    with pytest.raises(PixyzError, match=r"'temperature' in p\(x\|l,t\) must be at least"):
        q.sample({**given, "t": torch.tensor([0.5, -1.0, 0.5, 0.5])})


def test_right_shapes_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text that runs later holds no look."""
    p = Normal("x", ["m", "s"], loc="m", scale="s")
    loss = LogProb(p) + LogProb(Categorical("k", "l", logits="l"))
    x = {k: torch.ones(ROWS, 2) for k in ("x", "m", "s", "k", "l")}
    x["k"] = torch.eye(2).repeat(2, 1)
    loss.eval(x)
    zero = {**x, "s": torch.zeros(ROWS, 2)}
    assert "look" not in loss.plan.source and not loss.eval(zero).isfinite().any()
    with pytest.raises(PixyzError, match=r"'scale' .* must be positive"), pixyz.debug():
        loss.eval(zero)
