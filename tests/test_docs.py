"""The pages of docs/: their Python runs as printed, links lead somewhere, the page of settings has
them all.
"""

import ast
import importlib
import io
import re
import sys
import tokenize
from dataclasses import fields
from pathlib import Path

import pytest

from agents.pretrain.settings import RSSMSettings
from agents.settings import EnvSettings, ReplaySettings, RunSettings
from worldmodels import RSSMConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), link
    folders = r"benchmarks|docs|agents|envs|worldmodels|pixyz|tests|configs|containers|\.ci"
    for path in re.findall(rf"`((?:{folders})/[\w./-]+\.(?:py|md|jsonl?|yaml))`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_code_in_a_table_holds_no_escaped_bar(page):
    r"""On the site its backslash is shown; ``<code>p(y&#124;x)</code>`` is right everywhere."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for line in re.findall(r"^ *\|.*$", text, re.M):
        codes = re.findall(r"(?<!`)`[^`]*`(?!`)", line)
        assert [code for code in codes if r"\|" in code] == []


def test_the_page_of_settings_has_every_key_and_what_it_means():
    import make_settings

    text = make_settings.page()
    assert text == make_settings.PAGE.read_text(encoding="utf-8"), "run docs/make_settings.py"
    for cls, path in (
        (RunSettings, ""),
        (EnvSettings, "env."),
        (ReplaySettings, "replay."),
        (RSSMConfig, "agent.model."),
        (RSSMSettings, ""),
    ):
        for f in fields(cls):
            if f.name not in ("agent", "env", "replay", "kind", "model"):
                assert re.search(rf"^\| `{path}{f.name}` \| `[^`]+` \| .* \| .+ \|$", text, re.M), (
                    f.name
                )
    for key in (
        "agent.model.deter",
        "env.action_repeat",
        "action_scale",
        "model.latent",
        "agent.candidates",
        "train_ratio",
    ):
        assert f"| `{key}` |" in text


def test_lists_of_names_are_lists_on_the_pages_of_reference():
    docstrings = pytest.importorskip("docstrings", reason="needs griffe", exc_type=ImportError)
    lists = 0
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M):
            text = docstrings.markdown(importlib.import_module(name).__doc__)
            lists += "\n- `" in text
            gaps = [x for x in text.split("\n") if re.match(r"\s*\w[\w/(), ]*\w\)? {2,}\S", x)]
            assert not gaps, (name, gaps)
    assert lists >= 6


def test_a_package_and_what_is_in_it_are_rewritten_once(tmp_path):
    griffe = pytest.importorskip("griffe")
    (tmp_path / "boxes").mkdir()
    for name in ("__init__", "round"):
        text = '"""Boxes.\n\nlow   the least\nhigh  the most, ``[B][T]``\n"""\n'
        (tmp_path / "boxes" / f"{name}.py").write_text(text)
    found = griffe.load(
        "boxes",
        extensions=griffe.load_extensions(str(ROOT / "docs" / "docstrings.py")),
        search_paths=[str(tmp_path)],
    )
    for module in (found, found["round"]):
        said = "Boxes.\n\n- `low`: the least\n- `high`: the most, `[B][T]`"
        assert module.docstring.value == said


def test_no_raw_docstring_doubles_a_backslash():
    r"""A page would have a line's end and the name of a symbol: ``log`` in italics."""
    found = []
    for path in (
        p for f in ("pixyz", "worldmodels", "agents", "envs") for p in ROOT.glob(f + "/**/*.py")
    ):
        text = path.read_text(encoding="utf-8")
        alone = {
            node.lineno
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if (
                token.type == tokenize.STRING
                and token.start[0] in alone
                and token.string[0] in "rR"
            ):
                prose = re.sub(r"^ *(?:>>>|\.\.\.|').*", "", token.string, flags=re.M)
                found += [(path.name, x) for x in re.findall(r"\\\\[A-Za-z]+", prose)]
    assert not found
