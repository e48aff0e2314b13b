"""The results of the examples as a table: means and standard errors over seeds, at the last epoch.

python docs/examples/mnist/summary.py
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from common import RESULTS

REFERENCE = {
    "beta_vae": "`factor_vae_gamma_0` is beta 1: more nats in the code, a better reconstruction",
    "cvae": "`vae` without the label",
    "factor_vae_gamma_0": "the plain VAE",
    "factor_vae_gamma_4": "`factor_vae_gamma_0`, at equal reconstruction",
    "gan": "0 for digits of the data; 92 for the ten mean digits, 75 for ten digits over and over",
    "glow": "1.05 in Grathwohl et al. (2019), a larger model and longer training",
    "hierarchical_vae": "`vae`, one layer of latents",
    "jmvae": "`vae` for the bound; `vib` for the accuracy, its only aim",
    "m2": "84.46 %, pixyz 0.3.3's notebook, a single run",
    "mixture_em": "76.6 % by k-means, 30 means in the same components",
    "mmd_vae": "`factor_vae_gamma_0` reconstructs worse, as it pays for each digit's code; "
    "an MMD of 0 is the prior",
    "mvae": "`vae` for the bound; `vib` for the accuracy, its only aim",
    "realnvp": "1.06 in Grathwohl et al. (2019), a larger model and longer training",
    "vae": "104.0 at most",
    "vib": "98.87 %, the paper (200 epochs); 98.72 %, pixyzoo's notebook, a single run",
}
HEAD = (
    "| example | epochs | seeds | test set, at the last epoch | CPU minutes a seed | to compare |"
)


def table(path: Path = RESULTS) -> str:
    """One row an example and a number of epochs; runs with ``--validate`` are left out."""
    groups: dict[tuple[str, int], list[dict]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        if not result.get("validate"):
            groups.setdefault((result["example"], result["epochs"]), []).append(result)
    rows = [HEAD, "|---|---|---|---|---|---|"]
    for (name, epochs), runs in sorted(groups.items()):
        figures = [k for k in runs[0] if k.startswith("test_")]
        cells = ", ".join(
            f"{k[5:].replace('_', ' ')} {spread([r[k] for r in runs])}{' %' * ('accuracy' in k)}"
            for k in figures
        )
        minutes = statistics.fmean(r["cpu_minutes"] for r in runs)
        rows.append(
            f"| `{name}` | {epochs} | {len(runs)} | {cells} | {minutes:.1f} "
            f"| {REFERENCE.get(name, '')} |"
        )
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    """Mean ± standard error, to three digits behind the point below 10."""
    digits = 3 if abs(statistics.fmean(values)) < 10 else 2
    mean = f"{statistics.fmean(values):.{digits}f}"
    return (
        mean
        if len(values) < 2
        else f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"
    )


if __name__ == "__main__":
    print(table(*map(Path, sys.argv[1:])))
