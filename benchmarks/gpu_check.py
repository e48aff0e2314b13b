"""One look at a GPU, in at most six minutes: does every agent compute there what it computes on a
CPU, and how fast is DreamerV3?

Compares loss and gradients of each agent in float64 with the CPU, on the same draws, and lets it
make an update; then times whole updates (losses, backward, optimizer, slow critic) of DreamerV3 at
three published sizes in float32 and bfloat16: eager, captured as a CUDA graph, and compiled, which
goes on in its own process for as long as there is time.  Needs no network, and no file but this
repository.  Where no GPU is it runs at a small size, so that it is known to run; its times say
nothing then.

    python benchmarks/gpu_check.py
    python benchmarks/gpu_check.py --out gpu.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timing import about
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from agents.build import KINDS, agent_class
from agents.dreamer import DreamerV3, DreamerV3Config
from agents.spaces import ActionSpec
from worldmodels import RSSMConfig

SHAPES = {"position": (3,), "velocity": (2,)}
LATENT = {"deter": 16, "hidden": 8, "groups": 3, "classes": 3, "units": 8, "depth": 2}
OWN = {"units": 16, "latent": 16, "encoder_units": 16, "bins": 31, "critics": 2, "horizon": 4}
"""Small sizes, of world models and of agents: what is compared is what is computed."""
SIZES = {
    "tiny": {"deter": 32, "hidden": 16, "classes": 4, "units": 16, "depth": 2},
    "size1m": {"deter": 512, "hidden": 64, "classes": 4, "units": 64, "depth": 4},
    "size12m": {"deter": 2048, "hidden": 256, "classes": 16, "units": 256, "depth": 16},
    "size100m": {"deter": 6144, "hidden": 768, "classes": 48, "units": 768, "depth": 48},
}
PRECISIONS = ("float32", "bfloat16")
CLOSE = 1e-7
"""Of the largest gradient of a weight."""


class SameDraws(TorchDispatchMode):
    """Random numbers come from the CPU's generator, wherever they are used."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        where = kwargs.get("device") or next(
            (a.device for a in args if isinstance(a, Tensor)), torch.device("cpu")
        )
        there = {k: torch.device("cpu") if k == "device" else v for k, v in kwargs.items()}
        found = func(*tree_map(lambda a: a.cpu() if isinstance(a, Tensor) else a, args), **there)
        if str(func).partition(".")[2].partition(".")[0].endswith("_"):
            return args[0].copy_(found)
        return tree_map(lambda a: a.to(where) if isinstance(a, Tensor) else a, found)


def window(agent: Any, dtype: torch.dtype, rows: int, batch: int) -> dict[str, Tensor]:
    """Made rows ``[T, B, ...]`` as a replay gives them."""
    g = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(rows, batch, *shape, generator=g, dtype=dtype)

    flags = torch.rand(rows, batch, generator=g) < 0.02
    found = {k: normal(*s) for k, s in {**SHAPES, **agent.stored}.items()}
    return found | {
        "action": torch.tanh(normal(agent.action.size)),
        "reward": normal(),
        "is_first": flags.roll(1, 0),
        "is_last": flags,
        "is_terminal": flags & (torch.rand(rows, batch, generator=g) < 0.5),
    }


def small(kind: str) -> Any:
    """An agent of a few weights, none of them zero, in float64."""
    cls = agent_class(kind)
    config = cls.Config()
    config = replace(config, **{k: v for k, v in OWN.items() if hasattr(config, k)})
    if hasattr(config, "model"):
        config = replace(config, model=replace(config.model, **LATENT))
    torch.manual_seed(0)
    agent = cls(SHAPES, ActionSpec(2), config).double()
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return agent.train()


def gradients(agent: Any, batch: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """The loss and the gradients, in the second run: the first tries the plan."""
    for _ in range(2):
        torch.manual_seed(1)
        agent.zero_grad(set_to_none=True)
        with SameDraws():
            loss, _ = agent.losses(batch)
            loss.backward()
    return float(loss.detach()), {
        n: p.grad.cpu() for n, p in agent.named_parameters() if p.grad is not None
    }


def compare(kind: str, device: str) -> dict[str, Any]:
    """How far an agent's loss and gradients on the device are from those on the CPU, and whether it
    learns there.
    """
    here, there = small(kind), small(kind).to(device)
    batch = window(here, torch.float64, min(here.window.rows, 9), 5)
    moved = {k: v.to(device) for k, v in batch.items()}
    (loss, wanted), (other, found) = gradients(here, batch), gradients(there, moved)
    gap = max(
        float((found[n] - g).abs().max() / g.abs().max().clamp(min=1e-12))
        for n, g in wanted.items()
    )
    gap = max(gap, abs(other - loss) / max(abs(loss), 1.0))
    there.learn(moved)
    return {"agent": kind, "gap": gap, "same": found.keys() == wanted.keys() and gap < CLOSE}


def dreamer(
    size: str, precision: str, device: str, whole: bool
) -> tuple[DreamerV3, dict[str, Tensor]]:
    """DreamerV3 of a published size, and a batch on the device."""
    sizes = SIZES[size]
    own = {} if size != "tiny" else {"batch": 4, "length": 8, "horizon": 4, "bins": 31}
    config = DreamerV3Config(
        model=RSSMConfig(**sizes),
        units=sizes["units"],
        precision=precision,  # type: ignore[arg-type]
        chunk=8 if whole else 0,
        whole=whole,
        **own,  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    agent = DreamerV3(SHAPES, ActionSpec(2), config).to(device)
    batch = window(agent, torch.float32, agent.window.rows, config.batch)
    return agent, {k: v.to(device) for k, v in batch.items()}


def milliseconds(agent: Any, batch: Mapping[str, Tensor], updates: int) -> float:
    """The median of some updates, by the wall clock."""
    taken = []
    for i in range(updates + 2):
        synchronize(agent)
        began = time.perf_counter()
        agent.learn(batch)
        synchronize(agent)
        if i >= 2:
            taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken), 2)


def synchronize(agent: Any) -> None:
    """Wait for the device."""
    if agent.device.type == "cuda":
        torch.cuda.synchronize()


def measure(size: str, precision: str, device: str, updates: int) -> dict[str, Any]:
    """Eager and captured updates of a size."""
    agent, batch = dreamer(size, precision, device, whole=False)
    found: dict[str, Any] = {
        "size": size,
        "precision": precision,
        "weights": sum(p.numel() for p in agent.parameters()),
    }
    found["eager"] = milliseconds(agent, batch, updates)
    why = agent.capture(batch)
    found["captured"] = why or milliseconds(agent, batch, updates)
    if agent.device.type == "cuda":
        found["gigabytes"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        torch.cuda.reset_peak_memory_stats()
    return found


def compiled(size: str, precision: str, device: str, updates: int, seconds: float) -> float | str:
    """Compiled updates, in a process that ends with the time."""
    if seconds < 30:
        return "no time left"
    command = [
        sys.executable,
        __file__,
        "--compiled",
        size,
        precision,
        "--device",
        device,
        "--updates",
        str(updates),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "no time left"
    lines = done.stdout.strip().splitlines()
    return (
        float(lines[-1])
        if done.returncode == 0 and lines
        else f"failed: {done.stderr.strip().splitlines()[-1:]}"
    )


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Milliseconds of an update."""
    columns = ("size", "precision", "weights", "eager", "captured", "compiled", "gigabytes")
    rows = [
        columns,
        ("---",) * len(columns),
        *[[line.get(c, "") for c in columns] for line in lines],
    ]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=6.0, help="nothing new is begun later")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compiled", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    device, end = options.device, time.monotonic() + 60 * options.minutes - 10
    if options.compiled:
        print(milliseconds(*dreamer(*options.compiled, device, whole=True), options.updates))
        return {}
    there = torch.device(device).type == "cuda"
    name = (
        torch.cuda.get_device_name() if there else "a CPU: the times below say nothing about a GPU"
    )
    print(f"{name}, torch {torch.__version__}", flush=True)
    compared = []
    for kind in KINDS:
        compared.append(compare(kind, device))
        word = "same" if compared[-1]["same"] else "NOT THE SAME"
        print(f"{kind}: {compared[-1]['gap']:.1e} from the CPU, {word}", flush=True)
    lines: list[dict[str, Any]] = []
    for size in options.sizes or (["size1m", "size12m", "size100m"] if there else ["tiny"]):
        for precision in PRECISIONS:
            if time.monotonic() > end:
                lines.append({"size": size, "precision": precision, "eager": "no time left"})
                continue
            try:
                lines.append(measure(size, precision, device, options.updates))
            except torch.OutOfMemoryError as error:
                lines.append(
                    {
                        "size": size,
                        "precision": precision,
                        "eager": f"out of memory: {str(error).splitlines()[0]}",
                    }
                )
            print(lines[-1], flush=True)
    for line in lines if there else []:
        line["compiled"] = compiled(
            line["size"], line["precision"], device, options.updates, end - time.monotonic()
        )
        print(line, flush=True)
    print(table(lines))
    found = {
        "benchmark": "gpu_check",
        "device": name,
        "compared": compared,
        "updates": lines,
        **about(),
    }
    if options.out is not None:
        options.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
    if not all(c["same"] for c in compared):
        raise SystemExit("an agent computes something else on the device than on a CPU")
    return found


if __name__ == "__main__":
    main()
