"""One plan and many callers: threads, changes while it runs, errors, what is written and compiled
once.
"""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from pixyz.distributions import Deterministic, Normal
from pixyz.expression import as_loss
from pixyz.latex import latex_name
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter

D, B, T = 2, 3, 5


class Gauss(Normal):
    def __init__(self, var: str, cond: list[str], name: str = "p") -> None:
        super().__init__(var=var, cond_var=cond, name=name, features_shape=[D])
        self.net = nn.Linear(D * len(cond), 2 * D).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[c] for c in self.cond_var], 1)).chunk(2, 1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


def series(seed: int = 0, *shape: int) -> Tensor:
    return torch.randn(
        *(shape or (T, B, D)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


class Slow(Gauss):
    """Waits in ``forward`` while ``gate`` is set."""

    gate: tuple[threading.Event, threading.Event] | None = None

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        gate, self.gate = self.gate, None
        if gate is not None:
            gate[0].set()
            gate[1].wait(5)
        return super().forward(**given)


def while_running(loss: Loss, slow: Slow, x: dict[str, Tensor], act: Callable[[], object]) -> None:
    """``act`` while another thread is in its first evaluation of ``loss``."""
    slow.gate = gate = (threading.Event(), threading.Event())
    thread = threading.Thread(target=loss.eval, args=(x,))
    thread.start()
    gate[0].wait(5)
    act()
    gate[1].set()
    thread.join()


PAIR = {"x": series(0, B, D), "z": series(1, B, D)}


def test_a_change_during_an_evaluation_counts_from_the_next_one() -> None:
    p = Slow("x", ["z"])
    loss = LogProb(p) + 1.0

    def change() -> None:
        loss.loss2 = as_loss(100.0)  # type: ignore[attr-defined]
        loss.eval(PAIR)

    while_running(loss, p, PAIR, change)
    torch.testing.assert_close(loss.eval(PAIR), LogProb(p).eval(PAIR) + 100.0)


def test_options_that_are_set_during_an_evaluation_count_from_the_next_one() -> None:
    p = Slow("x", ["z"])
    loss, calls = LogProb(p) + LogProb(p), []
    while_running(loss, p, PAIR, lambda: loss.share(False))
    p.net.register_forward_hook(lambda *_: calls.append(1))
    loss.eval(PAIR)
    assert len(calls) == 2


def test_threads_build_one_plan() -> None:
    class Waits(Gauss):
        def lower_params(self, scope):  # type: ignore[no-untyped-def]
            barrier.wait(0.2) if not barrier.broken else None
            return super().lower_params(scope)

    barrier = threading.Barrier(3)
    loss = LogProb(Waits("x", ["z"]))

    def work() -> None:
        try:
            loss.eval(PAIR)
        except threading.BrokenBarrierError:
            loss.eval(PAIR)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loss._plans) == 1


def test_a_loss_may_be_evaluated_inside_a_network() -> None:
    inner = LogProb(Gauss("y", ["z"]))

    class Outer(Gauss):
        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            found = super().forward(**given)
            return {
                **found,
                "loc": found["loc"] + inner.eval({"y": given["z"], "z": given["z"]})[:, None],
            }

    loss = LogProb(Outer("x", ["z"])) + inner
    x = {**PAIR, "y": series(2, B, D)}
    torch.testing.assert_close(loss.eval(x), loss.eval(x))


def test_a_network_that_fails_is_called_once() -> None:
    class Fails(Gauss):
        calls, fails = 0, False

        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            self.calls += 1
            if self.fails:
                raise TypeError("the user's")
            return super().forward(**given)

    p = Fails("x", ["z"])
    loss = LogProb(p)
    loss.eval(PAIR)
    p.calls, p.fails = 0, True
    with pytest.raises(TypeError, match="the user's"):
        loss.eval(PAIR)
    assert p.calls == 1


def test_a_constant_may_become_a_parameter() -> None:
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[D])
    loss, x = LogProb(p).mean(), {"x": torch.ones(B, D)}
    before = loss.eval(x)
    del p.loc
    p.loc = nn.Parameter(torch.zeros(1, D))
    torch.testing.assert_close(loss.eval(x), before)


CARRIED = {
    "series_var": "x",
    "update_value": {"z": "z_prev"},
    "init": {"z_prev": torch.zeros(D, dtype=torch.float64)},
}


def test_equal_formulas_are_written_once() -> None:
    kl = KullbackLeibler(Gauss("z", ["y"], "q"), Gauss("z", ["x"])).clamp(min=1.0)
    assert sum("= clamp_" in line for line in (kl + 2 * kl).plan.source.splitlines()) == 1
    p = Gauss("x", ["z"])
    twice = LogProb(p, feature_dims=[-1]) + 2 * LogProb(p, feature_dims=[-1])
    assert sum("= sum_over_" in line for line in twice.plan.source.splitlines()) == 1


def recurrent() -> IterativeLoss:
    z = Gauss("z", ["z_prev", "x"], "q")
    return IterativeLoss(E(z, LogProb(Gauss("x", ["z"]))), **CARRIED)  # type: ignore[arg-type]


def test_two_graphs_serve_all_lengths_of_a_batch_first_series() -> None:
    torch._dynamo.reset()
    loss = recurrent().compile(chunk=4, backend="eager")
    counters.clear()
    for length in (9, 13, 17):
        loss.eval({"x": series(0, B, length, D).transpose(0, 1)})
    assert counters["stats"]["unique_graphs"] == 2


def test_a_weight_that_changes_makes_no_new_graph() -> None:
    torch._dynamo.reset()
    z = Gauss("z", ["z_prev", "x"], "q")
    loss = IterativeLoss(E(z, LogProb(z) * Parameter("w")), fission=False, **CARRIED)  # type: ignore[arg-type]
    loss.compile(chunk=2, backend="eager")
    counters.clear()
    for step in range(3):
        loss.eval({"x": series(), "w": 0.1 * step})
    assert counters["stats"]["unique_graphs"] == 2


def test_settings_of_a_subclass_are_seen_and_its_own_counters_are_not() -> None:
    class Mine(IterativeLoss):
        calls = 0

    z = Gauss("z", ["z_prev", "x"], "q")
    loss, x = (
        Mine(E(z, LogProb(Gauss("x", ["z"]))), **CARRIED),
        {"x": torch.randn(T, B, D, dtype=torch.float64)},
    )
    assert loss.eval(x).shape == (B,)
    plan = loss.plan
    loss.calls += 1
    assert loss.plan is plan
    loss.reduction = None
    assert loss.eval(x).shape == (T, B)


def test_the_number_of_plans_is_bounded() -> None:
    p = Gauss("x", ["z"])
    for k in range(1, 100):
        p.sample({"z": PAIR["z"]}, sample_shape=(k,))
    assert len(p._plans) <= 64


def test_a_plan_needs_no_sympy() -> None:
    code = (
        "import sys, torch; from pixyz.distributions import Normal; from pixyz.losses import "
        "KullbackLeibler, E, LogProb; "
        "p = Normal('x', 'z_prev', loc='z_prev', scale=1.0); q = Normal('z_prev', loc=0.0, "
        "scale=1.0, features_shape=[2]); "
        "(E(q, LogProb(p)) - KullbackLeibler(q, q)).mean().eval({'x': torch.zeros(3, 2)}); "
        "sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "z_prev",
        "x1",
        "h_1",
        "p_t",
        "deter",
        "xhat",
        "x_bar",
        "lambda",
        "Lambda",
        "alpha_1",
        "z_phi",
        "p10",
        "sigma2",
        "a_b_c",
        "khi",
        "is",
        "eta",
        "beta_t",
        "Hat",
        "zdot1",
        "t_max",
        "continue",
        "reward",
    ],
)
def test_names_print_as_sympy_prints_them(name: str) -> None:
    import sympy

    assert latex_name(name) == sympy.latex(sympy.Symbol(name))


def test_values_that_come_and_go_find_their_plans() -> None:
    """Without a mask the plan of before runs at once; a mask, or one number for each row, needs
    another, and the first is found again.
    """
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[D])
    x, b = series(), torch.arange(3.0, dtype=torch.float64)
    mask = torch.tensor([[1.0, 0.0, 1.0]] * 2 + [[0.0, 1.0, 0.0]] * 3, dtype=torch.float64)
    cost = 0.5 * (x * x).sum(-1) + D * 0.5 * torch.log(torch.tensor(2.0 * torch.pi))
    steps = IterativeLoss(-LogProb(p), series_var=["x"])
    masked, weighted = steps.mean(), (Parameter("w") * steps).mean()
    valid = (cost * mask).sum(0)
    for _ in range(3):
        for given, wanted in ({}, cost.sum(0)), ({"mask": mask}, valid):
            torch.testing.assert_close(masked.eval({"x": x, **given}), wanted.mean())
            for w in 2.0, b:
                found = weighted.eval({"x": x, "w": w, **given})
                torch.testing.assert_close(found, (w * wanted).mean())
    assert len(masked._plans) == 2 and len(weighted._plans) == 4


class Weight(Deterministic):
    """One of each row."""

    def __init__(self) -> None:
        super().__init__("w", "x", name="w")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"w": x.sum(-1)}


def test_a_mean_and_drawn_parameters_need_no_second_look() -> None:
    """Once it is settled, what was asked for is not looked up anew at each evaluation."""
    loss = E(Weight(), (Parameter("w") * -LogProb(Gauss("z", ["x"]))).mean())
    values = [loss.eval(PAIR) for _ in range(2)]
    asked: list[object] = []
    loss._plans.run = lambda *given: asked.append(given)  # type: ignore[method-assign,assignment]
    assert [loss.eval(PAIR), *values] == [values[0]] * 3 and not asked
