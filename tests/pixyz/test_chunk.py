"""Loops that are compiled some steps at a time: the same values and gradients, two graphs for all
lengths.
"""

import copy
import pickle
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from lowering_parts import no_compiler
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor.exc import CppCompileError

import pixyz
from pixyz import PixyzError
from pixyz.distributions import Bernoulli, Categorical, Deterministic, Normal, Scan
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter
from pixyz.plan.run import chunk, compiled

B, D = 3, 4


class Cell(Deterministic):
    def __init__(self) -> None:
        super().__init__(var="h", cond_var=["h_prev", "z_prev"], name="f", features_shape=[D])
        self.net = nn.Linear(2 * D, D)

    def forward(self, h_prev: Tensor, z_prev: Tensor) -> dict[str, Tensor]:
        return {"h": torch.tanh(self.net(torch.cat([h_prev, z_prev], -1)))}


class Gauss(Normal):
    def __init__(self, var: str, cond: list[str], name: str) -> None:
        super().__init__(var=var, cond_var=cond, name=name, features_shape=[D])
        self.net = nn.Linear(D * len(cond), 2 * D)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[c] for c in self.cond_var], -1)).chunk(2, -1)
        return {"loc": loc, "scale": nn.functional.softplus(scale) + 0.1}


def model(*, reverse: bool = False, mask: bool = False) -> Loss:
    """A small recurrent state-space model."""
    torch.manual_seed(0)
    f, q, p, out = (
        Cell(),
        Gauss("z", ["h", "x"], "q"),
        Gauss("z", ["h"], "p"),
        Gauss("x", ["h", "z"], "p"),
    )
    step = E(f * q, KullbackLeibler(q, p) - LogProb(out))
    loss = IterativeLoss(
        step,
        series_var=["x"],
        update_value={"h": "h_prev", "z": "z_prev"},
        init={"h_prev": 0, "z_prev": 0},
        reset_var="first",
        mask_var="valid" if mask else None,
        reverse=reverse,
        reduction="frame",
    )
    return loss.double()


def data(steps: int) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(steps)
    x = torch.randn(steps, B, D, dtype=torch.float64, generator=made)
    first, valid = torch.rand(2, steps, B, generator=made) < torch.tensor([0.2, 0.8])[:, None, None]
    return {"x": x, "first": first, "valid": valid}


def value_and_gradients(loss: Loss, x: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(7)
    value = loss.eval(x)
    return value, torch.autograd.grad(value, list(loss.parameters()))


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_chunks_equal_the_loop_at_every_length(reverse: bool, mask: bool) -> None:
    loss = model(reverse=reverse, mask=mask)
    lengths = (7, 6, 2, 1)
    wanted = [value_and_gradients(loss, data(n)) for n in lengths]
    assert loss.compile(chunk=3, backend="aot_eager") is loss
    for n, (value, grads) in zip(lengths, wanted, strict=True):
        found, found_grads = value_and_gradients(loss, data(n))
        torch.testing.assert_close(found, value)
        torch.testing.assert_close(found_grads, grads)
    loss.compile(chunk=0)
    assert "_steps(" not in loss.plan.source
    torch.testing.assert_close(value_and_gradients(loss, data(7)), wanted[0])


def test_two_graphs_serve_all_lengths() -> None:
    torch._dynamo.reset()
    loss = model().compile(chunk=4, backend="eager")
    value_and_gradients(loss, data(9))
    counters.clear()
    for n in (9, 8, 11, 4, 3, 1, 13):
        value_and_gradients(loss, data(n))
    assert counters["stats"]["unique_graphs"] == 0
    torch._dynamo.reset()
    counters.clear()
    value_and_gradients(loss, data(9))
    value_and_gradients(loss, data(12))
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]


def test_a_loop_without_gradient_has_no_further_graphs() -> None:
    torch.manual_seed(0)
    f, p = Cell(), Gauss("z", ["h"], "p")
    dream = Scan(f * p, update_value={"h": "h_prev", "z": "z_prev"}, steps=7, grad=False)
    loss = E(dream, LogProb(p)).mean().compile(chunk=3, backend="eager")
    torch._dynamo.reset()
    counters.clear()
    loss.eval({k: torch.randn(B, D, requires_grad=True) for k in ("h_prev", "z_prev")}).backward()
    assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.parametrize(("steps", "chunk"), [(6, 4), (3, 8), (8, 4), (5, 5)])
def test_a_loop_of_known_length_is_cut_into_equal_pieces(steps: int, chunk: int) -> None:
    torch.manual_seed(0)
    f, p = Cell().double(), Gauss("z", ["h"], "p").double()
    dream = Scan(f * p, update_value={"h": "h_prev", "z": "z_prev"}, steps=steps)
    start = {k: torch.randn(B, D, dtype=torch.float64) for k in ("h_prev", "z_prev")}
    loss = E(dream, LogProb(p)).mean()
    wanted = value_and_gradients(loss, start)
    torch._dynamo.reset()
    counters.clear()
    torch.testing.assert_close(
        value_and_gradients(loss.compile(chunk, backend="eager"), start), wanted
    )
    assert counters["stats"]["unique_graphs"] == 1


def test_a_scan_is_compiled_within_an_expectation() -> None:
    torch.manual_seed(0)
    f, p = Cell().double(), Gauss("z", ["h"], "p").double()
    scan = Scan(f * p, update_value={"h": "h_prev", "z": "z_prev"}, steps=7)
    start = {k: torch.randn(B, D, dtype=torch.float64) for k in ("h_prev", "z_prev")}
    loss = E(scan, LogProb(p)).mean()
    wanted = value_and_gradients(loss, start)
    torch.testing.assert_close(
        value_and_gradients(loss.compile(3, backend="aot_eager"), start), wanted
    )
    torch.manual_seed(1)
    drawn = scan.sample(start)
    torch.manual_seed(1)
    again = scan.compile(3, backend="eager").sample(start)
    torch.testing.assert_close(again["z"], drawn["z"])


def test_without_a_compiler_the_loop_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = model()
    wanted = value_and_gradients(loss, data(7))

    def refuse(*args: object, **kwargs: object) -> object:
        raise no_compiler()

    monkeypatch.setattr(torch, "compile", lambda function, **options: refuse)
    loss.compile(chunk=3)
    with pytest.warns(RuntimeWarning, match=r"not compiled.*install g\+\+ python3-dev") as caught:
        found = value_and_gradients(loss, data(7))
    assert len(caught) == 1
    torch.testing.assert_close(found, wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_and_gradients(loss, data(8))


@pytest.mark.parametrize("there", [False, True])
def test_without_headers_the_loop_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    loss, header = model(), tmp_path / "Python.h"
    wanted = value_and_gradients(loss, data(7))

    def refuse(*args: object, **kwargs: object) -> object:
        raise CppCompileError(["g++"], "no such file")

    monkeypatch.setattr(torch, "compile", lambda function, **options: refuse)
    monkeypatch.setattr(compiled, "HEADER", header)
    loss.compile(chunk=3)
    if there:
        header.touch()
        with pytest.raises(CppCompileError):
            loss.eval(data(7))
    else:
        with pytest.warns(RuntimeWarning, match=f"no {header}; .* python3-dev"):
            torch.testing.assert_close(value_and_gradients(loss, data(7)), wanted)


def test_an_error_of_the_network_is_no_missing_compiler() -> None:
    loss = model().compile(chunk=3, backend="eager")
    with pytest.raises(Exception, match=r"shape|size|mat"):
        loss.eval({**data(7), "x": torch.randn(7, B, D + 1, dtype=torch.float64)})


class Weighted(Deterministic):
    """Its scale comes as a number."""

    def __init__(self) -> None:
        super().__init__(var="h", cond_var=["h_prev", "x", "w"], name="f", features_shape=[D])

    def forward(self, h_prev: Tensor, x: Tensor, w: float) -> dict[str, Tensor]:
        return {"h": (h_prev + x) * w}


def test_a_text_about_a_compiler_is_no_missing_compiler() -> None:
    class Says(Weighted):
        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            raise RuntimeError("no working compiler found")

    loss = IterativeLoss(
        E(Says(), Parameter("h")),
        series_var=["x", "w"],
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
    )
    loss.compile(chunk=3, backend="eager")
    x = {"x": torch.zeros(7, B, D), "w": torch.zeros(7, B, D)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="no working compiler found"):
            loss.eval(x)


@pytest.mark.parametrize("weights", [(0.1, 0.2, 0.7), (1, 2, 3)])
def test_numbers_are_no_constants_of_a_graph(weights: Sequence[float]) -> None:
    torch._dynamo.reset()
    loss = IterativeLoss(
        E(Weighted(), Parameter("h")),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
    )
    x = torch.randn(5, B, D, dtype=torch.float64)
    wanted = [loss.eval({"x": x, "w": w}) for w in weights]
    loss.compile(chunk=2, backend="eager")
    counters.clear()
    for w, value in zip(weights, wanted, strict=True):
        torch.testing.assert_close(loss.eval({"x": x, "w": w}), value)
    assert counters["stats"]["unique_graphs"] == 2


def test_the_shapes_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    loss = model().compile(chunk=2)
    for n in range(1, chunk.MOST_SHAPES + 5):
        loss.eval(
            {
                k: v[:, :1].expand(-1, n, *v.shape[2:]) if v.ndim > 1 else v
                for k, v in data(3).items()
            }
        )
    namespace = next(iter(loss._plans._kept.plans.values()))[0].plan._namespace
    (loop,) = (v for v in namespace.values() if isinstance(v, chunk.ChunkedLoop))
    assert 0 < len(loop._shapes) <= chunk.MOST_SHAPES


def test_results_of_a_cuda_graph_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph writes into the same memory at each call;
    here a function that does so stands for it.
    """
    loss = model()
    with torch.no_grad():
        torch.manual_seed(0)
        wanted = loss.eval(data(8))

    def graph(
        function: Callable[..., tuple[Tensor, ...]], **options: object
    ) -> Callable[..., tuple[Tensor, ...]]:
        assert options["options"]["triton.cudagraphs"]  # type: ignore[index]
        memory: list[Tensor] = []

        def run(*args: object) -> tuple[Tensor, ...]:
            out = function(*args)
            memory[:] = memory or [x.clone() for x in out]
            return tuple(kept.copy_(x) for kept, x in zip(memory, out, strict=True))

        return run

    monkeypatch.setattr(torch, "compile", graph)
    monkeypatch.setattr(chunk, "_on_cuda", lambda x: True)
    loss.compile(chunk=2, mode="reduce-overhead")
    with torch.no_grad():
        torch.manual_seed(0)
        torch.testing.assert_close(loss.eval(data(8)), wanted)


def test_the_mode_of_cuda_graphs_runs_on_a_cpu() -> None:
    loss = IterativeLoss(
        E(Weighted(), Parameter("h")),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
    )
    x = {"x": torch.randn(4, B, D), "w": 2.0}
    with torch.no_grad():
        wanted = loss.eval(x)
        torch.testing.assert_close(loss.compile(chunk=2, mode="reduce-overhead").eval(x), wanted)


def test_compiling_leaves_validation_as_it_was() -> None:
    before = torch.distributions.Distribution._validate_args
    value_and_gradients(model().compile(chunk=3, backend="eager"), data(4))
    assert torch.distributions.Distribution._validate_args == before


def test_how_a_loss_is_lowered_survives_copies() -> None:
    loss = model().compile(chunk=3, backend="eager")
    value, _ = value_and_gradients(loss, data(7))
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(value_and_gradients(twin, data(7))[0], value)
        assert "_steps(" in twin.plan.source


def test_a_negative_chunk_is_refused() -> None:
    with pytest.raises(PixyzError, match="got -1"):
        model().compile(chunk=-1)


def test_without_sharing_values_are_the_same_and_networks_run_again() -> None:
    torch.manual_seed(0)
    q, p = Gauss("z", ["x"], "q").double(), Gauss("x", ["z"], "p").double()
    prior = Normal(var="z", loc=torch.zeros(D, dtype=torch.float64), scale=1.0, name="p")
    loss = (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()
    x = {"x": torch.randn(B, D, dtype=torch.float64)}
    wanted = value_and_gradients(loss, x)
    assert loss.plan.source.count("= q_") == 1
    torch.testing.assert_close(value_and_gradients(loss.share(False), x), wanted)
    assert loss.plan.source.count("= q_") == 2


def test_debug_names_the_step_that_is_not_finite() -> None:
    loss = model()
    x = data(7)
    x["x"][2, 1, 0] = float("nan")
    assert loss.eval(x).isnan()
    with pixyz.debug(), pytest.raises(PixyzError, match=r"q\(z\|h,x\)|logits|loc"):
        loss.eval(x)
    loss.eval(data(7))


@pytest.mark.parametrize(
    "p",
    [Bernoulli("x", probs=torch.full((2,), 0.5)), Categorical("x", probs=torch.tensor([0.5, 0.5]))],
)
def test_first_runs_and_debug_refuse_values_outside_of_the_support(p) -> None:
    wrong, soft = {"x": torch.tensor([[1.0, 7.0]])}, {"x": torch.tensor([[0.25, 0.75]])}
    loss = p.log_prob()
    for debugging in (False, True):
        with pixyz.debug(debugging):
            for _ in range(2):
                with pytest.raises(
                    PixyzError, match=r"'x' in log .* must lie between 0 and 1, got 7"
                ):
                    loss.eval(wrong)
            loss.eval(soft)
    assert loss.eval(wrong).isfinite().all()  # later runs look at nothing
    with pixyz.debug(), pytest.raises(PixyzError, match="must lie"):
        loss.eval(wrong)


def test_threads_may_evaluate_one_loss() -> None:
    loss, x = model(mask=True), data(7)
    fixed = IterativeLoss(
        LogProb(Gauss("x", ["x_prev"], "p").double()),
        series_var=["x"],
        update_value={"x": "x_prev"},
        init={"x_prev": torch.zeros(D, dtype=torch.float64)},
    )
    wanted = fixed.eval(x)
    fixed = copy.deepcopy(fixed)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: fixed.eval(x), range(40)):
            torch.testing.assert_close(found, wanted)
        assert all(v.isfinite() for v in pool.map(lambda _: loss.eval(x), range(40)))
    assert len(fixed._plans) == 1
