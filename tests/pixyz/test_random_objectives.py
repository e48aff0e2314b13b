"""Random step objectives with draws against a loop written by hand, in every form that a plan has.

Masks over NaN, resets, lags with and without an init, several carries, first and last steps, both
directions, nested expectations, particles, draws on and off the path; split or whole, in chunks or
not, shared or not.  Noise depends on its shape alone here, so that the order in which it is drawn
does not matter.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import mul
from unittest import mock

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lowering_parts import computed_from
from torch import Tensor, nn
from torch.distributions import Normal as N
from torch.distributions import kl_divergence

from pixyz.distributions import (
    Deterministic,
    Distribution,
    Normal,
    OneHotCategoricalStraightThrough,
)
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter

D, B, FRAMES = 2, 3, 5
EXAMPLES = int(os.environ.get("PIXYZ_EXAMPLES", "25"))
Now = dict[str, Tensor]


def noise(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float64, device: object = None
) -> Tensor:
    """Numbers that only depend on the shape."""
    return torch.sin(1.7 * torch.arange(torch.Size(shape).numel(), dtype=dtype)).reshape(
        tuple(shape)
    )


def uniform(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float64, device: object = None
) -> Tensor:
    return noise(shape, dtype).abs()


@contextmanager
def known_noise() -> Iterator[None]:
    like = mock.patch.object(torch, "randn_like", lambda x, **_: noise(x.shape, x.dtype))
    with mock.patch.object(torch, "randn", noise), mock.patch.object(torch, "rand", uniform), like:
        yield


class Net:
    """A linear layer of all conditions; it sees one batch dimension, always."""

    def begin(self, out: int) -> None:
        self.net = nn.Linear(D * len(self.cond_var), out).double()  # type: ignore[attr-defined]

    def all(self, values: Now) -> Tensor:
        assert all(values[c].ndim == 2 for c in self.cond_var)  # type: ignore[attr-defined]
        return self.net(torch.cat([values[c] for c in self.cond_var], 1))  # type: ignore[attr-defined,no-any-return]


class Function(Net, Deterministic):
    def __init__(self, var: str, cond: list[str]) -> None:
        super().__init__(var, cond, name="f", features_shape=[D])
        self.begin(D)

    def forward(self, **given: Tensor) -> Now:
        return {self.var[0]: torch.tanh(self.all(given))}


class Gauss(Net, Normal):
    def __init__(self, var: str, cond: list[str], name: str = "p") -> None:
        super().__init__(var=var, cond_var=cond, name=name, features_shape=[D])
        self.begin(2 * D)

    def forward(self, **given: Tensor) -> Now:
        loc, scale = self.all(given).chunk(2, 1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


class Classes(Net, OneHotCategoricalStraightThrough):
    def __init__(self, var: str, cond: list[str]) -> None:
        super().__init__(var=var, cond_var=cond, name="o", features_shape=[D])
        self.begin(D)

    def forward(self, **given: Tensor) -> Now:
        return {"logits": self.all(given)}


def call(p: Distribution, now: Now) -> Now:
    """What a network returns, ``[K, B, D]`` each."""
    rows = {c: now[c].flatten(0, 1) for c in p.cond_var}
    return {k: v.unflatten(0, now[p.cond_var[0]].shape[:2]) for k, v in p(**rows).items()}


def normal(p: Distribution, now: Now) -> N:
    return N(*call(p, now).values())


class World:
    """A random recurrence and data for it."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        torch.manual_seed(draw.randint(0, 10**6))
        self.series = ["s0", "s1"][: draw.randint(1, 2)]
        self.carried = [f"k{i}" for i in range(draw.randint(1, 3))]
        self.particles = draw.choice([1, 1, 1, 2])
        self.reverse, self.clock = draw.random() < 0.3, draw.random() < 0.3
        self.init: dict[str, object] = {}
        self.data: dict[str, object] = {
            s: torch.randn(FRAMES, B, D, dtype=torch.float64) for s in self.series
        }
        if draw.random() < 0.4:
            self.data["c"] = torch.randn(B, D, dtype=torch.float64)
        self.data["w"] = draw.choice([0.7, torch.rand(B, dtype=torch.float64)])
        self._make_lags()
        self._make_nodes()
        self.particles = self.particles if self.path() else 1  # they are those of the path
        self._make_starts()
        self.modules: list[nn.Module] = [*self.nodes]
        self.losses: list[Loss] = []
        self.values: list[Callable[[Now], Tensor]] = []
        for _ in range(draw.randint(1, 4)):
            self._add_term()
        self.averaged = self._log_prob(self.names) if draw.random() < 0.3 else None
        edge = [*self.carried, *self.path()]
        self.first_step = self._edge(edge) if draw.random() < 0.3 else None
        self.last_step = self._edge(edge) if draw.random() < 0.3 else None
        self.reduction = draw.choice([None, "sum", "frame"])

    def _make_lags(self) -> None:
        self.lags: dict[str, tuple[str, int]] = {}
        if self.draw.random() < 0.35:
            self.lags["filled"], self.init["filled"] = (self.draw.choice(self.series), -1), 0
        if self.draw.random() < 0.25:
            self.lags["moved"] = (self.draw.choice(self.series), self.draw.choice([-2, -1, 1, 2]))
        shift = self.lags.get("moved", ("", 0))[1]
        self.low, self.high = max(0, -shift), max(0, shift)
        self.mask = (
            torch.rand(FRAMES, B) < 0.7
            if self.draw.random() < 0.4
            else torch.ones(FRAMES, B, dtype=torch.bool)
        )
        self.begins = (
            torch.rand(FRAMES, B) < 0.3
            if self.draw.random() < 0.4
            else torch.zeros(FRAMES, B, dtype=torch.bool)
        )
        self.masked, self.resets = not bool(self.mask.all()), bool(self.begins.any())
        self.clean = {s: torch.where(self.mask[..., None], self.data[s], 0.0) for s in self.series}  # type: ignore[call-overload]
        if self.masked:  # what a masked frame holds is seen by nobody
            self.data["valid"] = self.mask.double()
            for s in self.series:
                self.data[s] = torch.where(self.mask[..., None], self.data[s], float("nan"))  # type: ignore[call-overload]
        if self.resets:
            self.data["first"] = torch.where(self.mask, self.begins.double(), float("nan"))
            self.begins &= self.mask

    def _make_nodes(self) -> None:
        outer = [*self.series, *self.carried, *self.lags, *(["c"] if "c" in self.data else [])]
        self.nodes: list[Distribution] = []
        for i in range(self.draw.randint(len(self.carried), 4)):
            known = [*outer, *self.names]
            kind = self.draw.choice([Function, Gauss, Gauss, Classes])
            self.nodes.append(
                kind(f"n{i}", self.draw.sample(known, self.draw.randint(1, min(3, len(known)))))
            )
        self.update: dict[str, list[str]] = {}
        for prev in self.carried:
            others = [*self.names, *self.series, *(c for c in self.carried if c != prev)]
            self.update.setdefault(
                self.draw.choice(others if self.draw.random() < 0.2 else self.names), []
            ).append(prev)

    @property
    def names(self) -> list[str]:
        return [n.var[0] for n in self.nodes]

    def path(self) -> list[str]:
        """What is carried and what that is computed from in a step."""
        return computed_from(self.update, self.nodes)

    def _make_starts(self) -> None:
        self.start: dict[str, str] = {}
        for prev in self.carried:
            kind = self.draw.choice(["tensor", "parameter", "given", "start"])
            row = torch.randn(D, dtype=torch.float64)
            if kind == "tensor":
                self.init[prev] = row
            elif kind == "parameter":
                self.init[prev] = nn.Parameter(row)
            else:
                name = prev if kind == "given" else f"start_{prev}"
                self.data[name] = torch.randn(B, D, dtype=torch.float64)
                if kind == "start":
                    self.start[prev] = name
                if self.resets:
                    self.init[prev] = row

    # ---------------------------------------------------------------- terms: a loss, and its value
    # [K, B] by hand

    def _some(self, pool: list[str]) -> list[str]:
        return self.draw.sample(pool, self.draw.randint(1, min(2, len(pool))))

    def _gauss(self, var: str, pool: list[str], name: str = "p") -> Gauss:
        made = Gauss(var, self._some([v for v in pool if v != var]), name)
        self.modules.append(made)
        return made

    def _log_prob(self, pool: list[str]) -> tuple[Loss, Callable[[Now], Tensor]]:
        p = self._gauss(self.draw.choice(self.series), pool)
        return LogProb(p), lambda now: normal(p, now).log_prob(now[p.var[0]]).sum(-1)

    def _edge(self, pool: list[str]) -> tuple[Loss, Callable[[Now], Tensor]]:
        loss, value = self._log_prob(pool)
        return (loss * Parameter("t"), _times(value, "t")) if self.clock else (loss, value)

    def _add_term(self) -> None:
        pool = [*self.names, *self.carried, *self.lags]
        kind = self.draw.randint(0, 3)
        if kind == 0:
            loss, value = self._log_prob(pool)
        elif kind == 1:
            q, p = self._gauss("u", pool, "q"), self._gauss("u", pool)
            loss, value = (
                KullbackLeibler(q, p),
                lambda now: kl_divergence(normal(q, now), normal(p, now)).sum(-1),
            )
        elif kind == 2:
            q, p = self._gauss("u", pool, "q"), self._gauss("u", pool)
            loss = KullbackLeibler(q.detach(), p).clamp(min=0.5)

            def value(now: Now) -> Tensor:
                fixed = N(*(v.detach() for v in call(q, now).values()))
                return kl_divergence(fixed, normal(p, now)).sum(-1).clamp(min=0.5)
        else:
            loss, value = self._auxiliary(pool)
        if self.clock and self.draw.random() < 0.4:
            loss, value = loss * Parameter("t"), _times(value, "t")
        if self.draw.random() < 0.3:
            loss, value = Parameter("w") * loss, _times(value, "w")
        self.losses.append(loss)
        self.values.append(value)

    def _auxiliary(self, pool: list[str]) -> tuple[Loss, Callable[[Now], Tensor]]:
        """A draw off the path, ``M`` particles of its own."""
        q, p = self._gauss("a", [*pool, *self.series], "q"), self._gauss("b", pool)
        p = Gauss("b", ["a", *p.cond_var])
        r = self._gauss("a", pool)
        self.modules.append(p)
        count = self.draw.choice([1, 1, 2])
        loss = E(q, LogProb(q) - E(p, LogProb(p.detach())) - LogProb(r), sample_shape=[count])

        def value(now: Now) -> Tensor:
            wide = [s for s in (count, now["noise"].shape[1] if self._wide(q, now) else 1) if s > 1]
            shape = (len(now["noise"]), *wide, B, D)
            eps = noise(shape)[int(now["at"])].expand(*shape[1:])
            eps = eps.reshape(count, -1, B, D)
            second = noise((shape[0], *[s for s in (count, self._size(q, p, now)) if s > 1], B, D))[
                int(now["at"])
            ]
            second = second.reshape(count, -1, B, D)
            total = []
            for one, two in zip(eps, second, strict=True):
                at = {**now, "a": normal(q, now).loc + normal(q, now).scale * one}
                b = normal(p, at).loc + normal(p, at).scale * two
                fixed = N(*(v.detach() for v in call(p, at).values()))
                own = (
                    normal(q, now).log_prob(at["a"])
                    - fixed.log_prob(b)
                    - normal(r, now).log_prob(at["a"])
                )
                total.append(own.sum(-1))
            return torch.stack(total).mean(0)

        return loss, value

    def _wide(self, p: Distribution, now: Now) -> bool:
        """Whether a value that ``p`` draws has the path's particles."""
        return self.particles > 1 and any(v in self.spread for v in p.cond_var)

    def _size(self, q: Distribution, p: Distribution, now: Now) -> int:
        return self.particles if self._wide(q, now) or self._wide(p, now) else 1

    @property
    def spread(self) -> set[str]:
        """The values that differ from particle to particle; what is carried does, all of it."""
        found = set(self.carried)
        for node in self.nodes:
            if not isinstance(node, Function) or found & set(node.cond_var):
                found.add(node.var[0])
        return found

    # ---------------------------------------------------------------- the objective

    def loss(self, **options: object) -> IterativeLoss:
        total = reduce(Loss.__add__, self.losses)
        if self.averaged is not None:
            total = total + self.averaged[0].mean()
        shape = [self.particles]
        nested = self.particles == 1 and len(self.nodes) > 1 and len(self.names) % 2 == 0
        parts = [self.nodes[:1], self.nodes[1:]] if nested else [self.nodes]
        for part in reversed(parts):
            total = E(reduce(mul, part), total, sample_shape=shape)
        edges = {
            k: e[0] for k in ("first_step", "last_step") if (e := getattr(self, k)) is not None
        }
        return IterativeLoss(
            total,
            series_var=self.series,
            update_value=self.update,
            init=self.init,
            start=self.start,
            lags=self.lags,
            reset_var="first" if self.resets else None,
            mask_var="valid" if self.masked else None,
            reverse=self.reverse,
            reduction=self.reduction,
            timestep_var="t" if self.clock else (),
            **edges,
            **options,  # type: ignore[arg-type]
        )

    def parameters(self) -> list[nn.Parameter]:
        found = [w for m in self.modules for w in m.parameters()]
        return found + [v for v in self.init.values() if isinstance(v, nn.Parameter)]

    # ---------------------------------------------------------------- by hand

    def frame(self, t: int, steps: int) -> Now:
        """What a step sees of the data."""
        wide = (self.particles, B, D)
        now = {s: self.clean[s][self.low + t].expand(wide) for s in self.series}
        for name, (source, shift) in self.lags.items():
            at = self.low + t + shift
            known = at >= (self.low if name == "filled" else 0)
            moved = self.clean[source][at] if known else torch.zeros(B, D, dtype=torch.float64)
            if name == "filled":
                moved = torch.where(self.begins[self.low + t][:, None], 0.0, moved)
            now[name] = moved.expand(wide)
        if "c" in self.data:
            now["c"] = self.data["c"].expand(wide)  # type: ignore[attr-defined]
        now["w"] = torch.as_tensor(self.data["w"], dtype=torch.float64)
        now["t"], now["at"] = torch.tensor(float(t)), torch.tensor(t)
        now["noise"] = noise(
            (steps, *([self.particles] if self.particles > 1 else []), B, D)
        ).reshape(steps, *wide)
        return now

    def valid(self, t: int) -> Tensor:
        """Where the step may be taken: its frame is valid, and so is what a lag without ``init``
        reads, of one sequence.
        """
        at = self.low + t
        valid = self.mask[at] & ~self.begins[at - self.low + 1 : at + self.high + 1].any(0)
        return valid & self.mask[at + self.lags["moved"][1]] if "moved" in self.lags else valid

    def by_hand(self) -> Tensor:
        steps = FRAMES - self.low - self.high
        mask = torch.stack([self.valid(t) for t in range(steps)])
        wide = (self.particles, B, D)
        init: Now = {
            p: torch.as_tensor(self.init[p]).expand(wide) for p in self.carried if p in self.init
        }
        carry: Now = dict(init)
        cut = self.begins[FRAMES - self.high :] if self.reverse else self.begins[: self.low]
        for p in self.carried:
            if self.start.get(p, p) in self.data:
                given = self.data[self.start.get(p, p)].expand(wide)  # type: ignore[attr-defined]
                carry[p] = (
                    torch.where(cut.any(0)[:, None], init[p], given) if self.resets else given
                )
        rows: dict[int, Tensor] = {}
        order = range(steps)[:: -1 if self.reverse else 1]
        seen: dict[int, Now] = {}
        for t in order:
            now = self.frame(t, steps)
            if self.resets:
                carry = {
                    p: torch.where(self.begins[self.low + t][:, None], init[p], value)
                    for p, value in carry.items()
                }
            now.update(carry)
            for node in self.nodes:
                now[node.var[0]] = self._drawn(node, now, t, steps)
            value = sum(
                (v(now) for v in self.values), torch.zeros(self.particles, B, dtype=torch.float64)
            )
            if self.averaged is not None:
                mean = torch.where(mask[t], self.averaged[1](now), 0.0).sum(1) / mask[
                    t
                ].sum().clamp(min=1)
                value = value + mean[:, None]
            rows[t], seen[t] = torch.where(mask[t], value.mean(0), 0.0), now
            carry = {
                p: torch.where(mask[t][:, None], now[n], carry[p])
                for n, prevs in self.update.items()
                for p in prevs
            }
        for edge, visited in ((self.first_step, list(order)), (self.last_step, list(order)[::-1])):
            for b in range(B) if edge is not None else ():
                t = next((t for t in visited if mask[t, b]), None)
                if t is not None:
                    there = torch.arange(B) == b
                    found = edge[1](seen[t]).mean(0)
                    rows[t] = torch.where(
                        there, found + (rows[t] if edge is self.last_step else 0.0), rows[t]
                    )
        series = torch.stack([rows[t] for t in range(steps)])
        if self.reduction == "frame":
            return series.sum() / mask.sum().clamp(min=1)
        return series if self.reduction is None else series.sum(0)

    def _drawn(self, node: Distribution, now: Now, t: int, steps: int) -> Tensor:
        found = call(node, now)
        if isinstance(node, Gauss):
            return found["loc"] + found["scale"] * now["noise"][t]
        if isinstance(node, Classes):
            shape = (steps, *([self.particles] if self.particles > 1 else []), B, 1)
            return node.draw(
                uniform(shape).reshape(steps, -1, B, 1)[t], found["logits"].softmax(-1)
            )
        return found[node.var[0]]


def _times(value: Callable[[Now], Tensor], name: str) -> Callable[[Now], Tensor]:
    return lambda now: now[name] * value(now)


def run(loss: Loss, world: World) -> tuple[Tensor, tuple[Tensor, ...]]:
    with known_noise():
        value = loss.eval(world.data)
    return value, torch.autograd.grad(
        value.sum(), world.parameters(), allow_unused=True, materialize_grads=True
    )


@given(st.randoms(use_true_random=False))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES < 100)
def test_every_form_of_a_random_objective_equals_the_loop_by_hand(draw: random.Random) -> None:
    world = World(draw)
    with known_noise():
        wanted = world.by_hand()
    exact = torch.autograd.grad(
        wanted.sum(), world.parameters(), allow_unused=True, materialize_grads=True
    )
    for fission in (True, False):
        for chunk, sharing, max_rows in ((0, True, 0), (2, True, 0), (0, False, 0), (2, True, 4)):
            loss = world.loss(fission=fission).share(sharing).in_slabs(max_rows)
            # chunks as they are written
            with mock.patch.object(torch, "compile", lambda function, **_: function):
                # the second evaluation is the compiled one
                run(loss.compile(chunk=chunk, whole=bool(chunk)), world)
                value, grads = run(loss, world)
            torch.testing.assert_close(value, wanted)
            for g, h in zip(grads, exact, strict=True):
                torch.testing.assert_close(g, h)
