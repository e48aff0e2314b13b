"""check_model over every model, over one that is written here, and over models that break one
clause each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from model_parts import MODELS, data, every
from torch import Tensor, nn

from pixyz.distributions import Normal
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels import StateSpaceModel, check_model
from worldmodels.checked import ModelError
from worldmodels.types import State


@every
@pytest.mark.parametrize("double", [True, False])
def test_every_model_of_the_library_passes(name: str, double: bool) -> None:
    torch.manual_seed(5)
    model = MODELS[name](True)
    model = model.double() if double else model
    before, mode = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    check_model(model)
    assert torch.equal(torch.get_rng_state(), mode) and model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_batch_may_be_given() -> None:
    model, x = MODELS["mrssm"](True).double(), data()
    check_model(model, {k: v for k, v in x.items() if k not in ("I", "reward", "cont")})
    with pytest.raises(PixyzError, match="4 frames of 2 sequences or more, got 3 of 4"):
        check_model(model, {k: v[:3] for k, v in x.items()})
    with pytest.raises(PixyzError, match=r"to hold \['x', 'y'\]"):
        check_model(model, {"x": x["x"]})
    with pytest.raises(ModelError, match=r"Linear was expected to be a module with .*objective"):
        check_model(nn.Linear(2, 2))


# -------------------------------------------------------------------------------------------- a
# model from outside


class Net(Normal):
    """A normal by one layer of its conditions."""

    def __init__(self, var: str, cond: Mapping[str, int], size: int, name: str) -> None:
        super().__init__(var, list(cond), name, features_shape=[size])
        self.layer = nn.Linear(sum(cond.values()), size)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.layer(torch.cat([given[v] for v in self.cond_var], -1))
        return {"loc": loc, "scale": torch.full_like(loc, 0.5)}


class Track(StateSpaceModel):
    """A point that is pushed: ``z_t = W [z_{t-1}, a_{t-1}] + noise``, seen as ``x``."""

    acts = True
    reset: str | None = "is_first"

    def __init__(self, declared: bool = True) -> None:
        super().__init__()
        past = {"z_prev": 2, "action_prev": 1}
        self.prior, self.seen = Net("z", past, 2, "p"), Net("x", {"z": 2}, 3, "p")
        self.posterior = Net("z", {"x": 3, **past}, 2, "q")
        self.more()
        q, p, p_x = self.posterior, self.prior, self.seen
        shapes: dict[str, list[int]] = {"x": [3], "action": [1]} if declared else {}
        self._declare(
            keys=["x"],
            inference=q,
            generation=p * p_x,
            emission=p_x,
            carry={"z": "z_prev"},
            init={"z_prev": 0},
            reset_var=self.reset,
            shapes=shapes,
        )
        cost, kl = E(q, -LogProb(p_x)), KullbackLeibler(q, p)
        weight = E(q, LogProb(p_x) + LogProb(p) - LogProb(q))

        def over_time(step: Loss, reduction: str | None) -> Loss:
            return IterativeLoss(step, reduction=reduction, **self.recurrence)

        beta = Parameter("beta", default=1.0)
        self._express(
            over_time(cost + beta * kl, "frame"),
            over_time(cost + kl, "sum"),
            over_time(weight, "sum"),
            over_time(weight, None),
        )

    def more(self) -> None:
        """Further parts, before the declaration."""

    def initial(self, batch: int) -> State:
        return {"z": self.prior.layer.weight.new_zeros(batch, 2)}


def test_a_model_from_outside_passes() -> None:
    check_model(Track())
    check_model(Track().double())

    class Whole(Track):
        reset = None

    check_model(Whole())
    x = {
        "x": torch.randn(5, 3, 3),
        "action": torch.randn(5, 3, 1),
        "is_first": torch.zeros(5, 3, dtype=torch.bool),
    }
    check_model(Track(declared=False), x)
    with pytest.raises(
        PixyzError, match=r"the shapes of \['x'\] are not declared: give check_model a batch"
    ):
        check_model(Track(declared=False))


class Idle(Track):
    def more(self) -> None:
        self.idle = nn.Linear(2, 2)


class Twice(Track):
    def more(self) -> None:
        self.again = self.prior.layer


class Loose(Track):
    """Its emission is in a list."""

    def more(self) -> None:
        self.held = [self.seen]
        self.__dict__["seen"] = self._modules.pop("seen")


class Wide(Track):
    def initial(self, batch: int) -> State:
        return {"z": torch.zeros(batch, 2, dtype=torch.float16)}


class Moody(Track):
    @property
    def objective(self) -> Loss:
        return super().objective * float(torch.rand(()).item() + self.called())

    def called(self) -> int:
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls


class Forgets(Track):
    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        return super().filter(batch, None, mean)


class Hasty(Track):
    def observe(self, state: State, step: Mapping[str, Tensor], mean: bool = False) -> State:
        return {k: 0.9 * v for k, v in super().observe(state, step, mean).items()}


class Blind(Track):
    """It filters as if there were no mask."""

    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        return super().filter({k: v for k, v in batch.items() if k != "mask"}, state, mean)


class Mixed(Track):
    """A mask moves its states."""

    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        found = super().filter(batch, state, mean)
        return {k: v + 0.01 for k, v in found.items()} if "mask" in batch else found


class Endless(Track):
    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        return super().filter(
            {**batch, "is_first": torch.zeros_like(batch["is_first"])}, state, mean
        )


class Deaf(Track):
    """It takes one episode a sequence, and filters as if all were one."""

    reset = None

    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        return super().filter({k: v for k, v in batch.items() if k != "is_first"}, state, mean)


class Carries(Track):
    """It takes one episode a sequence, and its steps one of all."""

    reset = None

    def observe(self, state: State, step: Mapping[str, Tensor], mean: bool = False) -> State:
        return super().observe(state, {k: v for k, v in step.items() if k != "is_first"}, mean)


class Drifts(Track):
    def predict(
        self, state: State, step: Mapping[str, Tensor] | None = None, mean: bool = False
    ) -> State:
        return {k: v + 0.1 for k, v in super().predict(state, step, mean).items()}


class Dreams(Track):
    def imagine(self, state: State, policy: Any, horizon: int, chunk: int = 0) -> State:
        found = super().imagine(state, policy, horizon, chunk)
        return {**found, "action": found["action"] + 0.1}


BROKEN = {
    Idle: r"learning: no gradient reaches \['idle.weight', 'idle.bias'\] of Idle",
    Twice: r"saved: Twice holds one weight twice, as 'prior.layer.weight' and 'again.weight'",
    Loose: r"saved: the objective of Loose has weights that the model does not hold",
    Wide: "shapes: initial.. of Wide was expected to give 'z' as torch.float32 on cpu, "
    "got torch.float16 on cpu",
    Moody: "one seed: the objective of Moody is",
    Forgets: "chopped: 'z' of Forgets was expected to be the same both ways",
    Hasty: "step by step: 'z' of Hasty",
    Blind: "masked: 'z' of Blind",
    Mixed: "ragged: 'z' of Mixed",
    Endless: "resets: 'z' of Endless.*'is_first' was set",
    Deaf: r"resets: Deaf was expected to refuse .*'is_first' is set at frame 3.*'filter\(\)'. took",
    Carries: "resets: 'z' of Carries.*observe.. begins at initial",
    Drifts: "prediction: 'z' of Drifts",
    Dreams: "imagination: 'action' of Dreams",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda c: c.__name__)
def test_each_clause_says_what_is_broken(broken: type[Track]) -> None:
    with pytest.raises(ModelError, match=BROKEN[broken]):
        check_model(broken())


def test_an_error_within_a_clause_names_it() -> None:
    class Fails(Track):
        def smooth(self, batch: Mapping[str, Tensor], mean: bool = False) -> State:
            raise RuntimeError("no")

        def reconstruct(self, batch: Mapping[str, Tensor], mean: bool = True) -> dict[str, Tensor]:
            raise RuntimeError("out of order")

    with pytest.raises(ModelError, match="shapes: Fails raised RuntimeError: out of order"):
        check_model(Fails())
