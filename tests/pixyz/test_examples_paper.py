"""The paper's figures (Suzuki, Kaneko and Matsuo, 2023) in docs/examples/paper: they run as
printed, and learn.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pixyz.losses import E, KullbackLeibler, LogProb, Parameter
from pixyz.models import Model
from pixyz.types import VariableError

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "paper"


@pytest.fixture
def example(monkeypatch):
    """Loads an example by name, fresh, with the seed 0."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        torch.manual_seed(0)
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("made", None)


def test_every_example_is_tested_here():
    text = Path(__file__).read_text(encoding="utf-8")
    names = [path.stem for path in FOLDER.glob("*.py") if path.stem != "made"]
    assert names and all(f'example("{name}")' in text for name in names)


def test_figure_3_a_vae(example):
    figure = example("figure_03_vae")
    text = str(figure.model)
    bound = (
        r"\mathbb{E}_{q(z|x)} \left[\log p(x|z) \right] - D_{KL} "
        r"\left[q(z|x)||p_{prior}(z) \right]"
    )
    assert rf"- mean \left({bound} \right)" in text and "p(x|z), q(z|x)" in text and "Adam" in text
    x, _ = figure.patterns()
    losses = figure.main()
    blind = x.shape[1] * 0.6931
    assert losses[0] > 0.9 * blind and losses[-1] < 0.55 * blind
    reconstruction = figure.p.sample_mean({"z": figure.q.sample_mean({"x": x})})
    assert ((reconstruction > 0.5) == (x > 0.5)).float().mean() > 0.9
    assert abs(figure.model.test({"x": x}).item() - losses[-1]) < 0.5
    assert figure.p.sample(figure.p_prior.sample(batch_n=8))["x"].shape == (8, x.shape[1])


def test_equation_8_is_equation_7_on_average(example):
    figure = example("figure_03_vae")
    x, _ = figure.patterns()
    seventh, eighth = (bound.eval({"x": x}) for bound in figure.bounds(40))
    torch.testing.assert_close(seventh, eighth, rtol=0.01, atol=0.02)


def test_a_conditional_vae(example):
    example("figure_03_vae")
    made = sys.modules["made"]
    x, y = made.patterns()
    p, q, prior = made.Generator(["z", "y"]), made.Inference(["x", "y"]), made.prior()
    model = Model(
        (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean(),
        distributions=[p, q],
        optimizer_params={"lr": 1e-2},
    )
    losses = [model.train({"x": x, "y": y}).item() for _ in range(180)]
    assert losses[-1] < 0.45 * losses[0]
    joint = p * prior
    assert joint.prob_joint_factorized_and_text == "p(x,z|y) = p(x|z,y)p_{prior}(z)"
    drawn = joint.sample({"y": torch.eye(made.Y_DIM)}, sample_shape=[50])["x"].mean(0)
    patterns = torch.stack([x[y[:, k] == 1].mean(0) for k in range(made.Y_DIM)])
    assert ((drawn > 0.5) == (patterns > 0.5)).float().mean() > 0.95


def test_figure_4(example):
    figure = example("figure_04_joint")
    normal = torch.distributions.Normal
    assert figure.simple.item() == pytest.approx(
        normal(0.0, 1.0).log_prob(torch.tensor(0.1)).item()
    )
    wanted = normal(0.0, 1.0).log_prob(torch.tensor(0.1)) + normal(0.1, 1.0).log_prob(
        torch.tensor(2.0)
    )
    assert figure.both.item() == pytest.approx(wanted.item()) == pytest.approx(-3.648, abs=1e-3)
    assert set(figure.drawn) == {"x"} and set(figure.drawn_jointly) == {"x", "y"}
    assert figure.joint.prob_factorized_text == "p(y|x)p(x)"


def test_figure_5_the_equation_and_the_picture(example, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    figure = example("figure_05_graph")
    assert figure.equation.data == "p_{1}(x,y,a,z) = p_{2}(z|x,y)p_{1}(x|y,a)p_{3}(a)p_{4}(y)"
    assert figure.equation.data in str(figure.p)
    figure.main(str(tmp_path / "graph.png"))
    assert (tmp_path / "graph.png").read_bytes()[1:4] == b"PNG"
    edges = {("$y$", "$x$"), ("$a$", "$x$"), ("$x$", "$z$"), ("$y$", "$z$")}
    assert set(figure.p.graph.visible_graph().edges) == edges


def test_figure_7_a_gan(example):
    figure = example("figure_07_gan")
    assert figure.p.prob_joint_factorized_and_text == r"p(x) = \int p(x|z)p_{prior}(z)dz"
    assert r"D_{JS}^{Adv} \left[p_{data}(x)||p(x) \right]" in str(figure.loss)
    wanted, before = figure.data(2000).mean(0), figure.p.sample(batch_n=500)["x"].mean(0)
    after = figure.main().mean(0)
    assert (after - wanted).abs().max() < 0.2 < (before - wanted).abs().max()


def test_figure_8_glow(example):
    figure = example("figure_08_glow")
    x = figure.images()
    assert (
        figure.p.prob_text == "p(x)"
        and "p_{prior}" in figure.p.prob_joint_factorized_and_text + str(figure.p)
    )
    losses = figure.main()
    assert losses[-1] < losses[0] - 8
    z, logdet = figure.f.forward_and_logdet(x[:1])
    jacobian = torch.autograd.functional.jacobian(
        lambda v: figure.f.forward_and_logdet(v)[0].flatten(), x[:1]
    )
    torch.testing.assert_close(logdet[0], jacobian.view(16, 16).slogdet()[1], rtol=1e-4, atol=1e-4)
    wanted = figure.prior.get_log_prob({"z": z}) + logdet
    torch.testing.assert_close(figure.p.get_log_prob({"x": x[:1]}), wanted)
    drawn = figure.p.sample(batch_n=300)["x"]
    assert drawn.shape == (300, 1, 4, 4) and abs(drawn.std().item() - x.std().item()) < 0.25


def narrow(figure):
    """Draws of q that are nearly its means, so that a loop and a sum see one path."""
    forward = figure.combiner.forward

    def narrowed(**given):
        loc = forward(**given)["loc"]
        return {"loc": loc, "scale": torch.full_like(loc, 1e-6)}

    figure.combiner.forward = narrowed


def test_figure_9_the_loop_equals_the_iterative_loss(example):
    figure = example("figure_09_dmm")
    x = figure.sequences(figure.T_max)
    steps, batch = x.shape[:2]
    h_rnn = torch.randn(steps, batch, figure.HIDDEN)
    mask = torch.ones(steps, batch)
    mask[4:, :7] = 0
    narrow(figure)
    by_loop = figure.in_a_loop(x, h_rnn, mask, 0.3)
    torch.testing.assert_close(figure.at_once(x, h_rnn, mask, 0.3), by_loop, rtol=1e-4, atol=1e-4)
    given = {
        "x_t": x,
        "h_rnn": h_rnn,
        "beta": 0.3,
        **dict.fromkeys(["z_t_1", "z_q_t_1"], torch.zeros(batch, figure.Z_DIM)),
    }
    torch.testing.assert_close(
        figure.loss_all.eval(given, mask=mask), by_loop, rtol=1e-4, atol=1e-4
    )
    assert (figure.loss_all.eval(given)[:7] > by_loop[:7] + 1).all()


def test_figure_9_as_printed_gives_q_the_z_of_two_steps_ago(example):
    figure = example("figure_09_dmm")
    x = figure.sequences(figure.T_max)
    h_rnn, mask = torch.randn(*x.shape[:2], figure.HIDDEN), torch.ones(x.shape[:2])
    narrow(figure)
    z_prev = z_q_prev = torch.zeros(x.shape[1], figure.Z_DIM)
    total = torch.zeros(x.shape[1])
    for t in range(figure.T_max):
        now = {"x_t": x[t], "h_rnn": h_rnn[t], "z_t_1": z_prev, "z_q_t_1": z_q_prev, "beta": 0.3}
        total = total + figure.step_loss.eval(now)
        z_prev, z_q_prev = figure.combiner.sample(now)["z_t"], z_prev
    found = figure.at_once(x, h_rnn, mask, 0.3, loss=figure.loss_printed)
    torch.testing.assert_close(found, total, rtol=1e-4, atol=1e-4)
    assert (found - figure.at_once(x, h_rnn, mask, 0.3)).abs().max() > 0.01


def test_figure_a1_m2(example):
    figure = example("figure_a1a_m2")
    assert set(figure.elbo_all.input_var) == {"x", "y", "x_u", "alpha"}
    assert r"\alpha \log q(y|x)" in str(figure.elbo_all)
    losses, accuracy = figure.main()
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10]) and accuracy > 0.9


def test_a_parameter_without_a_name_says_how_to_write_it():
    with pytest.raises(VariableError, match=r'alpha = Parameter\("alpha"\)'):
        Parameter()


def test_figure_a1_td_vae(example):
    figure = example("figure_a1b_td_vae")
    assert figure.elbo.input_var == ["x"]
    losses = figure.main()
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_equations_b1_to_b4(example):
    equations = example("equations_b")
    assert r"D_{KL}^{Adv} \left[p(x)||q(x) \right]" in str(equations.adversarial_kl)
    by_critic, by_formula, distance, true = equations.main()
    assert by_critic == pytest.approx(by_formula, abs=0.06) and by_formula > 0.2
    assert 0.6 * true < distance < 1.03 * true  # a critic of any slope: a lower bound
    clipped = max(weight.abs().max().item() for weight in equations.wasserstein.d.parameters())
    assert clipped == pytest.approx(0.1)
