"""DistGraph: the factors of a joint as a graph of variables.

networkx is imported when the graph itself is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pixyz import latex
from pixyz.types import PixyzError, VariableError

if TYPE_CHECKING:
    import networkx as nx


class Factor(Protocol):
    """What a graph asks of a distribution."""

    @property
    def var(self) -> list[str]: ...

    @property
    def cond_var(self) -> list[str]: ...

    @property
    def input_var(self) -> list[str]: ...

    @property
    def name(self) -> str: ...

    @property
    def prob_text(self) -> str: ...

    @property
    def prob_joint_factorized_and_text(self) -> str: ...


F = TypeVar("F", bound=Factor)


class DistGraph(Generic[F]):
    """A directed acyclic graph whose nodes are variables; each drawn variable knows its factor.

    Args:
        factors: distributions with disjoint ``var``.

    Raises:
        VariableError: two factors draw one variable, or they depend on each other in a circle.
    """

    def __init__(self, factors: Sequence[F]) -> None:
        self._factors = list(factors)
        owner: dict[str, F] = {}
        for factor in self._factors:
            for v in factor.var:
                if v in owner:
                    raise VariableError(
                        f"{v!r} is drawn by {owner[v].prob_text} and by {factor.prob_text}; "
                        f"rename one: replace_var({v}=...)"
                    )
                owner[v] = factor
        self._owner = owner
        self._order = children_first(self._factors)

    @cached_property
    def nx_graph(self) -> nx.DiGraph:
        """Variables as nodes (drawn ones with their ``factor``), dependence as edges."""
        import networkx as nx

        graph = nx.DiGraph()
        for factor in self._factors:
            for v in factor.var:
                graph.add_node(v, factor=factor)
                graph.add_edges_from((c, v) for c in factor.cond_var)
        return graph

    # ---------------------------------------------------------------- variables

    @property
    def var(self) -> list[str]:
        """The variables that the factors draw, in the order in which the factors name them first,
        as multiplied.
        """
        named = dict.fromkeys(v for f in self._factors for v in (*f.var, *f.cond_var))
        return [v for v in named if v in self._owner]

    @property
    def as_multiplied(self) -> list[F]:
        """The factors in the order in which they were multiplied."""
        return list(self._factors)

    @property
    def cond_var(self) -> list[str]:
        """The variables that no factor draws."""
        return list(
            dict.fromkeys(c for f in self._factors for c in f.cond_var if c not in self._owner)
        )

    @property
    def input_var(self) -> list[str]:
        """The variables that must be given to sample."""
        return list(
            dict.fromkeys(
                c for f in self._factors for c in f.input_var if c not in self._owner or c in f.var
            )
        )

    @property
    def all_var(self) -> list[str]:
        """Every variable."""
        return [*self.var, *self.cond_var]

    def distribution(self, var_name: str) -> F:
        """The factor that draws ``var_name``."""
        if var_name not in self._owner:
            raise VariableError(f"no factor draws {var_name!r}; drawn are {self.var}")
        return self._owner[var_name]

    def set_option(self, option_dict: Mapping[str, object], var: Sequence[str] = ()) -> None:
        """0.3.3's options of factors: here they are arguments.

        Raises:
            PixyzError: always; it says which call to write.
        """
        given = ", ".join(f"{k}={v!r}" for k, v in option_dict.items())
        raise PixyzError(
            f"a graph holds no options; give them to the call: p.sample(x, "
            f"{given}) or p.get_log_prob(x, {given})"
        )

    # ---------------------------------------------------------------- order

    def factors(self, reverse: bool = False) -> Iterator[F]:
        """The factors, parents first (``reverse``: children first); ties as multiplied."""
        return iter(self._order if reverse else self._order[::-1])

    # ---------------------------------------------------------------- picture

    def visible_graph(self, dotmode: bool = False) -> nx.DiGraph:
        """A graph of the variables with LaTeX names, for drawing.

        Args:
            dotmode: plain names as nodes and the LaTeX as the attribute ``texlbl``.
        """
        import networkx as nx

        graph = nx.DiGraph()
        for v in self.nx_graph.nodes:
            label = f"${latex.latex_name(v)}$"
            if dotmode:
                graph.add_node(v, texlbl=label)
            else:
                graph.add_node(label)
        for a, b in self.nx_graph.edges:
            ends = (a, b) if dotmode else (f"${latex.latex_name(a)}$", f"${latex.latex_name(b)}$")
            graph.add_edge(*ends)
        return graph

    def draw(self, path: str | Path) -> None:
        """Draw the graph into a file (needs matplotlib): drawn variables as circles, given ones
        grey.
        """
        import networkx as nx
        from matplotlib.figure import Figure

        graph = self.visible_graph()
        given = {f"${latex.latex_name(v)}$" for v in self.cond_var}
        for layer, nodes in enumerate(nx.topological_generations(graph)):
            for node in nodes:
                graph.nodes[node]["layer"] = layer
        figure = Figure(figsize=(1.6 + 1.2 * graph.number_of_nodes() ** 0.5, 3.2))
        axes = figure.add_subplot()
        position = nx.multipartite_layout(graph, subset_key="layer", align="horizontal")
        position = {n: (x, -y) for n, (x, y) in position.items()}
        colors = ["#d9d9d9" if n in given else "#ffffff" for n in graph.nodes]
        nx.draw_networkx(
            graph,
            position,
            ax=axes,
            node_color=colors,
            edgecolors="#333333",
            node_size=900,
            font_size=11,
        )
        axes.margins(0.2)
        axes.set_axis_off()
        figure.savefig(path, dpi=150, bbox_inches="tight")

    @property
    def name(self) -> str:
        """The letter of the joint: that of the first factor."""
        return self._factors[0].name

    @property
    def prob_joint_factorized_and_text(self) -> str:
        """``p(x,z) = p(x|z)p(z)``."""
        if len(self._factors) == 1:
            return self._factors[0].prob_joint_factorized_and_text
        return f"{latex.conditional(self.name, self.var, self.cond_var)} = {self}"

    def __str__(self) -> str:
        return "".join(f.prob_text for f in self.factors(reverse=True))


def children_first(factors: Sequence[F]) -> list[F]:
    """Reverse topological order; factors that are not ordered by the graph stay as multiplied."""
    left = list(factors)
    order: list[F] = []
    while left:
        for factor in left:
            if not any(
                set(factor.var) & set(other.cond_var) for other in left if other is not factor
            ):
                order.append(factor)
                left.remove(factor)
                break
        else:
            text = " and ".join(f.prob_text for f in left)
            raise VariableError(
                f"the factors {text} depend on each other in a circle: {_circle(left)}; "
                "rename one of these variables: replace_var(...)"
            )
    return order


def _circle(factors: Sequence[Factor]) -> str:
    """``x -> y -> x``, for factors of which each draws what another one depends on."""
    path = [factors[0].var[0]]
    while path[-1] not in path[:-1]:
        owner = next(f for f in factors if path[-1] in f.var)
        path.append(next(other.var[0] for other in factors if set(owner.var) & set(other.cond_var)))
    return " -> ".join(path[path.index(path[-1]) :])
