"""One law for all passes: the same value, gradients and noise with and without each of them."""

from collections.abc import Callable

import pytest
import torch
from lowering_parts import B, Bits, D, Function, Gauss, T, carried, series
from test_rows import heads, imagined
from torch import Tensor

from pixyz.distributions import Normal, Scan
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter
from pixyz.plan import PASSES, Options, Pass
from pixyz.plan.run import row_loop
from pixyz.types import PixyzError


def terms() -> Loss:
    """Numbers and signs between terms, and their mean."""
    q, p = Gauss("z", ["x"], "q"), Gauss("x", ["z"], "p")
    prior = Normal("z", name="p_{prior}", features_shape=[D], loc=0.0, scale=1.0)
    kl = 2 * KullbackLeibler(q, prior) * 0.5 + 0
    return (kl - (-(1 * E(q, -LogProb(p))))).mean() + (2 - 1)


def test_a_density_with_a_form_for_its_total_that_is_read_elsewhere_too() -> None:
    torch.manual_seed(0)
    term = LogProb(Bits())
    x = {"x": series(1, B, D).sigmoid().round(), "z": series(2, B, D)}
    rows = term.eval(x)
    torch.testing.assert_close(
        (term.mean() + (term * term).mean()).eval(x), (rows + rows**2).mean()
    )


def loop(fission: bool = True) -> Loss:
    """A state on a cycle, an input that is carried on, a stopped gradient."""
    f = Gauss("h", ["h_prev", "x_prev"], "f")
    step = E(f, LogProb(Gauss("x", ["h"], "p")) + LogProb(Gauss("h", ["x"], "q").detach()).detach())
    return IterativeLoss(
        step,
        series_var="x",
        update_value={"h": "h_prev", "x": "x_prev"},
        init={"h_prev": 0, "x_prev": torch.zeros(D, dtype=torch.float64)},
        fission=fission,
    ).mean()


def dream() -> Loss:
    """Heads on the path of every state."""
    return imagined(*heads())


def path() -> Loss:
    """A path without a gradient, which nothing but its stack reads."""
    f = Function("h", ["h_prev"])
    steps = Scan(f, update_value={"h": "h_prev"}, steps=4, path={"h_all": "h_prev"}, grad=False)
    seen = Scan(Gauss("s", ["s_prev", "x"], "g"), **carried("s"))
    return E(seen, E(steps.at(h_prev="s"), Parameter("h_all").mean()) + Parameter("s").mean())


OBJECTIVES: dict[str, Callable[[], Loss]] = {
    "terms": terms,
    "loop": loop,
    "whole loop": lambda: loop(fission=False),
    "compiled loop": lambda: loop().compile(2, backend="eager"),
    "dream": dream,
    "dream in slabs": lambda: dream().in_slabs(4),
    "path": path,
}


def made(name: str) -> Loss:
    torch.manual_seed(0)
    return OBJECTIVES[name]()


def run(loss: Loss, steps: int = T) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    """The value, all gradients, and the number that is drawn next."""
    torch.manual_seed(3)
    value = loss.eval({"x": series(1, steps, B, D)})
    weights = [p for p in loss.parameters() if p.requires_grad]
    grads = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    return value, grads, torch.rand(())


def test_a_loop_that_is_whole_draws_in_the_order_of_its_pieces() -> None:
    """``a`` is drawn in the loop, ``b`` outside of it before the loop begins."""
    found = []
    for fission in (True, False):
        torch.manual_seed(0)
        a, b, h = Gauss("a", ["h_prev"], "a"), Gauss("b", ["x"], "b"), Gauss("h", ["a", "b"], "h")
        step = E(h * b * a, LogProb(Gauss("x", ["h"], "p")))
        loop = IterativeLoss(step, fission=fission, **carried("h"))  # type: ignore[arg-type]
        found.append(run(loop.mean()))
    torch.testing.assert_close(*found)


def applying(loss: Loss) -> list[Pass]:
    """The passes that have something to do."""
    graph, found = loss.plan.after("written"), []
    for one in PASSES:
        if one.applies(graph, loss.plan.options):
            found.append(one)
            graph = one(graph, loss.plan.options)
    return found


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_pass_changes_no_value_no_gradient_and_no_noise(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_loop, "MOST_ROWS", 8)
    loss = made(name)
    wanted, applied = run(loss), applying(loss)
    for left_out in applied:
        kept = [p for p in PASSES if p is not left_out]
        torch.testing.assert_close(run(made(name).through(kept)), wanted, msg=left_out.name)
    bare = made(name).through([])
    for _ in range(2):
        torch.testing.assert_close(run(bare), wanted)


def test_each_pass_does_something() -> None:
    """Each is tried in the law above, writes another source somewhere, and leaves its graph as it
    was.
    """
    changed = set()
    for name in OBJECTIVES:
        loss = made(name)
        source, graph = loss.plan.source, loss.plan.after("written")
        for one in applying(loss):
            before = str(graph)
            found = one(graph, loss.plan.options)
            assert str(graph) == before and str(found) == str(loss.plan.after(one.name))
            graph = found
            if one.name not in changed:
                bare = made(name).through([p for p in PASSES if p is not one])
                changed |= {one.name} if bare.plan.source != source else set()
    assert changed == {p.name for p in PASSES}


def test_passes_are_read_like_a_table_of_contents() -> None:
    assert [p.name for p in PASSES] == [
        "fold", "totals", "names", "split", "shifts", "quiet", "paths", "slabs", "rows", "chunks",
    ]  # fmt: skip


def test_what_there_is_is_named() -> None:
    with pytest.raises(PixyzError, match=r"no pass 'fission'; there are \['written', 'fold'"):
        made("terms").plan.after("fission")
    assert Options().passes is None
