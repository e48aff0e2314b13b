"""The tables of docs/robots.md, from the newest line of each kind in results/.

python benchmarks/robot_tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from speed_tables import filled

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "robots.md"


def newest(name: str, *keys: str) -> list[dict[str, Any]]:
    """The last line of each combination of these keys, in the order of their first lines."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for text in (HERE / "results" / name).read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        found[tuple(str(line.get(key)) for key in keys)] = line
    return list(found.values())


def ticks() -> str:
    """How late ticks were, and what broke a limit."""
    rows = [
        "| time | Hz | ticks | commands outside | setpoints outside | late, "
        "p50 / p99 / max ms | interval, p99 ms "
        "| to the command, p99 ms | missed | stops | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in newest("robot_ticks.jsonl", "time", "hz"):
        cells = [
            line["time"],
            f"{line['hz']:g}",
            f"{line['ticks']:,}",
            line["commands_outside"],
            line["setpoints_outside"],
        ]
        if line["time"] == "real":
            late = line["late_ms"]
            cells += [
                f"{late['p50']:.2f} / {late['p99']:.2f} / {late['max']:.1f}",
                f"{line['interval_ms']['p99']:.2f}",
            ]
            cells += [
                f"{line['latency_ms']['p99']:.2f}",
                line["missed"],
                line["stops"],
                f"{line['load']:.1f}",
            ]
        else:
            cells += ["", "", "", "", line["stops"], ""]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def faults() -> str:
    """When the robot was stopped."""
    rows = [
        "| fault | tries | stopped, median / longest s | limit, "
        "s | as it should | outside | moved again |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in newest("robot_faults.jsonl", "fault"):
        stop, limit = line["stop_s"], line["limit_s"]
        cells = [
            line["fault"],
            line["tries"],
            "" if stop is None else f"{stop['median']:.3f} / {stop['max']:.3f}",
        ]
        cells += [
            "" if limit is None else f"{limit:.2f}",
            line["as_it_should"],
            line["outside"],
            line["restarted"],
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def doubt() -> str:
    """What an ensemble of one-step predictors notices, over the seeds."""
    found = newest("robot_doubt.jsonl", "seed", "lately", "prior")
    lines = [line for line in found if line.get("lately") and line["prior"]]  # as it ships
    rows = [
        "| robot | AUROC of disagreement | AUROC of surprise | AUROC of drift "
        "| episodes doubted | by drift | after, median s | ticks doubted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in lines[0]["found"]:
        found = [line["found"][name] for line in lines]
        cells: list[Any] = [name]
        for score in ("disagreement", "surprise", "drift"):
            values = [each[score] for each in found if score in each]
            cells.append(", ".join(f"{v:.3f}" for v in values))
        late = sorted(each["seconds"] for each in found if each["seconds"] is not None)
        cells.append(
            f"{sum(each['episodes'] for each in found)} of {lines[0]['tests'] * len(found)}"
        )
        cells.append(sum(each["by"]["drift"] for each in found))
        cells.append(f"{late[len(late) // 2]:.2f}" if late else "")
        cells.append(f"{100 * sum(each['share'] for each in found) / len(found):.2f} %")
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def intervals() -> str:
    """What 90 % intervals hold of the test part."""
    names = {"arm": "SARCOS arm", "follower": "wall follower"}
    rows = [
        "| log | model | windows | held of all | 1 | 5 | 20 | 50 ahead | width at 1 | at 50 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines = newest("robot_intervals.jsonl", "robot", "model", "seed")
    for line in sorted(lines, key=lambda line: (line["robot"], line["model"])):
        model = line["model"] if line["seed"] is None else f"{line['model']}, seed {line['seed']}"
        cells = [names[line["robot"]], model, line["windows"]]
        cells += [f"{100 * v:.1f} %" for v in (line["held"], *line["at"].values())]
        cells += [f"{line['width'][h]:.2f}" for h in ("1", "50")]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def online() -> str:
    """What robots learned from nothing, of all seeds, beside what does not learn."""
    rows = [
        "| task | who acts | ticks | reached, % | at the end, % | return | CPU minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    runs: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in newest("robot_online.jsonl", "benchmark", "task", "config", "ticks", "seed"):
        if line["benchmark"] == "robot_online":
            runs.setdefault((line["task"], line["config"], line["ticks"]), []).append(line)
    for (task, config, count), lines in sorted(runs.items(), key=lambda run: run[0][0]):
        shares = [", ".join(f"{100 * x[key]:g}" for x in lines) for key in ("reached", "stayed")]
        took = [x["cpu_minutes"] for x in lines if x["cpu_minutes"] is not None]
        cells = [
            f"`{task}`",
            f"`{config}`" if count else config,
            f"{count:,}" if count else "",
            *shares,
            ", ".join(f"{x['return']:.1f}" for x in lines),
            f"{sum(took) / len(took):.1f}" if took else "",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def page() -> str:
    """The page with its tables in it."""
    tables = {
        "ticks": ticks(),
        "faults": faults(),
        "doubt": doubt(),
        "intervals": intervals(),
        "online": online(),
    }
    return filled(PAGE.read_text(encoding="utf-8"), tables)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
