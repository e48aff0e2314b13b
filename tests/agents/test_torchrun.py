"""Learners under torchrun's own command: one is killed, all begin again at the last checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agents.logger import read_metrics
from worldmodels.data import Episodes, make_episode, write_npz

ROOT = Path(__file__).resolve().parents[2]
UPDATES, EVERY = 300, 100


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
def test_a_killed_process_is_started_again_and_the_run_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 60, 2)).cumsum(1) * 0.1
    made = [make_episode(f"{i}", {"x": x[i]}, rng.normal(size=(60, 1))) for i in range(8)]
    write_npz(Episodes(made), tmp_path / "log")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "--max-restarts", "1", "-m", "--", "pixyz_command"]
    command += ["pretrain", "one_step", "--data", str(tmp_path / "log"), "--run", str(run)]
    command += [f"updates={UPDATES}", f"eval_every={EVERY}", f"checkpoint_every={EVERY}"]
    command += ["model.units=8", "model.members=2", "batch=4", "patience=0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "said", "w") as said:
        elastic = subprocess.Popen(command, env=env, stdout=said, stderr=said)
        try:
            end, saved = time.monotonic() + 300, run / "checkpoints"
            while not (saved.is_dir() and any(saved.glob("checkpoint-*"))):
                assert elastic.poll() is None, (tmp_path / "said").read_text()
                assert time.monotonic() < end
                time.sleep(0.02)
            killed = time.time()
            os.kill(children(elastic.pid)[1], signal.SIGKILL)
            assert elastic.wait(timeout=300) == 0, (tmp_path / "said").read_text()
        finally:
            elastic.kill()
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(EVERY, UPDATES + 1, EVERY))
    assert lines[0]["time"] < killed, "what the checkpoint held was not learned again"
    assert len((run / "starts").read_text().splitlines()) >= 2
