"""Plans follow the structure of their objective: dropped when it changes, kept when only values do."""

import copy

import pytest
import torch
from torch import nn

from pixyz.distributions import Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb
from pixyz.plan.structure import Clock


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
