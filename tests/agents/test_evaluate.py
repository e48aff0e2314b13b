"""``pixyz evaluate``: what it prints, and the video of an episode."""

import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from own_robot import TINY
from scripted import Corridor, Counting, CountingConfig

import agents
from agents.cli import main
from agents.config import load_config
from agents.logger import read_metrics
from agents.run import Judge
from agents.settings import EnvSettings, RunSettings
from agents.spaces import ActionSpec
from agents.statistics import INTERVAL
from agents.video import clip, record
from envs import EnvFailure

# ---------------------------------------------------------------- evaluation


def test_evaluation_says_what_it_shows(trained, capsys):
    assert main(["evaluate", str(trained), "--episodes", "3", "--sampled", "--seed", "4"]) == 0
    text = capsys.readouterr().out
    assert [line.split("  ")[0] for line in text.split("\n")[2:5]] == [
        "learned policy",
        "sampled policy",
        "random policy",
    ]
    assert INTERVAL in text and "interquartile mean" in text
    assert text.split("\n")[2].split()[2:] != text.split("\n")[3].split()[2:]  # other actions
    assert main(["evaluate", str(trained), "--episodes", "3", "--seed", "4"]) == 0
    again = capsys.readouterr().out.split("\n")
    assert text.split("\n")[2] == again[2] and "sampled" not in "".join(again)


def test_a_run_of_another_machine_is_evaluated_here(trained, tmp_path, capsys):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in trained.iterdir():
        (moved / path.name).symlink_to(path)
    (moved / "config.yaml").unlink()
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (moved / "config.yaml").write_text(
        yaml.safe_dump({**config, "device": "cuda:63", "threads": 4000})
    )
    assert (
        main(["evaluate", str(moved), "--episodes", "1"]) == 2
        and "cuda:63" in capsys.readouterr().err
    )
    assert main(["evaluate", str(moved), "--episodes", "1", "--device", "cpu"]) == 0
    assert agents.load(moved, device="cpu").act([0.0, 1.0, 0.0]).shape == (1,)


# ---------------------------------------------------------------- failures


def failing(monkeypatch, kind, calls):
    """Steps of these numbers raise."""
    step, made = kind.step, []

    def broken(self, action):
        made.append(1)
        if len(made) in calls:
            raise RuntimeError("the arm left its table")
        return step(self, action)

    monkeypatch.setattr(kind, "step", broken)


def test_an_episode_that_fails_is_replaced(monkeypatch):
    """Episodes of 4 steps, of two environments in turn: the third step of one fails, and the fourth
    of the other.
    """
    failing(monkeypatch, Corridor, (5, 8))
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    judge = Judge(EnvSettings("Corridor-v0"), 2, 0)
    with pytest.warns(UserWarning, match="does not count, another took its place") as said:
        assert judge.actor(agent) == pytest.approx([-1.0, -1.0])
    assert len(said) == 2 and "environment 0, step: raised RuntimeError" in str(said[0].message)
    failing(monkeypatch, Corridor, (5,))
    found = []
    assert Judge(EnvSettings("Corridor-v0"), 2, 0, failed=found.append).random() is not None
    assert [(f.env, f.attempt) for f in found] == [(0, 1)]


def test_a_limit_of_actions_counts_from_an_episode_s_beginning(monkeypatch):
    failing(monkeypatch, Corridor, (5,))
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    judge = Judge(EnvSettings("Corridor-v0"), 2, 0, limit=3, failed=lambda failure: None)
    with pytest.warns(UserWarning, match="2 of 2 episodes had not ended after 3 actions"):
        assert judge.actor(agent) == pytest.approx([-0.75, -0.75])


def test_an_evaluation_that_always_fails_ends_and_says_where(monkeypatch):
    failing(monkeypatch, Corridor, range(1000))
    judge = Judge(EnvSettings("Corridor-v0"), 1, 0)
    with pytest.raises(EnvFailure, match=r"environment 0, in an evaluation, step: .* failure 3"):
        judge.random()


def test_failures_of_evaluations_are_in_the_run_s_folder(tmp_path, monkeypatch):
    failing(monkeypatch, PendulumEnv, (31,))
    settings = load_config(RunSettings, "dreamer_v3/pendulum", [*TINY, "steps=350"])
    with (
        agents.Trainer(settings).begin(tmp_path / "run") as trainer,
        pytest.warns(UserWarning, match="environment 1 of an evaluation failed at step 0"),
    ):
        run = trainer.train()
    assert len(run.progress.random) == 2
    assert "in an evaluation, environment 1" in (tmp_path / "run" / "failures.txt").read_text()
    [line] = [x for x in read_metrics(tmp_path / "run" / "metrics.jsonl") if x["kind"] == "failure"]
    assert line["env"] == 1 and line["evaluation"] == 1


# ---------------------------------------------------------------- a video


@pytest.fixture
def robot_run(robot):
    assert (
        main(["train", "dreamer_v3/pendulum", *TINY, "env.id=my_robot:Point", "--run", "run"]) == 0
    )
    return robot / "run"


def test_a_gif_of_an_episode(robot_run, capsys):
    from PIL import Image

    video = robot_run.parent / "episode.gif"
    assert main(["evaluate", str(robot_run), "--episodes", "1", "--video", str(video)]) == 0
    assert f"video: {video} (an episode of return" in capsys.readouterr().out
    with Image.open(video) as found:
        # 25 actions, repeated twice
        assert found.size == (48, 32) and found.n_frames == 26 and found.info["duration"] == 100


def test_a_clip_ends_a_run_or_says_what_it_needs(robot_run, capsys):
    given = ["evaluate", str(robot_run), "--episodes", "1", "--video", "part.gif", "--seconds"]
    assert main([*given, "1"]) == 0 and main([*given, "-1"]) == 2
    from PIL import Image

    with Image.open("part.gif") as found:
        assert found.n_frames == 10
    line = clip(robot_run)
    assert (
        line.startswith(f"video: {robot_run / 'clip.gif'} (an episode of return")
        and (robot_run / "clip.gif").is_file()
    )
    file, broken = Path("my_robot.py"), "def render(self):\n        raise ImportError('no pygame')"
    file.write_text(file.read_text().replace("def render(self):", broken))
    capsys.readouterr()
    assert clip(robot_run).startswith("no clip (") and "no pygame" in clip(robot_run)


def test_an_mp4_is_written_by_imageio(robot_run, monkeypatch):
    written = []
    writer = types.SimpleNamespace(append_data=written.append)
    closed = type("Writer", (), {"__enter__": lambda s: writer, "__exit__": lambda s, *e: None})
    monkeypatch.setitem(
        sys.modules,
        "imageio.v2",
        types.SimpleNamespace(get_writer=lambda path, **options: closed()),
    )
    monkeypatch.setattr("agents.video.find_spec", lambda name: True)
    assert main(["evaluate", str(robot_run), "--episodes", "1", "--video", "episode.mp4"]) == 0
    assert len(written) == 26 and written[3].shape == (32, 48, 3) and written[3][0, 0, 0] == 6


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("x.avi", None, "ends in .mp4 or .gif"),
        ("x", None, "ends in .mp4 or .gif"),
        ("x.mp4", "imageio_ffmpeg", "pip install imageio-ffmpeg"),
        ("x.gif", "PIL", "pip install pillow"),
        ("nowhere/x.gif", None, "a folder that is there"),
    ],
)
def test_a_video_that_cannot_be_written_is_refused_first(
    name, missing, message, robot_run, monkeypatch, capsys
):
    monkeypatch.setattr(
        "agents.video.find_spec", lambda package: None if package == missing else True
    )
    monkeypatch.setattr(Judge, "actor", lambda *a, **k: pytest.fail("it was evaluated first"))
    assert main(["evaluate", str(robot_run), "--video", name]) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1


def test_what_cannot_be_drawn_says_what_it_needs(robot_run, capsys, monkeypatch):
    module = sys.modules["my_robot"]
    errors = {
        "MUJOCO_GL=egl": RuntimeError("no EGL display"),
        "pip install pygame": ImportError("pygame is not installed"),
    }
    for advice, error in errors.items():

        def render(self, error=error):
            raise error

        monkeypatch.setattr(module.Point, "render", render)
        assert main(["evaluate", str(robot_run), "--video", "x.gif"]) == 2
        text = capsys.readouterr().err
        assert str(error) in text and advice in text and text.count("\n") == 1
    monkeypatch.setattr(module.Point, "render", lambda self: None)
    assert (
        main(["evaluate", str(robot_run), "--video", "x.gif"]) == 2
        and "expected pictures" in capsys.readouterr().err
    )
    assert not Path("x.gif").exists()


def test_a_video_leaves_random_numbers_alone(robot):
    sys.path.append(str(robot))
    actor = agents.Trainer(
        load_config(RunSettings, "dreamer_v3/pendulum", [*TINY, "env.id=my_robot:Point"])
    ).agent
    before = torch.get_rng_state()
    frames, fps, ret = record(EnvSettings("my_robot:Point", time_limit=7), actor, 0, 1000)
    assert (
        torch.equal(torch.get_rng_state(), before)
        and len(frames) == 8
        and fps == 20.0
        and abs(ret) <= 7
    )
    assert len(record(EnvSettings("my_robot:Point"), actor, 0, 3)[0]) == 4  # a limit of actions
