"""The suite on the Python and the torch that run this script: a line of what passed.

    PYTHONPATH=. python benchmarks/versions.py tests/pixyz tests/test_imports.py
    PYTHONPATH=. python benchmarks/versions.py --report FILE --stopped tests/pixyz
    PYTHONPATH=. python benchmarks/versions.py --table    # write the table of docs/limits.md anew

First what ``.ci/environments.py`` tries in the environments that it makes: an import that pulls in
nothing optional, a VAE that trains, a run of the command and its resume.  Then the tests that are
named, or a JUnit report of them: ``--stopped`` if that ends before the last of them;
nothing but counting is done then.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from claim import HERE, ROOT
from timing import about, append

RESULTS = HERE / "results" / "versions.jsonl"
PAGE = ROOT / "docs" / "limits.md"
SHOWN = ("python", "torch", "numpy", "gymnasium")


def environments() -> ModuleType:
    """The script that makes environments."""
    spec = importlib.util.spec_from_file_location("environments", ROOT / ".ci" / "environments.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["environments"] = module  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    return module


def steps(folder: Path) -> str:
    """What the script of environments tries, here: ``ok``, or the end of what went wrong."""
    script = environments()
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "agents.cli"]
    try:
        script.run([sys.executable, "-c", script.BARE], folder, surroundings)
        script.run([*command, *script.TRAIN], folder, surroundings)
        script.run([*command, "resume", "run", "steps=220"], folder, surroundings)
    except script.Failed as error:
        return str(error)[-300:]
    return "ok"


def tests(paths: list[str], folder: Path) -> Path:
    """A JUnit report of these tests; they may be stopped by Ctrl+C."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    with contextlib.suppress(KeyboardInterrupt):
        subprocess.run([*command, *paths], cwd=ROOT, check=False)
    return report


def counted(report: Path) -> dict[str, Any]:
    """How many tests passed, were skipped and failed, which failed, and which was the last."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    cases = [c for c in suite.iter("testcase") if "classname" in c.attrib]  # not one cut short
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = sum(c.find("skipped") is not None for c in cases)
    return {
        "passed": len(cases) - skipped - len(bad),
        "skipped": skipped,
        "failed": [f"{c.attrib['classname']}::{c.attrib['name']}" for c in bad],
        "last": cases[-1].attrib["classname"],
    }


def table() -> str:
    """The newest line of each pair and each set of tests, as Markdown."""
    lines = {}
    for line in map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines()):
        found = line["versions"]
        lines[found["python"], found["torch"], tuple(line["tests"])] = line
    text = "| " + " | ".join(SHOWN) + " | import, run, resume | tests | passed | failed | skipped |"
    text += "\n" + "|---" * (len(SHOWN) + 5) + "|\n"
    for line in lines.values():
        cells = [line["versions"][name] for name in SHOWN]
        names = ", ".join(f"`{name.removeprefix('tests/')}`" for name in line["tests"])
        if line["stopped"]:
            names += f" to `{line['last'].rpartition('.')[2]}`"
        counts = [f"{line['passed']:,}", len(line["failed"]), line["skipped"]]
        text += "| " + " | ".join(map(str, [*cells, line["steps"] or "", names, *counts])) + " |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", nargs="*", default=["tests/pixyz"])
    parser.add_argument("--report", type=Path, help="of tests that were run already")
    parser.add_argument("--tested", help="the commit that the report is of, where it is not this")
    parser.add_argument("--stopped", action="store_true", help="the report ends before the tests")
    parser.add_argument("--table", action="store_true", help="nothing is run")
    given = parser.parse_args()
    if not given.table:
        origin = about()
        with tempfile.TemporaryDirectory() as name:
            found = {
                "steps": None if given.report else steps(Path(name)),
                "tests": given.tests,
                "stopped": given.stopped,
            }
            found |= counted(given.report or tests(given.tests, Path(name)))
        found["tested"] = given.tested or origin["commit"]
        append(RESULTS, {"benchmark": "versions", **found, **origin})
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- versions -->\n")
    if rest:
        _, _, after = rest.partition("<!-- end -->")
        PAGE.write_text(
            f"{before}<!-- versions -->\n{table()}<!-- end -->{after}", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
