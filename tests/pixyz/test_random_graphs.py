"""Laws over random graphs of distributions: the density factorises, samples follow the graph, names
do not matter.
"""

import copy

import pytest
import torch
from graph_parts import (
    LETTERS,
    WITH_DENSITY,
    B,
    Copy,
    D,
    Graph,
    Linear,
    Node,
    density,
    graphs,
    marginal,
    quick,
    values,
)
from hypothesis import given
from hypothesis import strategies as st

from pixyz import distributions as pd
from pixyz.distributions import Distribution
from pixyz.losses import LogProb
from pixyz.types import VariableError


@quick
@given(graphs(kinds=WITH_DENSITY))
def test_log_density_of_a_product_is_the_sum_of_its_factors(g: Graph) -> None:
    v, joint = values(LETTERS), g.joint
    wanted = sum((density(f, v) for f in g.factors), torch.zeros(B, dtype=torch.float64))
    torch.testing.assert_close(density(joint, v), wanted)
    torch.testing.assert_close(
        LogProb(joint).eval({k: v[k] for k in [*joint.var, *joint.cond_var]}), wanted
    )
    assert set(joint.var) == {v for f in g.factors for v in f.var}
    assert set(joint.cond_var) == {p for ps in g.parents.values() for p in ps} - set(g.parents)


@quick
@given(graphs(functions=True, kinds=(*WITH_DENSITY, marginal)), st.sampled_from([(), (4,), (2, 3)]))
def test_ancestral_sampling_respects_the_graph(g: Graph, shape: tuple[int, ...]) -> None:
    """Each variable is a draw given the others that were drawn with it: recompute each residual
    from the returned values.
    """
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
        assert x.shape == (*lead, B, D)
        if isinstance(factor, (pd.TransformedDistribution, pd.InverseTransformedDistribution)):
            inverse = isinstance(factor, pd.InverseTransformedDistribution)
            apply = factor.flow.forward_and_logdet if inverse else factor.flow.inverse_and_logdet
            factor, x = factor.prior, apply(x.reshape(-1, D))[0].reshape(x.shape)
        if not isinstance(factor, Linear):
            continue
        wide = {p: torch.broadcast_to(drawn[p], x.shape).reshape(-1, D) for p in factor.cond_var}
        params = factor.get_params(wide)
        residual = (x.reshape(-1, D) - params["loc"]) / params["scale"]
        # of the order of 1: its own parents, not another draw
        assert residual.abs().max() < 20 and residual.std() > 0.05
    order = [f.var[0] for f in joint.graph.factors()]
    assert all(
        order.index(p) < order.index(v) for v, ps in g.parents.items() for p in ps if p in order
    )


@quick
@given(
    graphs(kinds=WITH_DENSITY),
    st.permutations([f"n{i}" for i in range(2 * len(LETTERS))]),
    st.booleans(),
)
def test_renaming_commutes_with_everything(g: Graph, new: list[str], swap: bool) -> None:
    joint = g.joint
    own = [*joint.var, *joint.cond_var]
    targets = own[1:] + own[:1] if swap else list(new[: len(own)])
    renaming = dict(zip(own, targets))
    v = values(LETTERS)
    moved = {renaming[k]: v[k] for k in own}
    renamed = joint.replace_var(**renaming)
    torch.testing.assert_close(density(renamed, moved), density(joint, v))
    parts = [
        f.replace_var(**{k: n for k, n in renaming.items() if k in (*f.var, *f.cond_var)})
        for f in g.factors
    ]
    product = Graph(parts, g.order, {}, []).joint
    torch.testing.assert_close(density(product, moved), density(joint, v))
    given_values = {k: v[k] for k in joint.cond_var}
    torch.manual_seed(1)
    drawn = joint.sample(given_values, batch_n=B, return_all=False)
    torch.manual_seed(1)
    again = renamed.sample(
        {renaming[k]: t for k, t in given_values.items()}, batch_n=B, return_all=False
    )
    for k in joint.var:  # a flow alone also returns its prior's draw
        torch.testing.assert_close(again[renaming[k]], drawn[k])
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
@given(graphs(functions=True, kinds=(*WITH_DENSITY, marginal)), st.data())
def test_printing_never_fails(g: Graph, data: st.DataObject) -> None:
    joint = g.joint
    seen: list[Distribution] = [
        joint,
        copy.deepcopy(joint),
        joint.detach(),
        joint.replace_var(**{joint.var[0]: "fresh"}),
    ]
    if len(joint.var) > 1:
        seen.append(
            joint.marginalize_var(
                data.draw(
                    st.lists(
                        st.sampled_from(joint.var),
                        min_size=1,
                        max_size=len(joint.var) - 1,
                        unique=True,
                    )
                )
            )
        )
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
@given(graphs(kinds=WITH_DENSITY), st.data())
def test_bound_variables_never_meet_free_ones(g: Graph, data: st.DataObject) -> None:
    """A marginal times a density that reads a free variable of the bound one's name: the free one
    stays an input.
    """
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
