"""HRSSM: what boundaries do to the two time scales."""

import pytest
import torch
from torch.distributions import Normal as N
from torch.distributions import kl_divergence

from pixyz.distributions import GroupedOneHot, Normal, Scan
from pixyz.types import PixyzError
from worldmodels.hrssm import HRSSM, HRSSMConfig

T, B = 12, 5


def build() -> tuple[HRSSM, Scan]:
    torch.manual_seed(0)
    model = HRSSM(3, HRSSMConfig(2, 3, 4, 5, 4, length=3.0)).double()
    return model, Scan(model.step, **model.recurrence)


def test_the_abstraction_is_held_within_a_segment_and_drawn_at_its_beginning() -> None:
    model, scan = build()
    x = torch.randn(T, B, 3).double()
    found = scan.sample({"x": x, **model.read_context({"x": x})}, return_all=False)
    opened = found["m"] == 1
    assert (
        ((found["m"] == 0) | opened).all()
        and opened[0].all()
        and 0.1 < opened[1:].double().mean() < 0.9
    )
    for k in ("z", "c"):
        moved = (found[k][1:] - found[k][:-1]).abs().sum(-1) > 0
        assert torch.equal(moved, opened[1:])
    torch.testing.assert_close(found["z"][opened], found["z_new"][opened])
    torch.testing.assert_close(found["h"][opened], found["h_begin"][opened])
    torch.testing.assert_close(found["h"][~opened], found["h_next"][~opened])
    assert found["n"][:, 0, 0].tolist() == list(range(1, T + 1))


def test_the_divergence_of_the_abstraction_counts_where_a_segment_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With no boundary but the first, a change of ``p(z_new|c)`` is paid for at the first frame
    only.
    """
    for family in (Normal, GroupedOneHot):
        monkeypatch.setattr(
            family,
            "noise",
            staticmethod(lambda shape, like: torch.full((*shape[:-1], 1), 0.3).to(like)),
        )
    model, _ = build()
    with torch.no_grad():
        for boundary in (model.boundary_q, model.boundary_p):
            boundary.net[-1].bias.copy_(torch.tensor([400.0, -400.0]))
    x = torch.randn(T, B, 3).double()
    g, zeros = model.read_context({"x": x})["g"][0], torch.zeros(B, 2).double()
    c = model.abstract_cell(z_prev=zeros, c_prev=torch.zeros(B, 4).double())["c_new"]
    bounds, first = [], []
    for shift in (0.0, 0.5):
        with torch.no_grad():
            model.abstract_p.net[-1].bias[:2] += shift
            first.append(
                kl_divergence(N(**model.abstract_q(c=c, g=g)), N(**model.abstract_p(c=c))).sum(-1)
            )
            bounds.append(model.bound.eval({"x": x}))
    assert (bounds[1] - bounds[0]).abs().min() > 1e-3
    torch.testing.assert_close(bounds[1] - bounds[0], first[1] - first[0])


def test_gradients_of_all_but_the_boundaries_are_those_of_the_bound() -> None:
    """With saturated boundaries nothing is straight-through; against a central difference."""
    model, _ = build()
    with torch.no_grad():
        for boundary in (model.boundary_q, model.boundary_p):
            boundary.net[-1].bias.copy_(torch.tensor([-400.0, 400.0]))
    x = torch.randn(T, B, 3).double()
    parameters = [p for n, p in model.named_parameters() if not n.startswith("boundary")]
    direction = [torch.randn_like(p) for p in parameters]

    def moved(by: float) -> torch.Tensor:
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(by * d)
        torch.manual_seed(4)
        return model.bound.eval({"x": x}).sum()

    grads = torch.autograd.grad(moved(0.0), parameters, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(grads, direction, strict=True) if g is not None)
    torch.testing.assert_close(slope, (moved(1e-7) - moved(-2e-7)) / 2e-7, rtol=1e-6, atol=1e-6)
    with pytest.raises(PixyzError, match="length must be above 1"):
        HRSSM(2, HRSSMConfig(length=1.0))
