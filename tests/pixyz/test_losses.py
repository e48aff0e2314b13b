"""Evaluating objectives, and their text: what ``eval`` takes and returns, formulas, plans."""

from collections.abc import Callable

import pytest
import torch
from loss_parts import B, Old, Parts, X, Z, run
from torch import Tensor
from torch import distributions as td

from pixyz.distributions import Normal
from pixyz.expression import Clamp
from pixyz.losses import (
    ELBO,
    CrossEntropy,
    E,
    Entropy,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Loss,
    MaxLoss,
    MinLoss,
    Parameter,
    Prob,
    ValueLoss,
)
from pixyz.types import VariableError


@pytest.fixture
def parts() -> Parts:
    return Parts()


def test_what_eval_returns(parts: Parts) -> None:
    loss = (
        E(parts.q, LogProb(parts.p)).named("fit")
        - KullbackLeibler(parts.q, parts.prior).named("kl")
    ).mean()
    given = {"x": parts.x, "other": torch.ones(1)}
    value, everything = loss.eval(given, return_dict=True)
    assert value.shape == () and set(everything) == {"x", "other", "z", "fit", "kl"}
    value, drawn = loss.eval(given, return_dict=True, return_all=False)
    assert set(drawn) == {"z", "fit", "kl"} and drawn["z"].shape == (B, Z)
    torch.testing.assert_close(drawn["fit"], parts.log_likelihood(drawn["z"]))
    torch.testing.assert_close(value, (drawn["fit"] - drawn["kl"]).mean())
    torch.testing.assert_close(run(loss, given), run(loss, parts.x))
    torch.testing.assert_close(run(loss, [parts.x]), run(loss, {}, x=parts.x))
    assert set(given) == {"x", "other"}
    torch.manual_seed(5)
    plain = loss.eval(given)
    torch.manual_seed(5)
    torch.testing.assert_close(loss.eval(given, return_dict=True)[0], plain)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ({}, r"\['x', 'beta'\] missing|\['beta', 'x'\] missing"),
        ({"x": torch.zeros(1, X).double()}, r"\['beta'\] missing"),
        ({"beta": 1.0, "y": 0.0}, r"got \['beta', 'y'\].*\['x'\] missing"),
        ([torch.zeros(1)], "list of 1"),
        (3, "dict"),
    ],
)
def test_missing_variables_are_named(parts: Parts, x: object, words: str) -> None:
    loss = Parameter("beta") * E(parts.q, LogProb(parts.p)).mean()
    with pytest.raises(VariableError, match=words):
        loss.eval(x)


def test_input_var_before_and_after(parts: Parts) -> None:
    assert set((LogProb(parts.p) + LogProb(parts.q)).input_var) == {"x", "z"}
    assert E(parts.q, LogProb(parts.p)).input_var == ["x"]
    assert E(parts.prior, LogProb(parts.p)).input_var == ["x"]
    assert E(parts.p * parts.prior, LogProb(parts.p)).input_var == []
    assert ValueLoss(1.0).input_var == [] and Parameter("a").input_var == ["a"]


def test_losses_that_only_define_forward(parts: Parts) -> None:
    old = Old(["x", "w"])
    w = torch.arange(B).double()
    given = {"x": parts.x, "w": w}
    wanted = parts.x.sum(-1) * w
    torch.testing.assert_close(old.eval(given), wanted)
    assert "seen" in old.eval(given, return_dict=True)[1]
    joint = (2 * old - E(parts.q, LogProb(parts.p))).mean()
    torch.manual_seed(1)
    fit = E(parts.q, LogProb(parts.p)).eval(parts.x)
    torch.testing.assert_close(run(joint, given, seed=1), (2 * wanted - fit).mean())
    assert "old" in str(joint) and set(joint.input_var) == {"x", "w"}


def test_sizes_of_the_batch_may_change(parts: Parts) -> None:
    loss = ELBO(parts.p * parts.prior, parts.q, sample_shape=[2])
    for size in (1, 5, 2):
        assert loss.eval(parts.x[:size]).shape == (size,)
    assert len(loss._plans) == 1
    assert loss.plan is loss.plan


# -------------------------------------------------------------------------------------------- text


def all_losses(parts: Parts) -> list[Loss]:
    recon, kl = E(parts.q, LogProb(parts.p)), KullbackLeibler(parts.q, parts.prior)
    step = Normal(var="h", cond_var=["h_prev", "x"], loc="h_prev", scale=1.0)
    return [
        recon,
        kl,
        -recon,
        recon + kl,
        recon - kl,
        recon * kl,
        recon / kl,
        2 * recon,
        recon / 3.5,
        1e-7 * kl,
        1 - recon,
        recon.abs(),
        recon.mean(),
        recon.sum(),
        recon.detach(),
        recon.clamp(0.5, 2),
        recon.named("n"),
        MinLoss(recon, 1),
        MaxLoss(kl, 1.0),
        Parameter("alpha"),
        ValueLoss(float("inf")),
        ValueLoss(-3),
        ValueLoss(torch.tensor(0.1)),
        ValueLoss(torch.ones(B)),
        kl.constant_var({"x": parts.x}),
        Entropy(parts.q),
        CrossEntropy(parts.q, parts.prior),
        CrossEntropy(parts.q, parts.prior, analytical=True),
        ELBO(parts.p * parts.prior, parts.q),
        Prob(parts.p),
        E(parts.q + parts.p.replace_var(x="y"), LogProb(parts.q)),
        Old(["x", "w"]),
        Clamp(kl, None, 3.0),
        IterativeLoss(E(step, LogProb(step)), series_var="x", update_value={"h": "h_prev"}),
        IterativeLoss(
            E(step, LogProb(step)),
            max_iter=3,
            series_var="x",
            update_value={"h": "h_prev"},
            reduction=None,
        ),
        KullbackLeibler(parts.q.detach(), parts.prior),
        recon - recon,
        (recon - 0.0) * 1,
        -(-recon + kl),
        LogProb(parts.q.replace_var(z="w_1")),
        kl * kl / (kl + kl),
    ]


def test_printing_never_fails(parts: Parts) -> None:
    for loss in all_losses(parts):
        text = str(loss)
        assert text and text == loss.loss_text == repr(loss), loss
        for pair in ("{}", "[]", "()"):
            assert text.count(pair[0]) == text.count(pair[1]), text
        plan = str(loss.plan)
        assert "def plan(" in plan and plan.startswith("plan of"), plan


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda e, k: e - k, "E - K"),
        (lambda e, k: e - e, "E - E"),
        (lambda e, k: -k - e, "- K - E"),
        (lambda e, k: k + e, "K + E"),
        (lambda e, k: 2 + e, "2 + E"),
        (lambda e, k: -e + k, "- E + K"),
        (lambda e, k: e - (k - e), r"E - \left(K - E\right)"),
        (lambda e, k: (e + k) * e, r"\left(E + K\right) E"),
        (lambda e, k: 0 * e + k, "0 E + K"),
        (lambda e, k: e * 1, r"1 E|1 \cdot E"),
    ],
)
def test_terms_stay_as_they_were_written(
    parts: Parts, build: Callable[..., Loss], text: str
) -> None:
    recon, kl = E(parts.q, LogProb(parts.p)), KullbackLeibler(parts.q, parts.prior)
    found = str(build(recon, kl)).replace(str(recon), "E").replace(str(kl), "K")
    assert found in text.split("|"), found


def test_text_of_the_leaves(parts: Parts) -> None:
    q, p, prior = parts.q, parts.p, parts.prior
    assert str(LogProb(p)) == r"\log p(x|z)"
    assert str(Prob(p)) == "p(x|z)"
    assert str(KullbackLeibler(q, prior)) == r"D_{KL} \left[q(z|x)||p_{prior}(z) \right]"
    assert str(E(q, LogProb(p))) == r"\mathbb{E}_{q(z|x)} \left[\log p(x|z) \right]"
    assert str(LogProb(p).mean()) == r"mean \left(\log p(x|z) \right)"
    assert str(LogProb(p).sum()) == r"sum \left(\log p(x|z) \right)"
    assert str(LogProb(p).detach()) == r"detach \left(\log p(x|z) \right)"
    assert str(LogProb(p).abs()) == r"|\log p(x|z)|"
    assert str(Entropy(q)) == r"H \left[ {q(z|x)} \right]"
    assert str(MinLoss(Parameter("a"), 3)) == r"min \left(a, 3\right)"
    assert str(Parameter("beta") * LogProb(p)) == r"\beta \log p(x|z)"
    assert (
        str(IterativeLoss(LogProb(p), max_iter=4, series_var=["x", "z"]))
        == r"\sum_{t=0}^{3} \log p(x|z)"
    )
    elbo = ELBO(p * prior, q)
    assert str(elbo) == r"\mathbb{E}_{q(z|x)} \left[\log p(x|z)p_{prior}(z) - \log q(z|x) \right]"


def test_the_plan_shows_what_runs(parts: Parts) -> None:
    loss = (E(parts.q, LogProb(parts.p)) - KullbackLeibler(parts.q, parts.prior)).mean()
    plan = loss.plan
    assert plan.inputs == ["x"]
    assert str(plan).count("net q(z|x)") == 1 and "kl_normal" in plan.source
    hostile = Normal(var="x", loc=0.0, scale=1.0, name="p\n    raise SystemExit  # '''\\")
    torch.testing.assert_close(
        LogProb(hostile).eval(torch.zeros(1)), td.Normal(0.0, 1.0).log_prob(torch.zeros(1))
    )
    line = '"""); import os; os.abort() #'
    strange = Normal(var=line, cond_var="\n", loc="\n", scale=1.0)
    assert LogProb(strange).eval({line: torch.zeros(1), "\n": torch.zeros(1)}).shape == (1,)
    assert str(LogProb(strange).plan)


def test_what_goes_wrong_in_a_plan_shows_its_line() -> None:
    class Broken(Normal):
        def forward(self, z: Tensor) -> dict[str, Tensor]:
            raise RuntimeError("broken network")

    import traceback

    try:
        LogProb(Broken(var="x", cond_var="z", scale=1.0)).eval(
            {"x": torch.zeros(1), "z": torch.zeros(1)}
        )
    except RuntimeError as error:
        lines = [
            f.line
            for f in traceback.extract_tb(error.__traceback__)
            if f.filename.startswith("<pixyz plan")
        ]
        assert lines and "=" in str(lines[0])
    else:
        raise AssertionError("no error")
