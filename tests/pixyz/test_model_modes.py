"""Which networks a model puts into training and evaluation mode: those that it trains."""

import torch
from torch import nn

from pixyz.distributions import Bernoulli, Deterministic, EmpiricalDistribution, Normal
from pixyz.expression import Loss
from pixyz.losses import AdversarialJensenShannon, E, LogProb
from pixyz.models import GAN, Model


class Encoder(Normal):
    def __init__(self):
        super().__init__("z", "x", name="q", features_shape=[2])
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def forward(self, x):
        loc, scale = self.net(x).chunk(2, -1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


class Decoder(Bernoulli):
    def __init__(self):
        super().__init__("x", "z", features_shape=[3])
        self.net = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.1))

    def forward(self, z):
        return {"logits": self.net(z)}


X = {"x": torch.rand(5, 3, generator=torch.Generator().manual_seed(0))}


def _modes(module):
    return {m.training for m in nn.Module.modules(module)}


def test_a_distribution_that_is_not_trained_keeps_its_mode():
    q, p = Encoder().eval().requires_grad_(False), Decoder()
    model = Model(-E(q, LogProb(p)).mean(), distributions=[p])
    before = q.net[1].running_mean.clone()
    model.train(X)
    assert _modes(q) == {False} and _modes(p) == {True}
    assert torch.equal(q.net[1].running_mean, before)
    model.test(X)
    assert _modes(q) == _modes(p) == {False}
    q.train()
    model.test(X)
    assert _modes(q) == {True} and _modes(p) == {False}


def test_a_joint_of_which_one_factor_is_trained():
    q, p = Encoder().eval(), Decoder()
    joint = p * Normal("z", loc=0.0, scale=1.0, features_shape=[2])
    Model(-E(q, LogProb(joint.frozen()) + LogProb(joint)).mean(), distributions=p).train(X)
    assert _modes(q) == {False} and _modes(p) == {True}


class Perceptual(Loss):
    """A loss with networks of its own: a pretrained one, one that is learned, a dropout."""

    def __init__(self):
        super().__init__(["x"])
        self.seen = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval().requires_grad_(False)
        self.learned = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
        self.noise = nn.Dropout(0.5)

    def forward(self, x_dict, **kwargs):
        return self.noise(self.learned(self.seen(x_dict["x"]))).square().mean(), {}


def test_networks_of_the_objective_itself():
    loss, p = Perceptual(), Decoder()
    q = Encoder()
    model = Model(loss - E(q, LogProb(p)).mean(), distributions=[q, p])
    for run, training in ((model.train, True), (model.test, False), (model.train, True)):
        run(X)
        assert _modes(loss.seen) == {False}
        assert _modes(loss.learned) == _modes(loss.noise) == {training}
        assert loss.training is training


class Critic(Deterministic):
    def __init__(self):
        super().__init__("t", "x", name="d")
        self.net = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))

    def forward(self, x):
        return {"t": self.net(x).sigmoid()}


def test_a_critic_is_trained_by_its_loss():
    class P(Normal):
        def __init__(self):
            super().__init__("x", "z", features_shape=[3])
            self.net = nn.Linear(2, 3)

        def forward(self, z):
            return {"loc": self.net(z), "scale": torch.ones(3)}

    p = (P() * Normal("z", loc=0.0, scale=1.0, features_shape=[2])).marginalize_var("z")
    d = Critic()
    loss = AdversarialJensenShannon(EmpiricalDistribution("x"), p, d)
    model = Model(loss.mean(), distributions=[p])
    model.train(X)
    assert _modes(d) == {True}
    before = d.net[1].running_mean.clone()
    model.test(X)
    assert _modes(d) == {False} and torch.equal(d.net[1].running_mean, before)
    gan = GAN(p, d)
    gan.train(X)
    assert _modes(d) == {True}
    gan.test(X)
    assert _modes(d) == {False}
