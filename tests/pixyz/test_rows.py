"""Networks without gradient on the states of imagined paths: on some rows at a time, the same
values and gradients.
"""

import re
from collections.abc import Callable

import pytest
import torch
from lowering_parts import B, D, Function, Gauss, T, carried, series
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Mean, Normal, Scan
from pixyz.losses import E, LogProb, Loss, Parameter
from pixyz.plan.run import row_loop as rows
from pixyz.plan.run.row_loop import RowLoop

H = 4
N = (H + 1) * T * B
"""Rows of an imagined path."""


class Head(Normal):
    """Of the path; counts the rows of its calls.  Its scale has none."""

    def __init__(self, name: str, norm: Callable[[], nn.Module] = nn.Identity) -> None:
        super().__init__("r", ["h_all"], name=name, features_shape=[D])
        self.net = nn.Sequential(nn.Linear(D, D), norm()).double()
        self.scale = nn.Parameter(torch.ones(D, dtype=torch.float64))
        self.sizes: list[int] = []

    def forward(self, h_all: Tensor) -> dict[str, Tensor]:
        self.sizes.append(len(h_all))
        return {"loc": self.net(h_all), "scale": self.scale.exp()}


class Centred(nn.Module):
    """Rows less their mean: nothing tells, but a trial."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Second(Deterministic):
    """A function of what the head's scale is and of its mean, each for itself."""

    def __init__(self) -> None:
        super().__init__("r_scale", ["h_all"], name="s", features_shape=[D])
        self.net = nn.Linear(D, D).double()

    def forward(self, h_all: Tensor) -> dict[str, Tensor]:
        return {"r_scale": self.net(h_all).tanh()}


def imagined(reward: Head, value: Head, slow: Head) -> Loss:
    """``E[mean reward + s - log v(slow mean)]`` on paths from every state of a sequence."""
    torch.manual_seed(0)
    f, g = Gauss("h", ["h_prev", "x"], "f"), Gauss("s", ["s_prev"], "g")
    for p in slow.parameters():
        p.requires_grad_(False)
    seen = Scan(f, **carried())  # type: ignore[arg-type]
    dream = Scan(g, update_value={"s": "s_prev"}, steps=H, path={"h_all": "s_prev"}, grad=False).at(
        s_prev="h"
    )
    on_path = (Mean(reward, "r") * Mean(slow, "r_slow") * Second()).detach()
    inner = E(
        on_path,
        Parameter("r").mean() + Parameter("r_scale").mean() - LogProb(value.at(r="r_slow")).mean(),
    )
    return E(seen, LogProb(Gauss("x", ["h"])).mean() + E(dream, inner))


def heads(norm: Callable[[], nn.Module] = nn.Identity) -> tuple[Head, Head, Head]:
    torch.manual_seed(1)
    return Head("p", norm), Head("v"), Head("v_slow")


def run(loss: Loss, steps: int = T) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(3)
    value = loss.eval({"x": series(1, steps, B, D)})
    weights = [p for p in loss.parameters() if p.requires_grad]
    return value, torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("most", [D, 4, 7, N // 2, N - 1, N])
def test_values_and_gradients_are_those_of_one_call(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = imagined(*heads())
    wanted = [run(plain), run(plain, 3)]
    loss = imagined(*heads())
    monkeypatch.setattr(rows, "MOST_ROWS", most)
    # the first, which tries the networks and cuts unequal parts, and a later one
    for _ in range(2):
        torch.testing.assert_close(run(loss), wanted[0])
    torch.testing.assert_close(run(loss, 3), wanted[1])
    for _ in range(3):  # the second evaluation is the compiled one
        torch.testing.assert_close(run(loss.compile(2, whole=True, backend="aot_eager")), wanted[0])


def test_calls_have_at_most_so_many_rows_and_gradients_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 32)
    reward, value, slow = heads()
    loss = imagined(reward, value, slow)
    run(loss)
    for head in (reward, value, slow):
        head.sizes.clear()
    run(loss)
    assert reward.sizes == slow.sizes == [32] * (N // 32) + [N % 32]
    assert value.sizes == [N]
    (text,) = re.findall(r"def (\w+_of)\(", loss.plan.source)
    assert f"{text[:-3]}(" in loss.plan.source.split("def plan")[1]


@pytest.mark.parametrize("norm", [lambda: nn.BatchNorm1d(D), Centred])
def test_a_network_whose_rows_depend_on_one_another_gets_them_all(
    norm: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = run(imagined(*heads(norm)))
    monkeypatch.setattr(rows, "MOST_ROWS", 32)
    reward, value, slow = heads(norm)
    loss = imagined(reward, value, slow)
    torch.testing.assert_close(run(loss), wanted)
    for _ in range(2):
        reward.sizes.clear()
        run(loss)
        assert reward.sizes == [N]
        torch.testing.assert_close(run(loss.in_slabs(8)), wanted)


def test_a_thawed_network_has_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan was written while its weights were constant."""
    monkeypatch.setattr(rows, "MOST_ROWS", 32)
    reward, value, slow = heads()
    loss = imagined(reward, value, slow)
    run(loss)
    for p in slow.parameters():
        p.requires_grad_()
    fresh = imagined(*heads())
    for p in fresh.parameters():
        p.requires_grad_()
    torch.testing.assert_close(run(loss), run(fresh))


def test_a_result_without_rows_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 4)
    table = torch.randn(4)
    loop = RowLoop(lambda x, y: (x + y, table))
    for n in (3, 4, 5, 8, 9, 12):
        x, y = torch.randn(n, 2), torch.randn(n, 2)
        total, same = loop(x, y)
        torch.testing.assert_close(total, x + y)
        assert torch.equal(same, table)


def test_debug_mode_and_max_rows_call_networks_one_by_one() -> None:
    import pixyz

    loss = imagined(*heads())
    wanted = run(loss)
    with pixyz.debug():
        torch.testing.assert_close(run(loss), wanted)
        assert "_of(" not in loss.plan.source
    torch.testing.assert_close(run(loss.in_slabs(8)), wanted)
    assert "_of(" not in loss.plan.source


def test_a_path_is_stacked_once() -> None:
    """Start and steps together; what else reads the steps gets them stacked, too."""
    f = Function("h", ["h_prev"])
    dream = Scan(f, update_value={"h": "h_prev"}, steps=H, path={"h_all": "h_prev"}, grad=False)
    start = series(2, B, D)
    with torch.no_grad():
        states = [start]
        for _ in range(H):
            states.append(f.sample({"h_prev": states[-1]})["h"])
    for chunk in (0, 2, 3):
        for objective, exact, joined in (
            (E(dream, Parameter("h_all").mean()), torch.stack(states).mean(), 1),
            (
                E(dream, Parameter("h_all").mean() + Parameter("h").mean()),
                torch.stack(states).mean() + torch.stack(states[1:]).mean(),
                0,
            ),
        ):
            loss = objective.compile(chunk, backend="eager")
            torch.testing.assert_close(loss.eval({"h_prev": start}), exact)
            assert loss.plan.source.count("torch.stack([") == joined
