"""Random graphs of distributions of every kind, and values for their variables."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from pixyz import distributions as pd
from pixyz import flows as pf
from pixyz.distributions import Distribution, ParametricDistribution
from pixyz.layers import ScaleTranslateDense

B, D = 3, 2
LETTERS = ["x", "y_1", "z2", "alpha", "w_prev", "x_long", "t", "h"]


class Linear(ParametricDistribution):
    """A density whose mean adds the parents, each with its own weight."""

    def __init__(self, var: str, parents: list[str], name: str) -> None:
        super().__init__(var=var, cond_var=parents, name=name, features_shape=[D])
        self.weights = torch.nn.Parameter(
            torch.linspace(0.5, 1.5, len(parents) + 1, dtype=torch.float64)
        )

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = sum(
            (w * given[p] for w, p in zip(self.weights[1:], self.cond_var)),
            torch.zeros((), dtype=torch.float64),
        )
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


def flow() -> pf.FlowList:
    """An invertible function with a Jacobian."""
    parts = [pf.AffineCoupling(D, scale_translate_net=ScaleTranslateDense(D, (4,))), pf.Reverse(D)]
    return pf.FlowList(parts).double()


def mixture(var: str, parents: list[str], name: str) -> Distribution:
    prior = pd.Categorical(var=f"k_{var}", probs=torch.tensor([0.3, 0.7]), name="prior").double()
    return pd.MixtureModel([Node(var, parents, name), Heavy(var, parents, name)], prior, name)


def flowed(var: str, parents: list[str], name: str) -> Distribution:
    return pd.InverseTransformedDistribution(
        Node(f"u_{var}", parents, name), flow(), [var], name=name
    )


def transformed(var: str, parents: list[str], name: str) -> Distribution:
    return pd.TransformedDistribution(Node(f"u_{var}", parents, name), flow(), [var], name=name)


def marginal(var: str, parents: list[str], name: str) -> Distribution:
    """It has no density: only for samples and text."""
    return (Node(var, ["inner", *parents], name) * Node("inner", parents, name)).marginalize_var(
        "inner"
    )


def joint(var: str, parents: list[str], name: str) -> Distribution:
    """Two variables, of which one hangs on the other."""
    return Node(var, [f"{var}_2", *parents], name) * Node(f"{var}_2", parents, name)


PLAIN = (Node, Heavy)
WITH_DENSITY = (*PLAIN, mixture, flowed, transformed, joint)


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
def graphs(draw: st.DrawFn, functions: bool = False, kinds: Sequence[object] = PLAIN) -> Graph:
    """A directed acyclic graph of 1-5 drawn variables and up to 2 given ones, multiplied in any
    order.
    """
    names = draw(st.permutations(LETTERS))
    count, given_count = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    drawn, free = names[:count], names[count : count + given_count]
    factors: list[Distribution] = []
    parents: dict[str, list[str]] = {}
    for i, v in enumerate(drawn):
        parents[v] = (
            draw(st.lists(st.sampled_from([*drawn[:i], *free]), unique=True, max_size=3))
            if i or free
            else []
        )
        make = draw(st.sampled_from([*kinds, Copy] if functions and parents[v] else list(kinds)))
        factors.append(make(v, parents[v], draw(st.sampled_from(["p", "q", "p_1"]))))
    return Graph(factors, list(draw(st.permutations(range(count)))), parents, free)


def values(names: list[str], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {v: torch.randn(B, D, dtype=torch.float64, generator=generator) for v in names}
    return {
        **found,
        **{f"{v}_2": torch.randn(B, D, dtype=torch.float64, generator=generator) for v in names},
    }


def density(p: Distribution, v: dict[str, Tensor]) -> Tensor:
    return p.get_log_prob({k: v[k] for k in [*p.var, *p.cond_var]})


quick = settings(max_examples=25, deadline=None, derandomize=True)
