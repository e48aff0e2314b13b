"""Demonstrations and interventions in a replay of their own; a doubt from a run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.config import load_config
from agents.errors import UsageError
from agents.online.doubt import ModelDoubt
from agents.online.learning import Arrivals
from agents.online.receiving import Receiving
from agents.online.record import Record
from agents.online.shown import Shown
from agents.pretrain import Pretrainer, report
from agents.pretrain.settings import OneStepSettings
from agents.replay import ReplayBuffer
from agents.settings import ShownSettings
from agents.spaces import ActionSpec, Interface
from envs import ActionGuard
from worldmodels.data import Episodes, make_episode, write_npz
from worldmodels.doubt import Thresholds, scores
from worldmodels.one_step import OneStep
from worldmodels.one_step_config import OneStepConfig

VIEW = Interface({"x": (2,)}, {"x": np.dtype("f4")}, ActionSpec(1))
KEEPS_NOTHING = SimpleNamespace(stored={})
DO = ActionGuard(spaces.Box(-0.2, 0.2, (1,)))


def demos(folder, reach=0.2, rows=9):
    rng = np.random.default_rng(0)
    made = []
    for i in range(3):
        action = rng.uniform(-reach, reach, (rows, 1))
        action[0] = reach
        made.append(make_episode(f"{i}", {"x": rng.normal(size=(rows, 2))}, action))
    write_npz(Episodes(made), folder)
    return made


def record(t, first=False, last=False, moved=False):
    row = {
        "x": np.full(2, t, np.float32),
        "action": np.full(1, 0.5, np.float32),
        "reward": np.float32(t),
        "is_first": np.bool_(first),
        "is_last": np.bool_(last),
        "is_terminal": np.bool_(False),
    }
    return Record(row, 1, 1, t, notes={"intervened": moved})


def shown(tmp_path=None, log="", **more):
    settings = ShownSettings(log=str(log), capacity=50)
    return Shown(settings, VIEW, DO, actors=2, agent=KEEPS_NOTHING, directory=tmp_path, **more)


def rows_of(made, stream):
    arrays, count = made.replay.state_arrays(), int(made.replay.counters[stream])
    return {k: v[stream, :count] for k, v in arrays.items() if k != "counters"}


def test_demonstrations_are_in_the_agents_units(tmp_path):
    log = demos(tmp_path / "demos")
    made = shown(log=tmp_path / "demos")
    found = rows_of(made, 0)
    assert len(found["x"]) == 27 and found["is_first"].sum() == 3 and found["is_last"].sum() == 3
    np.testing.assert_allclose(found["action"][:9], log[0]["action"] / 0.2, atol=1e-6)
    assert len(rows_of(made, 1)["x"]) == 0
    demos(tmp_path / "far", reach=0.3)
    with pytest.raises(UsageError, match=r"its actions reach \[0\.3"):
        shown(log=tmp_path / "far")
    write_npz(
        Episodes([make_episode("a", {"y": np.zeros((5, 2))}, np.zeros((5, 1)))]), tmp_path / "other"
    )
    with pytest.raises(UsageError, match="expected the robot's observations"):
        shown(log=tmp_path / "other")


def test_a_row_in_which_a_person_moved_comes_with_the_one_that_followed():
    made = shown()
    moved = [False, True, True, False, False, True, True, False]
    for t, m in enumerate(moved):
        made.add(1, record(t, first=t == 0 or t == 6, last=t == 7, moved=m))
    found = rows_of(made, 2)
    # 1, 2 and what followed; then 5, whose episode was cut; then 6 and the last row
    assert found["x"][:, 0].tolist() == [1, 2, 3, 5, 6, 7]
    assert found["is_first"].tolist() == [True, False, False, True, True, False]
    assert found["is_last"].tolist() == [False, False, True, True, False, True]
    assert len(rows_of(made, 1)["x"]) == 0


def test_what_was_shown_is_there_after_a_stop(tmp_path):
    demos(tmp_path / "demos")
    made = shown(tmp_path / "rows", tmp_path / "demos")
    for t in range(3):
        made.add(0, record(t, first=t == 0, moved=True))
    state = made.state()
    made.add(0, record(3, moved=True))
    made.replay.close()
    again = shown(tmp_path / "rows", tmp_path / "demos")
    again.load_state(state)
    assert again.replay.counters.tolist() == [27, 3, 0]
    again.add(0, record(3))  # what followed the last one that was moved
    assert rows_of(again, 1)["is_last"].tolist() == [False, False, False, True]


def test_arrivals_hand_interventions_on():
    receiving = Receiving(1, lambda about: None)
    replay = ReplayBuffer(VIEW.spec({}), 50)
    made = shown()
    arrivals = Arrivals(receiving, replay, shown=made)
    for t, moved in enumerate([False, True, False]):
        assert arrivals._add(0, record(t, first=t == 0, moved=moved))
    assert len(replay) == 3 and rows_of(made, 1)["x"][:, 0].tolist() == [1, 2]


# ---------------------------------------------------------------- doubt


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A robot that goes where it is pushed, with thresholds."""
    folder, rng, made = tmp_path_factory.mktemp("doubt"), np.random.default_rng(0), []
    for i in range(20):
        action = rng.uniform(-0.1, 0.1, (201, 1))
        x = np.concatenate([np.zeros((1, 1)), action[:-1]]).cumsum(0).clip(-1, 1)
        x = x + 0.01 * rng.normal(size=x.shape)
        made.append(make_episode(f"{i}", {"state": x}, action))
    small = ["updates=150", "eval_every=150", "batch=16", "lr=1e-2", "seen=10", "horizon=5"]
    sizes = ["model.units=16", "model.members=3", "valid=0.4", "split=episode", "warmup=0"]
    settings = load_config(OneStepSettings, "pretrain/one_step", [*small, *sizes])
    with Pretrainer(settings, Episodes(made, 20.0)).begin(folder / "run") as trainer:
        trainer.train()
    trainer.load_best()
    model, data = trainer.model, trainer.data
    units = report._units(data.train)
    found = report.trust.write(folder / "run", model, model, data, trainer.settings, units)
    return folder / "run", found


SEEN = spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (1,), np.float32)})
PUSH = spaces.Box(-0.1, 0.1, (1,))


def test_pretraining_writes_intervals_and_thresholds(run):
    folder, found = run
    assert found["left_out"] == {} and found["intervals"]["level"] == 0.9
    assert len(found["intervals"]["coverage"]["state"]) == 5
    assert (folder / "intervals.safetensors").is_file()
    lines = report.trust.lines(found)
    assert len(lines) == 1 and "hold" in lines[0]


def drive(folder, stuck=False, carried=0.0, ticks=60):
    """What a doubt says of a robot that is stuck after 20 ticks, or falls back by ``carried``."""
    doubt = ModelDoubt.load(folder, SEEN, PUSH)
    rng, x, said = np.random.default_rng(7), np.zeros(1), []

    def seen():
        return {"state": (x + 0.01 * rng.normal(size=1)).astype(np.float32)}

    now = seen()
    doubt.begin(now)
    for t in range(ticks):
        action = np.array([0.09 * np.sin(0.3 * t)])
        said.append(doubt.ask(now, action))
        x = x + (0.0 if stuck and t > 20 else action - carried)
        now = seen()
        doubt.came(action, now)
    return said


def test_a_robot_that_does_not_go_where_it_is_pushed_is_doubted(run):
    assert set(drive(run[0])) == {None}
    said = drive(run[0], stuck=True)
    assert set(said[:21]) == {None}
    assert any(why is not None and why.startswith("surprise") for why in said[22:40])


def test_a_robot_that_carries_something_is_doubted_after_a_window(run):
    said = drive(run[0], carried=0.006, ticks=90)
    assert set(said[:50]) == {None}
    assert all(why is not None and why.startswith("drift is") for why in said[50:])


def test_a_doubt_in_a_loop_knows_what_it_knows_of_the_whole_episode():
    torch.manual_seed(0)
    rng, made = np.random.default_rng(0), []
    for i in range(4):
        action = rng.uniform(-0.1, 0.1, (51, 1)).astype(np.float32)
        x = np.concatenate([np.zeros((1, 1)), action[:-1]]).cumsum(0) + 0.01 * rng.normal(size=1)
        made.append(make_episode(f"{i}", {"state": x + 0.01 * rng.normal(size=x.shape)}, action))
    config = OneStepConfig(members=3, units=8, linear=True, lately=(2, 20), prior=1.0)
    model = OneStep({"state": (1,)}, 1, config)
    model.fit_units(Episodes(made[:3], 20.0))
    doubt, kept = ModelDoubt(model, Thresholds(1e9, 1e9, ticks=1, rate=0.1), SEEN, PUSH), {}

    def add(residual=None, **values):
        for name, value in values.items():
            kept.setdefault(name, []).append(value)

    doubt._doubt.add = add
    series = made[3].series
    for _ in range(2):  # the second begins as the first did
        kept.clear()
        doubt.begin({"state": series["state"][0]})
        for t in range(50):
            doubt.ask({"state": series["state"][t]}, series["action"][t].astype(np.float64))
            doubt.came(series["action"][t].astype(np.float64), {"state": series["state"][t + 1]})
        whole = scores(model, made[3])
        np.testing.assert_allclose(kept["disagreement"], whole.disagreement, rtol=1e-3)
        np.testing.assert_allclose(kept["surprise"], whole.surprise, rtol=1e-3, atol=1e-5)
    now = {"state": torch.from_numpy(series["state"][:-1])}
    unread = model.disagreement(now, torch.from_numpy(series["action"][:-1]))
    assert not np.allclose(kept["disagreement"], unread, rtol=0.05)


def test_a_doubt_of_another_robot_is_refused(run):
    wide = spaces.Box(-0.05, 0.05, (1,))
    with pytest.raises(UsageError, match="whose actions reach"):
        ModelDoubt.load(run[0], SEEN, wide)
    with pytest.raises(UsageError, match="does not fit a robot that has"):
        ModelDoubt.load(run[0], spaces.Dict({"pose": SEEN["state"]}), PUSH)


def test_an_action_outside_of_the_bounds_is_asked_about_as_it_would_be_sent():
    torch.manual_seed(0)
    model = OneStep({"state": (1,)}, 1, OneStepConfig(members=3, units=8))
    doubt = ModelDoubt(model, Thresholds(1e-9, 1e9, ticks=1, rate=0.1), SEEN, PUSH)
    seen = {"state": np.zeros(1, np.float32)}
    doubt.begin(seen)
    assert doubt.ask(seen, np.array([50.0])) == doubt.ask(seen, np.array([0.1]))
    assert doubt.ask(seen, np.array([np.nan])) is not None
