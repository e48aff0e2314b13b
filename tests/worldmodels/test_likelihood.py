"""Estimates of the likelihood against the Kalman filter's, and schedules."""

import math

import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import Normal
from pixyz.expression import E, LogProb, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.annealing import Annealing
from worldmodels.estimators import Estimate, estimate, frames
from worldmodels.particles import particle_filter, systematic
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State

T, B, A, Q, R = 12, 3, 0.9, 0.5, 0.3


class Linear(Normal):
    """``loc = gain * sum of its conditions``."""

    def __init__(
        self, var: str, cond: list[str], gain: float, scale: float, name: str = "p"
    ) -> None:
        super().__init__(var, cond, name, features_shape=[1])
        self.gain, self.width = nn.Parameter(torch.tensor(gain)), scale

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.gain * sum(given.values())
        return {"loc": loc, "scale": torch.full_like(loc, self.width)}


class LinearGaussian(StateSpaceModel):
    """``z_t = A z_{t-1} + N(0, Q^2)``, ``x_t = z_t + N(0, R^2)``; proposals from the transition,
    widened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.prior, self.emission = Linear("z", ["z_prev"], A, Q), Linear("x", ["z"], 1.0, R)
        self.proposal = Linear("z", ["z_prev"], A, 1.2 * Q, "q")
        p_z, p_x, q = self.prior, self.emission, self.proposal
        self._declare(
            keys=["x"],
            inference=q,
            generation=p_z * p_x,
            emission=p_x,
            carry={"z": "z_prev"},
            init={"z_prev": 0},
        )
        weight = E(q, LogProb(p_x) + LogProb(p_z) - LogProb(q))
        cost = E(q, -LogProb(p_x)) + Parameter("beta", default=1.0) * KullbackLeibler(q, p_z)
        self._express(
            IterativeLoss(cost, reduction="frame", **self.recurrence),
            IterativeLoss(cost, **self.recurrence),
            IterativeLoss(weight, **self.recurrence),
            IterativeLoss(weight, reduction=None, returns="z", **self.recurrence),
        )

    def initial(self, batch: int) -> State:
        return {"z": torch.zeros(batch, 1, dtype=self.prior.gain.dtype)}


def kalman(x: Tensor, mask: Tensor) -> Tensor:
    """The log-likelihood of each sequence, ``[B]``; masked frames are left out, the state is held
    there.
    """
    total = []
    for i in range(x.shape[1]):
        mean, var, nats = 0.0, 0.0, 0.0
        for t in range(len(x)):
            if not mask[t, i]:
                continue
            mean, var = A * mean, A * A * var + Q * Q
            seen, width = x[t, i, 0].item(), var + R * R
            nats += -0.5 * math.log(2 * math.pi * width) - 0.5 * (seen - mean) ** 2 / width
            gain = var / width
            mean, var = mean + gain * (seen - mean), (1 - gain) * var
        total.append(nats)
    return torch.tensor(total, dtype=torch.float64)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = LinearGaussian().double()
    x = model.sample(model.initial(B), T)["x"]
    return {"x": x, "mask": (torch.arange(T)[:, None] < torch.tensor([12, 12, 7])).double()}


def test_a_particle_filter_finds_the_likelihood(batch: dict[str, Tensor]) -> None:
    torch.manual_seed(1)
    model, exact = LinearGaussian().double(), kalman(batch["x"], batch["mask"])
    with torch.no_grad():
        found = particle_filter(model, batch, 20000)
        whole = particle_filter(model, batch, 20000, threshold=0.0)
    assert (found.log_likelihood - exact).abs().max() < 0.2  # its standard deviation is 0.06
    assert found.resampled.any() and not found.resampled[-1].any() and not whole.resampled.any()
    assert found.effective.min() > 10 * whole.effective.min() and (found.effective <= 20000).all()
    assert not found.resampled[7:, 2].any()  # nothing is gained at masked frames


def test_the_estimate_of_a_particle_filter_is_unbiased(batch: dict[str, Tensor]) -> None:
    """The mean of ``p_hat / p`` over many filters of few particles is 1, whatever the threshold."""
    model, exact = LinearGaussian().double(), kalman(batch["x"], batch["mask"])
    many = {k: v.repeat_interleave(3000, 1) for k, v in batch.items()}
    torch.manual_seed(2)
    for threshold in (0.5, 1.0):
        with torch.no_grad():
            found = particle_filter(model, many, 16, threshold)
        ratio = (found.log_likelihood.unflatten(0, (B, 3000)) - exact[:, None]).exp()
        error = ratio.std(1) / 3000**0.5
        assert ((ratio.mean(1) - 1).abs() < 4 * error).all() and error.max() < 0.05


def test_bounds_are_in_order_and_grow_with_particles(batch: dict[str, Tensor]) -> None:
    model, exact = LinearGaussian().double(), kalman(batch["x"], batch["mask"])
    torch.manual_seed(3)
    found = estimate(model.log_weight, batch, 4000, width=500)
    assert found.log_weights.shape == (4000, B) and found.frames.tolist() == [12, 12, 7]
    few = Estimate(found.log_weights[:20], found.frames)
    with torch.no_grad():
        bounds = torch.stack([-model.bound.eval(batch) for _ in range(400)])
    assert (found.bound < found.importance).all() and few.importance.sum() < exact.sum()
    error = (found.log_weights.var(0) / 4000 + bounds.var(0) / 400).sqrt()
    assert ((found.bound - bounds.mean(0)).abs() < 4 * error).all()
    assert found.per_frame(found.importance) == pytest.approx(-found.importance.sum().item() / 31)
    assert found.per_sequence(found.bound) == pytest.approx(
        -(found.bound / found.frames).mean().item()
    )


def test_a_particle_filter_has_gradients(batch: dict[str, Tensor]) -> None:
    model = LinearGaussian().double()
    torch.manual_seed(4)
    value = particle_filter(model, batch, 64).log_likelihood.sum()
    grads = torch.autograd.grad(value, list(model.parameters()))
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in grads)


def test_one_particle_is_one_draw_of_the_weight(
    batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Normal,
        "noise",
        staticmethod(lambda shape, like: torch.full(tuple(shape), 0.3, dtype=like.dtype)),
    )
    model = LinearGaussian().double()
    with torch.no_grad():
        found = particle_filter(model, batch, 1)
        torch.testing.assert_close(found.log_likelihood, model.log_weight.eval(batch))


def test_systematic_resampling_keeps_expected_counts() -> None:
    torch.manual_seed(5)
    weights = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).double().expand(4000, -1)
    counts = torch.stack([(systematic(weights) == k).sum(1) for k in range(4)], 1).double()
    torch.testing.assert_close(counts.mean(0), 4 * weights[0], rtol=0.0, atol=0.05)
    assert ((counts - 4 * weights).abs() < 1).all()


def test_frames_are_the_valid_ones(batch: dict[str, Tensor]) -> None:
    assert frames(batch).tolist() == [12, 12, 7] and frames({"x": batch["x"]}).tolist() == [
        12,
        12,
        12,
    ]
    for wrong in (
        lambda: estimate(LinearGaussian().double().objective, batch, 5),
        lambda: estimate(LinearGaussian().double().log_weight, batch, 0),
        lambda: particle_filter(LinearGaussian().double(), batch, 0),
    ):
        with pytest.raises(PixyzError):
            wrong()


def test_schedules() -> None:
    linear = Annealing(0.1, 0.9, 8)
    assert [round(linear(i), 6) for i in (0, 4, 8, 100)] == [0.1, 0.5, 0.9, 0.9]
    cosine = Annealing(0.0, 1.0, 8, "cosine")
    assert (
        cosine(0) == 0
        and cosine(4) == pytest.approx(0.5)
        and cosine(2) == pytest.approx(0.5 - 0.5 * math.cos(math.pi / 4))
    )
    cyclic = Annealing(steps=8, cycles=2)
    assert [cyclic(i) for i in range(9)] == [0, 0.5, 1, 1, 0, 0.5, 1, 1, 1]
    assert Annealing(steps=0)(0) == 1.0
    for wrong in ({"steps": -1}, {"cycles": 0}):
        with pytest.raises(PixyzError):
            Annealing(**wrong)
