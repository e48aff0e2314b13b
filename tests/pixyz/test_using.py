"""What users do around an objective: train twice on a tensor, evaluate between, copy, pickle,
compile, threads.
"""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb
from pixyz.models import Model
from pixyz.types import VariableError


class Inference(Normal):
    def __init__(self):
        super().__init__(var="z", cond_var="x", name="q")
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 4))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        loc, scale = self.net(x).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + 0.1}


class Generator(Bernoulli):
    def __init__(self):
        super().__init__(var="x", cond_var="z", name="p")
        self.net = nn.Linear(2, 6)

    def forward(self, z):
        return {"logits": self.net(z)}


def vae():
    torch.manual_seed(0)
    q, p = Inference(), Generator()
    prior = Normal(var="z", loc=0.0, scale=1.0, features_shape=[2], name="p_{prior}")
    return q, p, (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()


class Step(Normal):
    def __init__(self):
        super().__init__(var="h", cond_var=["h_prev", "x"], name="p", features_shape=[2])
        self.net = nn.Linear(8, 2)

    def forward(self, h_prev, x):
        return {"loc": torch.tanh(self.net(torch.cat([h_prev, x], -1))), "scale": torch.ones(())}


def series():
    torch.manual_seed(0)
    step = Step()
    return IterativeLoss(
        E(step, LogProb(Normal(var="h", loc=0.0, scale=1.0, features_shape=[2]))).mean(),
        series_var=["x"],
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
    )


@pytest.fixture
def x():
    return torch.rand(5, 6, generator=torch.Generator().manual_seed(1))


def test_training_twice_on_the_same_tensor_and_evaluating_between(x):
    q, p, loss = vae()
    model = Model(
        loss, distributions=[p, q], optimizer=torch.optim.SGD, optimizer_params={"lr": 0.5}
    )
    found = []
    for _ in range(3):
        model.train({"x": x})
        torch.manual_seed(7)
        found.append(model.test({"x": x}).item())
    assert len(set(found)) == 3


def test_no_value_outlives_a_call(x):
    q, _, loss = vae()
    q.eval()
    torch.manual_seed(3)
    a = loss.eval({"x": x})
    with torch.no_grad():
        q.net[0].weight.add_(1.0)
    torch.manual_seed(3)
    assert not torch.equal(a, loss.eval({"x": x}))
    assert loss.eval({"x": x}).requires_grad
    with torch.no_grad():
        assert not loss.eval({"x": x}).requires_grad


def test_train_and_eval_mode_are_respected(x):
    q, _, _ = vae()
    q.train()
    assert not torch.equal(q.get_params({"x": x})["loc"], q.get_params({"x": x})["loc"])
    q.eval()
    assert torch.equal(q.get_params({"x": x})["loc"], q.get_params({"x": x})["loc"])


def test_parameters_are_shared_and_draws_are_not(x):
    q, p, _ = vae()
    q.eval()
    _, found = (
        (E(q, LogProb(p)).named("a") - E(q, LogProb(p)).named("b") + KullbackLeibler(q, q))
        .mean()
        .eval({"x": x}, return_dict=True)
    )
    before = q.calls
    (E(q, LogProb(p)) - E(q, LogProb(q))).mean().eval({"x": x})
    assert q.calls == before + 1
    assert not torch.equal(found["a"], found["b"])


@pytest.mark.parametrize("build", [lambda: vae()[2], series], ids=["vae", "series"])
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies_after_eval(build, clone, x):
    loss = build()
    nn.Module.train(loss, False)
    data = {"x": x.expand(4, 5, 6) if isinstance(loss, IterativeLoss) else x}
    loss.eval(data)
    twin = clone(loss)
    found = []
    for each in (loss, twin):
        torch.manual_seed(2)
        found.append(each.eval(data))
    assert torch.equal(*found)
    found[1].backward()
    assert all(p.grad is None for p in loss.parameters()) and any(
        p.grad is not None for p in twin.parameters()
    )


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", ["vae", "series"])
def test_a_plan_can_be_compiled(name, backend, x):
    loss = vae()[2] if name == "vae" else series()
    nn.Module.train(loss, False)
    data = {"x": x if name == "vae" else x.expand(4, 5, 6).contiguous()}
    loss.eval(data)
    plan = loss.plan
    values = [data[n] for n in plan.inputs]
    compiled = torch.compile(plan.function, backend=backend)
    torch.manual_seed(2)
    wanted = plan.function(*values)
    torch.manual_seed(2)
    found = compiled(*values)
    assert torch.allclose(found[0], wanted[0])
    found[0].backward()


def test_threads_share_a_loss(x):
    _, _, loss = vae()
    nn.Module.train(loss, False)
    errors, values = [], []

    def work():
        try:
            for _ in range(20):
                values.append(loss.eval({"x": x}).item())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors and len(values) == 80 and len(loss._plans) == 1


def test_nothing_is_built_again_when_values_or_sizes_change(x):
    _, _, loss = vae()
    for n in (1, 3, 5):
        loss.eval({"x": x[:n]})
    assert len(loss._plans) == 1
    loop = series()
    for steps in (2, 3, 7):
        loop.eval({"x": x.expand(steps, 5, 6)})
    assert len(loop._plans) == 1


def test_stop_and_go_on_is_a_straight_run(x, tmp_path):
    def model():
        q, p, loss = vae()
        return Model(
            loss, distributions=[p, q], optimizer=torch.optim.Adam, optimizer_params={"lr": 0.01}
        )

    straight, first = model(), model()
    torch.manual_seed(5)
    for _ in range(4):
        straight.train({"x": x})
    torch.manual_seed(5)
    for _ in range(2):
        first.train({"x": x})
    path = tmp_path / "model"
    first.save(path)
    random = torch.get_rng_state()
    second = model()
    second.load(path)
    torch.set_rng_state(random)
    for _ in range(2):
        second.train({"x": x})
    for a, b in zip(
        straight.distributions.parameters(), second.distributions.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_a_missing_variable_is_named(x):
    _, _, loss = vae()
    with pytest.raises(VariableError, match="'x'"):
        loss.eval({"y": x})
