"""The notebooks are the tutorials: the same cells, and what was printed; nothing is executed."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import make_notebooks  # noqa: E402
import pages  # noqa: E402
from test_tutorials import masked  # noqa: E402

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_its_page(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    page = (ROOT / f"docs/tutorials/{path.stem}.md").read_text(encoding="utf-8")
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    blocks = [block for block in pages.blocks(page) if block.kind == "python"]
    assert ["".join(cell["source"]) for cell in code] == [block.text.strip() for block in blocks]
    for cell, block in zip(code, blocks, strict=True):
        assert cell["execution_count"] is not None, "executed"
        assert {out["output_type"] for out in cell["outputs"]} <= {"stream"}, "no error"
        printed = "".join("".join(out["text"]) for out in cell["outputs"])
        (text, numbers), (said, expected) = masked(printed), masked(block.prints or "")
        assert text == said and numbers == pytest.approx(expected, rel=0.05, abs=0.1)
    words = "".join("".join(c["source"]) for c in found["cells"] if c["cell_type"] == "markdown")
    assert all(line in words for line in page.split("\n") if line.startswith("## "))


def markdown(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in found["cells"] if c["cell_type"] == "markdown"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_its_words_are_those_of_its_page(path):
    page = (ROOT / f"docs/tutorials/{path.stem}.md").read_text(encoding="utf-8")
    assert markdown(path) == [
        text for kind, text in make_notebooks.cells(page) if kind == "markdown"
    ], "run docs/make_notebooks.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_links_of_a_notebook_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", "\n".join(markdown(path)))
    assert links, "the tutorials have some"
    for link in links:
        if not link.startswith(("http://", "https://")):
            assert (path.parent / link).exists(), link


def test_links_to_tutorials_lead_to_notebooks_where_these_are_made():
    page = "[a](equation.md#b), [c](log.md#d), [e](../data.md#f), [g](https://h.org/i.md)"
    assert make_notebooks.linked(page) == (
        "[a](equation.ipynb), [c](../tutorials/log.md#d), [e](../data.md#f), [g](https://h.org/i.md)"
    )


def test_there_are_two():
    assert {path.stem for path in NOTEBOOKS} == set(make_notebooks.NAMES)
    assert len(NOTEBOOKS) >= 2
