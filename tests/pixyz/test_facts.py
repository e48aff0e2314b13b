"""What trials find is a value of the cache: nothing is written on objects, classes or modules, and
a plan does not change.
"""

import pickle
from typing import Any

import pytest
import torch
from lowering_parts import B, Bits, D, T, series
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Normal
from pixyz.losses import E, IterativeLoss, LogProb, Loss, Parameter
from pixyz.plan.run.plan import Plan


class Odd(Normal):
    """A network that returns something else than it was declared to."""

    def __init__(self, returns: str, cond: str = "x") -> None:
        super().__init__("z", cond, name="q")
        self.net, self.kind = nn.Linear(D, D).double(), returns

    def forward(self, **given: Tensor) -> dict[str, Any]:
        loc = self.net(next(iter(given.values())))
        scales = {"log_scale": torch.zeros_like(loc), "number": 0.5, "row": torch.ones(D).double()}
        scales["scale"] = torch.ones_like(loc)
        key = self.kind if self.kind == "log_scale" else "scale"
        return {"loc": loc, key: scales[self.kind]}


class Centred(Deterministic):
    """Rows less their mean."""

    def __init__(self) -> None:
        super().__init__("z", "x", name="f")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": x - x.mean(0)}


FOUND = {
    "log_scale": lambda: E(Odd("log_scale"), LogProb(Bits())).mean(),
    "number": lambda: E(Odd("number"), LogProb(Bits())).mean(),
    "row": lambda: IterativeLoss(E(Odd("row"), LogProb(Bits())), series_var="x").mean(),
    "pinned": lambda: IterativeLoss(E(Centred(), Parameter("z")), series_var="x").mean(),
}


def data(name: str) -> Tensor:
    return (series(1, T, B, D) if name in ("row", "pinned") else series(1, B, D)).sigmoid().round()


def held(loss: Loss) -> list[Any]:
    """All that the objects of an expression hold, but for the cache; and what their classes do."""
    parts = [m for m in loss.modules() if isinstance(m, nn.Module)]
    own = [
        {k: repr(v) for k, v in vars(m).items() if k not in ("_plans", "_parameter_names")}
        for m in parts
    ]
    return [own, [sorted(vars(type(m))) for m in parts]]


@pytest.mark.parametrize("name", FOUND)
def test_nothing_is_written_on_objects_or_classes(name: str) -> None:
    loss = FOUND[name]()
    before = held(loss)
    for _ in range(2):
        loss.eval({"x": data(name)})
    assert held(loss) == before
    facts = next(iter(loss._plans._kept.facts.values()))
    found = {"log_scale": "returns", "number": "numbers", "row": "rowless", "pinned": "pinned"}
    assert getattr(facts, found[name])


@pytest.mark.parametrize("name", FOUND)
def test_a_fresh_instance_knows_nothing_of_another(name: str) -> None:
    first = FOUND[name]()
    declared = str(FOUND[name]().plan).replace("T", "").split("\n\n")[0].count("\n")
    first.eval({"x": data(name)})
    assert str(FOUND[name]().plan).replace("T", "").split("\n\n")[0].count("\n") == declared
    if name == "log_scale":
        assert "log_scale" in first.plan.source and "log_scale" not in FOUND[name]().plan.source
    torch.testing.assert_close(
        pickle.loads(pickle.dumps(first)).eval({"x": data(name)}).shape,
        first.eval({"x": data(name)}).shape,
    )


@pytest.mark.parametrize("name", FOUND)
def test_a_plan_does_not_change(name: str) -> None:
    """Not by runs on other shapes, and not by what its networks return."""
    loss, x = FOUND[name](), data(name)
    loss.eval({"x": x})
    plan = loss.plan
    before = {k: id(v) for k, v in vars(plan).items()}
    names = {k: id(v) for k, v in plan._namespace.items()}
    for rows in (1, 2, B):
        loss.eval({"x": x[..., :rows, :]})
    assert loss.plan is plan and {k: id(v) for k, v in vars(plan).items()} == before
    assert {k: id(v) for k, v in plan._namespace.items()} == names


def test_what_a_network_returns_later_makes_another_plan() -> None:
    q = Odd("log_scale")
    loss, x = E(q, LogProb(Bits())).mean(), {"x": data("log_scale")}
    loss.eval(x)
    plan = loss.plan
    for kind in ("number", "row", "log_scale"):
        q.__dict__["kind"] = kind  # a change that nobody sees
        fresh = Odd(kind)
        fresh.load_state_dict(q.state_dict())
        torch.manual_seed(0)
        value = loss.eval(x)
        torch.manual_seed(0)
        torch.testing.assert_close(value, E(fresh, loss.loss1.f).mean().eval(x))
    assert loss.plan is not plan


def many(kinds: list[str]) -> Loss:
    """A sum over pairs of networks, each with latents of its own."""
    total: Loss | None = None
    for i, kind in enumerate(kinds):
        q, p = Odd(kind), Bits()
        pair = E(q.replace_var(z=f"z{i}"), LogProb(p.replace_var(z=f"z{i}"))).mean()
        total = pair if total is None else total + pair
    assert total is not None
    return total


@pytest.mark.parametrize(
    ("kinds", "most"),
    [
        (["log_scale"] * 8, 3),  # as declared, with log_scale, with logits too
        (["scale"] * 4 + ["log_scale"] * 4, 3),
        (["log_scale", "scale"] * 4, 10),  # once for each change
    ],
)
def test_what_one_network_returns_is_guessed_of_the_next(
    kinds: list[str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    made = Plan.__init__

    def counted(self: Plan, *given: Any, **named: Any) -> None:
        written.append(self)
        made(self, *given, **named)

    monkeypatch.setattr(Plan, "__init__", counted)
    loss, x = many(kinds), {"x": data("log_scale")}
    torch.manual_seed(0)
    value = loss.eval(x)
    assert len(written) <= most
    torch.manual_seed(0)
    alone = [part.eval(x) for part in parts_of(loss, len(kinds))]
    torch.testing.assert_close(value, torch.stack(alone).sum())


def parts_of(loss: Any, count: int) -> list[Any]:
    """The terms of a sum of so many."""
    found = []
    for _ in range(count - 1):
        found.append(loss.loss2)
        loss = loss.loss1
    return [loss, *found[::-1]]
