"""Estimators stay within their memory on long sequences; measured as the largest resident size of a
process of its own.
"""

import os
import subprocess
import sys

import pytest
import torch

from pixyz.types import PixyzError
from worldmodels import DMM, DMMConfig
from worldmodels.estimators import bounds, estimate, frames
from worldmodels.particles import particle_filter
from worldmodels.pieces import bytes_a_frame, repeated, rows, times

BEFORE = """
import resource, torch
from worldmodels import DMM, DMMConfig
from worldmodels.estimators import bounds, estimate
from worldmodels.particles import particle_filter
torch.set_num_threads(1)
torch.manual_seed(0)
model = DMM(20, DMMConfig(latent=8, transition=16, emission=16, rnn=16)).eval()
batch = {"x": (torch.rand(FRAMES, SONGS, 20) < 0.1).float(), "mask": torch.ones(FRAMES, SONGS)}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
estimate(model, {k: v[:3, :2] for k, v in batch.items()}, 2)
before = peak()
"""
CALLS = {
    "weights": ("FRAMES, SONGS = 800, 2", "estimate(model.log_weight, batch, 200, memory=6e7)"),
    "cut in time": ("FRAMES, SONGS = 800, 2", "estimate(model, batch, 500, memory=6e7)"),
    "many songs": ("FRAMES, SONGS = 200, 1500", "estimate(model, batch, 1, memory=6e7)"),
    "bounds": ("FRAMES, SONGS = 200, 1500", "bounds(model.bound, batch, memory=6e7)"),
    "particles": ("FRAMES, SONGS = 600, 1", "particle_filter(model, batch, 2000)"),
}


@pytest.mark.parametrize("name", CALLS)
def test_memory_is_bounded(name):
    sizes, call = CALLS[name]
    code = f"{sizes}\n{BEFORE}\nwith torch.no_grad():\n    {call}\nprint(peak() - before)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=os.getcwd(), check=False
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 150, f"{run.stdout} megabytes"


def small():
    torch.manual_seed(0)
    model = DMM(5, DMMConfig(latent=3, transition=4, emission=4, rnn=4)).eval()
    return model, {"x": (torch.rand(6, 3, 5) < 0.3).float(), "mask": torch.ones(6, 3)}


def test_measuring_draws_nothing_and_counts_what_is_written():
    model, batch = small()
    torch.manual_seed(1)
    found = bytes_a_frame(model.bound.eval, batch)
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3)) and 100 < found < 5000
    wider = DMM(5, DMMConfig(latent=3, transition=400, emission=400, rnn=4)).eval()
    assert bytes_a_frame(wider.bound.eval, batch) > 5 * found


def test_what_is_carried_in_has_no_time():
    batch = {"action_prev": torch.arange(3.0)[:, None], "x": torch.arange(12.0).reshape(4, 3, 1)}
    assert rows(batch, 1, 3)["action_prev"][:, 0].tolist() == [1, 2]
    assert repeated(batch, 2)["action_prev"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert "action_prev" in times(batch, 0, 2) and "action_prev" not in times(batch, 2, 4)
    assert frames(batch).tolist() == [4, 4, 4]


def test_no_memory_and_a_bound_that_is_no_number_a_sequence():
    model, batch = small()
    for call in (
        lambda: estimate(model, batch, 2, memory=0),
        lambda: bounds(model.bound, batch, memory=float("nan")),
        lambda: bounds(model.objective, batch),
        lambda: bounds(model.bound, {"action_prev": torch.zeros(3, 1)}),
    ):
        with pytest.raises(PixyzError):
            call()


def test_a_particle_filter_says_how_far_it_is():
    model, batch = small()
    told = []
    with torch.no_grad():
        particle_filter(model, batch, 4, progress=lambda *done: told.append(done))
    assert told == [(t + 1, 6) for t in range(6)]
