"""Distributions of every kind answer the same methods: joints, renamed ones, marginals,
conditionals, mixtures, flows.
"""

import copy

import pytest
import torch
from graph_parts import B, Copy, D, Heavy, Node, flowed, mixture, transformed, values
from torch import Tensor

from pixyz import distributions as pd
from pixyz.types import PixyzError, VariableError

KINDS = {
    "atom": lambda: Node("x", ["c"], "p"),
    "joint": lambda: Node("x", ["z"], "p") * Node("z", ["c"], "p"),
    "renamed": lambda: Node("y", ["c"], "p").replace_var(y="x"),
    "renamed joint": lambda: (Node("y", ["z"], "p") * Node("z", ["c"], "p")).replace_var(y="x"),
    "marginal": lambda: (Node("x", ["z"], "p") * Node("z", ["c"], "p")).marginalize_var("z"),
    "renamed marginal": lambda: (
        (Node("y", ["z"], "p") * Node("z", ["c"], "p")).marginalize_var("z").replace_var(y="x")
    ),
    "detached": lambda: Node("x", ["c"], "p").detach(),
    "frozen": lambda: Node("x", ["c"], "p").frozen(),
    "independent": lambda: pd.Independent(Node("x", ["c"], "p"), 1),
    "mixture": lambda: pd.MixtureModel(
        [Node("x", ["c"], "p"), Heavy("x", ["c"], "p")],
        pd.Categorical(var="k", probs=torch.ones(2), name="prior").double(),
    ),
    "renamed mixture": lambda: mixture("y", ["c"], "p").replace_var(y="x"),
    "mixture of normals": lambda: pd.MixtureOfNormal(
        [Node("x", ["c"], "p"), Node("x", ["c"], "q")]
    ),
    "experts": lambda: pd.ProductOfNormal([Node("x", ["c"], "p")]),
    "flow": lambda: flowed("x", ["c"], "p"),
    "flow forward": lambda: transformed("x", ["c"], "p"),
    "renamed flow": lambda: flowed("y", ["c"], "p").replace_var(y="x"),
    "joint with a flow": lambda: flowed("x", ["z"], "p") * Node("z", ["c"], "p"),
    "marginal of a flow": lambda: (flowed("x", ["z"], "p") * Node("z", ["c"], "p")).marginalize_var(
        "z"
    ),
    "marginal of a mixture": lambda: (
        mixture("x", ["z"], "p") * Node("z", ["c"], "p")
    ).marginalize_var("z"),
    "function": lambda: Copy("x", ["c"], "f"),
    "renamed function": lambda: Copy("y", ["c"], "f").replace_var(y="x"),
    "marginal of a function": lambda: (
        Copy("x", ["z"], "f") * Node("z", ["c"], "p")
    ).marginalize_var("z"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_the_same_methods(kind: str) -> None:
    """Each method gives a value, or says that there is no formula and names the distribution."""
    p = KINDS[kind]()
    v = values(["x", "z", "c"])
    assert p.cond_var == ["c"] and "x" in p.var and p.input_var == ["c"]
    drawn = p.sample({"c": v["c"]}, sample_shape=[2])
    function = kind.endswith("function") and "marginal" not in kind
    # there is one value of a function
    assert drawn["x"].shape == ((B, D) if function else (2, B, D))
    # a flow alone also returns its prior's draw
    assert {*p.var, "c"} <= set(drawn) <= {*p.var, "c", "u_x"}
    shown = {k: v[k] for k in [*p.var, "c"]}
    calls = {
        "log_prob": lambda: p.get_log_prob(shown),
        "log_prob loss": lambda: p.log_prob().eval(shown),
        "prob loss": lambda: p.prob().eval(shown),
        "mean": lambda: p.sample_mean({"c": v["c"]}),
        "variance": lambda: p.sample_variance({"c": v["c"]}),
        "entropy": lambda: p.get_entropy({"c": v["c"]}),
        "params": lambda: p.get_params({"c": v["c"]}),
    }
    answered, told = set(), []
    for name, call in calls.items():
        try:
            found = call()
        except (NotImplementedError, PixyzError) as error:
            told.append(str(error))
            continue
        answered.add(name)
        if isinstance(found, Tensor):
            assert found.shape == ((B, D) if name in ("mean", "variance") else (B,))
    assert all(p.prob_text in t or p.distribution_name in t or "p(" in t or "f(" in t for t in told)
    assert "mean" in answered
    assert ("log_prob" in answered) == ("marginal" not in kind and "function" not in kind)
    assert isinstance(p.has_reparam, bool) and p.graph.var == p.var
    for other in (
        p.replace_var(c="d"),
        p.detach(),
        copy.deepcopy(p),
        p.frozen(),
        p * Node("new", ["x"], "r"),
    ):
        assert set(other.sample({other.cond_var[0]: v["c"]})) >= {"x"}
        assert str(other)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_clashes_and_circles_and_keeps_bound_variables_apart(kind: str) -> None:
    p = KINDS[kind]()
    with pytest.raises(VariableError, match="'x'"):
        p * KINDS[kind]()
    with pytest.raises(VariableError, match=r"circle: .*(x -> c|c -> x)"):
        p * Node("c", ["x"], "r")
    hidden = {"z", "k", "u_x"} - set(p.var)
    free = sorted(hidden)
    joint = p * Node("new", ["x", *free], "r")  # names that are bound inside some kinds
    assert set(joint.cond_var) == {"c", *free}
    v = {n: torch.full((B, D), 7.0, dtype=torch.float64) for n in joint.cond_var}
    drawn = joint.sample(v)
    for n in free:
        assert torch.equal(drawn[n], v[n])
    moved = joint.replace_var(**{n: f"{n}_1" for n in free})
    assert set(moved.cond_var) == {"c", *(f"{n}_1" for n in free)} and str(moved)
    torch.manual_seed(0)
    one = joint.sample(v, return_all=False)
    torch.manual_seed(0)
    other = moved.sample({n if n == "c" else f"{n}_1": t for n, t in v.items()}, return_all=False)
    for n in p.var:
        torch.testing.assert_close(one[n], other[n])
    torch.testing.assert_close(one["new"], other["new"])
