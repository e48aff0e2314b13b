"""The results of the examples as a table: means and standard errors over seeds, at the last epoch.

    python docs/examples/mnist/summary.py
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from common import RESULTS


def table(path: Path = RESULTS) -> str:
    """One row an example and a number of epochs."""
    groups: dict[tuple[str, int], list[dict]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        groups.setdefault((result["example"], result["epochs"]), []).append(result)
    rows = ["| example | epochs | seeds | at the last epoch | CPU minutes a seed |", "|---|---|---|---|---|"]
    for (name, epochs), runs in sorted(groups.items()):
        figures = [k for k in runs[0] if k.startswith("test_")]
        cells = ", ".join(f"{k[5:].replace('_', ' ')} {spread([r[k] for r in runs])}" for k in figures)
        minutes = statistics.fmean(r["cpu_minutes"] for r in runs)
        rows.append(f"| {name} | {epochs} | {len(runs)} | {cells} | {minutes:.1f} |")
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    """Mean ± standard error."""
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    print(table(*map(Path, sys.argv[1:])))
