"""MRSSM: missing modalities."""

import pytest
import torch
from torch import Tensor

from pixyz.types import PixyzError
from worldmodels.mrssm import MRSSM, MRSSMConfig

T, B = 5, 4


def build() -> MRSSM:
    torch.manual_seed(0)
    return MRSSM({"x": 3, "y": 2}, 2, MRSSMConfig(4, 3, 6)).double()


def data() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    draw = lambda *s: torch.randn(*s, generator=g, dtype=torch.float64)  # noqa: E731
    return {
        "x": draw(T, B, 3),
        "y": draw(T, B, 2),
        "action": draw(T, B, 2),
        "is_first": torch.zeros(T, B),
        "x_given": draw(T, B) > 0,
        "y_given": draw(T, B) > 0,
    }


def test_what_a_missing_frame_holds_changes_nothing() -> None:
    model, x = build(), data()
    dirty = {
        **x,
        **{k: torch.where(x[f"{k}_given"][..., None], x[k], float("nan")) for k in ("x", "y")},
    }
    found = []
    for batch in (x, dirty):
        torch.manual_seed(2)
        value = model.objective.eval(batch)
        found.append(
            [
                value,
                *torch.autograd.grad(value, list(model.parameters())),
                *model.filter(batch, mean=True).values(),
            ]
        )
    assert all(torch.isfinite(a).all() and torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_without_any_modality_the_posterior_is_the_prior() -> None:
    model, x = build(), data()
    nothing = {**x, "x_given": torch.zeros(T, B), "y_given": torch.zeros(T, B)}
    torch.testing.assert_close(model.bound.eval(nothing), torch.zeros(B, dtype=torch.float64))
    seen = model.filter(nothing, mean=True)
    action = torch.cat([torch.zeros(1, B, 2).double(), x["action"][:-1]])
    dreamt = model.sample(model.initial(B), action=action, mean=True)
    for k in ("h", "s"):
        torch.testing.assert_close(seen[k], dreamt[k])


def test_each_modality_adds_precision() -> None:
    """The product of normal experts: precisions add, and the mean is their weighted mean."""
    model = build()
    h, features = (
        torch.randn(B, 4).double(),
        {f"{k}_feature": torch.randn(B, 6).double() for k in ("x", "y")},
    )

    def posterior(x: float, y: float) -> dict[str, Tensor]:
        return model.posterior(
            h=h, **features, x_given=torch.full((B,), x), y_given=torch.full((B,), y)
        )

    none, one, other, both = (posterior(*p) for p in ((0, 0), (1, 0), (0, 1), (1, 1)))
    weight = [p["scale"] ** -2 for p in (none, one, other, both)]
    torch.testing.assert_close(weight[3], weight[1] + weight[2] - weight[0])
    total = one["loc"] * weight[1] + other["loc"] * weight[2] - none["loc"] * weight[0]
    torch.testing.assert_close(both["loc"], total / weight[3])
    torch.testing.assert_close(none["loc"], model.prior(h=h)["loc"])


def test_a_modality_can_be_reconstructed_from_the_other() -> None:
    model, x = build(), data()
    only = {**x, "y": torch.full_like(x["y"], float("nan")), "y_given": torch.zeros(T, B)}
    found = model.reconstruct(only)
    assert torch.isfinite(found["y"]).all() and found["y"].shape == (T, B, 2)
    with pytest.raises(PixyzError):
        MRSSM({}, 2)
