"""The pages whose code runs, tutorials and guides: what they print is what they say."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytest.importorskip("yaml")
pytest.importorskip("gymnasium")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import pages  # noqa: E402

INSTALLED = {name for name in ("pyro",) if find_spec(name)}
NAMES = ["environments", "runs"]
NAMES += [f"tutorials/{path.stem}" for path in sorted((ROOT / "docs/tutorials").glob("*.md"))]
MEASURED = re.compile(r"-?\d+\.\d+")
"""A number that another processor may round otherwise."""


def masked(text):
    """A text without its measured numbers, and these."""
    return MEASURED.sub("#", text), [float(number) for number in MEASURED.findall(text)]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_prints_what_it_says(name, tmp_path):
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    found = pages.run(page, tmp_path)
    torch.set_num_threads(threads)
    assert found and torch.is_grad_enabled() == grad
    for block, printed in found:
        if block.kind != "python" or block.file is not None:
            continue
        (text, numbers), (said, expected) = masked(printed), masked(block.prints or "")
        assert text == said, block.text
        assert numbers == pytest.approx(expected, rel=0.05, abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_no_block_of_a_page_is_left_out(name):
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    lacking = {block.needs for block in pages.blocks(page) if block.needs} - INSTALLED
    if lacking:
        pytest.skip(f"blocks were left out that need {', '.join(lacking)}: install the extra test")


def test_a_page_that_says_another_thing_is_seen(tmp_path):
    page = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    ((block, printed),) = pages.run(page, tmp_path)
    assert printed == "2\n" and block.prints == "3\n"
    assert "```text\n2\n```" in pages.written(page, tmp_path)
    with pytest.raises(AssertionError, match="is no run folder"):
        pages.run("```bash\npixyz report none\n```\n", tmp_path)


def test_every_tutorial_runs_and_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        place = path.relative_to(ROOT / "docs").as_posix()
        if not place.startswith("examples/"):
            assert f"{place}\n" in menu, place
    for path in (ROOT / "docs/tutorials").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        fences = len(re.findall(r"^```\w", text, re.M))
        known = sum(1 + (block.prints is not None) for block in pages.blocks(text))
        assert fences == known, (
            f"{path.name}: {fences - known} blocks are neither run nor shown as output"
        )
