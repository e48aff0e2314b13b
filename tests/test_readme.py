"""The README's blocks, run as they are printed; its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The code between a mark and its end."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```\n<!-- end -->", PAGE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


def test_the_objective_prints_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    exec(compile(block("vae"), "README.md", "exec"), {"__name__": "readme"})
    out = capsys.readouterr().out
    formula, program = re.search(r"\$\$\n(.*)\n\$\$\n\n```text\n(.*?)```", PAGE, re.DOTALL).groups()
    assert formula.replace("\\mathrm{mean}", "mean") in out
    shown = [line for line in program.splitlines() if line.strip() != "..."]
    assert len(shown) > 3 and [line for line in shown if f"{line}\n" not in out] == []


def test_ones_own_environment_is_trained_on_and_acted_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    from agents.cli import main

    (tmp_path / "my_env.py").write_text(block("environment"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = re.search(r"^pixyz (train tdmpc/small env.id=my_env:Target .*)$", PAGE, re.MULTILINE)
    assert command is not None
    small = [
        "steps=60",
        "prefill=40",
        "eval_episodes=1",
        "agent.batch=8",
        "env.time_limit=10",
        "--run",
        "run",
    ]
    given = [
        x
        for x in command.group(1).split()
        if x.split("=")[0] not in {y.split("=")[0] for y in small}
    ]
    assert main([*given, *small]) == 0, capsys.readouterr().err
    names = {"observation": np.zeros(2, np.float32)}
    exec(re.sub(r'load\(".*?"\)', 'load("run")', block("act")), names)
    assert names["action"].shape == (2,) and (np.abs(names["action"]) <= 0.1).all()


@pytest.mark.parametrize(
    "page",
    ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))],
)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8"))
    local = [link.split("#")[0] for link in links if not re.match(r"https?://|#", link)]
    assert [link for link in local if not (file.parent / link).exists()] == []
