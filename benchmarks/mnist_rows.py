"""VRNN and DMM on the rows of MNIST digits: 28 frames of 28 pixels in [0, 1], Bernoulli with soft
targets.

    python benchmarks/mnist_rows.py vrnn --seed 0
    python benchmarks/mnist_rows.py dmm --seed 0

Sizes and epochs are those of pixyzoo's notebooks (VRNN: z 64, h 100, 10 epochs, test 173.74; DMM: z
16, h 32, 5 epochs, test 183.39), and so is what is measured: grey values as targets, nats summed
over rows and pixels, a mean over digits.  What differs from them: Adam at 1e-3 and batches of 128
for both (the DMM's has RMSprop at 5e-4, the VRNN's batches of 256); the DMM's transition is gated
and its RNN reads backward (theirs: an MLP, both directions).

``test_bound`` is the negative evidence bound of the 10,000 test digits, KL by formula, one draw
each, a mean over digits. Appends a JSON line to ``results/mnist_rows.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from agents.rundir import origin
from worldmodels.data import mnist_rows
from worldmodels.dmm import DMM, DMMConfig
from worldmodels.state_space import StateSpaceModel
from worldmodels.vrnn import VRNN, VRNNConfig

RESULTS = Path(__file__).parent / "results" / "mnist_rows.jsonl"
EPOCHS = {"vrnn": 10, "dmm": 5}


def build(name: str) -> StateSpaceModel:
    """The model in the notebooks' sizes."""
    if name == "vrnn":
        return VRNN(28, VRNNConfig(latent=64, rnn=100, hidden=100))
    return DMM(28, DMMConfig(latent=16, transition=32, emission=32, rnn=32, dropout=0.0))


@torch.no_grad()
def bound(model: StateSpaceModel, digits: Tensor, size: int = 1000) -> float:
    """Nats a digit."""
    total = sum(model.bound.eval({"x": part}).sum().item() for part in digits.split(size, 1))
    return total / digits.shape[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=list(EPOCHS))
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder with MNIST's four .gz files; downloaded if it is not given",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    about = origin()
    train, test = mnist_rows("train", args.data), mnist_rows("test", args.data)
    model = build(args.model)
    optimizer = torch.optim.Adam(model.parameters(), args.rate)
    curve, seconds = [], 0.0
    for epoch in range(1, EPOCHS[args.model] + 1):
        clock, cpu, total = time.time(), time.process_time(), 0.0
        for index in torch.randperm(train.shape[1]).split(args.batch):
            optimizer.zero_grad()
            loss = model.objective.eval({"x": train[:, index]})
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            total += loss.item() * len(index)
        seconds += time.time() - clock
        line = {
            "epoch": epoch,
            "train": round(28 * total / train.shape[1], 2),
            "test_bound": round(bound(model, test), 2),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
        curve.append(line)
        print(json.dumps(line), flush=True)
    result = {
        "benchmark": "mnist_rows",
        "model": args.model,
        "seed": args.seed,
        "test_bound": curve[-1]["test_bound"],
        "epochs": len(curve),
        "minutes": round(seconds / 60, 1),
        "batch": args.batch,
        "rate": args.rate,
        "parameters": sum(p.numel() for p in model.parameters()),
        "pixels": "in [0, 1], soft targets",
        "curve": curve,
        **{k: v for k, v in about.items() if k in ("commit", "dirty", "versions")},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
