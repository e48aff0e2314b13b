"""Notebooks of tutorials, executed: the page's text and code, with what each cell printed.

    python docs/make_notebooks.py

A link to another tutorial leads to its notebook, or to its page where it has none.  A test compares
cells, links and outputs with the pages (``tests/test_notebooks.py``).  Needs nbformat, nbclient and
ipykernel.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import pages  # noqa: E402

NAMES = ("equation", "world_model")


def cells(page: str) -> list[tuple[str, str]]:
    """``("markdown" or "code", text)`` of a page; what code prints is left out, and links lead to
    where they do in the folder of notebooks.
    """
    found, at = [], 0
    for block in pages.BLOCK.finditer(page):
        found.append(("markdown", linked(page[at : block.start()])))
        found.append(("code" if block["kind"] == "python" else "markdown", block["text"]))
        at = block.end()
    found.append(("markdown", linked(page[at:])))
    return [(kind, text.strip()) for kind, text in found if text.strip()]


def linked(text: str) -> str:
    """Words of a tutorial with links to other tutorials as a notebook needs them.

    >>> linked("[a](equation.md#b), [c](log.md), [d](../data.md), [e](https://e.org/f.md)")
    '[a](equation.ipynb), [c](../tutorials/log.md), [d](../data.md), [e](https://e.org/f.md)'
    """

    def beside(found: re.Match[str]) -> str:
        name, at = found["name"], found["at"] or ""
        # an anchor is of the page: notebooks name their headings otherwise
        return f"]({name}.ipynb)" if name in NAMES else f"](../tutorials/{name}.md{at})"

    return re.sub(r"\]\((?P<name>[\w-]+)\.md(?P<at>#[^)]*)?\)", beside, text)


def notebook(name: str) -> Any:
    """The notebook of a tutorial, executed in an empty folder."""
    import nbformat
    from nbclient import NotebookClient

    page = (HERE / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
    new = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    for i, (kind, text) in enumerate(cells(page)):
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        new.cells.append(make(text, id=f"{name.replace('_', '-')}-{i}"))
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(new, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    return new


if __name__ == "__main__":
    import nbformat

    for each in NAMES:
        path = HERE / "notebooks" / f"{each}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook(each), path)
