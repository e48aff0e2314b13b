"""``generator=``: everything that is drawn comes from it, and torch's own generator stays as it
was.
"""

import copy

import pytest
import torch
from law_parts import B, Law, every
from lowering_parts import D, Function, Gauss, carried, series
from torch import Tensor, nn

from pixyz import PixyzError
from pixyz.distributions import (
    Categorical,
    Deterministic,
    MixtureModel,
    Normal,
    TransformedDistribution,
)
from pixyz.flows import PlanarFlow
from pixyz.losses import E, IterativeLoss, LogProb
from pixyz.models import Model
from pixyz.plan.random import random_states, restore_random_states


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every
def test_a_family_draws_from_it_and_leaves_torchs_own_alone(law: Law) -> None:
    p, shape = law.bound(), [50]
    torch.manual_seed(5)
    wanted = [p.sample(law.params, sample_shape=shape)["x"] for _ in range(2)]
    torch.manual_seed(1)
    before, generator = torch.get_rng_state(), seeded(5)
    found = [p.sample(law.params, sample_shape=shape, generator=generator)["x"] for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, found, wanted)) and not torch.equal(*found)


class Noisy(Deterministic):
    """Dropout, which takes no generator."""

    def __init__(self) -> None:
        super().__init__("y", ["x"], name="f", features_shape=[D])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": nn.functional.dropout(x, 0.5)}


def mixture() -> MixtureModel:
    parts = [Normal("x", loc=torch.tensor([m, m]), scale=torch.ones(2)) for m in (-1.0, 1.0)]
    return MixtureModel(parts, Categorical("i", probs=torch.tensor([0.3, 0.7])))


def test_mixtures_flows_dropout_and_estimates_draw_from_it() -> None:
    torch.manual_seed(0)
    flow = TransformedDistribution(
        Normal("z", loc=torch.zeros(2), scale=torch.ones(2)), PlanarFlow(2), var=["x"]
    )
    prior, decoder, q = (
        Normal("z", loc=torch.zeros(2), scale=torch.ones(2)),
        Gauss("x", ["z"]).float(),
        Gauss("z", ["x"]).float(),
    )
    marginal, x = (decoder * prior).marginalize_var("z"), torch.randn(B, D)
    estimated = marginal.with_proposal(q, [4])  # type: ignore[attr-defined]
    draws = [
        lambda **g: mixture().sample(batch_n=20, return_hidden=True, **g)["i"],
        lambda **g: mixture().sample(batch_n=20, **g)["x"],
        lambda **g: flow.sample(batch_n=20, **g)["x"],
        lambda **g: Noisy().sample({"x": torch.ones(20, D)}, **g)["y"],
        lambda **g: (decoder * prior).sample(batch_n=20, **g)["x"],
        lambda **g: estimated.get_log_prob({"x": x}, **g),
    ]
    for draw in draws:
        torch.manual_seed(5)
        wanted = draw()
        torch.manual_seed(1)
        before = torch.get_rng_state()
        assert torch.equal(draw(generator=seeded(5)), wanted)
        assert torch.equal(torch.get_rng_state(), before)
        assert not torch.equal(draw(generator=seeded(6)), wanted)


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("fission", [True, False])
def test_an_objective_draws_from_it_in_every_form(fission: bool, chunk: int) -> None:
    f, q, p = (
        Function("h", ["h_prev", "z_prev"]),
        Gauss("z", ["h", "x"], "q"),
        Gauss("x", ["h", "z"]),
    )
    loss = IterativeLoss(E(f * q, LogProb(p)), fission=fission, **carried("h", "z")).mean()  # type: ignore[arg-type]
    torch.manual_seed(5)
    wanted = loss.eval({"x": series()})
    loss.compile(chunk, backend="eager")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = loss.eval({"x": series()}, generator=seeded(5))
    torch.testing.assert_close(found, wanted)
    value, drawn = loss.eval({"x": series()}, return_dict=True, generator=seeded(5))
    torch.testing.assert_close(value, wanted)
    assert "x" in drawn and torch.equal(torch.get_rng_state(), before)


def test_a_model_trains_on_its_draws() -> None:
    torch.manual_seed(0)
    parts, x, found = (
        nn.ModuleList([Gauss("z", ["x"], "q"), Gauss("x", ["z"])]),
        series(0, B, D),
        [],
    )
    for own in (0, 1):  # the seed of torch's own generator does not matter
        q, p = copy.deepcopy(parts)
        torch.manual_seed(own)
        model = Model(-E(q, LogProb(p)).mean(), distributions=[q, p], optimizer_params={"lr": 0.1})
        generator = seeded(3)
        found.append(torch.stack([model.train({"x": x}, generator=generator) for _ in range(3)]))
    assert torch.equal(*found)


def test_an_error_within_leaves_torchs_own_alone() -> None:
    p = Gauss("x", ["z"])
    before = torch.get_rng_state()
    with pytest.raises(PixyzError):
        p.sample({}, generator=seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_no_generator_of_this_device_is_refused() -> None:
    p, z = Gauss("x", ["z"]), series(0, B, D)
    with pytest.raises(
        PixyzError,
        match=r"must be a torch.Generator, got int: torch.Generator\(\).manual_seed\(0\)",
    ):
        p.sample({"z": z}, generator=0)  # type: ignore[arg-type]
    with pytest.raises(PixyzError, match=r"draws on cpu, the computation is on \['meta'\]"):
        p.to("meta").log_prob().eval({"z": z.to("meta"), "x": z.to("meta")}, generator=seeded(0))


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_states_of_all_generators_are_put_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU's generator is stood in for by one of the CPU."""
    gpu = torch.Generator().manual_seed(3)
    if kind == "cuda":
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [gpu.get_state()])
        monkeypatch.setattr(
            torch.cuda, "set_rng_state_all", lambda states: gpu.set_state(states[0])
        )
    else:
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        monkeypatch.setattr(torch.mps, "get_rng_state", gpu.get_state)
        monkeypatch.setattr(torch.mps, "set_rng_state", gpu.set_state)
    states = random_states()
    first = torch.rand(3), torch.rand(3, generator=gpu)
    restore_random_states(states)
    assert all(map(torch.equal, first, (torch.rand(3), torch.rand(3, generator=gpu))))
