"""The twenty-line world model in open loop: oscillators that it reads, and then dreams.

python docs/gallery/dreams.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from agents.plots import new_figure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import pages  # noqa: E402

READ, SHOWN = 40, 3


def main(out: Path) -> None:
    """Run the tutorial, draw."""
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        text = (HERE.parent / "tutorials/world_model.md").read_text(encoding="utf-8")
        pages.run(text, Path(folder), names)
    x, dream, now = (names[name] for name in ("fresh", "dream", "now"))
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = torch.stack([dream.sample(now)["x"] for _ in range(64)])[..., 0]
    low, middle, high = drawn.quantile(torch.tensor([0.05, 0.5, 0.95]), 0)
    figure = new_figure()
    figure.set_size_inches(9.0, 1.5 * SHOWN + 0.6)
    ahead = range(READ, READ + len(middle))
    for i in range(SHOWN):
        axes = figure.add_subplot(SHOWN, 1, i + 1)
        axes.plot(x[:, i, 0], color="0.35", linewidth=1.2, label="what came")
        axes.plot(ahead, middle[:, i], color="C0", label="dreamt: median, 90 %")
        axes.fill_between(ahead, low[:, i], high[:, i], color="C0", alpha=0.2, linewidth=0)
        axes.axvline(READ - 0.5, color="k", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("frame (read before the line)")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, fontsize="small", frameon=False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(HERE / "dreams.png")
