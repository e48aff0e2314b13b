"""Laws over random graphs of distributions: the density factorises, samples follow the graph, names do not matter."""

import copy
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixyz import distributions as pd
from pixyz.distributions import Distribution, ParametricDistribution
from pixyz.losses import LogProb
from pixyz.types import PixyzError, VariableError

B, D = 3, 2
LETTERS = ["x", "y_1", "z2", "alpha", "w_prev", "x_long", "t", "h"]


class Linear(ParametricDistribution):
    """A density whose mean adds the parents, each with its own weight."""

    def __init__(self, var: str, parents: list[str], name: str) -> None:
        super().__init__(var=var, cond_var=parents, name=name, features_shape=[D])
        self.weights = torch.nn.Parameter(torch.linspace(0.5, 1.5, len(parents) + 1, dtype=torch.float64))

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = sum((w * given[p] for w, p in zip(self.weights[1:], self.cond_var)), torch.zeros((), dtype=torch.float64))
        loc = loc + torch.zeros(1, D, dtype=torch.float64)
        return {"loc": loc, "scale": torch.full_like(loc, 0.1) + self.weights[0] ** 2}


class Node(Linear, pd.Normal):
    """Normal."""


class Heavy(Linear, pd.Laplace):
    """Laplace."""


class Copy(pd.Deterministic):
    """A function of its parents."""

    def __init__(self, var: str, parents: list[str], name: str) -> None:
        super().__init__(var=var, cond_var=parents, name=name)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {self.var[0]: sum(given.values(), torch.zeros((), dtype=torch.float64)) * 2.0}


@dataclass
class Graph:
    factors: list[Distribution]
    order: list[int]
    parents: dict[str, list[str]]
    free: list[str]

    @property
    def joint(self) -> Distribution:
        joint = self.factors[self.order[0]]
        for i in self.order[1:]:
            joint = joint * self.factors[i]
        return joint


@st.composite
def graphs(draw: st.DrawFn, functions: bool = False) -> Graph:
    """A directed acyclic graph of 1-5 drawn variables and up to 2 given ones, multiplied in any order."""
    names = draw(st.permutations(LETTERS))
    count, given_count = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    drawn, free = names[:count], names[count : count + given_count]
    factors: list[Distribution] = []
    parents: dict[str, list[str]] = {}
    for i, v in enumerate(drawn):
        parents[v] = draw(st.lists(st.sampled_from([*drawn[:i], *free]), unique=True, max_size=3)) if i or free else []
        make = draw(st.sampled_from([Node, Heavy, Copy] if functions and parents[v] else [Node, Heavy]))
        factors.append(make(v, parents[v], draw(st.sampled_from(["p", "q", "p_1"]))))
    return Graph(factors, list(draw(st.permutations(range(count)))), parents, free)


def values(names: list[str], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {v: torch.randn(B, D, dtype=torch.float64, generator=generator) for v in names}


def density(p: Distribution, v: dict[str, Tensor]) -> Tensor:
    return p.get_log_prob({k: v[k] for k in [*p.var, *p.cond_var]})


quick = settings(max_examples=25, deadline=None, derandomize=True)


@quick
@given(graphs())
def test_log_density_of_a_product_is_the_sum_of_its_factors(g: Graph) -> None:
    v, joint = values(LETTERS), g.joint
    wanted = sum((density(f, v) for f in g.factors), torch.zeros(B, dtype=torch.float64))
    torch.testing.assert_close(density(joint, v), wanted)
    torch.testing.assert_close(LogProb(joint).eval({k: v[k] for k in [*joint.var, *joint.cond_var]}), wanted)
    assert set(joint.var) == set(g.parents)
    assert set(joint.cond_var) == {p for ps in g.parents.values() for p in ps} - set(g.parents)


@quick
@given(graphs(functions=True), st.sampled_from([(), (4,), (2, 3)]))
def test_ancestral_sampling_respects_the_graph(g: Graph, shape: tuple[int, ...]) -> None:
    """Each variable is a draw given the others that were drawn with it: recompute each residual from the returned values."""
    joint = g.joint
    given_values = {k: t for k, t in values(LETTERS).items() if k in joint.cond_var}
    torch.manual_seed(0)
    drawn = joint.sample(given_values, sample_shape=shape, batch_n=B)
    lead = shape if any(not isinstance(f, Copy) for f in g.factors) else ()
    for factor in g.factors:
        x = drawn[factor.var[0]]
        own = [drawn[p] for p in factor.cond_var]
        if isinstance(factor, Copy):
            torch.testing.assert_close(x, sum(own, torch.zeros((), dtype=torch.float64)) * 2.0)
            continue
        assert isinstance(factor, Linear)
        assert x.shape == (*lead, B, D)
        wide = {p: torch.broadcast_to(drawn[p], x.shape).reshape(-1, D) for p in factor.cond_var}
        params = factor.get_params(wide)
        residual = (x.reshape(-1, D) - params["loc"]) / params["scale"]
        assert residual.abs().max() < 20 and residual.std() > 0.05  # of the order of 1: its own parents, not another draw
    order = [f.var[0] for f in joint.graph.factors()]
    assert all(order.index(p) < order.index(v) for v, ps in g.parents.items() for p in ps if p in order)


@quick
@given(graphs(), st.permutations([f"n{i}" for i in range(len(LETTERS))]), st.booleans())
def test_renaming_commutes_with_everything(g: Graph, new: list[str], swap: bool) -> None:
    joint = g.joint
    own = [*joint.var, *joint.cond_var]
    targets = own[1:] + own[:1] if swap else list(new[: len(own)])
    renaming = dict(zip(own, targets))
    v = values(LETTERS)
    moved = {renaming[k]: v[k] for k in own}
    renamed = joint.replace_var(**renaming)
    torch.testing.assert_close(density(renamed, moved), density(joint, v))
    parts = [f.replace_var(**{k: n for k, n in renaming.items() if k in (*f.var, *f.cond_var)}) for f in g.factors]
    product = Graph(parts, g.order, {}, []).joint
    torch.testing.assert_close(density(product, moved), density(joint, v))
    given_values = {k: v[k] for k in joint.cond_var}
    torch.manual_seed(1)
    drawn = joint.sample(given_values, batch_n=B, return_all=False)
    torch.manual_seed(1)
    again = renamed.sample({renaming[k]: t for k, t in given_values.items()}, batch_n=B, return_all=False)
    assert {renaming[k] for k in drawn} == set(again)
    for k, t in drawn.items():
        torch.testing.assert_close(again[renaming[k]], t)
    back = renamed.replace_var(**{n: o for o, n in renaming.items()})
    torch.testing.assert_close(density(back, v), density(joint, v))
    if len(joint.var) > 1:
        bound = joint.var[0]
        one = joint.marginalize_var(bound)
        other = renamed.marginalize_var(renaming[bound])
        assert [renaming[k] for k in one.var] == other.var
        torch.manual_seed(2)
        x = one.sample({k: v[k] for k in one.cond_var}, batch_n=B, return_all=False)
        torch.manual_seed(2)
        y = other.sample({renaming[k]: v[k] for k in one.cond_var}, batch_n=B, return_all=False)
        for k in one.var:
            torch.testing.assert_close(y[renaming[k]], x[k])


@quick
@given(graphs(functions=True), st.data())
def test_printing_never_fails(g: Graph, data: st.DataObject) -> None:
    joint = g.joint
    seen: list[Distribution] = [joint, copy.deepcopy(joint), joint.detach(), joint.replace_var(**{joint.var[0]: "fresh"})]
    if len(joint.var) > 1:
        seen.append(joint.marginalize_var(data.draw(st.lists(
            st.sampled_from(joint.var), min_size=1, max_size=len(joint.var) - 1, unique=True))))
    for p in seen:
        texts = (p.prob_text, p.prob_factorized_text, p.prob_joint_factorized_and_text)
        for text in (str(p), repr(p), *texts, LogProb(p).loss_text):
            assert text and "object at" not in text
        assert len(p.graph.visible_graph().nodes) >= len(p.var)
        assert str(p.graph)


@quick
@given(graphs(), st.data())
def test_a_circle_or_a_clash_is_refused_at_once(g: Graph, data: st.DataObject) -> None:
    joint = g.joint
    twice = data.draw(st.sampled_from(joint.var))
    with pytest.raises(VariableError, match=twice):
        joint * Node(twice, [], "r")
    roots = [f for f in g.factors if not f.cond_var]
    leaves = [v for v in joint.var if not any(v in ps for ps in g.parents.values())]
    if len(joint.var) > 1 and roots and roots[0].var[0] not in leaves:
        root = roots[0].var[0]
        below = next(v for v, ps in g.parents.items() if root in ps)
        rest = [f for f in g.factors if f is not roots[0]]
        partial = Graph(rest, list(range(len(rest))), {}, []).joint
        with pytest.raises(VariableError, match="circle"):
            partial * Node(root, [below], "r")


@quick
@given(graphs(), st.data())
def test_bound_variables_never_meet_free_ones(g: Graph, data: st.DataObject) -> None:
    """A marginal times a density that reads a free variable of the bound one's name: the free one stays an input."""
    joint = g.joint
    if len(joint.var) < 2:
        return
    bound = data.draw(st.sampled_from(joint.var))
    marginal = joint.marginalize_var(bound)
    product = marginal * Node("new", [bound], "r")
    assert bound in product.cond_var and bound not in product.var
    far = {k: torch.full((B, D), 1000.0, dtype=torch.float64) for k in product.cond_var}
    drawn = product.sample(far, batch_n=B)
    torch.testing.assert_close(drawn[bound], far[bound])
    alone = Node("new", [bound], "r").get_params({bound: far[bound]})
    assert ((drawn["new"] - alone["loc"]) / alone["scale"]).abs().max() < 8


KINDS = {
    "atom": lambda: Node("x", ["c"], "p"),
    "joint": lambda: Node("x", ["z"], "p") * Node("z", ["c"], "p"),
    "renamed": lambda: Node("y", ["c"], "p").replace_var(y="x"),
    "renamed joint": lambda: (Node("y", ["z"], "p") * Node("z", ["c"], "p")).replace_var(y="x"),
    "marginal": lambda: (Node("x", ["z"], "p") * Node("z", ["c"], "p")).marginalize_var("z"),
    "renamed marginal": lambda: (Node("y", ["z"], "p") * Node("z", ["c"], "p")).marginalize_var("z").replace_var(y="x"),
    "detached": lambda: Node("x", ["c"], "p").detach(),
    "frozen": lambda: Node("x", ["c"], "p").frozen(),
    "independent": lambda: pd.Independent(Node("x", ["c"], "p"), 1),
    "mixture": lambda: pd.MixtureModel([Node("x", ["c"], "p"), Heavy("x", ["c"], "p")],
                                       pd.Categorical(var="k", probs=torch.ones(2), name="prior").double()),
    "experts": lambda: pd.ProductOfNormal([Node("x", ["c"], "p")]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_the_same_methods(kind: str) -> None:
    """Each method gives a value, or says that there is no formula and names the distribution."""
    p = KINDS[kind]()
    v = values(["x", "z", "c"])
    assert p.cond_var == ["c"] and "x" in p.var and p.input_var == ["c"]
    drawn = p.sample({"c": v["c"]}, sample_shape=[2])
    assert drawn["x"].shape == (2, B, D) and set(drawn) == {*p.var, "c"}
    shown = {k: v[k] for k in [*p.var, "c"]}
    calls = {
        "log_prob": lambda: p.get_log_prob(shown), "log_prob loss": lambda: p.log_prob().eval(shown),
        "prob loss": lambda: p.prob().eval(shown), "mean": lambda: p.sample_mean({"c": v["c"]}),
        "variance": lambda: p.sample_variance({"c": v["c"]}), "entropy": lambda: p.get_entropy({"c": v["c"]}),
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
    assert all(p.prob_text in t or p.distribution_name in t or "p(" in t for t in told)
    assert "mean" in answered
    assert ("log_prob" in answered) == ("marginal" not in kind)
    assert isinstance(p.has_reparam, bool) and p.graph.var == p.var
    for other in (p.replace_var(c="d"), p.detach(), copy.deepcopy(p), p.frozen(), p * Node("new", ["x"], "r")):
        assert set(other.sample({other.cond_var[0]: v["c"]})) >= {"x"}
        assert str(other)
