"""What a run holds on to: a value that nothing reads any more is let go before the next network is
called.
"""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor

from pixyz.distributions import Deterministic, Normal
from pixyz.losses import E, IterativeLoss, LogProb, Loss
from pixyz.plan.emit.lines import WIDTH, Line, let_go

D = 3


class First(Deterministic):
    """Notes its results, weakly."""

    def __init__(self) -> None:
        super().__init__("h", "x", name="f")
        self.__dict__["made"] = []

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = x * 2.0
        self.__dict__["made"].append(weakref.ref(h))
        return {"h": h}


class Second(Deterministic):
    """Reads the first one's, and is read by the third."""

    def __init__(self) -> None:
        super().__init__("g", "h", name="g")

    def forward(self, h: Tensor) -> dict[str, Tensor]:
        return {"g": h + 1.0}


class Third(Normal):
    """Notes whether the first one's results are still there."""

    def __init__(self, first: First) -> None:
        super().__init__("y", "g", name="p")
        self.__dict__["there"], self.__dict__["first"] = [], first

    def forward(self, g: Tensor) -> dict[str, Tensor]:
        self.__dict__["there"].append(any(ref() is not None for ref in self.first.made))
        return {"loc": g, "scale": torch.ones_like(g)}


def made() -> tuple[Loss, Third]:
    first = First()
    third = Third(first)
    return -E(third.__dict__["first"], E(Second(), LogProb(third))).mean(), third


@pytest.mark.parametrize("series", [False, True])
def test_what_is_not_read_any_more_is_gone_when_a_network_is_called(series: bool) -> None:
    loss, third = made()
    if series:
        loss = IterativeLoss(loss, series_var=["x", "y"]).mean()
    lead = (2, 4) if series else (4,)
    x = {"x": torch.randn(*lead, D), "y": torch.randn(*lead, D)}
    wanted = (-LogProb(Normal("y", loc=0.0, scale=1.0, features_shape=[D]))).eval(
        {"y": (x["y"] - (2.0 * x["x"] + 1.0)).reshape(-1, D)}
    )
    loss.eval(x)  # a trial, which notes what networks return
    for _ in range(2):
        third.there.clear()
        third.first.made.clear()
        value = loss.eval(x)
        assert third.there == [False]
        torch.testing.assert_close(value, wanted.mean() * (2 if series else 1))


def test_what_is_asked_for_is_kept() -> None:
    loss, third = made()
    x = {"x": torch.randn(4, D), "y": torch.randn(4, D)}
    for _ in range(2):
        third.there.clear()
        _, found = loss.eval(x, return_dict=True)
        torch.testing.assert_close(found["h"], 2.0 * x["x"], rtol=0, atol=0)
        torch.testing.assert_close(found["g"], 2.0 * x["x"] + 1.0, rtol=0, atol=0)
        assert third.there == [True]


def test_gradients_are_what_they_were() -> None:
    """What a gradient needs stays, whatever name it had."""
    loss, _ = made()
    x = torch.randn(4, D, requires_grad=True)
    y = torch.randn(4, D)
    for _ in range(2):
        (found,) = torch.autograd.grad(loss.eval({"x": x, "y": y}), x)
        torch.testing.assert_close(found, 2.0 * (2.0 * x + 1.0 - y).detach() / 4)


def test_a_text_stays_within_its_width() -> None:
    """One ``del`` of many names is several lines."""
    lines = [Line(f"v{i}_name = f_0(v0)", True) for i in range(1, 30)]
    made = {f"v{i}_name" for i in range(1, 30)}
    found = [x.text for x in let_go([*lines, Line("v30 = net_1(v0)", True)], made, ["net_1"])]
    gone = [text for text in found if text.startswith("del ")]
    assert len(gone) > 1 and max(map(len, gone)) <= len("del ") + WIDTH
    assert [name for text in gone for name in text[4:].split(", ")] == [
        f"v{i}_name" for i in range(1, 30)
    ]
    assert found[-1] == "v30 = net_1(v0)" and len(found) == 30 + len(gone)


def test_no_name_of_an_input_or_a_result_is_let_go() -> None:
    loss, _ = made()
    total: Loss = sum((float(i) * LogProb(Third(First())).mean() for i in range(1, 4)), loss)
    lines = total.plan.source.splitlines()
    gone = [
        name.strip()
        for x in lines
        if x.strip().startswith("del ")
        for name in x.split("del ")[1].split(",")
    ]
    assert gone and len(gone) == len(set(gone))
    head = next(x for x in lines if x.startswith("def plan"))
    assert not [name for name in gone if name in head or name in lines[-1]]
    assert max(len(x) for x in lines if x.strip().startswith("del ")) <= 110
