"""The tables of ``docs/performance.md``, from the last line of each measurement.

python benchmarks/speed_tables.py            # write them into the page, between its marks
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
Line = dict[str, Any]

VAE_ROWS = {
    "hand": "PyTorch by hand",
    "hand_probs": "by hand, probabilities",
    "hand_mc": "by hand, Monte Carlo",
    "hand_fused": "by hand, fused Adam",
    "compile": "by hand, torch.compile",
    "compile_fused": "torch.compile, fused Adam",
    "pyro": "Pyro",
    "pyro_novalidate": "Pyro, validation off",
    "pyro_logits_novalidate": "Pyro, logits, validation off",
    "pyro_fused": "Pyro, fused Adam",
    "pyro_fused_novalidate": "Pyro, fused Adam, validation off",
    "old_nocache": "pixyz 0.3.3, without cache",
    "old": "pixyz 0.3.3",
    "old_novalidate": "pixyz 0.3.3, validation off",
    "old_mc_nocache": "pixyz 0.3.3, Monte Carlo, without cache",
    "old_mc": "pixyz 0.3.3, Monte Carlo",
    "old_mc_novalidate": "pixyz 0.3.3, Monte Carlo, validation off",
    "old_fused": "pixyz 0.3.3, fused Adam",
    "old_fused_novalidate": "pixyz 0.3.3, fused Adam, validation off",
    "pixyz_unshared": "this library, not shared",
    "pixyz_mc_unshared": "this library, Monte Carlo, not shared",
    "pixyz": "**this library**",
    "pixyz_scale": "this library, scale",
    "pixyz_probs": "this library, probabilities and scale",
    "pixyz_mc": "this library, Monte Carlo",
    "pixyz_mc_probs": "this library, Monte Carlo, probabilities and scale",
    "pixyz_fused": "this library, fused Adam",
    "pixyz_compiled": "this library, compiled",
    "pixyz_compiled_fused": "this library, compiled, fused Adam",
}
DMM_ROWS = {
    "naive": "PyTorch, everything in the loop",
    "hand": "PyTorch, loop split by hand",
    "hand_mc": "loop split by hand, Monte Carlo",
    "pyro": "Pyro",
    "pyro_novalidate": "Pyro, validation off",
    "old_nocache": "pixyz 0.3.3, without cache",
    "old": "pixyz 0.3.3",
    "old_novalidate": "pixyz 0.3.3, validation off",
    "old_mc_nocache": "pixyz 0.3.3, Monte Carlo, without cache",
    "old_mc": "pixyz 0.3.3, Monte Carlo",
    "pixyz_loop": "this library, `fission=False`",
    "pixyz": "**this library**",
    "pixyz_mc": "this library, Monte Carlo",
    "pixyz_mc_probs": "this library, Monte Carlo, probabilities",
    "pixyz_compiled": "this library, compiled",
}
PROMISES = {
    "vae": [
        "pixyz",
        "pixyz_probs/hand_probs",
        "pixyz_mc/hand_mc",
        "pixyz_fused/hand_fused",
        "pyro/pixyz",
        "pyro_novalidate/pixyz",
        "pyro_fused/pixyz_fused",
        "pyro_fused_novalidate/pixyz_fused",
        "pyro_novalidate/pixyz_mc_probs",
        "old/pixyz",
        "old_novalidate/pixyz",
        "old_fused/pixyz_fused",
        "old_fused_novalidate/pixyz_fused",
        "old_nocache/pixyz",
        "old_mc/pixyz_mc",
        "old_novalidate/pixyz_probs",
        "pixyz_unshared/pixyz",
        "pyro/pixyz_compiled",
        "pyro_novalidate/pixyz_compiled",
        "pyro_fused/pixyz_compiled_fused",
        "pyro_fused_novalidate/pixyz_compiled_fused",
        "old/pixyz_compiled",
        "old_novalidate/pixyz_compiled",
        "old_fused/pixyz_compiled_fused",
        "old_fused_novalidate/pixyz_compiled_fused",
    ],
    "dmm": [
        "pixyz",
        "pixyz/naive",
        "hand/naive",
        "pixyz_mc/hand_mc",
        "pyro/pixyz",
        "pyro_novalidate/pixyz",
        "pyro_novalidate/pixyz_mc_probs",
        "pyro/pixyz_compiled",
        "pyro_novalidate/pixyz_compiled",
        "old/pixyz",
        "old_novalidate/pixyz",
        "old_mc/pixyz_mc",
    ],
}
# milliseconds a step on a TITAN RTX (Suzuki et al. 2023): contender -> by column
PAPER = {
    "vae": {
        "columns": ["h400_z10", "h400_z30", "h2000_z10", "h2000_z30"],
        "hand": [6.43, 6.58, 6.62, 6.63],
        "pyro": [12.46, 12.02, 12.47, 12.58],
        "old_nocache": [11.94, 11.67, 11.74, 12.13],
        "old": [10.18, 9.63, 10.39, 10.25],
        "old_mc_nocache": [10.83, 10.72, 10.52, 10.54],
        "old_mc": [9.53, 9.56, 9.67, 9.27],
    },
    "dmm": {
        "columns": ["z20", "z50", "z100", "z500"],
        "pyro": [583.26, 578.07, 663.44, 594.02],
        "old_nocache": [566.50, 594.55, 552.24, 629.75],
        "old": [529.71, 526.34, 521.08, 535.15],
        "old_mc_nocache": [518.36, 475.97, 521.24, 562.17],
        "old_mc": [473.11, 473.32, 482.46, 492.80],
    },
}


def size_of(line: Line) -> str:
    """What a line is of: a size, a sweep, or what the benchmark measures."""
    return line.get("size") or line.get("sweep") or line["benchmark"]  # type: ignore[no-any-return]


def read(path: Path, name: Callable[[Line], str] = size_of) -> dict[str, Line]:
    """The last line of each size, in the order in which sizes first come; nothing where nothing was
    measured yet.
    """
    found: dict[str, Line] = {}
    if not path.is_file():
        return found
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        found[name(line)] = line
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
            rows.append(
                [
                    label,
                    *(
                        f"{x['ratio'][name]:.2f}" if name in x["ratio"] else ""
                        for x in lines.values()
                    ),
                ]
            )
    return table(["ratio to by hand", *lines], rows)


def promises(lines: dict[str, Line], names: Sequence[str]) -> str:
    """Ratios that are promised, with their quartiles."""
    rows = []
    for name in names:
        if any(name in x["ratio"] for x in lines.values()):
            cells = [spread(x, name) if name in x["ratio"] else "" for x in lines.values()]
            rows.append([f"`{name if '/' in name else name + '/hand'}`", *cells])
    return table(["median (quartiles)", *lines], rows)


def beside_the_paper(lines: dict[str, Line], what: str, names: dict[str, str]) -> str:
    """Milliseconds here and in the paper."""
    paper = PAPER[what]
    columns = [c for c in paper["columns"] if c in lines]
    rows = []
    for name in [
        *[k for k in paper if k != "columns"],
        *(["naive", "hand"] if what == "dmm" else []),
        "pixyz",
        "pixyz_mc",
    ]:
        told = dict(zip(paper["columns"], paper.get(name, []), strict=False))
        cells = [
            milliseconds(lines[c], name) + (f" ({told[c]})" if c in told else "") for c in columns
        ]
        rows.append([names[name], *cells])
    return table(["ms here (ms in the paper)", *columns], rows)


def growths(lines: dict[str, Line]) -> str:
    """How time and memory grow."""
    rows = []
    for name, line in lines.items():
        if "sweep" in line:
            t, m = line["time"], line["memory"]
            rows.append(
                [
                    name,
                    f"{line['sizes'][0]}..{line['sizes'][-1]}",
                    f"{1e6 * t['slope']:.3g}",
                    f"{t['exponent']:.2f}",
                    f"{t['r_squared']:.4f}",
                    f"{m['slope'] / 1024:.3g}",
                    f"{m['exponent']:.2f}",
                ]
            )
    head = ["", "sizes", "us for one more", "exponent", "r squared", "KiB for one more", "exponent"]
    return table(head, rows)


def spread(line: Line, name: str) -> str:
    """A ratio with its quartiles."""
    low, high = line["quartiles"][name]
    return f"{line['ratio'][name]:.2f} ({low:.2f}-{high:.2f})"


def updates(lines: Sequence[Line]) -> str:
    """The world model's training step and the whole update."""
    rows = []
    for line in lines:
        ratio, seconds = line["ratio"], line.get("compile_seconds", {})
        forms = ["chunk", "whole"]
        rows.append(
            [
                line["benchmark"].replace("_", " "),
                line["size"],
                line["precision"],
                f"{line['cpu_seconds']['hand']:.3f}",
                spread(line, "pixyz"),
                *(f"{ratio[f'pixyz_{f}']:.2f}" if f in seconds else "" for f in forms),
                ", ".join(f"{seconds[f]:.0f}" for f in forms if f in seconds),
            ]
        )
    head = ["what", "size", "precision", "by hand, s", "this library (quartiles)"]
    return table([*head, "loops compiled", "all compiled", "compiling, s"], rows)


def recurrent(lines: Sequence[Line]) -> str:
    """The RSSM's training step and imagination."""
    rows = []
    for line in lines:
        names = ("naive", "dreamer", "pixyz_loop", "pixyz", "pixyz_chunk")
        ratios = [f"{line['ratio'][k]:.2f}" if k in line["ratio"] else "" for k in names]
        rows.append(
            [
                line["benchmark"].removeprefix("rssm_").replace("_", " "),
                line["size"],
                line["latent"],
                f"{line['cpu_seconds']['hand']:.3f}",
                *ratios,
                f"{line['compile_seconds']:.0f}" if "compile_seconds" in line else "",
            ]
        )
    head = [
        "",
        "size",
        "latent",
        "by hand, s",
        "everything in the loop",
        "Dreamer style",
        "`fission=False`",
        "this library",
        "compiled",
        "compiling, s",
    ]
    return table(head, rows)


def constant(lines: dict[str, Line]) -> str:
    """Building a plan, and what is left after many evaluations."""
    plan, life = lines["plan_building"], lines["lifetime"]
    return (
        f"A plan of {plan['terms']} terms is built in {1000 * plan['cpu_seconds']:.1f} ms (at most "
        f"{1000 * plan['most_seconds']:.1f}). {life['evaluations']:,} evaluations leave "
        f"{life['objects_grown']} objects, "
        f"{life['resident_bytes_grown']} bytes and {life['plans']} plan.\n"
    )


TREES = ("other", "this")


def before(path: Path) -> str:
    """Workloads in this tree and in earlier ones: of each two the last line that has it."""
    found: dict[tuple[str, str], tuple[Line, str]] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        found.update({(line["other"], what): (line, what) for what in line["ratio"]})
    rows = []
    for line, what in found.values():
        low, high = line["quartiles"][what]
        times = [milliseconds({"cpu_seconds": line["cpu_seconds"][t]}, what) for t in TREES]
        ratio = f"{line['ratio'][what]:.2f} ({low:.2f}-{high:.2f})"
        shown = {"plan": "building a plan of 20 terms", "action": "an action, `small`"}
        rows.append([shown.get(what, what), line["other"][:7], *times, ratio])
    return table(["what", "earlier tree", "there, ms", "now, ms", "ratio (quartiles)"], rows)


def tables(results: Path) -> dict[str, str]:
    """All tables, by the name of their place in the page."""
    vae, dmm, scaling = (read(results / f"{n}.jsonl") for n in ("vae", "dmm", "scaling"))
    update = read(
        results / "update.jsonl", lambda x: f"{x['benchmark']} {x['size']} {x['precision']}"
    )
    rssm = read(results / "rssm.jsonl", lambda x: f"{x['benchmark']} {x['size']} {x['latent']}")
    found = {}
    for what, lines, names in (("vae", vae, VAE_ROWS), ("dmm", dmm, DMM_ROWS)):
        parts = [
            beside_the_paper(lines, what, names),
            contenders(lines, names, "hand"),
            promises(lines, PROMISES[what]),
        ]
        found[what] = "\n".join(parts)
    return found | {
        "update": updates(list(update.values())),
        "rssm": recurrent(list(rssm.values())),
        "growth": growths(scaling),
        "constant": constant(scaling),
        "before": before(results / "before.jsonl"),
    }


def filled(page: str, found: dict[str, str]) -> str:
    """The page with its tables replaced: ``<!-- vae -->`` ... ``<!-- end -->``."""
    for name, text in found.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(page):
            raise SystemExit(
                f"the page has no place for {name!r}: expected <!-- {name} --> and <!-- end -->"
            )
        page = place.sub(lambda m: m[1] + text + m[2], page)  # noqa: B023
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    given.page.write_text(
        filled(given.page.read_text(encoding="utf-8"), tables(given.results)), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
