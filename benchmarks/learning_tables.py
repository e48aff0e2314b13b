"""The table of ``docs/agents.md``, from the lines of ``agents_learning.py``.

python benchmarks/learning_tables.py            # write it into the page, between its marks
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from learning import RESULTS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "agents.md"
Line = dict[str, Any]


def read(path: Path = RESULTS) -> dict[tuple[str, str, int], list[Line]]:
    """The runs of each config, environment and length with the settings that ship; the last line of
    each seed.
    """
    found: dict[tuple[str, str, int], dict[int, Line]] = defaultdict(dict)
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["benchmark"] == "agents_learning" and not line.get("changes"):
            found[line["config"], line["env"], line["frames"]][line["seed"]] = line
    return {key: [runs[seed] for seed in sorted(runs)] for key, runs in sorted(found.items())}


def table(found: dict[tuple[str, str, int], list[Line]]) -> str:
    """A row for each config, environment and length; evaluations that all of its seeds have."""
    rows = [
        "| config | task | frames | seeds | return at each evaluation (thousands of frames) | "
        "scores | random | CPU minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (config, env, frames), runs in found.items():
        each = [{round(at / 1000, 1): found for at, found in run["evaluations"]} for run in runs]
        returns = ", ".join(
            f"{fmean(seed[at] for seed in each):.0f} ({at:g})"
            for at in each[0]
            if all(at in seed for seed in each)
        )
        scores = ", ".join(f"{run['score']:.0f}" for run in runs)
        minutes, random = (fmean(run[key] for run in runs) for key in ("cpu_minutes", "random"))
        task = env.removeprefix("dm_control/").removesuffix("-v0")
        rows.append(
            f"| `{config}` | {task} | {frames:,} | {len(runs)} | {returns} | {scores} | "
            f"{random:.0f} | {minutes:.1f} |"
        )
    return "\n".join(rows)


def write(page: Path = PAGE) -> None:
    """Put the table between the page's marks."""
    text = page.read_text(encoding="utf-8")
    made = f"<!-- scores -->\n{table(read())}\n<!-- end -->"
    page.write_text(
        re.sub(r"<!-- scores -->\n.*?<!-- end -->", lambda _: made, text, flags=re.DOTALL),
        encoding="utf-8",
    )


if __name__ == "__main__":
    write()
