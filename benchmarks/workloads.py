"""The recorded workloads by themselves, on whatever tree is imported: the child of ``before.py``.

Run with the folder and the ``benchmarks`` of a tree in PYTHONPATH; models, sizes and data are those
of the tree.  It is told a workload in a line, makes it and runs it, and answers; told ``again``, it
runs the last one some more times and answers with their median, CPU seconds of a call.
"""

from __future__ import annotations

import gc
import inspect
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from declared import Training  # as it is in the tree
from timing import prepare

Call = Callable[[], float | None]
"""What is timed; or it says itself how long it took."""
STEPS, BATCH, WIDTH = 32, 16, 8


def vae(size: str) -> Call:
    """A training step."""
    from vae import SIZES

    return Training("vae", {**SIZES[size], "logits": True, "log_scale": True}).step


def dmm(size: str) -> Call:
    """A training step of the Deep Markov Model."""
    from dmm import SIZES

    return Training("dmm", {**SIZES[size], "logits": True}).step


def dreamer(what: str, size: str, form: str = "float32") -> Call:
    """A training step of DreamerV3's world model, or a whole update; ``form`` is a precision,
    ``chunk`` (its loops compiled, eight steps at a time), or ``gaussian`` latents.
    """
    import rssm
    import update

    if form == "gaussian":
        found: Call = rssm.training(size, form, 0)[0]["pixyz"]
    elif form == "chunk":
        found = update.contenders(size, "float32", 8)[what]["pixyz"]
    else:
        found = update.contenders(size, form)[what]["pixyz"]
    return found


def imagination(size: str, kind: str) -> Call:
    """15 steps of a policy from every state of a batch."""
    import rssm

    found: Call = rssm.imagination(size, kind, 0)[0]["pixyz"]
    return found


def action() -> Call:
    """An action for one environment."""
    import update

    agent, _ = update.build("small", "float32")
    given = {k: torch.randn(1, *shape) for k, shape in update.SHAPES.items()}
    given["is_first"] = torch.zeros(1, dtype=torch.bool)
    state = agent.initial(1)

    def act() -> None:
        nonlocal state
        _, state = agent.act(given, state)

    return act


def series(name: str) -> Call:
    """Loss, gradients and Adam of a model of series, of the size that it has by default."""
    import worldmodels

    torch.manual_seed(0)
    model: Any = getattr(worldmodels, name)(WIDTH)
    x = {"x": torch.rand(STEPS, BATCH, WIDTH)}
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        model.objective.eval(x).backward()
        adam.step()

    return step


def plan() -> Call:
    """The plan of 20 terms and its function, under names that no plan had where a tree can."""
    from scaling import sum_of

    numbered, first = "first" in inspect.signature(sum_of).parameters, 0

    def build() -> float:
        nonlocal first
        first += 1000
        loss = sum_of(20, first) if numbered else sum_of(20)
        began = time.process_time()
        loss.plan.function  # noqa: B018  (properties that build)
        return time.process_time() - began

    return build


def make(name: str) -> tuple[Call, int]:
    """A workload, and how often it is called at a time."""
    what, *size = name.split()
    calls: dict[str, tuple[Callable[..., Call], int]] = {
        "plan": (plan, 20),
        "VAE": (vae, 40 if size == ["tiny"] else 8),
        "DMM": (dmm, 12 if size == ["small"] else 2),
        "RSSM": (lambda *form: dreamer("world_model_step", *form), 2),
        "update": (lambda *form: dreamer("update", *form), 2 if size[:1] == ["small"] else 1),
        "imagination": (imagination, 8 if size[:1] == ["small"] else 1),
        "action": (action, 100),
    }
    found, times = calls.get(what, (lambda: series(what), 4))
    return found(*size), times


def timed(call: Call, times: int) -> float:
    """The median CPU seconds of a call."""
    gc.collect()
    seconds = []
    for _ in range(times):
        began = time.process_time()
        own = call()
        seconds.append(time.process_time() - began if own is None else own)
    return statistics.median(seconds)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    prepare()
    torch.manual_seed(0)
    held: tuple[Call, int] | None = None
    for line in sys.stdin:
        if line.strip() != "again":
            held = make(line.strip())
            timed(held[0], 3)
        assert held is not None
        answers.write(f"{timed(*held)}\n")
        answers.flush()


if __name__ == "__main__":
    main()
