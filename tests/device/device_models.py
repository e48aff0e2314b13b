"""Every world model on a device that is not the CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from made_up_device import compare, move, register, to_device, watched
from test_contract import MODELS, B, T, make, ragged
from torch import Tensor

from worldmodels import estimate, overshooting, particle_filter
from worldmodels.estimators import bounds

Ask = Callable[[dict[str, Tensor]], Any]


def learned(model: Any) -> Ask:
    """Two updates: the loss and all gradients, with the norm clipped."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def ask(v: dict[str, Tensor]) -> list[Tensor]:
        model.train()
        loss = model.objective.eval(v)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return [loss.detach(), *(p.detach() for p in model.parameters())]

    return ask


def forward(model: Any) -> Ask:
    def ask(v: dict[str, Tensor]) -> list[Any]:
        state = model.initial(B)
        step = {k: x[1] for k, x in v.items() if k not in ("mask", "action")} | {
            "action_prev": v["action"][0]
        }
        seen = model.observe(state, step)
        return [
            seen,
            model.predict(seen, step),
            model.sample(seen, 3, v["action"][:3] if model.acts else None),
        ]

    return ask


ASK: dict[str, Callable[[Any], Ask]] = {
    "update": learned,
    "bound": lambda m: m.bound.eval,
    "log-weight": lambda m: m.log_weight.eval,
    "filter": lambda m: m.filter,
    "filter means": lambda m: lambda v: m.filter(v, mean=True),
    "smooth": lambda m: m.smooth,
    "reconstruct": lambda m: m.reconstruct,
    "step by step": forward,
}


@pytest.mark.parametrize("question", ASK)
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, question: str) -> None:
    if question == "smooth" and not MODELS[name](True).smooths:
        pytest.skip("it filters")
    compare(lambda: (make(name), ragged()), ASK[question])


@pytest.mark.parametrize(
    "name", [n for n in MODELS if MODELS[n](True).expressions.step_weight is not None]
)
def test_particle_filters(name: str) -> None:
    # at each frame: are particles resampled?
    read = {"_local_scalar_dense at worldmodels/particles.py": T}
    compare(
        lambda: (make(name), ragged()), lambda m: lambda v: vars(particle_filter(m, v, 3)), read
    )


READ = {"_local_scalar_dense at worldmodels/pieces.py": 5, "nonzero at worldmodels/pieces.py": 5}
"""The longest sequence of what is measured, and of each of four parts."""


@pytest.mark.parametrize("cut", [False, True])
def test_estimates(cut: bool) -> None:
    def question(m: Any) -> Ask:
        return lambda v: vars(estimate(m if cut else m.log_weight, v, 3, width=3))

    compare(lambda: (make("dmm_filter"), ragged()), question, READ)


def test_bounds() -> None:
    # the lengths
    read = {
        "_local_scalar_dense at worldmodels/pieces.py": 2,
        "nonzero at worldmodels/pieces.py": 2,
        "_to_copy at worldmodels/estimators.py": 1,
    }
    compare(
        lambda: (make("dmm"), ragged()), lambda m: lambda v: {"bound": bounds(m.bound, v)}, read
    )


@pytest.mark.parametrize("name", [n for n in MODELS if not MODELS[n](True).recurrence["reset_var"]])
def test_an_episode_within_a_sequence_is_nan_and_not_waited_for(name: str) -> None:
    """On a CPU it is an error."""
    register()
    model, given = move(make(name)), {**ragged(), "mask": torch.ones(T, B)}
    given["is_first"][3, 1] = True
    with watched() as watch:
        given = to_device(given)
        for _ in range(2):
            watch.clear()
            found = [model.objective.eval(given), model.bound.eval(given)]
    assert not watch.strays and not watch.reads and not watch.uploads, vars(watch)
    loss, nats = (v.held for v in found)
    assert loss.isnan() and nats.isnan().tolist() == [False, True, False, False]


def test_overshooting() -> None:
    def question(m: Any) -> Ask:
        loss = overshooting(m, 3)
        return lambda v: [loss.eval({k: x for k, x in v.items() if k != "mask"})]

    compare(lambda: (make("rssm_gaussian"), ragged()), question)


@pytest.mark.parametrize("name", [n for n in MODELS if MODELS[n](True).acts])
def test_imagination(name: str) -> None:
    """Under a function of the state."""
    compare(
        lambda: (make(name), ragged()),
        lambda m: lambda v: m.imagine(m.initial(B), lambda state: v["action"][0], 3),
    )
