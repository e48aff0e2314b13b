"""Imagination in every model whose transitions read actions: a policy,
and a loop of ``predict``.
"""

from __future__ import annotations

import copy

import pytest
import torch
from model_parts import MODELS, A, B, data, every, make, same
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Normal
from pixyz.types import PixyzError
from worldmodels.state_space import StateSpaceModel

ACTING = [name for name in MODELS if make(name).acts]
acting = pytest.mark.parametrize("name", ACTING)
H = 5


class Push(Deterministic):
    """A policy of all that heads read."""

    def __init__(self, model: StateSpaceModel) -> None:
        super().__init__("action", list(model.feature_names), name="a", features_shape=[A])
        size = model.features(model.initial(1)).shape[-1]
        self.net = nn.Linear(size, A).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"action": torch.tanh(self.net(torch.cat([given[v] for v in self.cond_var], -1)))}


class Sway(Normal):
    """A random policy of one variable of the state."""

    def __init__(self, model: StateSpaceModel) -> None:
        super().__init__("action", [model.feature_names[0]], name="a", features_shape=[A])

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = given[self.cond_var[0]][:, :A].tanh()
        return {"loc": loc, "scale": torch.full_like(loc, 0.2)}


def begin(model: StateSpaceModel) -> dict[str, Tensor]:
    """The state after some frames."""
    with torch.no_grad():
        return {k: v[-1] for k, v in model.filter(data()).items()}


@acting
def test_a_path_of_no_step_is_refused(name: str) -> None:
    model = make(name)
    policy, start = Push(model), model.initial(B)
    for horizon in (0, -1):
        for kind in (policy, lambda state: torch.zeros(B, A)):
            with pytest.raises(PixyzError, match=f"at least one step, got {horizon}"):
                model.imagine(start, kind, horizon)


@acting
@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("policy_of", [Push, Sway])
def test_an_imagined_path_is_a_loop_of_predict(
    name: str, policy_of: type[Push] | type[Sway]
) -> None:
    model = make(name)
    policy, start = policy_of(model), begin(model)
    dreamt = model.imagine(start, policy, H)
    state = start
    for t in range(H):
        action = policy.sample(state, return_all=False)["action"]
        torch.testing.assert_close(action, dreamt["action"][t])
        state = model.predict(state, {"action_prev": action})
        same(
            {k: v[t] for k, v in dreamt.items() if k != "action"},
            {k: v for k, v in state.items() if k in dreamt},
        )
    assert set(dreamt) == {*model.state_names, "action"}
    assert model.features(dreamt).shape == (H, B, model.features(start).shape[-1])


@acting
def test_a_function_of_the_state_is_a_policy(name: str) -> None:
    model = make(name)
    policy, start = Push(model), begin(model)
    torch.manual_seed(1)
    dreamt = model.imagine(start, lambda state: policy.sample(state)["action"], H)
    torch.manual_seed(1)
    state = start
    for t in range(H):
        action = policy.sample(state)["action"]
        state = model.predict(state, {"action_prev": action})
        same({k: v[t] for k, v in dreamt.items()}, {**state, "action": action})


@acting
def test_gradient_reaches_the_policy_when_it_is_asked_for(name: str) -> None:
    model = make(name)
    policy, start = Push(model), begin(model)
    loose = model.dream(policy, H, grad=True).sample(start, reparam=True, return_all=False)
    assert torch.autograd.grad(loose["action_prev"].sum(), policy.net.weight)[0].abs().sum() > 0
    reached = torch.autograd.grad(
        model.imagine(start, policy, H)["action"].sum(), policy.net.weight
    )[0]
    assert reached.abs().sum() > 0
    value = model.features(model.imagine(start, policy, H)).square().sum()
    assert torch.autograd.grad(value, policy.net.weight)[0].abs().sum() > 0
    held = model.dream(policy, H).sample(start, reparam=True, return_all=False)
    assert not any(v.requires_grad for v in held.values())
    with torch.no_grad():
        assert not any(v.requires_grad for v in model.imagine(start, policy, H).values())


def test_a_copy_imagines_with_the_policy_that_it_is_given() -> None:
    """A kept dream is of one policy: a copied model holds a copy of it,
    whose weights stay behind.
    """
    model = make("mrssm")
    policy, start = Push(model), begin(model)
    with torch.no_grad():
        model.imagine(start, policy, H)
        twin = copy.deepcopy(model)
        policy.net.bias.add_(1.0)
        action = twin.imagine(start, policy, H)["action"][0]
        torch.testing.assert_close(action, policy.sample(start, return_all=False)["action"])


@acting
def test_a_dream_names_the_states(name: str) -> None:
    model = make(name)
    start = begin(model)
    found = model.dream(Push(model), H).sample(start, return_all=False)
    assert found["action_prev"].shape == (H, B, A)
    for k in model.feature_names:
        whole = found[f"{k}_all"]
        assert torch.equal(whole[0], start[k]) and torch.equal(
            whole[1:], found[f"{model.drawn[k]}_next"]
        )
    decoded = [k for k in model.keys if f"{k}_next" in found and k not in model.state_names]
    # their states read what was seen
    assert decoded == (["x"] if name in ("vrnn_acts", "rssm_changes") else [])


@every
def test_models_without_actions_say_what_else_there_is(name: str) -> None:
    model = make(name)
    if model.acts:
        with pytest.raises(PixyzError, match="draws 'action'"):
            model.dream(Normal("z", loc=torch.zeros(2), scale=torch.ones(2)), H)
        with pytest.raises(PixyzError, match="action_prev"):
            model.predict(model.initial(B))
        return
    for ask in (
        lambda: model.dream(Push(model), H),
        lambda: model.imagine(model.initial(B), Push(model), H),
        lambda: model.imagine(model.initial(B), lambda state: torch.zeros(B, A), H),
    ):
        with pytest.raises(PixyzError, match="reads no actions"):
            ask()
