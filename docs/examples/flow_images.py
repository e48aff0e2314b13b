"""What realnvp.py and glow.py share: MNIST, the training of a flow on it,
and bits per dimension.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from agents.process import prepare_process
from agents.rundir import origin
from pixyz.distributions import InverseTransformedDistribution, Normal
from pixyz.flows import Flow, FlowList, Preprocess
from pixyz.models import Model
from worldmodels.data import mnist
from worldmodels.data.digits import Part

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "examples.jsonl"


def load(part: Part, folder: Path | None) -> Tensor:
    """Digits ``[N, 1, 28, 28]`` in [0, 1], 8 bits each."""
    return mnist(part, folder)[0].unsqueeze(1).float() / 255


def bits(log_prob: float) -> float:
    """Nats of a dequantised 28 x 28 image on [0, 1] -> bits per dimension of the 8-bit image."""
    return 8 - log_prob / (28 * 28 * math.log(2))


def run(
    name: str,
    build: Callable[[], Flow],
    epochs: int,
    rate: float,
    argv: Sequence[str] | None = None,
) -> float:
    """Train ``p(x)``, print it and its test bits per dimension at the last epoch, append them to
    the results.
    """
    parser = argparse.ArgumentParser(description=f"{name} on MNIST")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="a folder with MNIST's four .gz files; else downloaded",
    )
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, help="train and test on the first so many only")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    prepare_process(args.threads)
    torch.manual_seed(args.seed)
    about = origin()
    train, test = load("train", args.data)[: args.images], load("test", args.data)[: args.images]

    prior = Normal(var="z", loc=0.0, scale=1.0, features_shape=[28 * 28])
    p = InverseTransformedDistribution(prior, FlowList([Preprocess(), build()]), var="x")
    model = Model(
        -p.log_prob().mean(),
        distributions=[p],
        optimizer=torch.optim.Adam,
        optimizer_params={"lr": rate},
        clip_grad_norm=100.0,
    )
    print(p.prob_joint_factorized_and_text, model.loss_cls, sep="\n")
    steps = args.epochs * math.ceil(len(train) / 128)
    warm = steps // 10 + 1  # the rate rises over the first tenth, then falls to 0
    schedule = torch.optim.lr_scheduler.LambdaLR(
        model.optimizer, lambda i: min((i + 1) / warm, (steps - i) / steps)
    )
    curve, began = [], time.process_time()
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(train)).split(128):
            total -= model.train({"x": train[rows]}).item() * len(rows)
            schedule.step()
        tested = -sum(model.test({"x": part}).item() * len(part) for part in test.split(500)) / len(
            test
        )
        line = {
            "epoch": epoch,
            "train": round(bits(total / len(train)), 4),
            "test": round(bits(tested), 4),
        }
        curve.append({**line, "cpu_minutes": round((time.process_time() - began) / 60, 2)})
        print(json.dumps(curve[-1]), flush=True)

    result = {
        "example": name,
        "data": "MNIST",
        "seed": args.seed,
        "epochs": args.epochs,
        "images": len(train),
        "test_bits_per_dimension": curve[-1]["test"],
        "cpu_minutes": curve[-1]["cpu_minutes"],
        "threads": args.threads,
        "parameters": sum(w.numel() for w in p.parameters()),
        "rate": rate,
        "schedule": "rises for a tenth, falls to 0",
        "batch": 128,
        "curve": curve,
        **{k: about[k] for k in ("commit", "dirty", "versions")},
    }
    args.results.parent.mkdir(exist_ok=True)
    with args.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(
        f"{name}: {curve[-1]['test']:.3f} bits per dimension on the test "
        f"set after {args.epochs} epochs"
    )
    return float(curve[-1]["test"])
