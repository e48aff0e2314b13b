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
    "beta_vae": "the plain VAE of `factor_vae_gamma_0`: a smaller KL, a worse reconstruction",
    "cvae": "`vae`; a label is worth log 10 = 2.30 nats at most when it is independent of z",
}


def table(path: Path = RESULTS) -> str:
    """One row an example and a number of epochs."""
    groups: dict[tuple[str, int], list[dict]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        groups.setdefault((result["example"], result["epochs"]), []).append(result)
    rows = ["| example | epochs | seeds | test set, at the last epoch | CPU minutes a seed | to compare |", "|---|---|---|---|---|---|"]
    for (name, epochs), runs in sorted(groups.items()):
        figures = [k for k in runs[0] if k.startswith("test_")]
        cells = ", ".join(f"{k[5:].replace('_', ' ')} {spread([r[k] for r in runs])}" for k in figures)
        minutes = statistics.fmean(r["cpu_minutes"] for r in runs)
        rows.append(f"| `{name}` | {epochs} | {len(runs)} | {cells} | {minutes:.1f} | {REFERENCE.get(name, '')} |")
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    """Mean ± standard error, to three digits behind the point below 10."""
    digits = 3 if abs(statistics.fmean(values)) < 10 else 2
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"


if __name__ == "__main__":
    print(table(*map(Path, sys.argv[1:])))
