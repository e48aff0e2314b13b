"""The notebooks are the tutorials: the same cells, and what was printed; nothing is executed."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
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


def test_there_are_two():
    assert len(NOTEBOOKS) >= 2
