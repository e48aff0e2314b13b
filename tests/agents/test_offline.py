"""From a log alone: what a model imagines, what a batch is made of, and a run that goes on."""

import numpy as np
import pytest
import torch

from agents import load
from agents.cli import main
from agents.config import load_config
from agents.errors import RunError, UsageError
from agents.offline import Imagination, OfflineTrainer
from agents.online import LearnerSide, Meeting, Receiving
from agents.pretrain import Pretrainer, start_from
from agents.pretrain.settings import OneStepSettings
from agents.pretrain.start import start_settings
from agents.replay import ReplayBuffer, ReplayError
from agents.replay.blended import Blended
from agents.rundir import read_interface
from agents.settings import RunSettings
from agents.spaces import ActionSpec, Interface
from worldmodels.data import Episodes, make_episode, write_npz
from worldmodels.one_step import Imagined

FLAGS = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
SPEC = {"x": ((1,), "f4"), "action": ((1,), "f4"), "reward": ((), "f4"), **FLAGS}
VIEW = Interface({"x": (1,)}, {"x": np.dtype("f4")}, ActionSpec(1))


class Pushes:
    """Acts by 0.5, and remembers nothing."""

    stored, device = {}, torch.device("cpu")

    def initial(self, rows):
        return {}

    def act(self, obs, state, explore=False):
        assert explore
        return torch.full((len(obs["x"]), 1), 0.5), state


class Line(torch.nn.Module):
    """x' = x + a, r' = 10 x', doubt x; ends above 2.2."""

    def imagine(self, obs, action, lately=None):
        x = obs["x"] + action
        return Imagined({"x": x}, 10 * x[:, 0], x[:, 0] > 2.2, obs["x"][:, 0].clone())


class Starts:
    """Rows to begin at: row ``i`` at ``i``."""

    def can_sample(self, length):
        return True

    def sample(self, batch, length):
        return {"x": np.arange(batch, dtype=np.float32).reshape(1, batch, 1)}


def imagination(**more):
    given = {"horizon": 4, "rows": 3, "every": 2, "kept": 2, "penalty": 3.0, **more}
    return Imagination(Line(), Pushes(), Starts(), VIEW, [2.0], **given)


def test_paths_by_hand():
    found = imagination()
    found.imagine()
    rows = found.replay.sample(1, 1)  # it can be read
    assert rows["x"].shape == (1, 1, 1)
    arrays = found.replay.state_arrays()
    # an action of 0.5 is 1 of the model's; path 0 passes 0, 1, 2 and ends at 3; it begins anew
    assert arrays["x"][0, :5, 0].tolist() == [0, 1, 2, 3, 0]
    assert arrays["x"][1, :5, 0].tolist() == [1, 2, 3, 1, 2]
    assert arrays["x"][2, :5, 0].tolist() == [2, 3, 2, 3, 2]
    # 10 x' less 3 times the x before
    assert arrays["reward"][0, :5].tolist() == [0, 10, 17, 24, 0]
    assert arrays["reward"][1, :5].tolist() == [0, 17, 24, 0, 17]
    assert arrays["is_first"][0, :5].tolist() == [True, False, False, False, True]
    assert arrays["is_terminal"][1, :5].tolist() == [False, False, True, False, False]
    assert arrays["is_last"][1, :5].tolist() == [False, False, True, False, True]
    assert (arrays["action"] == 0.5).all()
    assert found.doubt == pytest.approx(np.mean([[0, 1, 2, 3], [1, 2, 3, 1], [2, 3, 2, 3]]))


class Follows(Line):
    """The same, and it says at each step how many came before."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def imagine(self, obs, action, lately=None):
        lately = torch.zeros(3, 1, 1) if lately is None else lately
        self.asked.append(lately.flatten().tolist())
        return super().imagine(obs, action)._replace(lately=lately + 1)


def test_what_was_unexpected_is_followed_along_a_path_and_forgotten_at_its_end():
    model = Follows()
    given = {"horizon": 4, "rows": 3, "every": 2, "kept": 2}
    Imagination(model, Pushes(), Starts(), VIEW, [2.0], **given).imagine()
    # path 0 ends at its row 3, path 1 at 2 and path 2 at 1, from where they begin anew
    assert model.asked == [[0, 0, 0], [1, 1, 1], [2, 2, 0], [3, 0, 1], [0, 1, 0]]


def test_paths_are_made_when_they_are_due_and_old_ones_are_forgotten():
    found = imagination()
    written = []
    for _ in range(6):
        batch = found.sample(5, 2)
        assert batch["x"].shape == (2, 5, 1) and "index" not in batch
        written.append(int(found.replay.written))
    assert written == [15, 15, 30, 30, 45, 45] and len(found.replay) == 30
    assert found.can_sample(5) and not found.can_sample(6)
    again = imagination()
    again.load_state(found.state())
    assert again.draws == 6


def buffer(value, rows=20, streams=1):
    made = ReplayBuffer(SPEC, 100, streams, online=False)
    for t in range(rows):
        row = {k: np.zeros((streams, *s), d) for k, (s, d) in SPEC.items()}
        row |= {"x": np.full((streams, 1), value, np.float32), "is_first": np.full(streams, t == 0)}
        made.add(row)
    return made


def test_a_batch_has_its_share_of_each_part_and_values_go_back_where_they_came_from():
    parts = [buffer(1.0), buffer(2.0), imagination()]
    mixed = Blended([(parts[0], 0.5), (parts[1], 0.25), (parts[2], 0.25)])
    batch = mixed.sample(8, 3)
    assert batch["x"][0, :6, 0].tolist() == [1, 1, 1, 1, 2, 2]
    assert batch["index"].shape == (3, 8, 2) and (batch["index"][:, 6:] == -1).all()
    wrote = mixed.update(batch["index"], {"reward": np.full((3, 8), 7.0, np.float32)})
    assert wrote == 18
    for part, count in zip(parts, (4, 2)):
        arrays = part.state_arrays()
        assert 3 <= (arrays["reward"] == 7.0).sum() <= 3 * count
    empty = ReplayBuffer(SPEC, 100, online=False)
    found = Blended([(parts[0], 0.5), (empty, 0.5)]).sample(4, 3)
    assert (found["x"] == 1.0).all() and found["x"].shape == (3, 4, 1)
    assert not Blended([(empty, 0.5), (parts[0], 0.5)]).can_sample(1)
    with pytest.raises(ReplayError, match="shares"):
        Blended([(parts[0], 0.0)])


# ---------------------------------------------------------------- a run


def log(episodes=6, rows=61, seed=0):
    """A point that is pushed along a line, paid for being near 0.5."""
    rng, found = np.random.default_rng(seed), []
    for i in range(episodes):
        x, action = np.zeros((rows, 1)), rng.uniform(-0.1, 0.1, (rows, 1))
        for t in range(rows - 1):
            x[t + 1] = np.clip(x[t] + action[t] + 0.01 * rng.normal(), -1, 1)
        reward = 1 - np.abs(x[:, 0] - 0.5)
        found.append(make_episode(f"{i}", {"x": x}, action, reward))
    return Episodes(found, 20.0, "line")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offline")
    write_npz(log(), folder / "log")
    small = ["updates=60", "eval_every=60", "batch=8", "length=9", "seen=5", "horizon=5"]
    sizes = ["model.units=16", "model.members=3", "lr=1e-2", f"data={folder / 'log'}"]
    settings = load_config(OneStepSettings, "pretrain/one_step", [*small, *sizes])
    with Pretrainer(settings, log()).begin(folder / "model") as run:
        run.train()
    return folder


def settings(folder, *more):
    told = [f"offline.log={folder / 'log'}", f"offline.model={folder / 'model'}"]
    small = ["agent.units=16", "agent.batch=16", "offline.rows=8", "offline.every=5"]
    return load_config(
        RunSettings, "sac/offline", [*told, *small, "offline.action_scale=[0.1]", *more]
    )


def test_an_agent_learns_from_the_log_and_its_policy_speaks_the_robots_units(model, tmp_path):
    made = OfflineTrainer(settings(model, "offline.updates=12"))
    assert np.abs(made.log[0]["action"]).max() <= 1.0 and made.unit.tolist() == [0.1]
    with made.begin(tmp_path / "run"):
        assert made.train().progress.updates == 12
    policy = load(tmp_path / "run")
    action = policy.act({"x": np.zeros(1, np.float32)})
    assert action.shape == (1,) and np.abs(action).max() <= 0.1
    # another agent starts from it, with its sizes
    given = load_config(RunSettings, "sac/small")
    online = start_settings(given, tmp_path / "run")
    assert online.agent.kind == "sac" and online.agent.units == 16
    other = OfflineTrainer(settings(model, "seed=5")).agent
    start_from(other, tmp_path / "run")
    for k, v in made.agent.state_dict().items():
        assert torch.equal(other.state_dict()[k], v), k
    wider = OfflineTrainer(settings(model, "agent.units=8")).agent
    with pytest.raises(RunError, match=r"of agent.units \(16 there, 8 here\)"):
        start_from(wider, tmp_path / "run")


def test_the_learner_of_a_robot_starts_from_it(model, tmp_path):
    with OfflineTrainer(settings(model, "offline.updates=3")).begin(tmp_path / "run") as made:
        made.train()
    given = load_config(RunSettings, "sac/small", ["steps=5000", "capacity=2000"])
    online = start_settings(given, tmp_path / "run")
    assert (online.agent.units, online.steps, online.offline) == (16, 5000, None)
    declared = read_interface(tmp_path / "run")
    with LearnerSide(online, declared, Receiving(1, print), Meeting()) as side:
        side.start_from(tmp_path / "run")
        side.begin(tmp_path / "online")
        for k, v in made.agent.state_dict().items():
            assert torch.equal(side.agent.state_dict()[k], v), k
        assert not side.agent.optimizer.state  # it begins anew
    assert main(["robot", "learn", "sac/small", "--from", str(model / "model")]) == 2


def test_a_stopped_run_goes_on(model, tmp_path, capsys):
    arguments = ["robot", "offline", "sac/offline", "--log", str(model / "log")]
    arguments += ["--model", str(model / "model"), "--run", str(tmp_path / "run")]
    small = ["agent.units=16", "agent.batch=16", "offline.rows=8", "offline.action_scale=[0.1]"]
    assert main([*arguments, *small, "offline.updates=4"]) == 0
    assert main([*arguments, *small, "offline.updates=9"]) == 0
    text = capsys.readouterr().out
    assert "4 updates" in text and "9 updates" in text and "robot learn sac/offline --from" in text


def test_what_does_not_fit_is_refused_before_anything_is_written(model, tmp_path):
    with pytest.raises(UsageError, match=r"the log's actions reach \[0.0999"):
        OfflineTrainer(settings(model, "offline.action_scale=[0.05]"))
    with pytest.raises(UsageError, match="expected one number or 1, got 2"):
        OfflineTrainer(settings(model, "offline.action_scale=[0.1, 0.2]"))
    with pytest.raises(UsageError, match="give at least 16"):
        OfflineTrainer(settings(model, "agent.kind=dreamer_v3", "agent.length=16"))
    with pytest.raises(UsageError, match="expected settings with offline"):
        OfflineTrainer(RunSettings())
