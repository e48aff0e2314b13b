"""The folder of a run says what was asked for and where it came from, and is never written over."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from replay_parts import forked

import agents.rundir as rundir
from agents.config import load_config
from agents.errors import RunError
from agents.rundir import count_start, create_run, lock, open_run


@dataclass(frozen=True)
class Settings:
    rate: float = 1e-7
    name: str = "1e-4"
    sizes: tuple[int, ...] = (1, 2)


def test_what_is_written_is_read_again(tmp_path):
    path = create_run(tmp_path / "deep" / "run", Settings(), seed=7)
    config, info = open_run(path)
    assert load_config(Settings, config) == Settings()
    assert info["seed"] == 7 and info["versions"]["torch"].startswith(
        torch.__version__.split("+")[0]
    )
    assert info["versions"]["numpy"] == np.__version__ and info["command"] and info["platform"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(info["started"])).total_seconds()) < 60


def test_an_empty_folder_is_taken(tmp_path):
    assert open_run(create_run(tmp_path, Settings(), seed=0))[1]["seed"] == 0


def test_a_folder_with_anything_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RunError, match="choose another folder") as caught:
        create_run(tmp_path, Settings(), seed=0)
    assert "resume" not in str(caught.value) and [p.name for p in tmp_path.iterdir()] == [
        "mine.txt"
    ]
    with pytest.raises(RunError, match="exists"):
        create_run(tmp_path / "mine.txt", Settings(), seed=0)
    run = create_run(tmp_path / "run", Settings(), seed=0)
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(RunError, match=f"pixyz resume {run}"):
        create_run(run, Settings(), seed=1)
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write the run folder"):
        create_run(tmp_path / "file" / "run", Settings(), seed=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", None, "no run folder.*config.yaml"),
        ("run.json", None, "no run folder.*run.json"),
        ("config.yaml", b"a: [", "is damaged.*line"),
        ("run.json", b"{", "is damaged"),
        ("run.json", b"\xff\xfe", "is damaged"),
        ("config.yaml", b"- 1", "expected keys and values"),
        ("run.json", b"3", "expected keys and values"),
    ],
)
def test_what_is_no_run_folder_is_said_in_one_line(name, content, message, tmp_path):
    run = create_run(tmp_path / "run", Settings(), seed=0)
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        open_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere", "file"])
def test_no_folder_at_all(path, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="no run folder"):
        open_run(tmp_path / path)


def git(folder, *arguments):
    who = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A repository with the library's source in it, as the module sees it."""
    root = tmp_path / "library"
    (root / "agents").mkdir(parents=True)
    for name in ("__init__.py", "rundir.py"):
        (root / "agents" / name).write_text("")
    monkeypatch.setattr(rundir, "__file__", str(root / "agents" / "rundir.py"))
    git(tmp_path, "init", "-q", str(root))
    return root


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_the_librarys_and_dirty_means_its_source(library, monkeypatch):
    # another's repository: source not tracked
    assert (rundir.origin()["commit"], rundir.origin()["dirty"]) == (
        None,
        None,
    )
    git(library, "add", ".")
    git(library, "commit", "-q", "-m", "first")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    commit = (library / ".git" / "HEAD").read_text().split()[-1]
    (library / "runs").mkdir()
    (library / "runs" / "log").write_text("")
    found = rundir.origin()
    assert (
        found["commit"] == (library / ".git" / commit).read_text().strip()
        and found["dirty"] is False
    )
    (library / "agents" / "new.py").write_text("")
    assert rundir.origin()["dirty"] is True


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    info = open_run(create_run(tmp_path / "run", Settings(), seed=0))[1]
    assert info["commit"] is None and info["dirty"] is None


def test_nothing_is_imported_to_know_its_version(tmp_path):
    script = (
        "import sys; from pathlib import Path; from agents.rundir import origin; o = origin()\n"
        "assert o['versions']['python'] and not {'torch', 'gymnasium', 'mujoco', 'dm_control', "
        "'matplotlib'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).resolve().parents[2], check=True
    )


# ---------------------------------------------------------------- one process at a time


def second(path):
    """What another process is told."""
    with (
        pytest.raises(
            RunError, match=r"is in use by process \d+ on .*; wait until it ends, or stop it"
        ) as error,
        lock(path),
    ):
        pass
    assert f"process {os.getppid()} on" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    with lock(tmp_path):
        forked(lambda: second_elsewhere(tmp_path))
        forked(lambda: second_elsewhere(tmp_path))  # being refused has not let go of it
    with lock(tmp_path):
        pass

    def hold():
        with lock(tmp_path):
            os.write(write, b"held")
            time.sleep(60)

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        hold()
    assert os.read(read, 4) == b"held"
    with pytest.raises(RunError, match=f"in use by process {child} on"), lock(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with lock(tmp_path):  # died with its process
        pass


def second_elsewhere(path):
    """As a process that was not forked with the lock in its memory."""
    rundir._HELD.clear()
    second(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_does_not_hold_the_lock(tmp_path):
    """A worker that outlives its killed parent: the run can be resumed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with lock(tmp_path):
            worker = os.fork()
            if worker == 0:
                time.sleep(60)
            os.write(write, f"{worker:9d}".encode())
            time.sleep(60)
    worker = int(os.read(read, 9))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        os.kill(worker, 0)
        with lock(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_the_same_process_is_refused_too(tmp_path):
    with (
        lock(tmp_path),
        pytest.raises(RunError, match="in use by this process"),
        lock(tmp_path / ".." / tmp_path.name),
    ):
        pass
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with lock(tmp_path):
        pass
    with pytest.raises(RunError, match="cannot write the run folder"), lock(tmp_path / "nowhere"):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def none(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(rundir, "_lock_file", none)
    ran = False
    with pytest.warns(UserWarning, match="cannot be locked"), lock(tmp_path):
        ran = True
    assert ran


def test_starts_are_counted(tmp_path):
    assert [count_start(tmp_path) for _ in range(3)] == [1, 2, 3]
    with (tmp_path / "starts").open("a") as file:
        file.write("4 20")  # torn
    assert [count_start(tmp_path) for _ in range(2)] == [5, 6]
    (tmp_path / "starts").write_text("90 x\n")
    assert count_start(tmp_path) == 91
    with pytest.raises(RunError, match="cannot count the start"):
        count_start(tmp_path / "nowhere")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_start_is_counted_though_the_process_is_killed(tmp_path):
    for _ in range(5):
        forked(lambda: (count_start(tmp_path), os.kill(os.getpid(), signal.SIGKILL)), 60.0)
    assert count_start(tmp_path) == 6
