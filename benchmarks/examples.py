"""Run the examples on MNIST, three seeds each: the figures of ``docs/examples/README.md``.

Each run is a process of its own on one thread and appends a line to
``benchmarks/results/examples.jsonl``; ``docs/examples/mnist/summary.py`` makes the table.  All of
them take four CPU hours; two and a half of these are the information bottleneck's 200 epochs.

    python benchmarks/examples.py
    python benchmarks/examples.py --names vae m2 --seeds 0 --data FOLDER
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "docs" / "examples"
RUNS = {
    **{
        name: [f"mnist/{name}.py"]
        for name in (
            "vae",
            "beta_vae",
            "cvae",
            "hierarchical_vae",
            "m2",
            "jmvae",
            "mvae",
            "gan",
            "mmd_vae",
            "mixture_em",
            "vib",
        )
    },
    "factor_vae_gamma_0": ["mnist/factor_vae.py", "--gamma", "0", "--beta", "1", "--target", "0"],
    "factor_vae_gamma_4": ["mnist/factor_vae.py"],
    "vib in 15 epochs": ["mnist/vib.py", "--epochs", "15", "--rate", "5e-4", "--decay", "0.6"],
    "realnvp": ["realnvp.py"],
    "glow": ["glow.py"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="a folder with MNIST's four .gz files; else downloaded",
    )
    parser.add_argument(
        "--results", type=Path, default=HERE / "results" / "examples.jsonl", metavar="FILE"
    )
    given = parser.parse_args()
    shared = [
        "--threads",
        "1",
        "--results",
        str(given.results),
        *(["--data", str(given.data)] if given.data else []),
    ]
    for name in given.names:
        script, *settings = RUNS[name]
        for seed in given.seeds:
            print(f"{name}, seed {seed}", flush=True)
            subprocess.run(
                [sys.executable, str(EXAMPLES / script), "--seed", str(seed), *settings, *shared],
                check=True,
            )


if __name__ == "__main__":
    main()
