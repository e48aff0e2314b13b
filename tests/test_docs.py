"""The pages of docs/: their Python runs as printed, links lead somewhere, the page of settings has
them all.
"""

import re
import sys
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
