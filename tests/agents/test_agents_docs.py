"""The agent of docs/agents.md, as it is printed: it keeps the contract, prints its losses, learns
through the command.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.check import check_agent
from agents.cli import main
from agents.spaces import ActionSpec, Interface

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")


@pytest.fixture
def my_agent(tmp_path, monkeypatch):
    text = re.search(
        r"<!-- my_agent.py -->\n```python\n(.*?)```\n<!-- end -->", PAGE, re.DOTALL
    ).group(1)
    (tmp_path / "my_agent.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("my_agent", None)
    yield importlib.import_module("my_agent"), text
    sys.modules.pop("my_agent", None)


def test_it_keeps_the_contract_and_prints(my_agent):
    module, text = my_agent
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) <= 66
    float32 = np.dtype(np.float32)
    interface = Interface({"x": (3,), "v": (2,)}, {"x": float32, "v": float32}, ActionSpec(2))
    agent = module.Repeat(interface.shapes, interface.action)
    check_agent(agent, interface)
    assert r"\log V(y|x)" in str(agent.objective) and r"\log \pi(action|x)" in str(agent.objective)


def test_better_actions_are_repeated(my_agent):
    """The reward is the action; after some updates the mean action is near the best one."""
    module, _ = my_agent
    torch.manual_seed(0)
    agent = module.Repeat({"x": (1,)}, ActionSpec(1), module.RepeatConfig(lr=1e-2))
    for _ in range(150):
        action = 2 * torch.rand(2, 64, 1) - 1
        flags = {
            k: torch.zeros(2, 64, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")
        }
        agent.learn(
            {
                "x": torch.randn(2, 64, 1),
                "action": action,
                "reward": action[:1].squeeze(-1).expand(2, 64),
                **flags,
            }
        )
    best, _ = agent.act({"x": torch.randn(64, 1), "is_first": torch.ones(64, dtype=torch.bool)}, {})
    assert 0.35 < best.mean() <= 1.0


def test_the_command_trains_it(my_agent, capsys):
    changes = ["steps=60", "prefill=20", "eval_episodes=1", "env.time_limit=20", "train_ratio=64"]
    assert (
        main(
            ["train", "dreamer_v3/pendulum", "agent.kind=my_agent:Repeat", "--run", "run", *changes]
        )
        == 0
    )
    assert main(["evaluate", "run", "--episodes", "2"]) == 0
    assert "learned policy" in capsys.readouterr().out
