"""Renamed distributions and marginals, names of variables, the text of formulas."""

import pytest
import torch
from product_parts import Copy, D, Net, Sum, chain, standard, values

from pixyz.distributions import Bernoulli, Deterministic, EmpiricalDistribution, Normal
from pixyz.losses import E, LogProb, Parameter
from pixyz.types import VariableError

# --------------------------------------------------------------------------------------------
# renaming


def test_renaming_commutes_with_density_and_samples() -> None:
    joint, *_ = chain()
    v = values("x", "z", "w")
    renamings = [
        {"x": "a"},
        {"w": "b", "z": "c"},
        {"x": "z", "z": "x"},
        {"x": "w", "w": "z", "z": "x"},
    ]
    for renaming in renamings:
        q = joint.replace_var(**renaming)
        assert q.var == [renaming.get(n, n) for n in joint.var]
        moved = {renaming.get(k, k): t for k, t in v.items()}
        torch.testing.assert_close(q.get_log_prob(moved), joint.get_log_prob(v))
        torch.manual_seed(3)
        drawn = joint.sample(batch_n=2)
        torch.manual_seed(3)
        for k, t in q.sample(batch_n=2).items():
            torch.testing.assert_close(t, drawn[{n: o for o, n in renaming.items()}.get(k, k)])
        back = q.replace_var(**{n: o for o, n in renaming.items()})
        torch.testing.assert_close(back.get_log_prob(v), joint.get_log_prob(v))


def test_renaming_twice_and_conditions() -> None:
    p = Net("x", ["z", "w"])
    q = p.replace_var(z="a").replace_var(a="b", w="z")
    v = values("x", "z", "w")
    assert (q.var, q.cond_var) == (["x"], ["b", "z"])
    torch.testing.assert_close(
        q.get_log_prob({"x": v["x"], "b": v["z"], "z": v["w"]}), p.get_log_prob(v)
    )
    assert q.get_params({"b": v["z"], "z": v["w"]})["loc"].shape == (5, D)


@pytest.mark.parametrize("renaming", [{"y": "a"}, {"x": "z"}, {"x": "self"}, {"x": ""}])
def test_wrong_renamings_are_refused(renaming: dict[str, str]) -> None:
    with pytest.raises(VariableError):
        Net("x", ["z"]).replace_var(**renaming)


@pytest.mark.parametrize(
    "name",
    [
        "p",
        "a",
        "b",
        "name",
        "scope",
        "builder",
        "replace_dict",
        "x_dict",
        "var",
        "reparam",
        "module",
    ],
)
def test_any_other_name_may_be_a_variable(name: str) -> None:
    p = Net("x", ["z"]).replace_var(z=name)
    v = values("x", "z")
    joint = p * standard(name)
    given = {"x": v["x"], name: v["z"]}
    torch.testing.assert_close(
        joint.get_log_prob(given), p.get_log_prob(given) + standard("z").get_log_prob(v["z"])
    )
    assert set(joint.sample(batch_n=2)) == {"x", name}
    assert E(joint, Parameter(name).mean()).eval({}).ndim == 0
    direct = Copy("y", name)
    torch.testing.assert_close(direct.sample({name: v["z"]})["y"], 2 * v["z"])
    torch.testing.assert_close(direct.at(**{name: "q"}).sample({"q": v["z"]})["y"], 2 * v["z"])


# --------------------------------------------------------------------------------------------
# marginals


def test_marginal_draws_and_drops() -> None:
    joint, *_ = chain()
    marginal = joint.marginalize_var(["z", "w"])
    assert (marginal.var, marginal.cond_var) == (["x"], [])
    torch.manual_seed(0)
    wanted = joint.sample(batch_n=3)["x"]
    torch.manual_seed(0)
    found = marginal.sample(batch_n=3)
    assert set(found) == {"x"}
    torch.testing.assert_close(found["x"], wanted)
    with pytest.raises(NotImplementedError, match="integral"):
        marginal.get_log_prob({"x": wanted})
    for wrong in ("y", ["z", "y"], ["x", "z", "w"], []):
        with pytest.raises(VariableError):
            joint.marginalize_var(wrong)


def test_bound_variables_never_meet_free_ones() -> None:
    """In p(x) = int p(x|z)p(z)dz times p(y|z), the second z is another one."""
    marginal = (Sum("x", ["z"]) * standard("z", loc=100.0)).marginalize_var("z")
    product = marginal * Copy("y", "z")
    assert set(product.var) == {"x", "y"} and product.input_var == ["z"]
    v = values("z")
    found = product.sample(v)
    torch.testing.assert_close(found["y"], 2 * v["z"])
    assert (found["x"] > 50).all() and set(found) == {"x", "y", "z"}
    renamed = marginal.replace_var(x="z")
    assert set(renamed.sample(batch_n=2)) == {"z"} and (renamed.sample(batch_n=2)["z"] > 50).all()
    both = marginal * (Sum("y", ["z"]) * standard("z", loc=-100.0)).marginalize_var("z")
    drawn = both.sample(batch_n=2)
    assert (drawn["x"] > 50).all() and (drawn["y"] < -50).all()


def test_marginals_stop_gradients_too() -> None:
    x, z = Net("x", ["z"]), standard("z")
    marginal = (x * z).marginalize_var("z")
    assert marginal.sample(batch_n=2, reparam=True)["x"].requires_grad
    for p in (
        marginal.detach(),
        marginal.replace_var(x="y").detach(),
        marginal.frozen(),
        marginal.replace_var(x="y").frozen(),
    ):
        assert not p.sample(batch_n=2, reparam=True)[p.var[0]].requires_grad


# -------------------------------------------------------------------------------------------- names
# and text


def test_variables_of_joints() -> None:
    joint = Net("x", ["z", "c"]) * Net("z", ["d"])
    assert (joint.var, joint.cond_var, joint.input_var) == (["x", "z"], ["c", "d"], ["c", "d"])
    data = EmpiricalDistribution("x")
    assert (data.var, data.cond_var, data.input_var) == (["x"], [], ["x"])
    filtered = Net("z", ["x"], "q") * data
    assert (filtered.var, filtered.cond_var, filtered.input_var) == (["z", "x"], [], ["x"])
    v = values("x")
    found = filtered.sample(v)
    torch.testing.assert_close(found["x"], v["x"])
    assert found["z"].shape == (5, D)
    assert Bernoulli(var=("y",), cond_var="x").cond_var == ["x"]


def test_defaults_are_never_shared() -> None:
    first = Normal()
    first.var.append("y")
    first.cond_var.append("z")
    assert Normal().var == ["x"] and Normal().cond_var == []


def test_text_of_joints() -> None:
    x, z = Normal(var="x", cond_var="z", loc="z", scale=1.0), standard("z")
    assert x.prob_text == "p(x|z)" and (x * z).prob_text == "p(x,z)"
    assert (x * z).prob_joint_factorized_and_text == "p(x,z) = p(x|z)p(z)"
    assert (z * x).prob_joint_factorized_and_text == "p(z,x) = p(x|z)p(z)" and (z * x).var == [
        "z",
        "x",
    ]
    marginal = (x * z).marginalize_var("z")
    assert marginal.prob_text == "p(x)"
    assert marginal.prob_joint_factorized_and_text == r"p(x) = \int p(x|z)p(z)dz"
    assert (x * z).replace_var(z="w").prob_joint_factorized_and_text == "p(x,w) = p(x|w)p(w)"
    assert EmpiricalDistribution("x").prob_text == "p_{data}(x)"
    greek = Normal(var="alpha", cond_var="z1", loc="z1", scale=1.0, name="p1")
    assert greek.prob_text == r"p_{1}(\alpha|z_{1})"
    assert (
        x.detach().prob_text == r"\bar{p}(x|z)"
        and (x * z).detach().prob_factorized_text == r"\bar{p}(x|z)\bar{p}(z)"
    )


def test_text_of_the_paper_s_figure_5() -> None:
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    p1 = Normal(loc=zero, scale=one, var=["x"], cond_var=["y", "a"], name="p_{1}")
    p2 = Normal(loc=zero, scale=one, var=["z"], cond_var=["x", "y"], name="p_{2}")
    p3 = Normal(loc=zero, scale=one, var=["a"], name="p_{3}")
    p4 = Normal(loc=zero, scale=one, var=["y"], name="p_{4}")
    p = p1 * p2 * p3 * p4
    assert (
        p.prob_joint_factorized_and_text
        == "p_{1}(x,y,a,z) = p_{2}(z|x,y)p_{1}(x|y,a)p_{3}(a)p_{4}(y)"
    )
    assert p.var == ["x", "y", "a", "z"] == p.graph.var
    assert sorted(p.graph.visible_graph().edges) == [
        ("$a$", "$x$"),
        ("$x$", "$z$"),
        ("$y$", "$x$"),
        ("$y$", "$z$"),
    ]
    found = p.sample(batch_n=3)  # constants let their conditions be
    assert {k: v.shape for k, v in found.items()} == dict.fromkeys("xyza", torch.Size([3]))
    assert p.get_log_prob(found).shape == (3,)


def test_printing_a_distribution() -> None:
    joint, *_ = chain()
    text = str(joint)
    assert text.splitlines()[:3] == [
        "Distribution:",
        "  p(x,z,w) = p(x|z)p(z|w)p(w)",
        "Network architecture:",
    ]
    assert text.count("Linear(") == 2 and "p(z|w):" in text and "distribution_name=Normal" in text
    for p in (
        joint.marginalize_var("z"),
        joint.replace_var(z="y"),
        joint.detach(),
        Net("x", ["z"]).frozen(),
        Copy("y", "x"),
    ):
        assert p.prob_text in str(p) and p.name in repr(p)


def test_graph() -> None:
    joint, x, z, _ = chain()
    graph = joint.graph
    assert (
        graph.var == ["x", "z", "w"] and graph.cond_var == [] and graph.all_var == ["x", "z", "w"]
    )
    assert graph.distribution("z") is z and [f.var for f in graph.factors()] == [
        ["w"],
        ["z"],
        ["x"],
    ]
    assert sorted(graph.visible_graph().nodes) == ["$w$", "$x$", "$z$"]
    assert sorted(graph.visible_graph().edges) == [("$w$", "$z$"), ("$z$", "$x$")]
    dots = graph.visible_graph(dotmode=True)
    assert sorted(dots.nodes(data="texlbl")) == [("w", "$w$"), ("x", "$x$"), ("z", "$z$")]
    assert list(standard("x1").graph.visible_graph().nodes) == ["$x_{1}$"]
    with pytest.raises(VariableError, match="'y'"):
        graph.distribution("y")
    given = x.graph
    assert (given.var, given.cond_var, given.input_var) == (["x"], ["z"], ["z"])
    assert str(graph) == "p(x|z)p(z|w)p(w)"


def test_plus_is_the_product_inside_an_expectation() -> None:
    x, z = Net("x", ["z"]), standard("z")
    torch.manual_seed(0)
    plus = E(x + z, LogProb(x)).eval({})
    torch.manual_seed(0)
    torch.testing.assert_close(E(x * z, LogProb(x)).eval({}), plus)
    assert (x + z + standard("u")).as_product().var == (x * z * standard("u")).var


def test_names_can_be_changed() -> None:
    p = standard("x")
    p.name = "q"
    assert p.prob_text == "q(x)" and (Net("y", ["x"]) * p).prob_text == "p(y|x)q(x)"
    with pytest.raises(VariableError):
        p.name = 3  # type: ignore[assignment]


def test_functions_keep_their_gradient_in_a_sample() -> None:
    """Without ``reparam`` a draw is cut off; what a network makes of inputs or of a draw is not
    (``h = rnn.sample(x)``).
    """

    class Feature(Deterministic):
        def __init__(self, cond: str) -> None:
            super().__init__(var="h", cond_var=cond, name="f")
            self.net = torch.nn.Linear(2, 2)

        def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"h": self.net(given[self.cond_var[0]])}

    x = torch.randn(4, 2, requires_grad=True)
    assert Feature("x").sample({"x": x})["h"].requires_grad
    q = Normal(var="z", cond_var="x", loc="x", scale=1.0)
    assert (
        not q.sample({"x": x})["z"].requires_grad
        and q.sample({"x": x}, reparam=True)["z"].requires_grad
    )
    f = Feature("z")
    drawn = (f * q).sample({"x": x})
    assert not drawn["z"].requires_grad
    grads = torch.autograd.grad(drawn["h"].sum(), [*f.parameters(), x], allow_unused=True)
    assert all(g is not None for g in grads[:-1]) and grads[-1] is None
