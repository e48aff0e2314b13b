"""Small faults, put in one at a time: does a test see each of them?

The tree is copied to a temporary folder.  For each fault one text of one file is replaced, the
tests that should see it run until the first failure, and the file is put back.  A line a fault goes
to ``benchmarks/results/mutations.jsonl``.

    python benchmarks/mutations.py                      all, after the tests ran once without any
                                                        fault
    python benchmarks/mutations.py --names A1 W2        some of them
    python benchmarks/mutations.py --folders agents     those of one folder
    python benchmarks/mutations.py --check              whether every text is still in its file,
                                                        once

A fault whose text is not in its file any more is *stale*: give it the new text.  The lists are
``mutations_*.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FOLDERS = ("agents", "worldmodels", "pixyz", "envs")
OTHERS = (
    "benchmarks",
    "configs",
    "docs",
    "tests",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        name: a letter and a number.
        what: goes wrong, in words.
        file: where.
        old, new: a text that is there once, and what it becomes.
        tests: files or folders of tests, one of which must fail.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def stale(self, root: Path) -> str:
        """Why it cannot be put in; empty if it can."""
        missing = [name for name in (self.file, *self.tests) if not (root / name).exists()]
        if missing:
            return f"not there: {missing}"
        found = (root / self.file).read_text(encoding="utf-8").count(self.old)
        return "" if found == 1 else f"its text is {found} times in {self.file}"


def faults(folders: Iterable[str]) -> list[Fault]:
    """Those of some folders."""
    return [fault for folder in folders for fault in import_module(f"mutations_{folder}").FAULTS]


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of the tree."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        ignored = shutil.ignore_patterns("__pycache__", "results", ".*")
        for name in (*FOLDERS, *OTHERS):
            source = root / name
            if source.is_dir():
                shutil.copytree(source, Path(folder) / name, ignore=ignored)
            elif source.exists():
                shutil.copy2(source, Path(folder) / name)
        yield Path(folder)


@contextmanager
def broken(fault: Fault, root: Path) -> Iterator[None]:
    """The tree with the fault in it."""
    path = root / fault.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(fault.old, fault.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(sound, encoding="utf-8")


def run_tests(root: Path, tests: Iterable[str], most_seconds: float) -> dict[str, Any]:
    """Run test files until one test fails: whether, which one, and how long it took."""
    # no bytecode: a file that changes twice within a second would be read from it
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(root),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--tb=no", *tests]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=root, env=env, capture_output=True, text=True, timeout=most_seconds
        )
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        code, output = -1, ""
    by = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    # broken: a file of tests could not be read at all
    outcome = {0: "survived", 1: "caught", -1: "caught"}.get(code, "broken")
    found = {
        "outcome": outcome,
        "by": by.group(1) if by else "",
        "seconds": round(time.monotonic() - began, 1),
    }
    return {**found, "output": output[-2000:] if outcome == "broken" else ""}


def commit(root: Path) -> str:
    """The tree's commit, with a sign where it is changed."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True
        ).stdout.strip()

    return git("rev-parse", "HEAD") + (
        "+" if git("status", "--porcelain", "--", *FOLDERS, "tests") else ""
    )


def run(chosen: list[Fault], results: Path, most_seconds: float, sound_first: bool) -> list[str]:
    """Try the faults; the names of those that no test saw, or that could not be tried."""
    origin = {
        "commit": commit(ROOT),
        "python": sys.version.split()[0],
        "torch": metadata.version("torch"),
    }
    seen: dict[str, str] = {}
    with copied(ROOT) as tree, results.open("a", encoding="utf-8") as file:
        if sound_first:
            tests = sorted({t for f in chosen if not f.stale(tree) for t in f.tests})
            found = run_tests(tree, tests, 10 * most_seconds)
            print(
                f"without a fault: {found['outcome']} {found['by']} ({found['seconds']} s)",
                flush=True,
            )
            if found["outcome"] != "survived":
                raise SystemExit(
                    "the tests fail without a fault: mend that first\n" + found["output"]
                )
        for fault in chosen:
            found = {"outcome": "stale", "by": fault.stale(tree), "seconds": 0.0}
            if not found["by"]:
                with broken(fault, tree):
                    found = run_tests(tree, fault.tests, most_seconds)
            seen[fault.name] = found["outcome"]
            line = {
                "fault": fault.name,
                "what": fault.what,
                **found,
                "tests": fault.tests,
                **origin,
            }
            file.write(json.dumps({k: v for k, v in line.items() if v != ""}) + "\n")
            file.flush()
            told = f"{fault.name:5} {found['outcome']:9} {found['seconds']:6.1f} s"
            print(f"{told}  {fault.what}  {found['by']}", flush=True)
    return [name for name, outcome in seen.items() if outcome != "caught"]


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--names", nargs="+", metavar="FAULT", help="only these")
    parser.add_argument(
        "--folders", nargs="+", choices=FOLDERS, default=FOLDERS, help="only faults of these"
    )
    parser.add_argument("--check", action="store_true", help="run no tests")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the tests without a fault first"
    )
    parser.add_argument(
        "--seconds", type=float, default=600, help="at most, a fault; one that hangs is caught"
    )
    parser.add_argument(
        "--results", type=Path, default=HERE / "results" / "mutations.jsonl", metavar="FILE"
    )
    given = parser.parse_args()
    listed = faults(given.folders)
    unknown = set(given.names or ()) - {f.name for f in listed}
    if unknown:
        parser.error(f"no such faults: {sorted(unknown)}")
    chosen = [f for f in listed if not given.names or f.name in given.names]
    if given.check:
        stale = [f"{f.name:5} {why}" for f in chosen if (why := f.stale(ROOT))]
        raise SystemExit("\n".join(stale) or None)
    left = run(chosen, given.results, given.seconds, not given.trust)
    print(f"{len(chosen) - len(left)} of {len(chosen)} caught; not: {left}")
    raise SystemExit(bool(left))


if __name__ == "__main__":
    main()
