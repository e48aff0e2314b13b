"""The picture of ratios, ``docs/speed.png``, and the tables for ``docs/performance.md``, from the last line of each size.

    python benchmarks/draw_speed.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "docs" / "speed.png"
Line = dict[str, Any]

VAE_ROWS = {
    "hand": "PyTorch by hand", "hand_probs": "by hand, probabilities", "hand_mc": "by hand, Monte Carlo",
    "hand_fused": "by hand, fused Adam", "compile": "by hand, torch.compile", "compile_fused": "torch.compile, fused Adam",
    "pyro": "Pyro", "pyro_novalidate": "Pyro, validation off", "pyro_logits_novalidate": "Pyro, logits, validation off",
    "pyro_fused": "Pyro, fused Adam", "pyro_fused_novalidate": "Pyro, fused Adam, validation off",
    "old_nocache": "pixyz 0.3.3, without cache", "old": "pixyz 0.3.3", "old_novalidate": "pixyz 0.3.3, validation off",
    "old_mc_nocache": "pixyz 0.3.3, Monte Carlo, without cache", "old_mc": "pixyz 0.3.3, Monte Carlo",
    "old_mc_novalidate": "pixyz 0.3.3, Monte Carlo, validation off", "old_fused": "pixyz 0.3.3, fused Adam",
    "old_fused_novalidate": "pixyz 0.3.3, fused Adam, validation off",
    "pixyz_unshared": "this library, not shared", "pixyz_mc_unshared": "this library, Monte Carlo, not shared",
    "pixyz": "**this library**", "pixyz_scale": "this library, scale", "pixyz_probs": "this library, probabilities and scale",
    "pixyz_mc": "this library, Monte Carlo", "pixyz_mc_probs": "this library, Monte Carlo, probabilities and scale",
    "pixyz_fused": "this library, fused Adam",
}
DMM_ROWS = {
    "naive": "PyTorch, everything in the loop", "hand": "PyTorch, loop split by hand",
    "hand_mc": "loop split by hand, Monte Carlo", "pyro": "Pyro", "pyro_novalidate": "Pyro, validation off",
    "old_nocache": "pixyz 0.3.3, without cache", "old": "pixyz 0.3.3", "old_novalidate": "pixyz 0.3.3, validation off",
    "old_mc_nocache": "pixyz 0.3.3, Monte Carlo, without cache", "old_mc": "pixyz 0.3.3, Monte Carlo",
    "pixyz_loop": "this library, `fission=False`", "pixyz": "**this library**", "pixyz_mc": "this library, Monte Carlo",
    "pixyz_mc_probs": "this library, Monte Carlo, probabilities",
}
PROMISES = {
    "vae": ["pixyz", "pixyz_probs/hand_probs", "pixyz_mc/hand_mc", "pixyz_fused/hand_fused", "pyro/pixyz",
            "pyro_novalidate/pixyz", "pyro_fused/pixyz_fused", "pyro_fused_novalidate/pixyz_fused",
            "pyro_novalidate/pixyz_mc_probs", "old/pixyz", "old_novalidate/pixyz", "old_fused/pixyz_fused",
            "old_fused_novalidate/pixyz_fused", "old_nocache/pixyz", "old_mc/pixyz_mc", "old_novalidate/pixyz_probs",
            "pixyz_unshared/pixyz"],
    "dmm": ["pixyz", "pixyz/naive", "hand/naive", "pixyz_mc/hand_mc", "pyro/pixyz", "pyro_novalidate/pixyz",
            "pyro_novalidate/pixyz_mc_probs", "old/pixyz", "old_novalidate/pixyz", "old_mc/pixyz_mc"],
}
# milliseconds a step on a TITAN RTX (Suzuki et al. 2023): contender -> by column
PAPER = {
    "vae": {
        "columns": ["h400_z10", "h400_z30", "h2000_z10", "h2000_z30"],
        "hand": [6.43, 6.58, 6.62, 6.63], "pyro": [12.46, 12.02, 12.47, 12.58],
        "old_nocache": [11.94, 11.67, 11.74, 12.13], "old": [10.18, 9.63, 10.39, 10.25],
        "old_mc_nocache": [10.83, 10.72, 10.52, 10.54], "old_mc": [9.53, 9.56, 9.67, 9.27],
    },
    "dmm": {
        "columns": ["z20", "z50", "z100", "z500"],
        "pyro": [583.26, 578.07, 663.44, 594.02],
        "old_nocache": [566.50, 594.55, 552.24, 629.75], "old": [529.71, 526.34, 521.08, 535.15],
        "old_mc_nocache": [518.36, 475.97, 521.24, 562.17], "old_mc": [473.11, 473.32, 482.46, 492.80],
    },
}
DRAWN = {"naive": "naive loop", "old": "pixyz 0.3.3", "pyro": "Pyro", "pixyz": "this library"}
COLORS = {"naive": "0.6", "old": "tab:orange", "pyro": "tab:red", "pixyz": "tab:blue"}


def read(path: Path) -> dict[str, Line]:
    """The last line of each size, in the order in which sizes first come; nothing where nothing was measured yet."""
    found: dict[str, Line] = {}
    if not path.is_file():
        return found
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        found[line.get("size") or line.get("sweep") or line["benchmark"]] = line
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def milliseconds(line: Line, name: str) -> str:
    """Of a contender, three digits."""
    ms = 1000 * line["cpu_seconds"][name]
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def contenders(lines: dict[str, Line], names: dict[str, str], baseline: str) -> str:
    """Ratios to the code by hand, with its milliseconds in the first row."""
    rows = [[f"{names[baseline]}, ms", *(milliseconds(x, baseline) for x in lines.values())]]
    for name, label in names.items():
        if name != baseline and any(name in x["ratio"] for x in lines.values()):
            rows.append([label, *(f"{x['ratio'][name]:.2f}" if name in x["ratio"] else "" for x in lines.values())])
    return table(["ratio to by hand", *lines], rows)


def promises(lines: dict[str, Line], names: Sequence[str]) -> str:
    """Ratios that are promised, with their quartiles."""
    rows = []
    for name in names:
        cells = []
        for line in lines.values():
            low, high = line["quartiles"][name]
            cells.append(f"{line['ratio'][name]:.2f} ({low:.2f}-{high:.2f})")
        rows.append([f"`{name if '/' in name else name + '/hand'}`", *cells])
    return table(["median (quartiles)", *lines], rows)


def beside_the_paper(lines: dict[str, Line], what: str, names: dict[str, str]) -> str:
    """Milliseconds here and in the paper."""
    paper = PAPER[what]
    columns = [c for c in paper["columns"] if c in lines]
    rows = []
    for name in [*[k for k in paper if k != "columns"], *(["naive", "hand"] if what == "dmm" else []), "pixyz", "pixyz_mc"]:
        told = dict(zip(paper["columns"], paper.get(name, []), strict=False))
        cells = [milliseconds(lines[c], name) + (f" ({told[c]})" if c in told else "") for c in columns]
        rows.append([names[name], *cells])
    return table(["ms here (ms in the paper)", *columns], rows)


def growths(lines: dict[str, Line]) -> str:
    """How time and memory grow."""
    rows = []
    for name, line in lines.items():
        if "sweep" in line:
            t, m = line["time"], line["memory"]
            rows.append([
                name, f"{line['sizes'][0]}..{line['sizes'][-1]}", f"{1e6 * t['slope']:.3g}", f"{t['exponent']:.2f}",
                f"{t['r_squared']:.4f}", f"{m['slope'] / 1024:.3g}", f"{m['exponent']:.2f}",
            ])
    head = ["", "sizes", "us for one more", "exponent", "r squared", "KiB for one more", "exponent"]
    return table(head, rows)


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
            high = [x["quartiles"][name][1] - m for m, x in zip(middle, lines.values(), strict=True)]
            ax.errorbar(at, middle, yerr=[low, high], fmt="o", ms=5, capsize=2, lw=1, color=COLORS[name], label=DRAWN[name])
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    vae, dmm, scaling = (read(given.results / f"{n}.jsonl") for n in ("vae", "dmm", "scaling"))
    for what, title, lines, names in (("vae", "VAE", vae, VAE_ROWS), ("dmm", "Deep Markov Model", dmm, DMM_ROWS)):
        rounds, commit = {x["rounds"] for x in lines.values()}, {x["commit"][:8] for x in lines.values()}
        print(f"### {title} (rounds: {rounds}, commit: {commit})\n")
        print(beside_the_paper(lines, what, names))
        print(contenders(lines, names, "hand"))
        print(promises(lines, PROMISES[what]))
    if scaling:
        print("### Growth\n")
        print(growths(scaling))
    for name in ("plan_building", "lifetime"):
        if name in scaling:
            told = {k: v for k, v in scaling[name].items() if k not in ("versions", "machine", "commit", "dirty", "threads")}
            print(json.dumps(told) + "\n")
    draw({"VAE (paper's Table 1)": vae, "Deep Markov Model (paper's Table 2)": dmm}, given.picture)


if __name__ == "__main__":
    main()
