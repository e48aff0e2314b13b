"""Time of a training step of a VAE (the paper's Table 1): plain PyTorch, Pyro, pixyz 0.3.3, and
this library.

A step is loss, gradients and Adam.  Contenders (the KL by formula unless ``_mc``; a Bernoulli from
logits and a normal from the logarithm of its scale, unless ``_probs``: from probabilities and the
scale; torch's default Adam unless ``_fused``):

* ``hand``, ``hand_probs``, ``hand_mc``, ``hand_fused``: ``by_hand.VAE``; ``compile``: its loss
  under ``torch.compile``;
* ``pyro``: ``Trace_ELBO`` (Monte Carlo, probabilities), as shipped; ``_novalidate``: validation
  off; ``_logits``;
* ``old``: pixyz 0.3.3 (probabilities and scales, it knows no others); ``_nocache``: without its
  memo; ``_mc``; ``_novalidate``;
* ``pixyz``: this library; ``_unshared``: with ``loss.share(False)``, what sharing is worth;
  ``_compiled``: with ``loss.compile(whole=True)``.

0.3.3 and this library run the same source, ``declared.py``.  Ratios are to ``hand``, round by
round; ``PAIRS`` adds others.

    python benchmarks/vae.py --rounds 15
    python benchmarks/vae.py --smoke
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
from torch import Tensor

RESULTS = Path(__file__).parent / "results" / "vae.jsonl"
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"x_dim": 784, "h_dim": 16, "z_dim": 10, "batch": 8},
    "h400_z10": {"x_dim": 784, "h_dim": 400, "z_dim": 10, "batch": 128},
    "h400_z30": {"x_dim": 784, "h_dim": 400, "z_dim": 30, "batch": 128},
    "h2000_z10": {"x_dim": 784, "h_dim": 2000, "z_dim": 10, "batch": 128},
    "h2000_z30": {"x_dim": 784, "h_dim": 2000, "z_dim": 30, "batch": 128},
}
REPEAT = {"tiny": 60, "h400_z10": 6, "h400_z30": 6, "h2000_z10": 2, "h2000_z30": 2}
FUSED = {"fused": True}
PAIRS = [
    ("pixyz_probs", "hand_probs"),
    ("pixyz_mc", "hand_mc"),
    ("pixyz_fused", "hand_fused"),
    ("compile_fused", "hand_fused"),
    ("pyro", "pixyz"),
    ("pyro_novalidate", "pixyz"),
    ("pyro_novalidate", "pixyz_mc_probs"),
    ("pyro_logits_novalidate", "pixyz_mc"),
    ("pyro_fused", "pixyz_fused"),
    ("pyro_fused_novalidate", "pixyz_fused"),
    ("old", "pixyz"),
    ("old_novalidate", "pixyz"),
    ("old_novalidate", "pixyz_probs"),
    ("old_nocache", "pixyz"),
    ("old_mc", "pixyz_mc"),
    ("old_mc_novalidate", "pixyz_mc_probs"),
    ("old_fused", "pixyz_fused"),
    ("old_fused_novalidate", "pixyz_fused"),
    ("old_mc_nocache", "pixyz_mc"),
    *(
        (other + suffix, "pixyz_compiled" + suffix.removesuffix("_novalidate"))
        for other in ("pyro", "old")
        for suffix in ("", "_novalidate", "_fused", "_fused_novalidate")
    ),
    ("pixyz_compiled", "compile"),
    ("pixyz_compiled_fused", "compile_fused"),
    ("pixyz_unshared", "pixyz"),
    ("pixyz_mc_unshared", "pixyz_mc"),
]


def hand_step(
    settings: Mapping[str, int], form: str, optimizer: Mapping[str, Any], compiled: bool = False
) -> Callable[[], None]:
    """A training step in plain PyTorch."""
    torch.manual_seed(0)
    net = by_hand.VAE(settings["x_dim"], settings["h_dim"], settings["z_dim"])
    x = made_data(settings["batch"], settings["x_dim"])
    adam = torch.optim.Adam(net.parameters(), lr=1e-4, **optimizer)
    loss: Callable[[Tensor], Tensor] = (
        torch.compile(getattr(net, form)) if compiled else getattr(net, form)
    )

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        loss(x).backward()
        adam.step()

    return step


def pyro_steps(settings: Mapping[str, int]) -> dict[str, Task]:
    """Training steps of Pyro."""
    import by_pyro

    by_pyro.clear()

    def make(
        validate: bool, logits: bool = False, optimizer: Mapping[str, Any] | None = None
    ) -> Callable[[], None]:
        torch.manual_seed(0)
        net = by_hand.VAE(settings["x_dim"], settings["h_dim"], settings["z_dim"])
        x = made_data(settings["batch"], settings["x_dim"])
        return by_pyro.Training(by_pyro.VAE(net, logits), x, validate, optimizer).step

    return {
        "pyro": make(True),
        "pyro_novalidate": make(False),
        "pyro_logits_novalidate": make(False, True),
        "pyro_fused": make(True, False, FUSED),
        "pyro_fused_novalidate": make(False, False, FUSED),
    }


def pixyz_steps(settings: Mapping[str, int], compiled: bool) -> dict[str, Task]:
    """Training steps of this library."""

    def make(
        optimizer: Mapping[str, Any] | None = None,
        sharing: bool = True,
        whole: bool = False,
        **form: bool,
    ) -> Callable[[], None]:
        training = Training("vae", {**settings, **form}, optimizer)
        training.model.objective.share(sharing).compile(0, whole=whole)
        return training.step

    best = {"logits": True, "log_scale": True}
    forms = {"pixyz_compiled": None, "pixyz_compiled_fused": FUSED} if compiled else {}
    return {name: make(optimizer, whole=True, **best) for name, optimizer in forms.items()} | {
        "pixyz": make(**best),
        "pixyz_probs": make(),
        "pixyz_fused": make(FUSED, **best),
        "pixyz_scale": make(logits=True),
        "pixyz_mc": make(**best, analytic=False),
        "pixyz_mc_probs": make(analytic=False),
        "pixyz_unshared": make(sharing=False, **best),
        "pixyz_mc_unshared": make(sharing=False, **best, analytic=False),
    }


def old_steps(settings: Mapping[str, int], cached: OldPixyz, plain: OldPixyz) -> dict[str, Task]:
    """Training steps of pixyz 0.3.3, with its memo and without."""
    mc = {**settings, "analytic": False}
    return {
        "old": cached.contender("vae", settings),
        "old_novalidate": cached.contender("vae", settings, validate=False),
        "old_mc": cached.contender("vae", mc),
        "old_mc_novalidate": cached.contender("vae", mc, validate=False),
        "old_fused": cached.contender("vae", settings, optimizer=FUSED),
        "old_fused_novalidate": cached.contender("vae", settings, validate=False, optimizer=FUSED),
        "old_nocache": plain.contender("vae", settings),
        "old_mc_nocache": plain.contender("vae", mc),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument(
        "--no-compile", action="store_true", help="leave out torch.compile, which takes minutes"
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
    for size in ["tiny"] if given.smoke else given.sizes:
        settings = SIZES[size]
        tasks: dict[str, Task] = {
            "hand": hand_step(settings, "forward", {}),
            "hand_probs": hand_step(settings, "probs", {}),
            "hand_mc": hand_step(settings, "monte_carlo", {}),
            "hand_fused": hand_step(settings, "forward", FUSED),
        }
        if compiled:
            tasks |= {
                "compile": hand_step(settings, "forward", {}, True),
                "compile_fused": hand_step(settings, "forward", FUSED, True),
            }
        tasks |= (
            pixyz_steps(settings, compiled) | pyro_steps(settings) | old_steps(settings, *children)
        )
        rounds, repeat = (1, 1) if given.smoke else (given.rounds, REPEAT[size])
        seconds = contend(tasks, rounds, repeat)
        record(
            None if given.smoke else given.out,
            "vae",
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
