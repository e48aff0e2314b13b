"""Masked frames hold the carry, contribute 0 and have no NaN gradient, whatever they hold and
whatever the density.
"""

import pytest
import torch
from law_parts import LAWS, B, Law, samples
from torch import Tensor, nn

from pixyz.distributions import CustomProb, Deterministic, Scan, SeriesFunction
from pixyz.losses import E, IterativeLoss, LogProb, Loss, Parameter

T = 5
MASK = torch.tensor([[1, 1, 0, 1, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]).T  # [T, B]


class Weighted(Deterministic):
    """``v = w_v v_data``: a weight that all frames share, so that a NaN of one frame is seen."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names, [f"{n}_data" for n in names], name="f")
        self.weights = nn.ParameterDict(
            {n: nn.Parameter(torch.ones((), dtype=torch.float64)) for n in names}
        )

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {n: w * given[f"{n}_data"] for n, w in self.weights.items()}


def data(law: Law) -> dict[str, Tensor]:
    """Parameters and values in the support, ``[T, B, ...]``."""
    return {
        "x": samples(law, T).to(torch.float64),
        **{k: v.expand(T, *v.shape) for k, v in law.params.items()},
    }


def gradients(value: Tensor, weights: Weighted) -> list[Tensor]:
    return list(
        torch.autograd.grad(
            value, list(weights.parameters()), allow_unused=True, materialize_grads=True
        )
    )


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_a_masked_frame_gives_no_nan_gradient(law: Law) -> None:
    p, given = law.bound(), data(law)
    weights = Weighted(list(given))
    exact = LogProb(p).eval(weights(**{f"{n}_data": v[MASK != 0] for n, v in given.items()})).sum()
    wanted = gradients(exact, weights)
    dirty = {f"{n}_data": v.clone() for n, v in given.items()}
    for v in dirty.values():
        v[MASK == 0] = float("nan")
    series = {"series_var": list(dirty), "mask_var": "m"}
    for loss in (
        IterativeLoss(E(weights, LogProb(p)), **series).sum(),  # type: ignore[arg-type]
        IterativeLoss(E(weights, LogProb(p)), fission=False, **series).sum(),  # type: ignore[arg-type]
        E(Scan(weights, **series), LogProb(p).sum()),  # type: ignore[arg-type]
    ):
        value = loss.eval({**dirty, "m": MASK})
        torch.testing.assert_close(value, exact)
        for found, g in zip(gradients(value, weights), wanted, strict=True):
            torch.testing.assert_close(found, g)


class Logarithm(nn.Module):
    """A density of the user's with weights, that is not finite at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return -self.net(x.log()).square().sum(-1)


@pytest.mark.parametrize("valid", [[0, 1, 3], []])
def test_a_density_of_the_users_sees_no_masked_frame(valid: list[int]) -> None:
    density, x, mask = (
        Logarithm(),
        torch.full((T, 1, 1), float("nan"), dtype=torch.float64),
        torch.zeros(T, 1),
    )
    x[valid], mask[valid] = 2.0, 1
    loss = IterativeLoss(LogProb(CustomProb(density, var="x")), series_var="x").sum()
    grads = torch.autograd.grad(loss.eval({"x": x, "mask": mask}), list(density.parameters()))
    assert all(bool(g.isfinite().all()) for g in grads)


class Total(SeriesFunction):
    def __init__(self) -> None:
        super().__init__("total", ["r"], like={"total": None})

    def forward(self, r: Tensor) -> dict[str, Tensor]:
        return {"total": r.sum(0)}


class Hold(Deterministic):
    def __init__(self) -> None:
        super().__init__("h", ["h_prev", "r"], name="f", features_shape=[1])

    def forward(self, h_prev: Tensor, r: Tensor) -> dict[str, Tensor]:
        return {"h": h_prev + r}


def scan() -> Scan:
    return Scan(
        Hold(),
        series_var=["r", "m"],
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
        mask_var="m",
    )


def test_a_function_of_a_series_reads_0_in_a_masked_frame() -> None:
    r = torch.where(MASK[..., None] != 0, 1.0, float("nan"))
    found = E(scan(), E(Total(), Parameter("total"))).eval({"r": r, "m": MASK})
    torch.testing.assert_close(found[:, 0], MASK.sum(0).float())


def test_a_mask_that_is_a_series_too_is_itself() -> None:
    r = torch.where(MASK[..., None] != 0, 1.0, float("nan"))
    torch.testing.assert_close(E(scan(), Parameter("m")).eval({"r": r, "m": MASK}), MASK)


def test_a_lag_with_init_of_a_masked_frame_is_0() -> None:
    r = torch.where(MASK[..., None] != 0, 1.0, float("nan"))
    lags: Loss = IterativeLoss(
        Parameter("r_prev"),
        series_var="r",
        lags={"r_prev": ("r", -1)},
        init={"r_prev": 0},
        mask_var="m",
        reduction=None,
    )
    wanted = torch.cat([torch.zeros(1, B), MASK[:-1].float()]) * MASK
    torch.testing.assert_close(lags.eval({"r": r, "m": MASK})[..., 0], wanted)
