"""The contenders of the speed benchmarks compute the same thing: one loss and one set of gradients
at one noise.
"""

from collections.abc import Callable, Iterator

import by_hand
import planner
import pytest
import timing
import torch
from declared import Training, made_data
from hand_tdmpc import tdmpc_loss
from torch import Tensor, nn

from agents.tdmpc import TDMPCConfig

VAE = {"x_dim": 20, "h_dim": 16, "z_dim": 4, "batch": 8}
DMM = {
    "x_dim": 8,
    "z_dim": 8,
    "emission_dim": 8,
    "transition_dim": 16,
    "rnn_dim": 16,
    "batch": 4,
    "steps": 12,
}
SETTINGS = {"vae": VAE, "dmm": DMM}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make_hand(model: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    if model == "vae":
        return by_hand.VAE(VAE["x_dim"], VAE["h_dim"], VAE["z_dim"]), made_data(
            VAE["batch"], VAE["x_dim"]
        )
    dims = {k: v for k, v in DMM.items() if k not in ("batch", "steps")}
    return by_hand.DMM(**dims), made_data(DMM["steps"], DMM["batch"], DMM["x_dim"])


def evaluated(loss: Callable[[], Tensor], module: nn.Module) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(3)
    value = loss()
    return value, torch.autograd.grad(value, list(module.parameters()))


@pytest.mark.parametrize(
    ("model", "form", "declared"),
    [
        ("vae", "forward", {"logits": True}),
        ("vae", "forward", {"logits": True, "log_scale": True}),
        ("vae", "probs", {"logits": False}),
        ("vae", "monte_carlo", {"logits": True, "log_scale": True, "analytic": False}),
        ("dmm", "naive", {"logits": True}),
        ("dmm", "naive", {"logits": True, "fission": False}),
        ("dmm", "forward", {"logits": True}),
        ("dmm", "forward", {"logits": False}),
        ("dmm", "monte_carlo", {"logits": True, "analytic": False}),
    ],
)
def test_the_declared_objective_equals_the_code_by_hand(
    model: str, form: str, declared: dict[str, bool]
) -> None:
    net, x = make_hand(model)
    training = Training(model, {**SETTINGS[model], **declared})
    found = evaluated(
        lambda: training.model.objective.eval(training.model.inputs()), training.model.modules
    )
    wanted = evaluated(lambda: getattr(net, form)(x), net)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-9, atol=1e-9)
    assert len(found[1]) == len(wanted[1])
    for g, h in zip(found[1], wanted[1], strict=True):
        torch.testing.assert_close(g, h, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("model", ["vae", "dmm"])
@pytest.mark.parametrize("logits", [True, False])
def test_pyro_computes_the_same_bound(model: str, logits: bool) -> None:
    by_pyro = pytest.importorskip("by_pyro")
    net, x = make_hand(model)
    program = (by_pyro.VAE if model == "vae" else by_pyro.DMM)(net, logits)
    found = by_pyro.Training(program, x, validate=True).value(3)
    training = Training(model, {**SETTINGS[model], "analytic": False, "logits": logits})
    torch.testing.assert_close(
        torch.tensor(found), torch.tensor(training.value(3)[0]), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("model", ["vae", "dmm"])
def test_training_steps_by_hand_and_declared_reach_the_same_weights(model: str) -> None:
    net, x = make_hand(model)
    training = Training(model, {**SETTINGS[model], "logits": True})
    adam = torch.optim.Adam(net.parameters(), lr=1e-4)
    for seed in range(3):
        torch.manual_seed(seed)
        training.step()
        torch.manual_seed(seed)
        adam.zero_grad(set_to_none=True)
        net(x).backward()
        adam.step()
    for a, b in zip(training.model.modules.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


def test_turns_are_taken_and_ratios_are_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "about", dict)
    calls: list[str] = []

    class Elsewhere:
        def run(self, times: int) -> float:
            calls.extend(["c"] * times)
            return 4.0 * times

    tasks: dict[str, timing.Task] = {
        "a": lambda: calls.append("a"),
        "b": lambda: calls.append("b"),
        "c": Elsewhere(),
    }
    seconds = timing.contend(tasks, rounds=4, repeat=2, warmup=1)
    assert {k: len(v) for k, v in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    assert all(calls.count(k) == 9 for k in "abc") and seconds["c"] == [4.0] * 4
    told = {"a": [2.0, 2.0, 8.0], "b": [1.0, 2.0, 2.0], "c": [4.0, 4.0, 4.0]}
    line = timing.record(
        None, "made up", {}, told, baseline="b", pairs=[("a", "c"), ("a", "absent")]
    )
    assert line["ratio"] == {"a": 2.0, "c": 2.0, "a/c": 0.5} and line["cpu_seconds"]["a"] == 2.0


@pytest.mark.parametrize("pessimism", [1.0, 0.5, 0.0])
def test_the_planner_by_hand(pessimism: float) -> None:
    torch.manual_seed(0)
    sizes = {"latent": 16, "units": 16, "encoder_units": 16, "critics": 2, "batch": 8}
    config = TDMPCConfig(**sizes, n_step=3, pessimism=pessimism, bins=51, limit=6.0)
    agent, batch = planner.build(config)
    with torch.no_grad():  # no head at zero
        for p in agent.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x = agent.prepare({**batch, "is_terminal": torch.rand_like(batch["reward"]) < 0.1})
    bounds, trained = agent.scaled.scale.bounds, [p for p in agent.parameters() if p.requires_grad]
    before = bounds.clone()
    found = []
    for loss in (lambda: agent.objective.eval(x), lambda: tdmpc_loss(agent, x)):
        bounds.copy_(before)
        torch.manual_seed(3)
        value = loss()
        found.append((value, torch.autograd.grad(value, trained)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
