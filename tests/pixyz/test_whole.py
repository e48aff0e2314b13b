"""What is around compiled loops, compiled too: the same values, gradients and draws."""

import warnings

import pytest
import torch
from lowering_parts import B, D, Function, Gauss, T, carried, no_compiler, series
from torch import Tensor, nn
from torch._dynamo.utils import counters

import pixyz
from pixyz import PixyzError
from pixyz.distributions import Deterministic, Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss
from pixyz.models import Model


def vae() -> Loss:
    torch.manual_seed(0)
    q, p = Gauss("z", ["x"], "q"), Gauss("x", ["z"])
    prior = Normal("z", loc=torch.zeros(D).double(), scale=torch.ones(D).double(), name="p")
    return (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()


def sequence() -> Loss:
    torch.manual_seed(0)
    f, q = Function("h", ["h_prev", "z_prev"]), Gauss("z", ["h", "x"], "q")
    p, prior, aside = Gauss("x", ["h", "z"]), Gauss("z", ["h"]), Gauss("w", ["h", "x"], "r")
    # it is drawn behind the loop
    step = E(f * q, KullbackLeibler(q, prior) - LogProb(p) - E(aside, LogProb(Gauss("x", ["w"]))))
    return IterativeLoss(step, **carried("h", "z")).mean()  # type: ignore[arg-type]


def run(loss: Loss, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(3)
    value = loss.eval({"x": x})
    return value, torch.autograd.grad(value, list(loss.parameters()))


@pytest.mark.parametrize("backend", ["inductor", "aot_eager"])
@pytest.mark.parametrize("make", [vae, sequence])
def test_values_gradients_and_draws_are_the_same(make: object, backend: str) -> None:
    torch._dynamo.reset()
    loss = make()  # type: ignore[operator]
    lengths = (
        ((4, 4) if backend == "inductor" else (T, T, 9, 7, T)) if make is sequence else (1, 1, 1)
    )
    data = [series(n, n, B, D) if make is sequence else series(n, B, D) for n in lengths]
    wanted = [run(loss, x) for x in data]
    assert loss.compile(2, whole=True, backend=backend) is loss
    counters.clear()
    for x, expected in zip(data, wanted, strict=True):
        torch.testing.assert_close(run(loss, x), expected)
    assert counters["stats"]["unique_graphs"] >= (3 if make is sequence else 1)
    torch.testing.assert_close(run(loss.compile(0), data[0]), wanted[0])


def test_a_loop_that_stays_uncompiled_is_not_written_out() -> None:
    torch._dynamo.reset()
    for loss, told in ((sequence(), "only loops are compiled"), (vae(), "")):
        loss.compile(0, whole=True, backend="eager")
        counters.clear()
        for _ in range(2):
            run(loss, series(1, T, B, D) if told else series(1, B, D))
        assert any(told in note for note in loss.plan.notes) == bool(told)
        assert (counters["stats"]["unique_graphs"] == 0) == bool(told)


class Moody(Deterministic):
    """Forgets its result when it is told to."""

    def __init__(self) -> None:
        super().__init__("y", ["x"], name="f")
        self.answer = "y"

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {self.answer: x}


def test_a_network_that_returns_something_else_later_is_named() -> None:
    f, p = Moody(), Normal("y", loc=torch.zeros(D).double(), scale=torch.ones(D).double(), name="p")
    loss = E(f, LogProb(p)).mean().compile(whole=True, backend="eager")
    for _ in range(3):
        loss.eval({"x": series(1, B, D)})
    f.answer = "w"
    with pytest.raises(PixyzError, match=r"must return a dict with the keys \['y'\], got \['w'\]"):
        loss.eval({"x": series(1, B, D)})


def test_without_a_compiler_it_draws_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = sequence()
    wanted = run(loss, series(1, T, B, D))

    def refuse(function: object, **settings: object) -> object:
        def fail(*args: object) -> object:
            torch.randn(3)  # a graph that ran before
            raise no_compiler()

        return fail

    monkeypatch.setattr(torch, "compile", refuse)
    loss.compile(2, whole=True)
    with pytest.warns(RuntimeWarning, match="not compiled"):
        found = [run(loss, series(1, T, B, D)) for _ in range(2)]
    torch.testing.assert_close(found, [wanted] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(run(loss, series(1, T, B, D)), wanted)


def test_a_new_mode_of_the_networks_and_debugging_are_seen() -> None:
    class Droppy(Gauss):
        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            return super().forward(
                **{k: nn.functional.dropout(v, 0.5, self.training) for k, v in given.items()}
            )

    p = Droppy("x", ["z"])
    loss, x = (
        p.log_prob().mean().compile(whole=True, backend="eager"),
        {"z": series(1, 50, D), "x": series(2, 50, D)},
    )
    for _ in range(2):
        assert loss.eval(x) != loss.eval(x)
        p.eval()
        assert loss.eval(x) == loss.eval(x)
        p.train()
    with pixyz.debug(), pytest.raises(PixyzError, match="not finite"):
        loss.eval({**x, "x": x["x"] / 0})


def test_a_model_trains_as_without_it() -> None:
    found = []
    for whole in (False, True):
        loss = vae().compile(whole=whole, backend="aot_eager")
        parts = [m for m in loss.modules() if isinstance(m, Gauss)]
        model = Model(loss, distributions=parts, optimizer_params={"lr": 0.1})
        torch.manual_seed(5)
        found.append(torch.stack([model.train({"x": series(1, B, D)}) for _ in range(4)]))
    torch.testing.assert_close(*found)
