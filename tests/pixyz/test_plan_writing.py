"""What a plan is written with: parameters once, no collection meanwhile, parts in order."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import Normal
from pixyz.distributions.core.params import Forward, Params
from pixyz.losses import E, KullbackLeibler, LogProb, Loss, Parameter
from pixyz.plan import Scope, Slot
from pixyz.plan.run import collector
from pixyz.plan.structure import parts


class Wide(Normal):
    """A normal whose scale is twice what its network says."""

    written = 0

    def __init__(self) -> None:
        super().__init__("z", "x", name="q")
        self.net = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": self.net(x), "scale": torch.ones_like(x)}

    def params_from(self, scope: Scope, network: Forward) -> Params:
        params = super().params_from(scope, network)
        twice = scope.builder.point(torch.add, params["scale"], params["scale"], label="twice")
        params.replace("scale", twice)
        return params


def test_parameters_that_a_class_changes_are_changed_once_for_each_term() -> None:
    q, p = Wide(), Normal("z", loc=0.0, scale=1.0, features_shape=[2])
    x = {"x": torch.zeros(1, 2)}
    nn.init.zeros_(q.net.bias)
    one = KullbackLeibler(q, p).eval(x)  # of N(0, 2) from N(0, 1), twice
    torch.testing.assert_close(one, torch.tensor([2 * (2.0 - 0.5) - 2 * torch.tensor(2.0).log()]))
    both = KullbackLeibler(q, p) + 0 * E(q, LogProb(p)) + KullbackLeibler(q, p)
    torch.testing.assert_close(both.eval(x), 2 * one)


def test_a_network_is_written_once_for_all_terms_and_each_time_without_sharing() -> None:
    q, p = Wide(), Normal("z", loc=0.0, scale=1.0, features_shape=[2])
    loss = KullbackLeibler(q, p) - E(q, LogProb(p))
    assert str(loss.plan).count("= net q(z|x)") == 1
    assert str(loss.share(False).plan).count("= net q(z|x)") == 2


class Looks(Loss):
    """Says whether Python collects while it is lowered."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__([])
        self.fails = fails

    def lower(self, scope: Scope) -> Slot:
        assert not gc.isenabled()
        if self.fails:
            raise ValueError("on purpose")
        return scope.builder.constant(1.0)


@pytest.mark.parametrize("on", [True, False])
def test_nothing_is_collected_while_a_plan_is_written(on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        assert (2 * Looks() + Parameter("a")).eval({"a": 1.0}) == 3.0
        assert gc.isenabled() is on
        with pytest.raises(ValueError, match="on purpose"):
            Looks(fails=True).eval({})
        assert gc.isenabled() is on
    finally:
        (gc.enable if before else gc.disable)()


def test_the_last_of_two_threads_lets_it_collect_again() -> None:
    inside, out = threading.Event(), threading.Event()

    def other() -> None:
        with collector.waiting():
            inside.set()
            out.wait(10)

    thread = threading.Thread(target=other)
    with collector.waiting():
        thread.start()
        inside.wait(10)
    assert not gc.isenabled()
    out.set()
    thread.join()
    assert gc.isenabled()


def test_parts_are_the_modules_in_their_order() -> None:
    shared = nn.Linear(2, 2)
    tree = nn.ModuleList(
        [nn.Sequential(shared, nn.Tanh()), shared, nn.ModuleDict({"a": nn.ReLU()})]
    )
    tree.register_module("none", None)
    assert parts(tree) == list(tree.modules())
