"""Random recurrences against a loop written by hand: any graph of functions, carries, masks,
resets, directions.
"""

import random
from dataclasses import dataclass, field
from functools import reduce
from operator import mul

import pytest
import torch
from lowering_parts import computed_from
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Distribution, Normal, Scan
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter

D, B = 2, 3


class Function(Deterministic):
    """A small network of all its conditions."""

    def __init__(self, var: str, cond: list[str]) -> None:
        super().__init__(var, cond, name="f", features_shape=[D])
        self.net = nn.Linear(D * len(cond), D).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        assert all(v.ndim == 2 for v in given.values())  # one batch dimension, always
        return {self.var[0]: torch.tanh(self.net(torch.cat([given[c] for c in self.cond_var], 1)))}


class Gauss(Normal):
    """A normal whose mean is a small network of all its conditions."""

    def __init__(self, var: str, cond: list[str], name: str) -> None:
        super().__init__(
            var=var, cond_var=cond, name=name, scale=torch.full((D,), 0.7, dtype=torch.float64)
        )
        self.net = nn.Linear(D * len(cond), D).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"loc": self.net(torch.cat([given[c] for c in self.cond_var], 1))}


@dataclass
class World:
    """A random recurrence and data for it."""

    seed: int
    steps: int = 5
    nodes: list[Function] = field(default_factory=list)
    terms: list[tuple[Normal, Normal | None]] = field(default_factory=list)
    update: dict[str, list[str]] = field(default_factory=dict)
    init: dict[str, object] = field(default_factory=dict)
    data: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = self.draw = random.Random(self.seed)
        torch.manual_seed(self.seed)
        series = ["s0", "s1"][: draw.randint(1, 2)]
        self.series = series
        carried = [f"k{i}" for i in range(draw.randint(1, 3))]
        static = ["c"] if draw.random() < 0.4 else []
        for i in range(draw.randint(len(carried), 5)):
            known = [*series, *carried, *static, *[n.var[0] for n in self.nodes]]
            self.nodes.append(
                Function(f"n{i}", draw.sample(known, draw.randint(1, min(3, len(known)))))
            )
        names = [n.var[0] for n in self.nodes]
        for prev in carried:
            self.update.setdefault(
                draw.choice([*names, *series] if draw.random() < 0.2 else names), []
            ).append(prev)
        for _ in range(len(names) + len(series)):
            if draw.random() < 0.6:
                self.terms.append(
                    (
                        Gauss(draw.choice(series), self._some(names, carried), "p").replace_var(),
                        None,
                    )
                )
                self.terms.append(
                    (
                        Gauss("u", self._some(names, carried), "q"),
                        Gauss("u", self._some(names, carried), "p"),
                    )
                )
        if not self.terms:
            self.terms.append((Gauss(series[0], [names[-1]], "p"), None))
        for prev in carried:
            kind = draw.choice(["zero", "tensor", "parameter", "given"])
            if kind == "zero" and not any(
                prev in prevs for n, prevs in self.update.items() if n in series
            ):
                self.init[prev] = 0
            elif kind in ("zero", "tensor"):
                self.init[prev] = torch.randn(D, dtype=torch.float64)
            elif kind == "parameter":
                self.init[prev] = nn.Parameter(torch.randn(D, dtype=torch.float64))
            else:
                self.data[prev] = torch.randn(B, D, dtype=torch.float64)
        for name in series:
            self.data[name] = torch.randn(self.steps, B, D, dtype=torch.float64)
        for name in static:
            self.data[name] = torch.randn(B, D, dtype=torch.float64)
        self.reverse = draw.random() < 0.3
        self.mask = (torch.rand(self.steps, B) < 0.7) if draw.random() < 0.4 else None
        if self.mask is not None:
            self.data["valid"] = self.mask.float()
        resets = all(k in self.init for k in carried)
        self.first = (torch.rand(self.steps, B) < 0.3) if resets and draw.random() < 0.4 else None
        if self.first is not None:
            self.data["first"] = self.first.float()

    def _some(self, names: list[str], carried: list[str]) -> list[str]:
        pool = [*names, *carried]
        return self.draw.sample(pool, self.draw.randint(1, min(2, len(pool))))

    def options(self) -> dict[str, object]:
        return {
            "series_var": self.series,
            "update_value": self.update,
            "init": self.init,
            "reverse": self.reverse,
            "mask_var": None if self.mask is None else "valid",
            "reset_var": None if self.first is None else "first",
        }

    def objective(self) -> Loss:
        """The sum of terms, in one expectation or nested ones."""
        parts: list[Loss] = [
            LogProb(p) if q is None else -KullbackLeibler(p, q) for p, q in self.terms
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        if self.draw.random() < 0.5 and len(self.nodes) > 1:
            cut = self.draw.randint(1, len(self.nodes) - 1)
            return E(reduce(mul, self.nodes[:cut]), E(reduce(mul, self.nodes[cut:]), total))
        return E(self.joint(), total)

    def joint(self) -> Distribution:
        return reduce(mul, self.draw.sample(self.nodes, len(self.nodes)))

    def path(self) -> list[str]:
        """What is carried and what that is computed from in a step."""
        return computed_from(self.update, self.nodes)

    def parameters(self) -> list[nn.Parameter]:
        modules = [*self.nodes, *[p for pair in self.terms for p in pair if p is not None]]
        found = [w for m in modules for w in m.parameters()]
        return found + [v for v in self.init.values() if isinstance(v, nn.Parameter)]

    def filled(self, name: str) -> Tensor:
        """What stands in a masked frame: the first valid one of the batch."""
        return self.data[name][0, 0] if self.mask is None else self.data[name][self.mask][0]

    def by_hand(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The value of each step, ``[T, B]``, and all drawn series."""

        def start(prev: str) -> Tensor:
            value = self.init.get(prev, 0)
            row = (
                value
                if isinstance(value, Tensor)
                else torch.full((D,), float(value), dtype=torch.float64)
            )
            return row.expand(B, D)

        carry = {
            prev: self.data[prev] if prev in self.data else start(prev)
            for prevs in self.update.values()
            for prev in prevs
        }
        rows: dict[int, Tensor] = {}
        drawn: dict[str, dict[int, Tensor]] = {n.var[0]: {} for n in self.nodes}
        for t in range(self.steps)[:: -1 if self.reverse else 1]:
            valid = torch.ones(B, dtype=torch.bool) if self.mask is None else self.mask[t]
            now = {
                n: torch.where(valid[:, None], self.data[n][t], self.filled(n)) for n in self.series
            }
            now |= {n: v for n, v in self.data.items() if n == "c"}
            for prev, value in carry.items():
                now[prev] = (
                    value
                    if self.first is None
                    else torch.where(self.first[t][:, None], start(prev), value)
                )
            for node in self.nodes:
                now |= node(**{c: now[c] for c in node.cond_var})
                drawn[node.var[0]][t] = now[node.var[0]]
            value = torch.zeros(B, dtype=torch.float64)
            for p, q in self.terms:
                a = torch.distributions.Normal(p.get_params(now)["loc"], 0.7)
                if q is None:
                    value = value + a.log_prob(now[p.var[0]]).sum(-1)
                else:
                    b = torch.distributions.Normal(q.get_params(now)["loc"], 0.7)
                    value = value - torch.distributions.kl_divergence(a, b).sum(-1)
            rows[t] = torch.where(valid, value, 0.0)
            for name, prevs in self.update.items():
                for prev in prevs:
                    carry[prev] = torch.where(valid[:, None], now[name], carry[prev])
        order = range(self.steps)
        return torch.stack([rows[t] for t in order]), {
            n: torch.stack([s[t] for t in order]) for n, s in drawn.items()
        }


@pytest.mark.parametrize("seed", range(30))
def test_a_random_step_equals_the_loop_by_hand(seed: int) -> None:
    world = World(seed)
    objective = world.objective()
    wanted, drawn = world.by_hand()
    parameters = world.parameters()
    exact = torch.autograd.grad(wanted.sum(), parameters, allow_unused=True, materialize_grads=True)
    returns = world.path()
    for fission in (True, False):
        loss = IterativeLoss(
            objective, reduction=None, returns=returns, fission=fission, **world.options()
        )
        value, found = loss.eval(world.data, return_dict=True)
        torch.testing.assert_close(value, wanted)
        for name in returns:
            torch.testing.assert_close(found[name], drawn[name])
        grads = torch.autograd.grad(
            value.sum(), parameters, allow_unused=True, materialize_grads=True
        )
        for g, h in zip(grads, exact, strict=True):
            torch.testing.assert_close(g, h)
        torch.testing.assert_close(
            IterativeLoss(objective, fission=fission, **world.options()).eval(world.data),
            wanted.sum(0),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("seed", range(50, 58))
def test_a_random_step_in_compiled_chunks_equals_the_loop_by_hand(seed: int) -> None:
    world = World(seed)
    wanted, _ = world.by_hand()
    parameters = world.parameters()
    exact = torch.autograd.grad(wanted.sum(), parameters, allow_unused=True, materialize_grads=True)
    loss = IterativeLoss(world.objective(), **world.options()).compile(chunk=2, backend="eager")  # type: ignore[arg-type]
    value = loss.eval(world.data)  # 2 + 2 + 1 steps
    torch.testing.assert_close(value, wanted.sum(0))
    grads = torch.autograd.grad(value.sum(), parameters, allow_unused=True, materialize_grads=True)
    for g, h in zip(grads, exact, strict=True):
        torch.testing.assert_close(g, h)


@pytest.mark.parametrize("seed", range(30, 50))
def test_a_random_scan_draws_what_the_loop_draws(seed: int) -> None:
    world = World(seed)
    wanted, drawn = world.by_hand()
    for fission in (True, False):
        scan = Scan(world.joint(), fission=fission, **world.options())  # type: ignore[arg-type]
        found = scan.sample(world.data)
        for name, s in drawn.items():
            torch.testing.assert_close(found[name], s)
        weighted = E(scan, sum((Parameter(n).mean() for n in drawn), Parameter("zero")))
        value = weighted.eval({**world.data, "zero": 0.0})
        if world.mask is None:
            torch.testing.assert_close(value, sum(s.mean() for s in drawn.values()))
        else:
            total = sum(
                (s * world.mask[..., None]).sum() / (world.mask.sum().clamp(min=1) * D)
                for s in drawn.values()
            )
            torch.testing.assert_close(value, total)
        inside = E(scan, sum(_parts(world), ValueZero)) if world.mask is None else None
        if inside is not None:
            torch.testing.assert_close(inside.eval(world.data), wanted)


ValueZero = Parameter("zero").constant_var({"zero": 0.0})


def _parts(world: World) -> list[Loss]:
    return [LogProb(p) if q is None else -KullbackLeibler(p, q) for p, q in world.terms]
