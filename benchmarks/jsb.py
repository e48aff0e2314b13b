"""DMM on JSB chorales (quarter notes, 88 keys), by the protocol of Krishnan, Shalit and Sontag
2017.

    python benchmarks/jsb.py --seed 0 --run runs/jsb/seed0

The published results are of 450 epochs, 8 CPU minutes each:

    python benchmarks/jsb.py --seed 0 --run runs/jsb/seed0 --epochs 450 --rate 2e-3 --decay 1e-4

The paper's own sizes and length (not run to its end here):

    python benchmarks/jsb.py --seed 0 --run runs/jsb/full --epochs 2000 --rnn 600 --rate 8e-4
    --anneal 416 --start 0.01

``train_bound``, ``valid_bound`` and ``test_bound`` are nats a frame over all frames of a set: the
evidence bound at KL weight 1, KL by formula, ``--samples`` draws.  The checkpoint of the lowest
validation bound gives the test bound and the estimate with 2000 importance samples.  The whole
curve is in one JSON line of ``results/jsb.jsonl``.  A run that was killed goes on from its last
checkpoint when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.rundir import origin
from worldmodels.annealing import Annealing
from worldmodels.data import polyphonic
from worldmodels.data.music import KEYS
from worldmodels.dmm import DMM, DMMConfig
from worldmodels.estimators import estimate

RESULTS = Path(__file__).parent / "results" / "jsb.jsonl"


def load(folder: Path | None) -> dict[str, list[Tensor]]:
    """Piano rolls ``[T, 88]`` of the given split."""
    return {
        part: [torch.from_numpy(song["x"]) for song in songs]
        for part, songs in polyphonic("jsb", folder).items()
    }


def pad(songs: list[Tensor]) -> dict[str, Tensor]:
    """A ragged batch."""
    x = torch.nn.utils.rnn.pad_sequence(songs)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(s)) for s in songs])
    return {"x": x, "mask": mask}


def batches(songs: list[Tensor], size: int, shuffle: random.Random) -> list[dict[str, Tensor]]:
    """Batches of songs of about the same length, in any order."""
    order = sorted(songs, key=lambda s: len(s) * shuffle.uniform(0.85, 1.15))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    shuffle.shuffle(groups)
    return [pad(g) for g in groups]


def nats(model: DMM, batch: dict[str, Tensor], samples: int) -> Tensor:
    """The negative evidence bound of each song, ``[B]``."""
    model.eval()
    with torch.no_grad():
        return torch.stack([model.bound.eval(batch) for _ in range(samples)]).mean(0)


def bound(model: DMM, batch: dict[str, Tensor], samples: int) -> float:
    """Nats a frame, over all frames of a set."""
    return (nats(model, batch, samples).sum() / batch["mask"].sum()).item()


class Run:
    """A training run: the model, its optimizer, its curve, and their checkpoint."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.args, self.shuffle, self.origin = args, random.Random(args.seed), origin()
        self.config = DMMConfig(
            rnn=args.rnn,
            dropout=args.dropout,
            latent=args.latent,
            reads=args.reads,
            flows=args.flows,
        )
        self.model = DMM(KEYS, self.config)
        kind = torch.optim.AdamW if args.decoupled else torch.optim.Adam
        self.optimizer = kind(
            self.model.parameters(), args.rate, betas=(args.beta1, 0.999), weight_decay=args.decay
        )
        self.epoch, self.seconds, self.cpu, self.updates = 0, 0.0, 0.0, 0
        self.curve: list[dict[str, float]] = []
        self.best, self.best_state = float("inf"), self.model.state_dict()
        self.changes: list[dict[str, Any]] = []  # settings that were given anew when a run went on
        self.file = args.run / "checkpoint.pt"
        if self.file.exists():
            self.restore()

    def restore(self) -> None:
        found = torch.load(self.file, weights_only=False)
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        for name in (
            "epoch",
            "seconds",
            "cpu",
            "updates",
            "curve",
            "best",
            "best_state",
            "changes",
        ):
            setattr(self, name, found.get(name, []))
        new = {
            k: v
            for k, v in vars(self.args).items()
            if found["args"].get(k) != v and k not in ("data", "run")
        }
        self.changes += [{"epoch": self.epoch, **new}] if new else []
        torch.set_rng_state(found["rng"])
        self.shuffle.setstate(found["shuffle"])
        print(f"resumed at epoch {self.epoch}", flush=True)

    def save(self) -> None:
        names = ("epoch", "seconds", "cpu", "updates", "curve", "best", "best_state", "changes")
        held: dict[str, Any] = {n: getattr(self, n) for n in names}
        held.update(
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            rng=torch.get_rng_state(),
            shuffle=self.shuffle.getstate(),
            args=vars(self.args),
        )
        fresh = self.file.with_suffix(".tmp")
        torch.save(held, fresh)
        os.replace(fresh, self.file)

    def train_epoch(self, songs: list[Tensor], beta: Annealing, last: int) -> float:
        """One epoch; the objective a frame."""
        args = self.args
        self.model.train()
        total = frames = 0.0
        for batch in batches(songs, args.batch, self.shuffle):
            for group in self.optimizer.param_groups:
                group["lr"] = args.rate * args.final ** min(1.0, self.updates / last)
            self.optimizer.zero_grad()
            loss = self.model.objective.eval({**batch, "beta": beta(self.updates)})
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), args.clip)
            self.optimizer.step()
            self.updates += 1
            count = batch["mask"].sum().item()
            total, frames = total + loss.item() * count, frames + count
        self.epoch += 1
        return total / frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder with jsb-chorales-quarter.json; downloaded if it is not given",
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument(
        "--final", type=float, default=0.1, help="the rate's share that is left at the end"
    )
    parser.add_argument("--beta1", type=float, default=0.96)
    parser.add_argument(
        "--clip",
        type=float,
        default=1.0,
        help="the largest norm of the gradient of the mean a frame",
    )
    parser.add_argument(
        "--decay", type=float, default=1.7e-3, help="L2 weight (gradient of the mean a frame)"
    )
    parser.add_argument("--decoupled", action="store_true", help="decoupled weight decay (AdamW)")
    parser.add_argument(
        "--anneal", type=int, default=200, help="epochs until the weight of the KL is 1"
    )
    parser.add_argument("--start", type=float, default=0.2, help="the first weight of the KL")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rnn", type=int, default=200)
    parser.add_argument("--latent", type=int, default=100)
    parser.add_argument("--reads", default="right")
    parser.add_argument(
        "--flows", type=int, default=0, help="inverse autoregressive flows of the posterior"
    )
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--every", type=int, default=10, help="epochs between evaluations")
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    rolls = load(args.data)
    sets = {name: pad(songs) for name, songs in rolls.items()}
    run = Run(args)
    per_epoch = -(-len(rolls["train"]) // args.batch)
    beta = Annealing(args.start, 1.0, args.anneal * per_epoch)
    while run.epoch < args.epochs:
        clock, cpu = time.time(), time.process_time()
        objective = run.train_epoch(rolls["train"], beta, args.epochs * per_epoch)
        run.seconds, run.cpu = (
            run.seconds + time.time() - clock,
            run.cpu + time.process_time() - cpu,
        )
        if run.epoch % args.every == 0 or run.epoch == args.epochs:
            samples = args.samples if run.updates >= beta.steps else 2
            valid = bound(run.model, sets["valid"], samples)
            line = {
                "epoch": run.epoch,
                "hours": round(run.seconds / 3600, 4),
                "cpu_hours": round(run.cpu / 3600, 4),
                "beta": round(beta(run.updates), 3),
                "objective": round(objective, 4),
                "valid_bound": round(valid, 4),
                "test_bound": round(bound(run.model, sets["test"], samples), 4),
            }
            if valid < run.best:
                run.best = valid
                run.best_state = {k: v.clone() for k, v in run.model.state_dict().items()}
            run.curve.append(line)
            run.save()
            print(json.dumps(line), flush=True)
    finish(run, sets)


def finish(run: Run, sets: dict[str, dict[str, Tensor]]) -> None:
    """Evaluate the best checkpoint and append the line."""
    run.model.load_state_dict(run.best_state)
    run.model.eval()
    found = estimate(run.model.log_weight, sets["test"], 2000)
    chosen = min(run.curve, key=lambda c: c["valid_bound"])
    samples = max(10, run.args.samples)
    many = nats(run.model, sets["test"], samples)
    lengths = sets["test"]["mask"].sum(0)
    line = {
        "benchmark": "jsb",
        "model": "DMM",
        "seed": run.args.seed,
        "epochs": run.epoch,
        "hours": round(run.seconds / 3600, 3),
        "cpu_hours": round(run.cpu / 3600, 3),
        "best_epoch": chosen["epoch"],
        "valid_bound": bound(run.model, sets["valid"], samples),
        "test_bound": (many.sum() / lengths.sum()).item(),
        "test_bound_mean_of_sequences": (many / lengths).mean().item(),
        "test_is_2000": found.per_frame(found.importance),
        "train_bound": bound(run.model, sets["train"], 2),
        "kl": "sampled" if run.args.flows else "analytic",
        "selection": "lowest validation bound",
        "samples": samples,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "arguments": {k: v for k, v in vars(run.args).items() if k not in ("data", "run")},
        "changes": run.changes,
        "curve": run.curve,
        **{k: v for k, v in run.origin.items() if k in ("commit", "dirty", "versions")},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps({k: v for k, v in line.items() if k != "curve"}), flush=True)


if __name__ == "__main__":
    main()
