"""Pages whose code runs: what a page says that it prints is what it prints.

    python docs/pages.py docs/tutorials/equation.md      run it, and write what it prints into it
    tests/test_tutorials.py                              run it, and compare

The blocks of a page are run in their order, in one namespace, in an empty folder:

    ```python                   run; a ```text block right behind it is what it prints
    ```python title="a.py"      written to the file a.py (json and yaml likewise)
    ```bash                     lines that begin with ``pixyz`` are run; others are for the reader
    <!-- with: steps=60 -->     above a bash block: what a run of the page adds to each command
    <!-- needs: pyro -->        above a python block: left out where that module is missing
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>with|needs): (?P<said>[^\n]*?) -->\n)?"
    r'^```(?P<kind>python|bash|json|yaml)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```\n'
    r"(?:\n?^```text\n(?P<prints>.*?)^```\n)?",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A piece of a page.

    Args:
        kind: ``python``, ``bash``, ``json`` or ``yaml``.
        text: what stands in it.
        file: where it is written, if it is.
        prints: what the page says that it prints; None where it says nothing.
        extra: what is added to its commands.
        needs: the module without which it is left out.

    >>> [block.kind for block in blocks("```python\\nprint(1)\\n```\\n```text\\n1\\n```\\n")]
    ['python']
    """

    kind: str
    text: str
    file: str | None
    prints: str | None
    extra: tuple[str, ...]
    needs: str | None


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that run or are written."""
    for found in BLOCK.finditer(page):
        mark, said = found["mark"], found["said"] or ""
        extra = tuple(shlex.split(said)) if mark == "with" else ()
        yield Block(
            found["kind"],
            found["text"],
            found["file"],
            found["prints"],
            extra,
            said if mark == "needs" else None,
        )


def run(page: str, folder: Path, names: dict[str, Any] | None = None) -> list[tuple[Block, str]]:
    """Run a page in a folder; each block that ran, with what it printed.

    Args:
        page: its text.
        folder: where it runs.
        names: what its code defines, is put there.

    Raises:
        AssertionError: a command of the page ended with an error.
    """
    found: list[tuple[Block, str]] = []
    names = {} if names is None else names
    names["__name__"] = "page"
    with _inside(folder):
        for block in blocks(page):
            out = io.StringIO()
            if block.file is not None:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text, encoding="utf-8")
            elif block.needs is not None and find_spec(block.needs) is None:
                continue
            elif block.kind == "python":
                with contextlib.redirect_stdout(out):
                    exec(compile(block.text, f"<block {len(found)}>", "exec"), names)
            else:
                for line in _commands(block.text):
                    _command([*line, *block.extra])
            found.append((block, out.getvalue()))
    return found


def _commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").split("\n"):
        words = shlex.split(line, comments=True)
        if words[:1] == ["pixyz"]:
            yield words[1:]


def _command(arguments: list[str]) -> None:
    from agents.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    assert code == 0, f"pixyz {' '.join(arguments)}: {err.getvalue()[-2000:]}"


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """In a folder, from which modules can be imported; they are forgotten afterwards."""
    before, known, path = Path.cwd(), set(sys.modules), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - known:
            if str(folder) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]


def written(page: str, folder: Path) -> str:
    """The page with what its blocks print."""
    printed = {id_of(block): out for block, out in run(page, folder) if block.kind == "python"}

    def with_output(found: re.Match[str]) -> str:
        block = next(blocks(found[0]))
        out = printed.get(id_of(block), "")
        if (
            block.file is not None
            or id_of(block) not in printed
            or (not out and not found["prints"])
        ):
            return found[0]
        code = re.sub(r"\n?^```text\n.*?^```\n", "", found[0], flags=re.M | re.S)
        return code + (f"\n```text\n{out}```\n" if out else "")

    return BLOCK.sub(with_output, page)


def id_of(block: Block) -> tuple[str, str]:
    """What tells a block from the others of a page."""
    return block.kind, block.text


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as place:
            text = written(Path(name).read_text(encoding="utf-8"), Path(place))
        Path(name).write_text(text, encoding="utf-8")
