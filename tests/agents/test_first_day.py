"""What people type on their first day: doctor, list, data, completion;
what is missing is one line.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import pixyz
from agents import doctor
from agents.build import KINDS
from agents.cli import main
from agents.config import config_names, load_config
from agents.pretrain import KINDS as MODELS
from agents.pretrain import Pretrainer
from agents.pretrain.command import open_data
from envs import rendering
from worldmodels.data import Episodes, make_episode, read_episodes, write_csv, write_npz

ROOT = Path(pixyz.__file__).parents[1]


def log(rows=300, episodes=6, high=2.0, bad=None):
    """A turning joint, a second that stands still, small pictures, an action beyond 1."""
    found = []
    for i in range(episodes):
        t = np.arange(rows) / 50
        joints = np.stack([np.sin(t + i), np.full(rows, 0.5)], 1)
        if bad == i:
            joints[7, 0] = np.nan
        camera = np.full((rows, 16, 16, 3), 10 * i, np.uint8)
        found.append(
            make_episode(
                f"{i}", {"joints": joints, "camera": camera}, action=high * np.sin(t)[:, None]
            )
        )
    return Episodes(found, 50.0)


# ---------------------------------------------------------------- data


def test_a_log_is_summed_up_and_settings_proposed(tmp_path, capsys):
    write_npz(log(), tmp_path / "log")
    assert main(["data", "check", str(tmp_path / "log")]) == 0
    text = capsys.readouterr().out
    assert "6 episodes of 300 rows, 1,800 rows in all" in text and "no bad values" in text
    assert next(line for line in text.split("\n") if line.startswith("joints[1]")).split()[1:] == [
        "0.5",
        "0.5",
        "0.5",
        "0",
        "never",
        "changes",
    ]
    assert (
        next(line for line in text.split("\n") if line.startswith("joints[0]")).split()[1] == "-1"
    )
    assert "predicts=change" in text and "action_scale=[2.0]" in text
    assert "split=episode seen=50 horizon=50: the longest test episode has 300 rows" in text


def test_what_is_proposed_is_what_pretraining_takes(tmp_path, capsys):
    write_npz(log(rows=40, high=1.0).select(["joints"]), tmp_path / "log")
    assert main(["data", "check", str(tmp_path / "log")]) == 0
    text = capsys.readouterr().out
    assert "split=episode seen=20 horizon=20" in text and "actions lie in [-1, 1]" in text
    settings = load_config(
        MODELS["vrnn"],
        "pretrain/vrnn",
        [f"data={tmp_path / 'log'}", "model.rnn=8", "model.hidden=8"],
    )
    with Pretrainer(settings, open_data(settings)).begin(tmp_path / "run") as trainer:
        assert str(trainer.fit).startswith(
            "split by episode; the report reads 20 rows and predicts 20"
        )
    kept = load_config(MODELS["vrnn"], tmp_path / "run" / "config.yaml")
    assert (kept.split, kept.seen, kept.horizon) == ("episode", 20, 20)


def test_bad_values_are_named_and_left_out(tmp_path, capsys):
    write_npz(log(bad=2), tmp_path / "log")
    assert main(["data", "check", str(tmp_path / "log")]) == 2
    text = capsys.readouterr().out
    assert "wrong: episode 00002.npz, step 7, key joints: expected a finite number, got nan" in text
    assert "--on-bad cut" in text and "--on-bad drop" in text and "split=" not in text
    new = str(tmp_path / "new")
    assert main(["data", "convert", str(tmp_path / "log"), new, "--to", "store"]) == 2
    with pytest.warns(UserWarning, match="left out"):
        assert (
            main(
                ["data", "convert", str(tmp_path / "log"), new, "--to", "store", "--on-bad", "drop"]
            )
            == 0
        )
    assert len(read_episodes(new)) == 5 and main(["data", "check", new]) == 0
    assert (
        main(["data", "check", str(tmp_path / "none")]) == 2
        and "no such file" in capsys.readouterr().err
    )


def test_a_log_is_converted_bit_for_bit(tmp_path, capsys):
    data = log().select(["joints"])
    write_csv(data, tmp_path / "csv")
    assert (
        main(["data", "convert", str(tmp_path / "csv"), str(tmp_path / "npz"), "--to", "npz"]) == 0
    )
    found = read_episodes(tmp_path / "npz")
    assert all(
        np.array_equal(a[k], b[k]) for a, b in zip(data, found, strict=True) for k in data.schema
    )
    assert (
        main(["data", "convert", str(tmp_path / "csv"), str(tmp_path / "npz"), "--to", "npz"]) == 2
    )
    assert "is not empty" in capsys.readouterr().err


def test_a_log_without_a_rate_is_given_one(tmp_path, capsys):
    source, data = str(tmp_path / "log"), log(rows=9, episodes=2).select(["joints"])
    for e in data:
        e["action"][-1] = 0  # for which Minari has no place
    write_npz(Episodes(data), source)
    convert = ["data", "convert", source]
    assert main([*convert, str(tmp_path / "none"), "--to", "lerobot"]) == 2
    assert "--rate HZ to pixyz data convert" in capsys.readouterr().err
    for form in ("npz", "store", "csv", "minari", "lerobot"):
        new = str(tmp_path / form)
        assert main([*convert, new, "--to", form, "--rate", "12.5"]) == 0
        assert read_episodes(new).rate == 12.5 and len(read_episodes(new)) == 2
    again = ["data", "convert", str(tmp_path / "npz"), str(tmp_path / "again"), "--to", "npz"]
    capsys.readouterr()
    assert main([*again, "--rate", "50"]) == 2
    text = capsys.readouterr().err
    assert "--rate: expected 12.5, the rows a second that" in text and "got 50.0; leave" in text
    for wrong in ("0", "-1", "nan", "inf"):
        assert main([*again, "--rate", wrong]) == 2
        assert f"--rate: expected rows a second above 0, got {wrong}" in capsys.readouterr().err
    assert not (tmp_path / "again").exists() and main([*again, "--rate", "12.5"]) == 0


@pytest.mark.parametrize(
    ("form", "options"),
    [("csv", ["--keys"]), ("minari", ["--to store"]), ("lerobot", ["--to store"])],
)
def test_what_a_form_has_no_place_for_is_answered_by_options(form, options, tmp_path, capsys):
    parts = [e.part(2, 7) for e in log(rows=9, episodes=2)]
    for e in parts:
        e["reward"][0] = 1.0
    write_npz(Episodes(parts, 50.0), tmp_path / "log")
    assert (
        main(["data", "convert", str(tmp_path / "log"), str(tmp_path / "new"), "--to", form]) == 2
    )
    text = capsys.readouterr().err
    assert all(option in text for option in options) and text.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_names_of_columns_are_kept_or_their_loss_is_said(tmp_path, capsys):
    (tmp_path / "log").mkdir()
    rows = "".join(f"{0.1 * i},{i},{-i}\n" for i in range(9))
    (tmp_path / "log/a.csv").write_text(f"elbow,wrist,volt\n{rows}")
    meaning = {"observations": {"arm": ["elbow", "wrist"]}, "action": ["volt"], "rate": 5}
    (tmp_path / "log/columns.json").write_text(json.dumps(meaning))
    for form in ("csv", "lerobot", "store", "npz"):
        new = str(tmp_path / form)
        assert main(["data", "convert", str(tmp_path / "log"), new, "--to", form]) == 0
        said = [line for line in capsys.readouterr().err.split("\n") if "names" in line]
        assert len(said) == (form == "npz"), form
        kept = ("elbow", "wrist") if form != "npz" else None
        assert read_episodes(new).named.get("arm") == kept
    assert "arm: elbow, wrist; action: volt" in said[0]


def test_an_episode_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_npz(log(), tmp_path / "log")
    assert main(["data", "show", "log", "--episode", "2"]) == 0
    assert (tmp_path / "log-00002.png").stat().st_size > 5000
    assert main(["data", "show", "log", "--episode", "9"]) == 2
    assert "a number below 6 or a name such as '00000.npz', got '9'" in capsys.readouterr().err
    assert main(["data", "show", "log", "--out", "none/a.png"]) == 2


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("what", "names"), [("agents", KINDS), ("models", MODELS), ("configs", config_names())]
)
def test_names_are_listed_with_a_word_on_each(what, names, capsys):
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.strip().split("\n")
    assert [line.split()[0] for line in lines] == list(names)
    assert all(len(line.split()) > 1 for line in lines)


def test_environments_are_listed(capsys):
    assert main(["list", "envs", "walker"]) == 0
    text = capsys.readouterr().out
    assert ("dm_control/walker-walk" in text) == (find_spec("dm_control") is not None)
    assert "Pendulum-v1" not in text and "module:Class" in text
    assert main(["list", "envs"]) == 0
    assert "Pendulum-v1" in capsys.readouterr().out


# ---------------------------------------------------------------- doctor


def test_the_doctor_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "h5py" else "1.0")
    monkeypatch.setattr(doctor, "trouble", lambda name: "" if name == "osmesa" else "no driver")
    monkeypatch.setattr(doctor, "HEADER", tmp_path / "Python.h")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    (tmp_path / "envs").mkdir()
    monkeypatch.chdir(tmp_path)
    text = "\n".join(doctor.report())
    assert "missing: pip install h5py" in text and text.count("missing") == 1
    if find_spec("mujoco"):
        assert "OpenGL, egl: no driver" in text and "OpenGL, osmesa: draws" in text
        assert "MUJOCO_GL=egl is set and does not draw" in text
    assert f"the folder {tmp_path / 'envs'} has the name of a package" in text
    assert "python3-dev" in text  # with a compiler, and without
    assert f"pixyz {pixyz.__version__}" in text and "devices: cpu" in text


def test_the_doctor_knows_every_extra():
    """But for those of who works on the library."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(extras) - {"test", "dev", "bench", "site"}
    for extra, (_, packages) in doctor.EXTRAS.items():
        wanted = {re.split(r"[\[>=<;]", line)[0] for line in extras[extra]}
        assert wanted - {"gymnasium"} <= set(packages) <= wanted | {"imageio-ffmpeg"}, extra


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("osmesa", "AttributeError: 'NoneType' object has no attribute 'glGetError'"),
        ("egl", "AttributeError: 'NoneType' object has no attribute 'eglQueryString'"),
    ],
)
def test_a_library_of_opengl_that_is_not_there_is_said_in_words(backend, said, monkeypatch):
    done = subprocess.CompletedProcess([], 1, "", f"Traceback (most recent call last):\n{said}\n")
    monkeypatch.setattr(rendering.subprocess, "run", lambda *_, **__: done)
    found = rendering.trouble.__wrapped__(backend)
    assert "apt-get install" in found and rendering.PACKAGES[backend] in found
    assert "NoneType" not in found
    done.stderr = "mujoco.FatalError: no driver\n"
    assert rendering.trouble.__wrapped__(backend) == "mujoco.FatalError: no driver"


def test_the_command_without_its_packages_is_one_line(tmp_path):
    """As after ``pip install pixyz-worldmodels`` without extras; the doctor still speaks."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('yaml', 'rich', 'gymnasium', "
        "'mujoco'):\n    sys.modules[name] = None\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    code = "import sys, pixyz_command; sys.argv[0] = 'pixyz'; sys.exit(pixyz_command.main())"

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )

    done = run("list", "configs")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "pip install pyyaml" in done.stderr and "pixyz doctor" in done.stderr
    done = run("doctor")
    assert done.returncode == 0 and "devices: cpu" in done.stdout, done.stderr


def test_what_draws_is_found_in_a_process_of_its_own(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", rendering.FOUND):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rendering, "trouble", lambda name: "no driver" if name == "egl" else "")
    if sys.platform == "linux":
        assert rendering.choose() == "osmesa" and os.environ[rendering.FOUND] == "osmesa"
        monkeypatch.delenv(rendering.FOUND)
        monkeypatch.setattr(rendering, "trouble", lambda name: f"no {name}")
        with pytest.raises(
            rendering.EnvError, match=r"egl: no egl; osmesa: no osmesa.*apt-get install libosmesa6"
        ):
            rendering.choose()
    monkeypatch.setenv("DISPLAY", ":0")
    assert rendering.choose() is None


# ---------------------------------------------------------------- completion


def test_completion(capsys, monkeypatch):
    if find_spec("shtab"):
        assert main(["completion", "bash"]) == 0
        text = capsys.readouterr().out
        assert "dreamer_v3/pendulum" in text and "complete" in text
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err


def test_export_names_its_default_and_the_way_without_onnx(monkeypatch, capsys):
    monkeypatch.setattr("agents.export.files.find_spec", lambda name: None)
    assert main(["export", "run"]) == 2
    text = capsys.readouterr().err
    assert "pip install onnx onnxscript, or take --to torch" in text and text.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "(default: onnx)" in " ".join(capsys.readouterr().out.split())
