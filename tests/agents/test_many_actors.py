"""Several actors of one learner: their shares, their seeds, Ray where it is installed."""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_online_loop import SMALL, Learning

from agents.cli import main
from agents.config import load_config
from agents.online import ActorSide, Record, RowLog
from agents.online.many import act, act_on_ray, share
from agents.settings import RunSettings

TWO = [*SMALL, "env.num_envs=2", "env.id=scripted:Corridor"]


def records(folder):
    with RowLog(folder) as log:
        return [Record.read(data) for data in log.read(1, 999)]


def test_steps_are_divided():
    settings = load_config(RunSettings, {}, [*TWO, "steps=61", "env.num_envs=3", "prefill=13"])
    own = share(settings)
    assert (own.steps, own.prefill) == (21, 5)
    assert own.train_ratio == settings.train_ratio and own.agent == settings.agent


def test_actors_draw_other_numbers(tmp_path):
    pytest.importorskip("zmq")
    settings, drawn = load_config(RunSettings, {}, TWO), []
    for number in (0, 1, 0):
        folder = tmp_path / str(len(drawn))
        make = lambda: __import__("envs").make("scripted:Corridor")  # noqa: E731
        with ActorSide(settings, make, folder, "tcp://127.0.0.1:9", actor=number) as side:
            for _ in range(4):
                side.reporting.step(random=True)
            side.reporting.finish()
        drawn.append([float(r.row["action"][0]) for r in records(folder)])
    assert drawn[0] == drawn[2] and not set(drawn[0][:4]) & set(drawn[1][:4])


def test_what_two_actors_do_is_in_the_replay(tmp_path):
    pytest.importorskip("zmq")
    settings = load_config(RunSettings, {}, TWO)
    learning = Learning(tmp_path / "run", "tcp://127.0.0.1:0", settings)
    given = tmp_path / "logs", learning.link.address, 0.0
    steps = {}

    def one(number):
        steps[number] = act(settings, number, *given)

    threads = [threading.Thread(target=one, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    learning.join(60.0)
    assert steps == {0: 30, 1: 30} and learning.found.progress.steps == 60
    for number in (0, 1):
        rows = [r.row["observation"] for r in records(tmp_path / "logs" / f"actor-{number}")]
        # the learner is done when the last step has come; the row after it may not have
        taken = learning.rows["observation"][number][: len(rows) - 1]
        assert len(rows) >= 30 and np.array_equal(taken, rows[:-1])


def test_without_ray_it_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["robot", "actors", "sac/small", "env.num_envs=2", "--log", str(tmp_path / "logs")]
    assert main(command) == 2
    error = capsys.readouterr().err.strip()
    assert "pip install 'pixyz-worldmodels[ray]'" in error and "\n" not in error
    assert not list(tmp_path.iterdir())
    assert main([*command, "--cpus", "-1"]) == 2
    assert "--cpus: expected a number that is not negative, got -1" in capsys.readouterr().err


def holder(folder):
    """The process that has an actor's log, 0 if nobody does."""
    file = folder / ".lock"
    found = re.search(r"process (\d+)", file.read_text()) if file.exists() else None
    return int(found[1]) if found else 0


def test_ray_starts_actors_and_starts_them_again(tmp_path, monkeypatch):
    """In processes of their own; one is killed. Many kills are in benchmarks/ray_actors.py."""
    pytest.importorskip("ray")
    here = str(Path(__file__).resolve().parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    settings = load_config(RunSettings, {}, [*TWO, "steps=400", "capacity=800"])
    learning = Learning(tmp_path / "run", "tcp://127.0.0.1:0", settings)
    killed = []

    def kill():
        end = time.monotonic() + 120.0
        while not killed and time.monotonic() < end:
            if pid := holder(tmp_path / "logs" / "actor-1"):
                time.sleep(1.0)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.05)

    threading.Thread(target=kill, daemon=True).start()
    address = learning.link.address
    steps = act_on_ray(settings, tmp_path / "logs", address, hz=20.0, cpus=0.1, say=print)
    learning.join(60.0)
    assert len(killed) == 1 and min(steps) >= 200
    assert learning.found.progress.steps == 400
