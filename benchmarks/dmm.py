"""Time of a training step of a Deep Markov Model (the paper's Table 2): plain PyTorch, Pyro, pixyz
0.3.3, this library.

A step is loss, gradients and Adam (torch's default).  Contenders (the KL by formula unless ``_mc``;
Bernoulli from logits unless ``_probs``):

* ``naive``: everything in the loop over time, read by ``h[t]``; ``hand``: the loop split by hand
  (``by_hand.DMM``);
* ``pyro``: the architecture of Pyro's example (Monte Carlo, probabilities), as shipped;
  ``_novalidate``: validation off;
* ``old``: 0.3.3's IterativeLoss (probabilities); ``_nocache``: without its memo; ``_mc``;
  ``_novalidate``;
* ``pixyz``: IterativeLoss of this library; ``_loop``: the same with ``fission=False``;
  ``_compiled``: with ``loss.compile(10, whole=True)``.

0.3.3 and this library run the same source, ``declared.py``.  Ratios are to ``hand``, round by
round; ``PAIRS`` adds others.

    python benchmarks/dmm.py --rounds 15
    python benchmarks/dmm.py --smoke
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import by_hand
import torch
from declared import Training, made_data
from old_pixyz import OldPixyz
from timing import Task, contend, prepare, record

RESULTS = Path(__file__).parent / "results" / "dmm.jsonl"
PAPER = {
    "x_dim": 88,
    "z_dim": 100,
    "emission_dim": 100,
    "transition_dim": 200,
    "rnn_dim": 600,
    "batch": 128,
    "steps": 60,
}
SIZES: dict[str, dict[str, int]] = {
    "small": {
        "x_dim": 8,
        "z_dim": 8,
        "emission_dim": 8,
        "transition_dim": 16,
        "rnn_dim": 16,
        "batch": 4,
        "steps": 60,
    },
    "b20_t60": {**PAPER, "batch": 20},
    "b20_t129": {**PAPER, "batch": 20, "steps": 129},
    "z20": {**PAPER, "z_dim": 20},
    "z50": {**PAPER, "z_dim": 50},
    "z100": PAPER,
    "z500": {**PAPER, "z_dim": 500},
}
REPEAT = {"small": 5}
PAIRS = [
    ("hand", "naive"),
    ("pixyz", "naive"),
    ("pixyz_mc", "hand_mc"),
    ("pixyz_loop", "naive"),
    ("pyro", "pixyz"),
    ("pyro_novalidate", "pixyz"),
    ("pyro_novalidate", "pixyz_mc_probs"),
    ("pyro", "pixyz_compiled"),
    ("pyro_novalidate", "pixyz_compiled"),
    ("pixyz_compiled", "naive"),
    ("old", "pixyz"),
    ("old_novalidate", "pixyz"),
    ("old_nocache", "pixyz"),
    ("old_mc", "pixyz_mc"),
    ("old_mc_nocache", "pixyz_mc"),
]


def make_hand(settings: Mapping[str, int]) -> tuple[by_hand.DMM, torch.Tensor]:
    """The network and a batch of made series."""
    torch.manual_seed(0)
    dims = {k: v for k, v in settings.items() if k not in ("batch", "steps")}
    return by_hand.DMM(**dims), made_data(settings["steps"], settings["batch"], settings["x_dim"])


def hand_step(settings: Mapping[str, int], form: str) -> Callable[[], None]:
    """A training step in plain PyTorch."""
    net, x = make_hand(settings)
    adam, loss = torch.optim.Adam(net.parameters(), lr=1e-4), getattr(net, form)

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        loss(x).backward()
        adam.step()

    return step


def pyro_steps(settings: Mapping[str, int]) -> dict[str, Task]:
    """Training steps of Pyro."""
    import by_pyro

    by_pyro.clear()

    def make(validate: bool) -> Callable[[], None]:
        net, x = make_hand(settings)
        return by_pyro.Training(by_pyro.DMM(net), x, validate).step

    return {"pyro": make(True), "pyro_novalidate": make(False)}


def pixyz_steps(settings: Mapping[str, int], compiled: bool) -> dict[str, Task]:
    """Training steps of this library."""

    def make(chunk: int = 0, **form: Any) -> Callable[[], None]:
        training = Training("dmm", {**settings, **form})
        training.model.objective.compile(chunk, whole=chunk > 0)
        return training.step

    return ({"pixyz_compiled": make(10, logits=True)} if compiled else {}) | {
        "pixyz": make(logits=True),
        "pixyz_loop": make(logits=True, fission=False),
        "pixyz_mc": make(logits=True, analytic=False),
        "pixyz_mc_probs": make(analytic=False),
    }


def old_steps(settings: Mapping[str, int], cached: OldPixyz, plain: OldPixyz) -> dict[str, Task]:
    """Training steps of pixyz 0.3.3, with its memo and without."""
    mc = {**settings, "analytic": False}
    return {
        "old": cached.contender("dmm", settings),
        "old_novalidate": cached.contender("dmm", settings, validate=False),
        "old_mc": cached.contender("dmm", mc),
        "old_nocache": plain.contender("dmm", settings),
        "old_mc_nocache": plain.contender("dmm", mc),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="leave out what is compiled, a minute or two a size",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="one round of one step at the smallest size, nothing recorded",
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    children, compiled = (
        (OldPixyz(cache=20), OldPixyz(cache=0)),
        not (given.no_compile or given.smoke),
    )
    for size in ["small"] if given.smoke else given.sizes:
        settings = SIZES[size]
        tasks: dict[str, Task] = {
            "naive": hand_step(settings, "naive"),
            "hand": hand_step(settings, "forward"),
            "hand_mc": hand_step(settings, "monte_carlo"),
        }
        tasks |= (
            pixyz_steps(settings, compiled) | pyro_steps(settings) | old_steps(settings, *children)
        )
        rounds, repeat = (1, 1) if given.smoke else (given.rounds, REPEAT.get(size, 1))
        seconds = contend(tasks, rounds, repeat, warmup=2)
        record(
            None if given.smoke else given.out,
            "dmm",
            {"size": size, **settings},
            seconds,
            "hand",
            PAIRS,
        )
        for child in children:
            child.forget()
    for child in children:
        child.close()


if __name__ == "__main__":
    main()
