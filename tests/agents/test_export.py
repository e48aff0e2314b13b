"""Exported policies: the same actions and states as the loaded one's, in a process without torch,
and what cannot be exported.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

import agents
from agents.build import build
from agents.chosen import Chosen
from agents.cli import main
from agents.config import load_config
from agents.dreamer.config import DreamerV3Config
from agents.errors import UsageError
from agents.export import ParityError, check, check_parity, export, policy_step, read
from agents.export.draws import Recorded, given
from agents.export.units import Units
from agents.export.whole import reference
from agents.run import Trainer
from agents.sac.config import SACConfig
from agents.settings import RunSettings
from agents.spaces import ActionSpec, Interface
from envs import ActionGuard
from envs.images import resized
from envs.plain import space_to_plain
from worldmodels import RSSMConfig

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "dreamer_v3/pendulum": ["agent.batch=4", "agent.length=8", "agent.horizon=3"],
    "tdmpc/small": [
        "env.id=Pendulum-v1",
        "agent.latent=16",
        "agent.units=16",
        "agent.encoder_units=16",
        "agent.candidates=16",
        "agent.proposals=2",
        "agent.elites=4",
        "agent.rounds=2",
        "agent.batch=4",
        "agent.seconds=1e-3",
    ],
}


def shaken(agent):
    """Weights that are not those of the beginning, where heads are zero and every plan is worth the
    same.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return agent


@pytest.fixture(scope="module", params=list(TINY))
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    with Trainer(load_config(RunSettings, request.param, TINY[request.param])).begin(
        folder
    ) as trainer:
        shaken(trainer.agent)
        trainer.run.save()
    return folder


@pytest.fixture(scope="module")
def file(run):
    return export(run, "onnx")


def test_a_file_acts_as_the_loaded_policy_does(run, file):
    planner = "tdmpc" in (run / "config.yaml").read_text()
    assert file.name == ("planner.onnx" if planner else "policy.onnx")
    signature, parity, taken = check(run, file, "onnx")
    assert signature.exported == file.stem and signature.step == 0 and not signature.explore
    assert parity.steps == 32 and max(parity.action, parity.state) < 1e-6
    assert list(taken) == ["agents.load", file.name] and all(
        v["p50"] <= v["p99"] for v in taken.values()
    )


def test_the_command_says_how_it_compares(run, tmp_path, capsys):
    if "tdmpc" in (run / "config.yaml").read_text():
        return
    assert (
        main(["export", str(run), "--to", "torch", "--check", "--out", str(tmp_path / "a.pt2")])
        == 0
    )
    said = capsys.readouterr().out
    assert "dreamer_v3, policy, step 0: 32 steps: actions differ by" in said and "p99" in said
    assert main(["export", str(run), "--out", str(tmp_path / "nowhere" / "a.onnx")]) == 2


def test_a_draw_of_the_policy_is_a_function_of_its_noise(run, tmp_path):
    if "tdmpc" in (run / "config.yaml").read_text():
        return
    path = export(run, "torch", tmp_path / "draws.pt2", explore=True)
    signature, function = read(path, "torch")
    assert signature.explore and check(run, path, "torch")[1].action < 1e-6
    rng = np.random.default_rng(0)
    given = [
        np.ones(s.shape, bool) if s.what == "is_first" else rng.random(s.shape).astype(s.dtype)
        for s in signature.inputs
    ]
    assert np.array_equal(function(given)[0], function(given)[0])
    last = [i for i, s in enumerate(signature.inputs) if s.draws == "normal"][-1]
    other = [v if i != last else v + 1.0 for i, v in enumerate(given)]
    assert not np.array_equal(function(given)[0], function(other)[0])


def test_the_planners_own_policy_is_another_function(tmp_path, run):
    if "tdmpc" not in (run / "config.yaml").read_text():
        with pytest.raises(UsageError, match="expected one of policy to export, got 'planner'"):
            export(run, exported="planner")
        return
    path = export(run, "torch", tmp_path / "policy.pt2", exported="policy")
    signature, parity, _ = check(run, path, "torch", steps=9)
    assert signature.exported == "policy" and signature.names("state") == [] == signature.names(
        "noise"
    )
    assert parity.action < 1e-6
    observation = agents.policy.declared(run)[0]
    with pytest.raises(UsageError, match=r"draws|not the one"):  # and the planner is no policy
        check_parity(agents.load(run, device="cpu"), observation, signature, read(path, "torch")[1])


def test_another_policy_is_found_out(run, file):
    """The check fails for other weights, and for a state that is not handed on."""
    signature, function = read(file, "onnx")
    observation = agents.policy.declared(run)[0]
    policy = reference(run, signature)
    shaken(policy.actor.actor if isinstance(policy.actor, Chosen) else policy.actor)
    with pytest.raises(ParityError, match="not the one that was loaded"):
        check_parity(policy, observation, signature, function)
    with pytest.raises(ParityError):
        check_parity(
            reference(run, signature),
            observation,
            signature,
            lambda x: [function(x)[0], *(0 * v for v in function(x)[1:])],
        )


def runner():
    """The code of the documentation's page."""
    page = (ROOT / "docs" / "export.md").read_text()
    return re.search(r"<!-- runner -->\n```python\n(.*?)```", page, re.S).group(1)


@pytest.mark.parametrize("shape", [(40, 60, 3), (64, 96, 1), (32, 48, 2), (20, 30, 3), (33, 47, 3)])
def test_the_runner_scales_images_as_training_did(shape):
    exec(runner(), names := {})
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found, expected = names["by_area"](image, 32, 48), resized(image, (32, 48))
    np.testing.assert_allclose(found, expected, atol=1)  # a half, rounded in 32 and in 64 bits
    assert np.mean(found != expected) < 0.01


def test_the_runner_of_the_documentation_needs_neither_torch_nor_this_library(tmp_path, file):
    code = runner()
    script = (
        "import sys\nfor name in ('torch', 'agents', 'pixyz', 'envs', "
        "'gymnasium'):\n    sys.modules[name] = None\n" + code
    )
    script += f"""
policy = Policy({str(file)!r})
done = [policy.act(dict(observation=[0.1 * i, -0.2, 0.3])).tolist() for i in range(4)]
policy.reset()
policy.rng = np.random.default_rng(0)
again = [policy.act(dict(observation=[0.1 * i, -0.2, 0.3])).tolist() for i in range(4)]
try:
    policy.act(dict(observation=[float('nan'), 0.0, 0.0]))
except ValueError as error:
    print(json.dumps([done, again, str(error)]))
"""
    env = {**os.environ, "PYTHONPATH": ""}
    out = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=env,
    )
    done, again, error = json.loads(out.stdout)
    assert done == again and error == "an observation is not finite"
    assert np.shape(done) == (4, 1) and np.abs(done).max() <= 2.0 and len({x for (x,) in done}) == 4


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(np.array([-3.0, 0.1], np.float32), np.array([1.0, 0.7], np.float32)),
        spaces.Box(-1.0, 7.0, (2, 1), np.float64),
        spaces.Discrete(4, start=-1),
        spaces.MultiDiscrete([2, 3, 4], start=[0, 5, 1]),
        spaces.MultiBinary([2, 2]),
    ],
)
def test_units_are_those_of_the_guard(space):
    guard, units = ActionGuard(space), Units(space)
    if hasattr(guard.space, "n"):
        for i in range(guard.space.n):
            expected = np.asarray(guard.one(np.int64(i + guard.space.start)))
            assert np.array_equal(
                units(torch.eye(int(guard.space.n))[i : i + 1])[0].numpy(), expected
            )
        return
    for action in (
        torch.rand(200, *guard.space.shape, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    ):
        found, expected = units(action.reshape(1, -1))[0].numpy(), guard.one(action.numpy())
        assert np.array_equal(found, expected) and found.dtype == expected.dtype


def test_choices_and_images_are_exported(tmp_path):
    small = DreamerV3Config(
        RSSMConfig(deter=16, hidden=8, groups=2, classes=4, blocks=2, units=8, depth=2), units=8
    )
    view = Interface(
        {"image": (16, 16, 3)}, {"image": np.dtype(np.uint8)}, ActionSpec(3, discrete=True)
    )
    agent, space = shaken(build(small, view)), spaces.Discrete(3, start=2)
    step, inputs = policy_step(agent, view, space, space_to_plain(space))
    agents.export.write(step, inputs, tmp_path / "a.onnx", "onnx")
    signature, function = read(tmp_path / "a.onnx", "onnx")
    rng, state, memory = np.random.default_rng(0), agent.initial(1), None
    for i in range(6):
        image = rng.integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
        obs = {"image": torch.from_numpy(image), "is_first": torch.tensor([i == 0])}
        with Recorded() as recorded:
            action, state = agent.act(obs, state)
        memory = memory or {f"state_{k}": np.zeros_like(v.numpy()) for k, v in state.items()}
        noise = iter(draw.value.numpy() for draw in recorded.draws)
        named = {"obs_image": image, "is_first": obs["is_first"].numpy(), **memory}
        found = function(
            [named[s.name] if s.name in named else next(noise) for s in signature.inputs]
        )
        assert found[0].item() == 2 + int(action.argmax())
        memory = dict(zip(memory, found[1:]))
        assert np.allclose(memory["state_deter"], state["deter"].numpy(), atol=1e-5)


def test_sac_is_exported(tmp_path):
    view = Interface({"x": (3,)}, {"x": np.dtype(np.float32)}, ActionSpec(2))
    agent, space = shaken(build(SACConfig(units=8), view)), spaces.Box(-3.0, 3.0, (2,))
    for explore in (False, True):
        step, inputs = policy_step(agent, view, space, space_to_plain(space), explore=explore)
        agents.export.write(step, inputs, tmp_path / "a.pt2", "torch")
        signature, function = read(tmp_path / "a.pt2", "torch")
        obs = torch.tensor([[0.3, -0.2, 0.5]])
        with Recorded() as recorded:
            action, _ = agent.act(
                {"x": obs, "is_first": torch.tensor([False])}, {}, explore=explore
            )
        found = function(
            [obs.numpy(), np.array([False]), *(draw.value.numpy() for draw in recorded.draws)]
        )
        assert (
            np.allclose(found[0], 3.0 * action.numpy(), atol=1e-6)
            and len(signature.names("noise")) == explore
        )


class Odd(torch.nn.Module):
    """An agent of one's own that can be exported, if its draw can be an input."""

    def __init__(self, draw):
        super().__init__()
        self.weight, self.draw = torch.nn.Parameter(torch.ones(1, 1)), draw
        self.exports = {
            "policy": lambda obs, state, explore: (obs["x"] @ self.weight * self.draw(), {})
        }

    def initial(self, rows):
        return {}


def test_what_cannot_be_an_input_is_refused():
    view, box = (
        Interface({"x": (1,)}, {"x": np.dtype(np.float32)}, ActionSpec(1)),
        spaces.Box(-1.0, 1.0, (1,)),
    )
    step, inputs = policy_step(Odd(lambda: torch.randn(1, 1)), view, box, space_to_plain(box))
    assert step(torch.ones(1, 1), inputs[1], torch.full((1, 1), 0.25))[0].item() == 0.25
    with pytest.raises(UsageError, match="got exponential_"):
        policy_step(Odd(lambda: torch.empty(1, 1).exponential_()), view, box, space_to_plain(box))
    with pytest.raises(UsageError, match="expected a property `exports`"):
        policy_step(torch.nn.Linear(1, 1), view, box, space_to_plain(box))
    with (
        pytest.raises(UsageError, match="expected 2 draws, got 1"),
        given([torch.ones(1), torch.ones(1)]),
    ):
        torch.rand(1)


def test_without_the_package_it_is_one_line(run, monkeypatch, capsys):
    monkeypatch.setattr("agents.export.files.find_spec", lambda name: None)
    assert main(["export", str(run), "--to", "onnx", "--check"]) == 2
    assert "pip install onnx onnxscript onnxruntime" in capsys.readouterr().err
