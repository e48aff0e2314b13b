"""What the examples on MNIST share: arguments, digits, minibatches, the clock, and the line a run
leaves behind.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from agents.process import prepare_process
from agents.rundir import origin
from pixyz.distributions import Distribution
from pixyz.losses import LogProb
from worldmodels.data import mnist
from worldmodels.data.digits import Part

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "examples.jsonl"


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them and none behind the last."""
    layers: list[nn.Module] = []
    for size, following in pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def read(part: Part, folder: Path | None) -> tuple[Tensor, Tensor]:
    """Digits ``[N, 784]`` in [0, 1] and labels ``[N, 10]``, one-hot."""
    images, labels = mnist(part, folder)
    return images.flatten(1).float() / 255, F.one_hot(labels, 10).float()


class Run:
    """One run of an example.

    Args:
        name: the example.
        epochs: the default of ``--epochs``.
        argv: the command line; ``sys.argv`` if None.
        settings: what else the results' line shall say (rates, sizes), with the defaults of
            arguments of these names.
    """

    def __init__(
        self, name: str, epochs: int, argv: Sequence[str] | None = None, **settings: Any
    ) -> None:
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
        parser.add_argument(
            "--validate",
            action="store_true",
            help="test on the last 10,000 training digits, train on the rest",
        )
        parser.add_argument(
            "--results", type=Path, default=RESULTS, metavar="FILE", help="the JSON line goes here"
        )
        for key, value in settings.items():
            parser.add_argument(f"--{key}", type=type(value), default=value)
        self.name, self.args = name, parser.parse_args(argv)
        self.settings = {key: getattr(self.args, key) for key in settings}
        prepare_process(self.args.threads)
        torch.manual_seed(self.args.seed)
        self.origin, self.curve, self._began = origin(), [], time.process_time()
        self.x, self.y = read("train", self.args.data)
        self.test_x, self.test_y = read("test", self.args.data)
        if self.args.validate:
            (self.x, self.test_x), (self.y, self.test_y) = (
                part.split([50_000, 10_000]) for part in (self.x, self.y)
            )
        self.schedules: list[optim.lr_scheduler.LRScheduler] = []

    def epochs(self) -> Iterator[int]:
        """1, 2, ..., ``--epochs``."""
        yield from range(1, self.args.epochs + 1)

    def batches(self, size: int = 128) -> Iterator[tuple[Tensor, Tensor]]:
        """Digits and labels of the training set, shuffled; moves the rates of :meth:`falling`
        behind each batch.
        """
        for rows in torch.randperm(len(self.x)).split(size):
            yield self.x[rows], self.y[rows]
            for schedule in self.schedules:
                schedule.step()

    def falling(self, optimizer: optim.Optimizer, size: int = 128) -> None:
        """Let the rate fall linearly to 0 over the run."""
        steps = self.args.epochs * math.ceil(len(self.x) / size)
        self.schedules.append(
            optim.lr_scheduler.LambdaLR(optimizer, lambda i: max(0.0, 1 - i / steps))
        )

    @torch.no_grad()
    def tested(self, value: Callable[[Tensor, Tensor], Tensor], size: int = 500) -> float:
        """The mean of ``value(x, y)``, a number or ``[B]``, over the test set."""
        parts = zip(self.test_x.split(size), self.test_y.split(size))
        return sum(value(x, y).mean().item() * len(x) for x, y in parts) / len(self.test_x)

    def log(self, epoch: int, **figures: float) -> None:
        """Keep and print an epoch's figures."""
        line = {"epoch": epoch, **{k: round(v, 4) for k, v in figures.items()}}
        self.curve.append({**line, "cpu_minutes": self.minutes})
        print(json.dumps(self.curve[-1]), flush=True)

    @property
    def minutes(self) -> float:
        """CPU minutes since the start, all threads together."""
        return round((time.process_time() - self._began) / 60, 2)

    def finish(self, **figures: float) -> dict[str, Any]:
        """Append the line of this run to the results; ``figures`` join those of the last epoch."""
        found = {k: v for k, v in self.curve[-1].items() if k not in ("epoch", "cpu_minutes")}
        result = {
            "example": self.name,
            "data": "MNIST",
            "seed": self.args.seed,
            "epochs": self.args.epochs,
            **found,
            **{k: round(v, 4) for k, v in figures.items()},
            "cpu_minutes": self.minutes,
            "threads": self.args.threads,
            **self.settings,
            "images": len(self.x),
            "validate": self.args.validate,
            "curve": self.curve,
            **{k: self.origin[k] for k in ("commit", "dirty", "versions")},
        }
        self.args.results.parent.mkdir(parents=True, exist_ok=True)
        with self.args.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        return result


@torch.no_grad()
def importance_weighted(joint: Distribution, q: Distribution, x: Tensor, samples: int) -> float:
    r"""The mean over ``x`` of :math:`\log \frac{1}{K} \sum_k p(x, z_k) / q(z_k|x)` (Burda et al.,
    2016, eq. 8).
    """
    weight, found = LogProb(joint) - LogProb(q), []
    for part in x.split(8):
        given = q.sample({"x": part.repeat_interleave(samples, 0)})
        found.append(
            weight.eval(given).view(-1, samples).logsumexp(1).mean().item() - math.log(samples)
        )
    return statistics.fmean(found)
