"""Plans follow the structure of their objective: dropped when it changes,
kept when only values do.
"""

import copy
import operator

import numpy as np
import pytest
import torch
from torch import nn

from pixyz.distributions import Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss
from pixyz.plan import Scope, Slot
from pixyz.plan.structure import Clock, reading


class Net(Normal):
    def __init__(self, var="z", cond="x"):
        super().__init__(var, cond, "q", features_shape=[2])
        self.net = nn.Linear(2, 4)
        self.calls = 0

    def forward(self, **given):
        self.calls += 1
        loc, scale = self.net(next(iter(given.values()))).chunk(2, -1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


def prior(loc=0.0):
    return Normal("z", loc=loc, scale=1.0, features_shape=[2], name="p")


X = {"x": torch.randn(3, 2, generator=torch.Generator().manual_seed(0))}


def test_a_part_that_is_replaced_counts_from_the_next_call():
    q = Net()
    kl = KullbackLeibler(q, prior())
    loss = 2 * kl + 1
    old = loss.eval(X)
    kl.q = prior(3.0)
    torch.testing.assert_close(loss.eval(X), 2 * KullbackLeibler(q, prior(3.0)).eval(X) + 1)
    assert not torch.allclose(loss.eval(X), old)


def test_another_network_is_seen_also_where_it_changes_what_may_leave_the_loop():
    q = Net("z", "x")
    loss = IterativeLoss(E(q, -LogProb(prior())), series_var="x").mean()
    x = {"x": torch.randn(4, 3, 2)}
    loss.eval(x)
    assert not any("batch normalisation" in n for n in loss.plan.notes)
    q.net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    loss.eval(x)
    assert q.net[1].num_batches_tracked == 4  # each step of the loop by itself


@pytest.mark.parametrize("steps", [2, 5])
def test_the_number_of_steps(steps):
    z = Net("z", "z_prev")
    loss = IterativeLoss(E(z, LogProb(prior())), max_iter=3, update_value={"z": "z_prev"})
    start = {"z_prev": torch.zeros(4, 2)}
    loss.eval(start)
    loss.max_iter = steps
    torch.manual_seed(1)
    found = loss.eval(start)
    fresh = IterativeLoss(E(z, LogProb(prior())), max_iter=steps, update_value={"z": "z_prev"})
    torch.manual_seed(1)
    torch.testing.assert_close(found, fresh.eval(start))
    assert f"^{{{steps - 1}}}" in loss.loss_text
    with pytest.raises(ValueError, match="max_iter must be"):
        loss.max_iter = 0


def test_a_distribution_that_samples_follows_too():
    joint = prior() * Net("y", "z")
    before = joint.get_log_prob({"z": torch.zeros(3, 2), "y": torch.zeros(3, 2)})
    for part in joint.modules():
        if isinstance(part, Net):
            part.net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    found = joint.get_log_prob({"z": torch.zeros(3, 2), "y": torch.zeros(3, 2)})
    assert found.shape == before.shape and not torch.allclose(found, before)


def test_values_modes_and_a_networks_own_counters_keep_the_plan():
    q = Net()
    loss = KullbackLeibler(q, prior()).mean()
    loss.eval(X)
    plan, now = loss.plan, Clock.now
    optimizer = torch.optim.SGD(q.parameters(), 0.1)
    for _ in range(3):
        loss.eval(X).backward()
        optimizer.step()
    nn.Module.eval(loss), loss.train(), q.eval(), q.train()
    q.load_state_dict(copy.deepcopy(q.state_dict()))
    q.double().float()
    KullbackLeibler(Net(), prior())  # another objective is made
    loss.eval(X)
    assert q.calls > 3 and loss.plan is plan and Clock.now == now


def test_a_change_elsewhere_keeps_the_plan():
    loss, other = KullbackLeibler(Net(), prior()).mean(), KullbackLeibler(Net(), prior())
    loss.eval(X)
    plan = loss.plan
    other.q = prior(1.0)
    loss.eval(X)
    assert loss.plan is plan


def test_a_copy_has_plans_of_its_own():
    loss = KullbackLeibler(Net(), prior())
    loss.eval(X)
    twin = copy.deepcopy(loss)
    twin.q = prior(2.0)
    assert not torch.allclose(twin.eval(X), loss.eval(X))


def test_a_shallow_copy_has_plans_of_its_own_too():
    q = Net()
    loss = KullbackLeibler(q, prior())
    before = loss.eval(X)
    twin = copy.copy(loss)
    twin.analytical = False
    assert not torch.allclose(twin.eval(X), before)
    torch.testing.assert_close(loss.eval(X), before)
    q.sample(X)
    assert len(copy.copy(q)._plans) == 0 and len(q._plans) > 0
    compiled = copy.copy(loss.in_slabs(8))
    assert compiled._plans.options == loss._plans.options


class Scaled(Loss):
    """A loss of one's own, whose rule reads settings."""

    offset = 0.0

    def __init__(self, f: Loss, w: object) -> None:
        super().__init__()
        self.f, self.w, self._power, self.written = f, w, 1, 0

    @property
    def power(self) -> int:
        return self._power

    @power.setter
    def power(self, value: int) -> None:
        self._power = value

    def lower(self, scope: Scope) -> Slot:
        w, power, offset, train = torch.as_tensor(self.w), self.power, self.offset, self.training
        self.written += 1
        return scope.builder.point(
            lambda x: w * x**power + offset + 100.0 * (not train), self.f.lower(scope)
        )


class Tempered(Normal):
    """A distribution of one's own, whose density reads a setting."""

    def __init__(self, w: float) -> None:
        super().__init__("z", loc=0.0, scale=1.0, features_shape=[2])
        self.w = w

    def log_prob_from(self, scope, params, **options):
        w = self.w
        slot = super().log_prob_from(scope, params, **options)
        return scope.builder.point(lambda x: w * x, slot)


class Total(Loss):
    """The sum of losses in a list, which are no submodules."""

    def __init__(self, *losses: Loss) -> None:
        super().__init__()
        self.losses = list(losses)

    def lower(self, scope: Scope) -> Slot:
        first, *rest = [loss.lower(scope) for loss in self.losses]
        for slot in rest:
            first = scope.builder.point(operator.add, first, slot)
        return first


class Held(Total):
    """The same in a list of modules."""

    def __init__(self, *losses: Loss) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)  # type: ignore[assignment]


Z = {"z": torch.ones(3, 2)}


@pytest.mark.parametrize(
    "around",
    [
        lambda loss: loss,
        lambda loss: (2 * loss + 1).mean(),
        lambda loss: Total(loss, LogProb(prior())),
        lambda loss: Held(loss, LogProb(prior())),
        lambda loss: Total(Total(loss)).detach(),
        lambda loss: E(prior().replace_var(z="u"), loss),
        lambda loss: IterativeLoss(loss, series_var="z"),
        lambda loss: Total(IterativeLoss(Held(loss), series_var="z")),
    ],
)
@pytest.mark.parametrize("kind", ["loss", "distribution"])
def test_a_setting_of_a_class_of_ones_own_counts(kind, around):
    owner = Scaled(LogProb(prior()), 2.0) if kind == "loss" else Tempered(2.0)
    loss = around(owner if kind == "loss" else LogProb(owner))
    x = (
        {"z": torch.ones(4, 3, 2)}
        if any(isinstance(m, IterativeLoss) for m in parts_of(loss))
        else Z
    )
    loss.eval(x)
    before = Clock.now
    loss.eval(x)
    owner.w = 2.0
    assert Clock.now == before and len(loss._plans) == 1  # nothing changed
    for w in (5.0, 0.5, 2, True):
        owner.w = w
        fresh = (
            around(Scaled(LogProb(prior()), w)) if kind == "loss" else around(LogProb(Tempered(w)))
        )
        torch.testing.assert_close(loss.eval(x), fresh.eval(x))


def parts_of(loss):
    """All losses in it, those in lists too."""
    yield loss
    for child in [*loss.children(), *getattr(loss, "losses", [])]:
        yield from parts_of(child)


def test_direct_calls_of_a_distribution_of_ones_own_follow():
    p = Tempered(2.0)
    q = p.replace_var(z="y")
    once = prior().get_log_prob(Z)
    for w in (2.0, 3.0):
        p.w = w
        torch.testing.assert_close(p.get_log_prob(Z), w * once)
        torch.testing.assert_close(q.get_log_prob({"y": Z["z"]}), w * once)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("w", torch.tensor(7.0)),
        ("w", np.array([3, 4, 5], np.float32)),
        ("power", 2),
        ("_power", 3),
        ("offset", 4.0),
        ("f", None),
        ("training", False),
    ],
)
def test_whatever_was_read_counts(name, value):
    def make():
        return Scaled(LogProb(prior()), torch.tensor(2.0))

    value = LogProb(prior(3.0)) if name == "f" else value
    loss, fresh = make(), make()
    old = loss.eval(Z)
    setattr(loss, name, value)
    setattr(fresh, name, value)
    torch.testing.assert_close(loss.eval(Z), fresh.eval(Z))
    assert not torch.allclose(loss.eval(Z), old)
    assert loss.written == 2  # it was lowered anew once; what a rule writes does not count
    copied = copy.deepcopy(loss)
    copied.w = torch.tensor(1.0)
    assert not torch.allclose(copied.eval(Z), loss.eval(Z))


def test_reads_cost_nothing_but_while_a_plan_is_written():
    loss = Scaled(LogProb(prior()), 2.0)
    loss.eval(Z)
    for kind in (Scaled, Tempered, Net):
        assert kind.__getattribute__ is object.__getattribute__
    with reading():
        assert Scaled.__getattribute__ is not object.__getattribute__
    assert Scaled.__getattribute__ is object.__getattribute__


def test_a_counter_that_only_a_network_touches_makes_no_plan_stale():
    q = Net()
    loss = KullbackLeibler(q, prior())
    for _ in range(3):
        loss.eval(X)
    assert q.calls == 3 and len(loss._plans) == 1
    plan = loss.plan
    loss.eval(X)
    assert loss.plan is plan
