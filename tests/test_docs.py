"""The pages of docs/: their Python runs as printed, links lead somewhere, the page of settings has
them all.
"""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from agents.pretrain.settings import RSSMSettings
from agents.settings import EnvSettings, ReplaySettings, RunSettings
from worldmodels import RSSMConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"<!-- (run|file (\S+)) -->\n```python\n(.*?)```(?:\n<!-- prints\n(.*?)-->)?", re.S
)


@pytest.mark.parametrize("name", ["environments", "runs"])
def test_python_runs_as_it_is_printed(name, tmp_path):
    blocks = BLOCK.findall((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    code = ""
    for kind, file, text, _ in blocks:
        if kind != "run":
            (tmp_path / file).write_text(text)
            continue
        code += f"{text}\nprint('----')\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [block[3] for block in blocks if block[0] == "run"]
    assert done.stdout.split("----\n")[:-1] == expected and expected


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), link
    folders = r"benchmarks|docs|agents|envs|worldmodels|pixyz|tests|configs|containers|\.ci"
    for path in re.findall(rf"`((?:{folders})/[\w./-]+\.(?:py|md|jsonl?|yaml))`", text):
        assert (ROOT / path).exists(), path


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
