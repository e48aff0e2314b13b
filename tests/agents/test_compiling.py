"""Compiling beside training: updates begin at once, and switch over when it is done."""

import copy
import os

import pytest
import torch
from agent_parts import SHAPES, recorded

from agents.compiling import Beside, compile_update
from agents.dreamer import DreamerV3, DreamerV3Config
from agents.process import keep_compiled
from agents.spaces import ActionSpec
from worldmodels import RSSMConfig

MODEL = RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8, hidden=8, bins=5)
CONFIG = DreamerV3Config(model=MODEL, units=8, bins=5, batch=3, length=6, horizon=2, chunk=2)


class Child:
    """A child that ends when it is told to."""

    code = None

    def poll(self):
        return self.code


def agent_and_batch():
    torch.manual_seed(0)
    agent = DreamerV3(SHAPES, ActionSpec(2), CONFIG)
    return agent, recorded(7, 3, dtype=torch.float32, stored=agent.stored)


def test_it_switches_over_when_the_child_is_done(monkeypatch):
    """Until then an update is the one that is not compiled, to the bit."""
    child, asked = Child(), []
    monkeypatch.setattr(Beside, "_begin", lambda self, batch: child)
    agent, batch = agent_and_batch()
    plain = DreamerV3(SHAPES, ActionSpec(2), DreamerV3Config(**{**vars(CONFIG), "chunk": 0}))
    plain.load_state(agent.state())
    compile_ = agent.objective.compile
    monkeypatch.setattr(
        type(agent.objective),
        "compile",
        lambda self, *a, **k: asked.append(a) or compile_(*a, **k, backend="aot_eager"),
    )
    for _ in range(2):
        torch.manual_seed(1)
        metrics = agent.learn(batch).metrics
        torch.manual_seed(1)
        assert metrics == plain.learn(batch).metrics
    assert asked == []
    child.code = 0
    torch.manual_seed(1)
    metrics = agent.learn(batch).metrics
    torch.manual_seed(1)
    assert metrics == pytest.approx(plain.learn(batch).metrics, rel=1e-4)
    assert asked == [(2,)]


def test_a_child_that_fails_leaves_training_as_it_is(tmp_path):
    agent, batch = agent_and_batch()
    beside = copy.deepcopy(agent)._compiling
    beside.action = ActionSpec(-1)  # nothing can be built for it
    agent.__dict__["_compiling"] = beside
    agent.learn(batch)
    beside._child.wait(timeout=300)
    with pytest.warns(UserWarning, match="goes on without compiling"):
        assert agent.learn(batch).metrics["loss"] > 0
    assert agent._compiling is None


def test_what_a_child_does(monkeypatch):
    """The same work in this process: the losses of the agent that is described, three times."""
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    agent, batch = agent_and_batch()
    given = []
    monkeypatch.setattr(
        "agents.compiling.start_python",
        lambda module, arguments, **options: given.extend([module, *arguments]) or Process(),
    )
    agent._compiling.state(batch)
    module, task = given
    assert module == "agents.compiling" and task["batch"]["orient"] == [[7, 3, 3], "torch.float32"]
    seen = []
    losses = DreamerV3.losses
    monkeypatch.setattr(DreamerV3, "losses", lambda self, x: seen.append(x) or losses(self, x))
    compile_update(task)
    assert len(seen) == 3 and {k: v.shape for k, v in seen[0].items()} == {
        k: v.shape for k, v in batch.items()
    }


class Process:
    def poll(self):
        return None

    def kill(self):
        pass

    def communicate(self):
        return b"", b""


def test_what_is_compiled_is_kept_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    keep_compiled()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "pixyz" / "compiled")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    keep_compiled()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"
