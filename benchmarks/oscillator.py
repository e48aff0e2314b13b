"""TD-VAE on a noisy harmonic oscillator: does a rollout keep phase and frequency, beside a model
trained to filter.

    python benchmarks/oscillator.py --seeds 0 1 2

A sequence is the position of an oscillator with its own amplitude, phase and, where ``--slow`` and
``--fast`` differ, frequency; noise is added to position and velocity at each step, and to what is
seen (after Gregor et al. 2019, section 5.2, whose constants are not published).  A model reads 100
frames and is rolled out by the means of its transitions:

    steps  20 and 100 transitions of one frame jumps  transitions of 5 frames instead (the longest
    that training draws), then single ones filter a DMM whose inference reads past frames (ST-L), of
    the same sizes, trained by its evidence bound

``phase_20`` is the mean absolute error of the phase 20 frames ahead, in rad; ``frequency_100`` the
mean relative error of the frequency of the rollout around 100 frames ahead.  Both come from a
sinusoid fitted to the rolled-out means, the truth from the sequence's own future without its noise
of observation.  Appends a JSON line a seed to ``results/oscillator.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from agents.rundir import origin
from worldmodels.data import oscillators
from worldmodels.dmm import DMM, DMMConfig
from worldmodels.state_space import StateSpaceModel
from worldmodels.td_vae import TDVAE, TDVAEConfig
from worldmodels.types import State

RESULTS = Path(__file__).parent / "results" / "oscillator.jsonl"
SEEN, AHEAD, WINDOW = 100, 140, 40
JUMP = 5


def fit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency and phase at the first frame of the sinusoid nearest to each column of ``x [W,
    N]``.
    """
    frame = torch.arange(len(x), dtype=torch.float64)
    grid = torch.linspace(0.05, 0.8, 3001, dtype=torch.float64)
    angle = grid[:, None] * frame
    # [G, W, 3]
    basis = torch.stack([torch.cos(angle), -torch.sin(angle), torch.ones_like(angle)], -1)
    solved = torch.linalg.pinv(basis) @ x.double()  # [G, 3, N]
    error = (basis @ solved - x.double()).square().sum(1)
    best = error.argmin(0)
    cosine, sine = (
        solved[best, 0, torch.arange(x.shape[1])],
        solved[best, 1, torch.arange(x.shape[1])],
    )
    return grid[best], torch.atan2(sine, cosine)


def apart(a: Tensor, b: Tensor) -> Tensor:
    """The absolute difference of two phases."""
    return torch.remainder(a - b + math.pi, 2 * math.pi).sub(math.pi).abs()


@torch.no_grad()
def scores(
    model: StateSpaceModel, test: tuple[Tensor, Tensor, Tensor], jump: bool
) -> tuple[dict[str, float], Tensor]:
    """Errors of the rollout, and the rollout ``[AHEAD, N]``."""
    seen, phases, rate = test
    model.eval()
    state: State = {k: v[-1] for k, v in model.filter({"x": seen[:SEEN]}, mean=True).items()}
    found = {}
    rolled = model.sample(state, AHEAD, mean=True)["x"][..., 0]
    for ahead in (20, 100):
        if jump:
            assert isinstance(model, TDVAE)
            after = state
            for _ in range(ahead // JUMP):
                after = model.jump(after, JUMP, mean=True)
            window = model.sample(after, WINDOW, mean=True)["x"][..., 0]
        else:
            window = rolled[ahead - 1 : ahead - 1 + WINDOW]
        frequency, phase = fit(window)
        found[f"phase_{ahead}"] = (
            apart(phase, phases[SEEN + ahead - (not jump)].double()).mean().item()
        )
        found[f"frequency_{ahead}"] = ((frequency - rate).abs() / rate).mean().item()
    return {k: round(v, 4) for k, v in found.items()}, rolled


def train(
    model: StateSpaceModel, args: argparse.Namespace, draw: torch.Generator, name: str
) -> float:
    """Minutes of the CPU."""
    optimizer = torch.optim.Adam(model.parameters(), args.rate)
    pool, began = oscillators(args.pool, SEEN, draw, args.slow, args.fast)[0], time.process_time()
    model.train()
    for update in range(args.updates):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * 0.5 * (1.02 + math.cos(math.pi * update / args.updates)) / 1.01
            )
        optimizer.zero_grad()
        loss = model.objective.eval(
            {
                "x": pool[:, torch.randint(args.pool, (args.batch,), generator=draw)],
                "beta": min(1.0, 0.1 + update / 1000),
            }
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        if update % args.log == 0:
            print(
                name,
                update,
                round(loss.item(), 3),
                scores(model, args.probe, False)[0],
                scores(model, args.probe, True)[0] if isinstance(model, TDVAE) else "",
                flush=True,
            )
    return (time.process_time() - began) / 60


def draw_rollouts(path: Path, seen: Tensor, rolled: dict[str, Tensor], count: int = 3) -> None:
    """A few sequences: what was seen, what came, and what was rolled out without seeing it."""
    figure = Figure(figsize=(9.0, 1.7 * count + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for i, axes in enumerate(figure.subplots(count, 1, sharex=True)):
        frames = range(len(seen))
        axes.plot(frames[:SEEN], seen[:SEEN, i, 0], ".", color="0.4", markersize=4, label="seen")
        axes.plot(
            frames[SEEN:], seen[SEEN:, i, 0], ".", color="0.65", markersize=4, label="to come"
        )
        for name, x in rolled.items():
            axes.plot(
                frames[SEEN : SEEN + len(x)], x[:, i], linewidth=1.2, label=f"{name}, rolled out"
            )
        axes.axvline(SEEN - 0.5, color="k", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("observation")
    axes.set_xlabel("frame")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--slow", type=float, default=0.3, help="the lowest frequency, rad a step")
    parser.add_argument("--fast", type=float, default=0.3, help="the highest frequency")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pool", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--log", type=int, default=500)
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument(
        "--pairs", type=int, default=0, help="rotated pairs of a transition; 0: a residual network"
    )
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--rnn", type=int, default=64)
    parser.add_argument("--models", nargs="+", default=["td_vae", "filter"])
    parser.add_argument("--dry", action="store_true", help="write no result")
    parser.add_argument("--picture", type=Path, help="draw rollouts of the last seed")
    args = parser.parse_args()
    for seed in args.seeds:
        torch.manual_seed(seed)
        draw = torch.Generator().manual_seed(1000 + seed)
        test = oscillators(500, SEEN + AHEAD, draw, args.slow, args.fast)
        probe = oscillators(100, SEEN + AHEAD, draw, args.slow, args.fast)
        args.probe = probe
        line: dict[str, object] = {"benchmark": "oscillator", "seed": seed}
        rolled: dict[str, Tensor] = {}
        if "td_vae" in args.models:
            jumpy = TDVAEConfig(args.latent, args.rnn, args.hidden, ((1, JUMP),), pairs=args.pairs)
            model = TDVAE(1, jumpy)
            line["td_vae_cpu_minutes"] = round(train(model, args, draw, "td_vae"), 1)
            line["steps"], rolled["TD-VAE"] = scores(model, test, False)
            line["jumps"] = scores(model, test, True)[0]
        if "filter" in args.models:
            sizes = DMMConfig(
                args.latent, args.hidden, args.hidden, args.rnn, "left", "gaussian", dropout=0.0
            )
            baseline = DMM(1, sizes)
            line["filter_cpu_minutes"] = round(train(baseline, args, draw, "filter"), 1)
            line["filter"], rolled["filter"] = scores(baseline, test, False)
        print(json.dumps(line), flush=True)
        if not args.dry:
            about = {k: v for k, v in origin().items() if k in ("commit", "dirty", "versions")}
            settings = {
                k: v
                for k, v in vars(args).items()
                if k not in ("probe", "seeds", "log", "dry", "models", "picture")
            }
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({**line, "test_sequences": 500, "arguments": settings, **about})
                    + "\n"
                )
        if args.picture:
            draw_rollouts(args.picture, test[0], rolled)


if __name__ == "__main__":
    main()
