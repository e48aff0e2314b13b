"""The picture of ratios, ``docs/speed.png``, from the last line of each size.

python benchmarks/draw_speed.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from speed_tables import HERE, Line, read

PICTURE = HERE.parent / "docs" / "speed.png"
DRAWN = {"naive": "naive loop", "old": "pixyz 0.3.3", "pyro": "Pyro", "pixyz": "this library"}
COLORS = {"naive": "0.6", "old": "tab:orange", "pyro": "tab:red", "pixyz": "tab:blue"}


def draw(panels: dict[str, dict[str, Line]], picture: Path) -> None:
    """A panel for each model: ratios to the code by hand at each size, with quartiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(11, 3.8), sharey=True)
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        shown = [k for k in DRAWN if any(k in x["ratio"] for x in lines.values())]
        width = 0.5 / len(shown)
        for i, name in enumerate(shown):
            at = [j + (i - (len(shown) - 1) / 2) * width for j in range(len(lines))]
            middle = [x["ratio"][name] for x in lines.values()]
            low = [m - x["quartiles"][name][0] for m, x in zip(middle, lines.values(), strict=True)]
            high = [
                x["quartiles"][name][1] - m for m, x in zip(middle, lines.values(), strict=True)
            ]
            ax.errorbar(
                at,
                middle,
                yerr=[low, high],
                fmt="o",
                ms=5,
                capsize=2,
                lw=1,
                color=COLORS[name],
                label=DRAWN[name],
            )
        ax.axhline(1.0, color="0.2", lw=0.8)
        ax.set_xticks(range(len(lines)), list(lines), fontsize=8)
        ax.set_yscale("log")
        ax.set_yticks([1, 2, 3, 5, 8], ["1", "2", "3", "5", "8"])
        ax.minorticks_off()
        ax.set_title(title, fontsize=10)
        ax.grid(axis="y", lw=0.3)
        ax.legend(fontsize=8, frameon=False)
    axes[0].set_ylabel("time of a training step / best by hand")
    figure.tight_layout()
    figure.savefig(picture, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    vae, dmm = (read(given.results / f"{n}.jsonl") for n in ("vae", "dmm"))
    draw({"VAE (paper's Table 1)": vae, "Deep Markov Model (paper's Table 2)": dmm}, given.picture)


if __name__ == "__main__":
    main()
