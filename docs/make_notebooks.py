"""Notebooks of tutorials, executed: the page's text and code, with what each cell printed.

    python docs/make_notebooks.py

A test compares cells and outputs with the pages (``tests/test_notebooks.py``).  Needs nbformat,
nbclient and ipykernel.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import pages  # noqa: E402

NAMES = ("equation", "world_model")


def cells(page: str) -> list[tuple[str, str]]:
    """``("markdown" or "code", text)`` of a page; what code prints is left out."""
    found, at = [], 0
    for block in pages.BLOCK.finditer(page):
        found.append(("markdown", page[at : block.start()]))
        found.append(("code" if block["kind"] == "python" else "markdown", block["text"]))
        at = block.end()
    found.append(("markdown", page[at:]))
    return [(kind, text.strip()) for kind, text in found if text.strip()]


def notebook(name: str) -> nbformat.NotebookNode:
    """The notebook of a tutorial, executed in an empty folder."""
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
    for each in NAMES:
        path = HERE / "notebooks" / f"{each}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook(each), path)
