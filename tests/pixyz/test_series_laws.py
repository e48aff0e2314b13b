"""Laws of recurrences: one path, lags, resets and masks, particles, the first and the last step."""

import pytest
import torch
from lowering_parts import B, D, Function, Gauss, Sum, T, carried, forms, seeded, series
from torch import Tensor

from pixyz.distributions import Scan, SeriesFunction
from pixyz.losses import REINFORCE, E, IterativeLoss, LogProb, Parameter
from pixyz.types import PixyzError, ShapeError


def test_the_score_function_estimator_of_a_carried_variable_is_refused() -> None:
    q, p = Gauss("z", ["z_prev", "x"], "q"), Gauss("x", ["z"])
    for step in (
        REINFORCE(q, LogProb(p)),
        REINFORCE(q * Function("a", ["x"]), LogProb(p)),
        E(q, LogProb(p), reparam=False),
    ):
        with pytest.raises(
            PixyzError,
            match="REINFORCE on a carried variable is refused: it would drop future credit",
        ):
            IterativeLoss(step, **carried("z")).eval({"x": series()})  # type: ignore[arg-type]


def test_the_score_function_estimator_in_a_step_of_what_is_not_carried() -> None:
    h, q = Function("h", ["h_prev", "x"]), Gauss("z", ["h"], "q")
    loss = IterativeLoss(E(h, REINFORCE(q, LogProb(Gauss("x", ["z"])))), **carried())  # type: ignore[arg-type]
    assert all(
        bool(g.any()) for g in torch.autograd.grad(loss.eval({"x": series()}).sum(), q.parameters())
    )
    both = E(h * q, (LogProb(Gauss("x", ["z"])).detach() * LogProb(q)), reparam=False)
    assert IterativeLoss(both, **carried()).eval({"x": series()}).shape == (B,)  # type: ignore[arg-type]


@forms
def test_a_carried_draw_of_a_marginal_is_drawn_once(fission: bool) -> None:
    q = (Gauss("z", ["a", "x"], "q") * Gauss("a", ["z_prev"])).marginalize_var("a")
    loss = IterativeLoss(
        E(q, Parameter("z")), reduction=None, returns="z", fission=fission, **carried("z")
    )
    value, found = loss.eval({"x": series()}, return_dict=True)
    torch.testing.assert_close(value, found["z"])


def add_up(
    x: Tensor, flags: dict[str, list[int]], start: float = 0.0, **options: object
) -> tuple[list[float], float]:
    """``h`` of each step and the last carry where ``h = h_prev + x``; ``flags`` names the frames
    where each flag is 1.
    """
    given = {
        n: torch.isin(torch.arange(T), torch.tensor(frames)).double()[:, None]
        for n, frames in flags.items()
    }
    given |= {"x": x, "h_prev": torch.full((1, D), start, dtype=torch.float64)}
    options |= {"reset_var": "first", "mask_var": "m" if "m" in flags else None, "returns": "h"}
    loss = IterativeLoss(E(Sum(), Parameter("h")), **carried(), **options)  # type: ignore[arg-type]
    _, found = loss.eval(given, return_dict=True)
    return found["h"][:, 0, 0].tolist(), float(found["h_prev"][0, 0])


ONES = torch.ones(T, 1, D, dtype=torch.float64)


def test_a_frame_whose_lag_crosses_a_reset_holds_what_the_reset_left() -> None:
    before, after = {"x_prev": ("x", -1)}, {"x_next": ("x", 1)}
    # frames 1 to 4; 2 holds 0
    assert add_up(ONES, {"first": [2]}, lags=before) == (
        [1, 1, 1, 2],
        2,
    )
    assert add_up(ONES, {"first": [3]}, lags=after) == ([1, 2, 3, 1], 1)  # frames 0 to 3; 2 holds 2
    assert add_up(ONES, {"first": [3]}, lags=after, reverse=True) == ([3, 2, 2, 1], 3)  # 2 holds 1
    assert add_up(ONES, {"first": [3]}, lags=before, reverse=True) == ([2, 1, 1, 1], 2)  # 3 holds 0


def test_no_gradient_crosses_the_reset_under_a_lag() -> None:
    x, first = ONES.clone().requires_grad_(), torch.zeros(T, 1)
    first[2] = 1
    objective = E(Sum(), Parameter("h") + 0 * Parameter("x_prev"))
    loss = IterativeLoss(
        objective, reset_var="first", lags={"x_prev": ("x", -1)}, reduction=None, **carried()
    )
    (reach,) = torch.autograd.grad(loss.eval({"x": x, "first": first})[-1].sum(), [x])
    assert [bool(r.abs().sum()) for r in reach] == [False, False, False, True, True]


def test_a_reset_in_a_frame_that_a_lag_leaves_out_counts() -> None:
    assert add_up(ONES, {"first": [0]}, start=9, lags={"x_prev": ("x", -1)}) == ([1, 2, 3, 4], 4)
    assert add_up(ONES, {"first": [4]}, start=9, lags={"x_next": ("x", 1)}) == ([10, 11, 12, 13], 0)
    assert add_up(ONES, {"first": [4]}, start=9, lags={"x_next": ("x", 1)}, reverse=True) == (
        [3, 2, 1, 1],
        3,
    )


def test_a_reset_in_a_masked_frame_is_ignored() -> None:
    assert add_up(ONES, {"first": [2], "m": [0, 1, 3, 4]})[0][3:] == [3, 4]
    lags = {"x_old": ("x", -2)}  # the frame that reads the masked one holds what came in
    assert add_up(ONES, {"first": [1], "m": [0, 2, 3, 4]}, start=9, lags=lags) == ([10, 11, 11], 11)
    assert add_up(ONES, {"first": [0], "m": [1, 2, 3, 4]}, start=9, lags=lags) == ([10, 10, 11], 11)


@pytest.mark.parametrize(("shift", "masked"), [(-1, slice(0, 2)), (1, slice(3, 5))])
def test_no_network_sees_what_a_masked_frame_holds(shift: int, masked: slice) -> None:
    p, x, mask = Gauss("y", ["moved"]), series(), torch.ones(T, B)
    mask[masked, 0] = 0
    dirty = torch.where(mask[..., None] != 0, x, torch.tensor(float("nan")))
    loss = IterativeLoss(LogProb(p), series_var=["y"], lags={"moved": ("x", shift)}, mask_var="m")
    value = loss.eval({"x": dirty, "y": series(1), "m": mask})
    assert value.isfinite().all()


@pytest.mark.parametrize("reset", ["first", None])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_named_path_changes_nothing_else(reset: str | None, reverse: bool) -> None:
    first = torch.zeros(T, B)
    first[2, 1] = 1
    f, x = Function("h", ["h_prev", "x"]), {"x": series(), "first": first}
    scans = [
        Scan(f, reset_var=reset, reverse=reverse, path=path, **carried())  # type: ignore[arg-type]
        for path in ({}, {"all": "h_prev"})
    ]
    torch.testing.assert_close(*(E(scan, Parameter("h_prev")).eval(x) for scan in scans))


def test_the_path_of_a_reversed_scan_is_in_the_order_of_time() -> None:
    scan = Scan(Sum(), reverse=True, path={"all": "h_prev"}, **carried())  # type: ignore[arg-type]
    found = scan.sample({"x": torch.ones(T, 1, D, dtype=torch.float64)})
    assert found["all"][:, 0, 0].tolist() == [5, 4, 3, 2, 1, 0]


def test_particles_around_a_recurrence() -> None:
    q, f = Gauss("c", ["k"], "q"), Function("h", ["h_prev", "x", "c"])
    loss = E(q, IterativeLoss(E(f, Parameter("h")), **carried()), sample_shape=[4])  # type: ignore[arg-type]
    assert loss.eval({"x": series(), "k": series(1, B, D)}).shape == (B, D)


@forms
@pytest.mark.parametrize("given", [{}, {"h_prev": series(2, B, D)}])
def test_particles_around_a_recurrence_are_runs_of_it(
    fission: bool, given: dict[str, Tensor]
) -> None:
    f, x = Function("h", ["h_prev", "x", "c"]), {"x": series(), "k": series(1, B, D), **given}
    q = Gauss("c", ["k"], "q")
    for made in (
        IterativeLoss(E(f, Parameter("h")), fission=fission, **carried()),  # type: ignore[arg-type]
        E(Scan(f, fission=fission, **carried()), Parameter("h")),  # type: ignore[arg-type]
    ):
        found = seeded(E(q, made, sample_shape=[4]), x)
        torch.manual_seed(0)
        runs = [made.eval({**x, "c": c}) for c in q.sample(x, sample_shape=[4])["c"]]
        torch.testing.assert_close(found, torch.stack(runs).mean(0))


@forms
def test_series_with_particles_around_a_recurrence(fission: bool) -> None:
    q, x = Scan(Gauss("e", ["x"], "q"), series_var="x"), {"x": series()}
    f = Function("h", ["h_prev", "e"])
    loss = IterativeLoss(E(f, Parameter("h")), fission=fission, **{**carried(), "series_var": "e"})  # type: ignore[arg-type]
    found = seeded(E(q, loss, sample_shape=[3]), x)
    torch.manual_seed(0)
    runs = q.sample(x, sample_shape=[3])["e"]
    torch.testing.assert_close(
        found, torch.stack([loss.eval({"e": e}) for e in runs.unbind(1)]).mean(0)
    )


def test_a_mean_over_two_series_is_over_what_both_masks_leave() -> None:
    f, g = Function("h", ["h_prev", "x"]), Function("u", ["u_prev", "y", "h"])
    outer = Scan(f, mask_var="m", **carried())  # type: ignore[arg-type]
    inner = Scan(g, mask_var="n", **{**carried("u"), "series_var": "y"})  # type: ignore[arg-type]
    m, n = torch.ones(T, B), torch.ones(4, B)
    m[2:, 0], n[1:, 1] = 0, 0
    x = {"x": series(), "y": series(1, 4, B, D), "m": m, "n": n}
    every = E(outer, E(inner, Parameter("u"))).eval(x)
    both = (m[None] * n[:, None])[..., None].expand_as(every)
    torch.testing.assert_close(
        E(outer, E(inner, Parameter("u").mean())).eval(x), every[both != 0].mean()
    )


class Total(SeriesFunction):
    def __init__(self) -> None:
        super().__init__("m", ["u"], like={"m": None})

    def forward(self, u: Tensor) -> dict[str, Tensor]:
        return {"m": u.sum(0)}


@forms
def test_a_scan_may_lie_on_the_path(fission: bool) -> None:
    u = Function("u", ["u_prev", "z_prev"])
    inner = Scan(u, steps=2, update_value={"u": "u_prev"}, start={"u_prev": "x"}, fission=fission)
    joint = inner * Total() * Function("z", ["m", "x"])
    loss = IterativeLoss(E(joint, Parameter("z")), fission=fission, **carried("z"))  # type: ignore[arg-type]
    assert loss.eval({"x": series()}).shape == (B, D)


MASKED = torch.tensor([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).T  # [T, B]
edges = pytest.mark.parametrize(("edge", "frames"), [("first_step", [1, 0]), ("last_step", [3, 4])])


@edges
def test_the_number_of_the_step_at_an_edge_with_a_mask(edge: str, frames: list[int]) -> None:
    x, p = {"x": series(), "z": series(1)}, Gauss("x", ["z"])
    loss = IterativeLoss(  # type: ignore[call-overload]
        0 * LogProb(p),
        series_var=["x", "z"],
        timestep_var="t",
        mask_var="m",
        **{edge: LogProb(p) * Parameter("t")},
    )
    exact = [LogProb(p).eval({k: v[t] for k, v in x.items()})[b] * t for b, t in enumerate(frames)]
    torch.testing.assert_close(
        loss.eval({**x, "m": MASKED}), torch.stack([*exact, torch.zeros_like(exact[0])])
    )


@edges
def test_means_over_the_batch_at_an_edge_with_a_mask(edge: str, frames: list[int]) -> None:
    x, p = {"x": series(), "z": series(1)}, Gauss("x", ["z"])
    loss = IterativeLoss(  # type: ignore[call-overload]
        LogProb(p).mean(),
        series_var=["x", "z"],
        mask_var="m",
        reduction=None,
        **{edge: 3 * LogProb(p).mean()},
    )
    each = torch.stack([LogProb(p).eval({k: v[t] for k, v in x.items()}) for t in range(T)])
    wanted = torch.stack(
        [torch.where(m != 0, row[m != 0].mean(), 0.0) for row, m in zip(each, MASKED, strict=True)]
    )
    at_edge = 3 * torch.stack([each[t, b] for b, t in enumerate(frames)]).mean()
    for b, t in enumerate(frames):
        wanted[t, b] = at_edge if edge == "first_step" else wanted[t, b] + at_edge
    torch.testing.assert_close(loss.eval({**x, "m": MASKED}), wanted)


def test_expectations_along_one_path_ask_for_one_number_of_particles() -> None:
    z, x = Gauss("z", ["z_prev", "x"], "q"), {"x": series()}
    both = IterativeLoss(  # type: ignore[arg-type]
        E(z, Parameter("z"), sample_shape=[4]) + E(z, Parameter("z"), sample_shape=[2]),
        **carried("z"),
    )
    with pytest.raises(PixyzError, match=r"\[4\] and \[2\]"):
        both.eval(x)
    # the second reads the particles of the first
    one = E(z, Parameter("z"), sample_shape=[4]) + E(z, Parameter("z"))
    twice = 2 * E(z, Parameter("z"), sample_shape=[4])
    found = [seeded(IterativeLoss(step, **carried("z")), x) for step in (one, twice)]  # type: ignore[arg-type]
    torch.testing.assert_close(*found)


def test_the_particles_of_a_series_stand_behind_its_time() -> None:
    scan = Scan(Gauss("z", ["z_prev", "x"], "q"), **carried("z"))  # type: ignore[arg-type]
    assert scan.sample({"x": series()}, sample_shape=[4])["z"].shape == (T, 4, B, D)


@forms
@pytest.mark.parametrize(
    ("x", "told"),
    [
        (series(0, 0, B, D), r"the series x is empty: its shape \[T, B, ...\] is \[0, 3, 2\]"),
        (series(0, T, 0, D), r"the series x is empty: its shape \[T, B, ...\] is \[5, 0, 2\]"),
        (series(0, T), r"must be a tensor \[T, B, ...\], got \[5\]"),
        ([1.0, 2.0], r"must be a tensor \[T, B, ...\], got list"),
    ],
)
def test_what_is_no_series_is_refused(fission: bool, x: object, told: str) -> None:
    q, p = Gauss("z", ["z_prev", "x"], "q"), Gauss("x", ["z"])
    for loss in (
        IterativeLoss(E(q, LogProb(p)), fission=fission, **carried("z")),  # type: ignore[arg-type]
        E(Scan(q, fission=fission, **carried("z")), LogProb(p)),  # type: ignore[arg-type]
        IterativeLoss(LogProb(p), series_var=["x", "z"], fission=fission),
    ):
        with pytest.raises(ShapeError, match=told):
            loss.eval({"x": x, "z": x})
