"""``pixyz evaluate``: what it prints, and the video of an episode."""

import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from own_robot import TINY

import agents
from agents.cli import main
from agents.config import load_config
from agents.run import Judge
from agents.settings import EnvSettings, RunSettings
from agents.statistics import INTERVAL
from agents.video import clip, record

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
