"""What the first tutorial's model learned: images, what it makes of them, and what it draws.

python docs/gallery/bars.py
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


def main(out: Path) -> None:
    """Run the tutorial, draw."""
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        text = (HERE.parent / "tutorials/equation.md").read_text(encoding="utf-8")
        pages.run(text, Path(folder), names)
    p, q, prior, bars = (names[name] for name in ("p", "q", "prior", "bars"))
    torch.manual_seed(0)
    with torch.no_grad():
        code = q.sample({"x": bars}, sample_mean=True)
        again = p.sample_mean(code)
        drawn = p.sample_mean(prior.sample(batch_n=16))
    figure = new_figure()
    figure.set_size_inches(9.0, 2.2)
    rows = {"images": bars, "reconstructed": again, "drawn": drawn}
    for i, (title, images) in enumerate(rows.items()):
        axes = figure.add_subplot(3, 1, i + 1)
        strip = torch.nn.functional.pad(images.reshape(-1, 8, 8), (1, 1, 1, 1), value=0.5)
        axes.imshow(torch.cat(list(strip), 1), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(title, fontsize="medium", loc="left")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(HERE / "bars.png")
