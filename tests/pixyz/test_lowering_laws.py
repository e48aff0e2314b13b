"""Laws of lowering at the places where forms, threads and structures meet."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lowering_parts import B, D, Function, Gauss, T, carried, forms, seeded, series
from torch import Tensor, nn

import pixyz
from pixyz.distributions import CustomProb, Deterministic, Distribution, Normal, Scan
from pixyz.losses import MMD, E, IterativeLoss, LogProb, Parameter

# --------------------------------------------------------------------------------------------
# values


@forms
def test_the_rows_that_a_divergence_of_samples_compares_are_those_of_a_step(fission: bool) -> None:
    loss, x = MMD(Function("z", ["x"]), Function("z", ["y"])), {"x": series(0), "y": series(1)}
    wanted = torch.stack([loss.eval({k: v[t] for k, v in x.items()}) for t in range(T)])
    for reduction, value in (("frame", wanted.mean()), (None, wanted)):
        found = IterativeLoss(
            loss, series_var=["x", "y"], reduction=reduction, fission=fission
        ).eval(x)
        torch.testing.assert_close(found, value)


@forms
def test_a_mask_leaves_out_rows_of_a_step_that_a_divergence_compares(fission: bool) -> None:
    loss, x = (
        MMD(Function("z", ["x"]), Function("z", ["y"])),
        {"x": series(0, T, 4, D), "y": series(1, T, 4, D)},
    )
    mask = torch.ones(T, 4)
    mask[1, 2] = mask[2, :2] = mask[3, 1:] = 0
    rows = [{k: v[t][mask[t] != 0] for k, v in x.items()} for t in range(T)]
    wanted = torch.stack(
        [loss.eval(r) if len(r["x"]) > 1 else torch.zeros((), dtype=torch.float64) for r in rows]
    )
    dirty = {k: torch.where(mask[..., None] != 0, v, float("nan")) for k, v in x.items()}
    step = IterativeLoss(loss, series_var=["x", "y"], reduction=None, fission=fission)
    found = step.eval({**dirty, "mask": mask})
    torch.testing.assert_close(found, wanted)
    weights = [w for p in (loss.p, loss.q) for w in p.parameters()]
    for a, b in zip(*(torch.autograd.grad(v.sum(), weights) for v in (found, wanted)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("reduction", [None, "sum", "frame"])
@pytest.mark.parametrize("steps", [2, T])
def test_a_series_within_a_step_has_one_layout_in_both_forms(
    reduction: str | None, steps: int
) -> None:
    z, u, x = Function("z", ["z_prev", "x"]), Function("u", ["u_prev", "z"]), {"x": series()}
    found = []
    for fission in (True, False):
        inner = E(
            Scan(
                u, steps=steps, update_value={"u": "u_prev"}, start={"u_prev": "z"}, fission=fission
            ),
            Parameter("u"),
        )
        found.append(
            IterativeLoss(E(z, inner), reduction=reduction, fission=fission, **carried("z")).eval(x)
        )
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("samples", [1, 2])
def test_one_seed_gives_one_result_where_loops_nest(samples: int) -> None:
    z, u, x = Gauss("z", ["z_prev", "x"], "q"), Gauss("u", ["u_prev", "z"]), {"x": series()}
    on_u, on_z = Gauss("a", ["u"], "r"), Gauss("w", ["z"], "s")
    found = []
    for outside, inside in [(True, True), (True, False), (False, True), (False, False)]:
        step = E(u, LogProb(u) + E(on_u, LogProb(on_u), sample_shape=[samples]))
        inner = IterativeLoss(
            step, max_iter=2, update_value={"u": "u_prev"}, start={"u_prev": "z"}, fission=inside
        )
        outer = E(z, E(on_z, LogProb(on_z)) + inner, sample_shape=[samples])
        found.append(
            seeded(IterativeLoss(outer, fission=outside, reduction=None, **carried("z")), x)
        )
    assert found[0].std() > 0
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def late_start() -> tuple[IterativeLoss, dict[str, object]]:
    """A cycle that reads a carried constant, and a draw off the path."""
    joint = Gauss("z", ["z_prev", "k"], "q") * Function("n", ["c"]) * Gauss("a", ["x"])
    zero = torch.zeros(D, dtype=torch.float64)
    loss = IterativeLoss(
        E(joint, Parameter("z") + Parameter("a")),
        series_var="x",
        update_value={"z": "z_prev", "n": "k"},
        init={"z_prev": zero, "k": zero},
    )
    return loss, {"x": series(), "c": series(1, B, D)}


def two_shifts() -> tuple[IterativeLoss, dict[str, object]]:
    """Two carried draws of which one reads the other's last value: no loop is left."""
    zero = torch.zeros(D, dtype=torch.float64)
    loss = IterativeLoss(
        E(Gauss("a", ["x"]) * Gauss("u", ["a_prev", "x"]), Parameter("u")),
        series_var="x",
        update_value={"u": "u_prev", "a": "a_prev"},
        init={"a_prev": zero, "u_prev": zero},
    )
    return loss, {"x": series()}


@pytest.mark.parametrize("make", [late_start, two_shifts])
def test_one_seed_gives_one_result_in_both_forms(
    make: Callable[[], tuple[IterativeLoss, dict[str, object]]],
) -> None:
    loss, x = make()
    loss.check(x)


def test_a_number_of_numpy_is_a_number() -> None:
    p, x = Gauss("x", ["z"]), {"x": series(0, B, D), "z": series(1, B, D)}
    for two in (np.float64(2.0), np.float32(2.0), np.int64(2)):
        torch.testing.assert_close((LogProb(p) * two).eval(x), 2 * LogProb(p).eval(x))


class Own(Distribution):
    """Written for pixyz 0.3.3."""

    def __init__(self) -> None:
        super().__init__(["z"], ["x"], "q")

    def sample(self, x_dict: dict[str, Tensor], **options: object) -> dict[str, Tensor]:  # type: ignore[override]
        return {**x_dict, "z": x_dict["x"] + 1}

    def get_log_prob(self, x_dict: dict[str, Tensor], **options: object) -> Tensor:  # type: ignore[override]
        return -(x_dict["z"] - x_dict["x"]).square().sum(-1)


def test_a_distribution_with_its_own_sample_and_density_is_one_step() -> None:
    torch.testing.assert_close(
        E(Own(), LogProb(Own())).eval({"x": series(0, B, D)}),
        torch.full((B,), -2.0, dtype=torch.float64),
    )


# -------------------------------------------------------------------------------------------- what
# may leave the loop


class Counts(Function):
    """Its buffer changes in ``forward``."""

    def __init__(self, var: str, cond: list[str]) -> None:
        super().__init__(var, cond)
        self.register_buffer("n", torch.zeros((), dtype=torch.float64))

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        self.n += 1  # type: ignore[misc]
        return {k: v + self.n for k, v in super().forward(**given).items()}


class Mixes(Function):
    """Its rows see one another."""

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {k: v - v.mean(0) for k, v in super().forward(**given).items()}


@pytest.mark.parametrize("kind", [Counts, Mixes])
def test_a_network_with_a_state_or_that_mixes_rows_stays_in_the_loop(kind: type[Function]) -> None:
    found, x = [], series()
    for fission in (True, False):
        torch.manual_seed(0)
        e = kind("e", ["x"])
        loss = IterativeLoss(
            E(e * Function("h", ["h_prev", "e"]), Parameter("h")), fission=fission, **carried()
        )
        found.append(loss.eval({"x": x}))
        assert all(int(n) == T for n in e.buffers())
        assert ("f(e|x) (its" in "".join(loss.plan.notes)) is fission
    torch.testing.assert_close(*found)


class Noisy(Function):
    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {k: nn.functional.dropout(v) for k, v in super().forward(**given).items()}


def test_a_network_that_is_random_may_leave_the_loop_and_a_trial_draws_nothing() -> None:
    x, values = {"x": series()}, []
    for kind in (Noisy, Function):
        e, z = kind("e", ["x"]), Gauss("z", ["z_prev", "e"], "q")
        loss = IterativeLoss(E(e * z, Parameter("z")), **carried("z"))  # type: ignore[arg-type]
        values += [seeded(loss, x), seeded(loss, x)]
        assert not loss.plan.notes
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=0)
    torch.testing.assert_close(values[2], values[3], rtol=0, atol=0)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(D).double()

    def forward(self, h: Tensor) -> Tensor:
        return -self.norm(h).square().sum(-1)


def test_a_density_with_batch_normalisation_stays_in_the_loop() -> None:
    density = Normed()
    IterativeLoss(
        E(Function("h", ["h_prev", "x"]), LogProb(CustomProb(density, var="h"))), **carried()
    ).eval({"x": series()})  # type: ignore[arg-type]
    assert density.norm.num_batches_tracked == T


def test_a_step_that_stays_in_its_loop_stays_in_the_loops_around_it() -> None:
    rows: list[int] = []

    class Inner(Deterministic):
        def __init__(self) -> None:
            super().__init__("u", ["u_prev", "h"], name="g", features_shape=[D])
            self.norm = nn.BatchNorm1d(D).double()

        def forward(self, u_prev: Tensor, h: Tensor) -> dict[str, Tensor]:
            rows.append(len(h))
            return {"u": self.norm(u_prev + h)}

    inner = IterativeLoss(
        E(Inner(), Parameter("u")), max_iter=2, update_value={"u": "u_prev"}, start={"u_prev": "h"}
    )
    IterativeLoss(E(Function("h", ["h_prev", "x"]), inner), **carried()).eval({"x": series()})  # type: ignore[arg-type]
    assert rows == [B] * (2 * T)


def test_a_hook_that_comes_later_is_called_at_each_step_after_touch() -> None:
    e, calls = Function("e", ["x"]), []
    loss = IterativeLoss(E(e * Function("h", ["h_prev", "e"]), Parameter("h")), **carried())  # type: ignore[arg-type]
    loss.eval({"x": series()})
    e.net.register_forward_hook(lambda *_: calls.append(1))
    loss.touch()
    loss.eval({"x": series()})
    assert len(calls) == T


class Batched(Function):
    """Keeps running statistics."""

    def __init__(self, var: str, cond: list[str], name: str) -> None:
        super().__init__(var, cond)
        self._name = name
        self.norm = nn.BatchNorm1d(D).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {k: self.norm(v) for k, v in super().forward(**given).items()}


def test_notes_give_every_reason_in_the_order_of_the_text() -> None:
    joint = Function("h", ["h_prev", "x"]) * Batched("a", ["h"], "r") * Batched("b", ["a"], "s")
    loss = IterativeLoss(E(joint, Parameter("b")), **carried())  # type: ignore[arg-type]
    (note,) = loss.plan.notes
    reasons = "r(a|h) (batch normalisation); s(b|a) (batch normalisation)"
    assert note.endswith(f"is not split, all of its step stays in it: {reasons}")
    assert loss.compile(chunk=2).plan.notes[1].endswith(f"is not compiled: it holds {reasons}")


def test_notes_say_why_a_loop_is_not_compiled() -> None:
    inner = Scan(
        Function("u", ["u_prev", "h"]),
        steps=2,
        update_value={"u": "u_prev"},
        start={"u_prev": "h"},
        fission=False,
    )
    nested = IterativeLoss(
        E(Function("h", ["h_prev", "x"]), E(inner, Parameter("u"))), fission=False, **carried()
    )
    plain = IterativeLoss(E(Function("h", ["h_prev", "x"]), Parameter("h")), **carried())  # type: ignore[arg-type]
    assert [n.split(": ")[1] for n in nested.compile(chunk=2).plan.notes] == [
        "there is a loop inside it"
    ]
    assert not plain.compile(chunk=2).plan.notes
    with pixyz.debug():
        assert [n.split(": ")[1] for n in plain.plan.notes] == [
            "values are checked one by one in debug mode"
        ]


# -------------------------------------------------------------------------------------------- the
# text


def test_no_name_of_the_text_means_two_things() -> None:
    q, x = (
        Normal("z_0", loc=0.0, scale=1.0, features_shape=[D], name="q"),
        {"y": series(0, B, D).float()},
    )
    for n in range(12):
        p = Gauss("y", ["z_0"], f"v{n}_z").float()
        assert E(q, LogProb(p)).eval(x).shape == (B,)
        assert E(p, LogProb(p)).eval({"z_0": x["y"]}).shape == (B,)


def test_the_text_speaks_of_the_terms_of_the_formula() -> None:
    p, r = Gauss("x", ["z"]), Gauss("y", ["z"], "r")
    step = LogProb(p) - 2 * (LogProb(r) + Parameter("b"))
    source = IterativeLoss(step, series_var=["x", "y", "z"]).plan.source
    assert (
        "# log p(x|z) - (log r(y|z) + b) * 2" in source
        or "# log p(x|z) - 2 * (log r(y|z) + b)" in source
    )
    assert (
        "Loss" not in source
        and " f_0" not in source
        and not re.search(r"# (steps of )?$", source, re.MULTILINE)
    )
    long = LogProb(p)
    for _ in range(40):
        long = long + LogProb(r)
    assert max(map(len, long.plan.source.splitlines())) < 200
