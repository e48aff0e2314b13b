"""The paper's examples (Suzuki, Kaneko and Matsuo 2023), on made data: they run as printed, and learn."""

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Categorical, Deterministic, Normal
from pixyz.losses import ELBO, E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter
from pixyz.models import Model

X_DIM, Y_DIM, Z_DIM, HIDDEN = 16, 4, 3, 32


def made_data(count: int = 200) -> tuple[Tensor, Tensor]:
    """Noisy copies of four patterns, and which one."""
    draw = torch.Generator().manual_seed(0)
    patterns = (torch.rand(Y_DIM, X_DIM, generator=draw) < 0.5).float()
    label = torch.randint(Y_DIM, (count,), generator=draw)
    flip = (torch.rand(count, X_DIM, generator=draw) < 0.03).float()
    return (patterns[label] - flip).abs(), F.one_hot(label, Y_DIM).float()


class Inference(Normal):
    """q(z|x) and q(z|x,y)."""

    def __init__(self, cond_var: list[str]) -> None:
        super().__init__(var=["z"], cond_var=cond_var, name="q")
        self.fc1 = nn.Linear(X_DIM + Y_DIM * ("y" in cond_var), HIDDEN)
        self.fc21, self.fc22 = nn.Linear(HIDDEN, Z_DIM), nn.Linear(HIDDEN, Z_DIM)

    def forward(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        h = F.relu(self.fc1(x if y is None else torch.cat([x, y], 1)))
        return {"loc": self.fc21(h), "scale": F.softplus(self.fc22(h))}


class Generator(Bernoulli):
    """p(x|z) and p(x|z,y)."""

    def __init__(self, cond_var: list[str]) -> None:
        super().__init__(var=["x"], cond_var=cond_var, name="p")
        self.fc1 = nn.Linear(Z_DIM + Y_DIM * ("y" in cond_var), HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, X_DIM)

    def forward(self, z: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        h = F.relu(self.fc1(z if y is None else torch.cat([z, y], 1)))
        return {"probs": torch.sigmoid(self.fc2(h))}


class Classifier(Categorical):
    """q(y|x)."""

    def __init__(self) -> None:
        super().__init__(var=["y"], cond_var=["x"], name="q")
        self.fc = nn.Linear(X_DIM, Y_DIM)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"probs": self.fc(x).softmax(-1)}


def prior() -> Normal:
    return Normal(
        loc=torch.tensor(0.0), scale=torch.tensor(1.0), var=["z"], features_shape=[Z_DIM], name="p_{prior}"
    )


def train(model: Model, x: dict[str, Tensor], steps: int = 180) -> list[float]:
    return [model.train(x).item() for _ in range(steps)]


def test_figure_3_a_vae() -> None:
    torch.manual_seed(0)
    x, _ = made_data()
    p, q = Generator(["z"]), Inference(["x"])
    loss = (KullbackLeibler(q, prior()) - E(q, LogProb(p))).mean()
    model = Model(
        loss=loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": 1e-2}, clip_grad_norm=5.0
    )
    text = str(model)
    assert r"mean \left(D_{KL} \left[q(z|x)||p_{prior}(z) \right] - \mathbb{E}_{q(z|x)} \left[\log p(x|z) \right] \right)" in text
    assert "p(x|z), q(z|x)" in text and "Adam" in text
    found = train(model, {"x": x})
    blind = X_DIM * 0.6931
    assert found[0] > 0.9 * blind and found[-1] < 0.55 * blind
    reconstruction = p.sample_mean({"z": q.sample_mean({"x": x})})
    assert ((reconstruction > 0.5) == (x > 0.5)).float().mean() > 0.9
    assert abs(model.test({"x": x}).item() - found[-1]) < 0.5
    assert p.sample(prior().sample(batch_n=8))["x"].shape == (8, X_DIM)


def test_equation_8_is_equation_7_on_average() -> None:
    torch.manual_seed(0)
    x, _ = made_data()
    p, q = Generator(["z"]), Inference(["x"])
    joint = p * prior()
    seventh = (E(q, LogProb(p), sample_shape=[40]) - KullbackLeibler(q, prior())).mean().eval({"x": x})
    eighth = ELBO(joint, q, sample_shape=[40]).mean().eval({"x": x})
    torch.testing.assert_close(seventh, eighth, rtol=0.01, atol=0.02)


def test_a_conditional_vae() -> None:
    torch.manual_seed(0)
    x, y = made_data()
    p, q = Generator(["z", "y"]), Inference(["x", "y"])
    model = Model((KullbackLeibler(q, prior()) - E(q, LogProb(p))).mean(), distributions=[p, q], optimizer_params={"lr": 1e-2})
    found = train(model, {"x": x, "y": y})
    assert found[-1] < 0.45 * found[0]
    joint = p * prior()
    assert joint.prob_joint_factorized_and_text == "p(x,z|y) = p(x|z,y)p_{prior}(z)"
    drawn = joint.sample({"y": torch.eye(Y_DIM)}, sample_shape=[50])["x"].mean(0)
    patterns = torch.stack([x[y[:, k] == 1].mean(0) for k in range(Y_DIM)])
    assert ((drawn > 0.5) == (patterns > 0.5)).float().mean() > 0.95


def test_figure_4_as_printed() -> None:
    # define a distribution p(x)
    a = Normal(loc=0, scale=1, var=["x"])
    # sample
    a.sample()
    # estimate log-likelihood
    test_sample = {"x": torch.tensor(0.1)}
    simple = a.log_prob().eval(test_sample)
    # define conditional distribution p(y|x)
    b = Normal(loc="x", scale=1, cond_var=["x"], var=["y"])
    # define joint distribution p(x,y) = p(y|x)p(x)
    joint = a * b
    # sample
    drawn = joint.sample()
    # estimate log-likelihood
    test_sample = {"x": torch.tensor(0.1), "y": torch.tensor(2.0)}
    both = joint.log_prob().eval(test_sample)

    normal = torch.distributions.Normal
    assert simple.item() == pytest.approx(normal(0.0, 1.0).log_prob(torch.tensor(0.1)).item())
    wanted = normal(0.0, 1.0).log_prob(torch.tensor(0.1)) + normal(0.1, 1.0).log_prob(torch.tensor(2.0))
    assert both.item() == pytest.approx(wanted.item()) == pytest.approx(-3.648, abs=1e-3)
    assert set(drawn) == {"x", "y"} and joint.prob_joint_factorized_and_text == "p(y,x) = p(y|x)p(x)"


def test_figure_a1_m2() -> None:
    """Semi-supervised learning: a few labels name the patterns of many data."""
    torch.manual_seed(0)
    x, y = made_data()
    p_x_zy, q_z_xy, q_y_x, p_z = Generator(["z", "y"]), Inference(["x", "y"]), Classifier(), prior()
    p_y = Categorical(var="y", probs=torch.full((Y_DIM,), 1 / Y_DIM), name="p_{prior}")
    pu_x_zy, qu_z_xy, qu_y_x = (
        p_x_zy.replace_var(x="x_u"), q_z_xy.replace_var(x="x_u"), q_y_x.replace_var(x="x_u"),
    )

    # distributions for supervised learning
    p_xyz = p_x_zy * p_z * p_y
    # distributions for unsupervised learning
    pu_xyz = pu_x_zy * p_z * p_y
    qu_zy_x = qu_z_xy * qu_y_x
    # parameter
    alpha = Parameter("alpha")
    # loss
    elbo_u = ELBO(pu_xyz, qu_zy_x)
    elbo = ELBO(p_xyz, q_z_xy)
    elbo_all = (elbo + alpha * LogProb(q_y_x)).sum() + elbo_u.sum()

    assert set(elbo_all.input_var) == {"x", "y", "x_u", "alpha"}
    assert r"\alpha \log q(y|x)" in str(elbo_all)
    model = Model(-elbo_all, distributions=[p_x_zy, q_z_xy, q_y_x], optimizer_params={"lr": 1e-2})
    given = {"x": x[:20], "y": y[:20], "x_u": x[20:], "alpha": 20.0}
    found = train(model, given, 120)
    assert sum(found[-10:]) < 0.7 * sum(found[:10])
    right = q_y_x.sample_mean({"x": x[20:]}).argmax(-1) == y[20:].argmax(-1)
    assert right.float().mean() > 0.9


class Belief(Deterministic):
    """b_t from all of x_1..x_t."""

    def __init__(self) -> None:
        super().__init__(var=["b"], cond_var=["x"], name="f")
        self.rnn = nn.GRU(X_DIM, HIDDEN)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"b": self.rnn(x)[0]}


class Slice(Deterministic):
    def __init__(self) -> None:
        super().__init__(var=["x_t", "b_t", "b_prev"], cond_var=["x", "b", "t"], name="s")

    def forward(self, x: Tensor, b: Tensor, t: int) -> dict[str, Tensor]:
        return {"x_t": x[t + 1], "b_t": b[t + 1], "b_prev": b[t]}


class Gauss(Normal):
    """A normal by a small network of all its conditions."""

    def __init__(self, var: str, cond: list[str], name: str, size: int) -> None:
        super().__init__(var=var, cond_var=cond, name=name)
        self.net = nn.Sequential(nn.Linear(size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * Z_DIM))

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[c] for c in self.cond_var], 1)).chunk(2, 1)
        return {"loc": loc, "scale": F.softplus(scale) + 0.1}


def sequences(steps: int = 6, count: int = 40) -> Tensor:
    """Patterns that follow one another in a circle, ``[T, B, X]``."""
    draw = torch.Generator().manual_seed(0)
    patterns = (torch.rand(Y_DIM, X_DIM, generator=draw) < 0.5).float()
    start = torch.randint(Y_DIM, (count,), generator=draw)
    return torch.stack([patterns[(start + t) % Y_DIM] for t in range(steps)])


def test_figure_a1_td_vae() -> None:
    torch.manual_seed(0)
    x = sequences()
    seq_len = len(x)
    belief_state_net, slice_step = Belief(), Slice()
    p_b = Gauss("z", ["b"], "p_B", HIDDEN)
    p_b1 = p_b.replace_var(z="z_prev", b="b_prev")
    p_b2 = p_b.replace_var(z="z_t", b="b_t")
    q = Gauss("z_prev", ["z_t", "b_prev", "b_t"], "q", Z_DIM + 2 * HIDDEN)
    p_t = Gauss("z_t", ["z_prev"], "p", Z_DIM)
    p_d = Generator(["z"]).replace_var(x="x_t", z="z_t")

    kl = KullbackLeibler(q, p_b1)
    reconst = E(q, LogProb(p_t) + LogProb(p_d) - LogProb(p_b2))
    step_elbo = E(p_b2, reconst - kl)
    _elbo = IterativeLoss(step_elbo, max_iter=seq_len - 1, series_var=["x", "b"], slice_step=slice_step)
    elbo = E(belief_state_net, _elbo).mean()

    assert elbo.input_var == ["x"]
    model = Model(-elbo, distributions=[belief_state_net, p_b, q, p_t, p_d], optimizer_params={"lr": 1e-2})
    found = train(model, {"x": x}, 60)
    assert sum(found[-5:]) < 0.5 * sum(found[:5])


def test_figure_9_the_loop_equals_the_iterative_loss() -> None:
    """A Deep Markov Model: the printed loop over steps (with z and z_q both one step old), and IterativeLoss."""
    torch.manual_seed(0)
    x = sequences()
    steps, batch = x.shape[:2]
    h_rnn = torch.randn(steps, batch, HIDDEN)
    combiner = Gauss("z", ["z_prev", "h_rnn"], "q", Z_DIM + HIDDEN)
    trans = Gauss("z", ["z_prev"], "p", Z_DIM)
    emitter = Generator(["z"])
    mask = torch.ones(steps, batch)
    mask[4:, :7] = 0
    beta = Parameter("beta")
    step_loss = -E(combiner, LogProb(emitter)) + beta * KullbackLeibler(combiner, trans)

    forward = combiner.forward

    def narrowed(**given: Tensor) -> dict[str, Tensor]:
        """The draw is the mean, nearly: the loop and the sum then see one path."""
        loc = forward(**given)["loc"]
        return {"loc": loc, "scale": torch.full_like(loc, 1e-6)}

    combiner.forward = narrowed  # type: ignore[method-assign]
    total, z_prev = torch.zeros(batch), torch.zeros(batch, Z_DIM)
    for t in range(steps):
        given = {"x": x[t], "z_prev": z_prev, "h_rnn": h_rnn[t], "beta": 0.3}
        total = total + step_loss.eval(given) * mask[t]
        z_prev = combiner.sample({"z_prev": z_prev, "h_rnn": h_rnn[t]})["z"]
    loss: Loss = IterativeLoss(
        step_loss, max_iter=steps, series_var=["x", "h_rnn"], update_value={"z": "z_prev"}, init={"z_prev": torch.zeros(Z_DIM)}
    )
    given = {"x": x, "h_rnn": h_rnn, "beta": 0.3}
    torch.testing.assert_close(loss.eval({**given, "mask": mask}), total, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loss.eval(given, mask=mask), total, rtol=1e-4, atol=1e-4)
    assert (loss.eval(given)[:7] > total[:7] + 1).all()
