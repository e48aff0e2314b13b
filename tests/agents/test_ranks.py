"""Two processes that learn as one: the loss of one process, the same bits in both, estimates of all
batches, and a run that one process goes on with.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.run.progress import Progress
from agents.run.schedule import Offline, Together
from worldmodels import ranks

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import json, sys
from pathlib import Path
import numpy as np
import torch

torch.set_num_threads(1)
from agents.agent import Window
from agents.dreamer.normalize import ReturnRange
from agents.guard import NotFinite
from agents.pretrain import Pretrainer
from agents.pretrain.learner import LogLearner
from agents.pretrain.models import StepModel
from agents.pretrain.settings import OneStepSettings
from agents.sac.agent import SAC
from agents.sac.config import SACConfig
from agents.spaces import ActionSpec
from worldmodels import ranks
from worldmodels.data import Episodes, make_episode
from worldmodels.one_step import OneStep
from worldmodels.one_step_config import OneStepConfig

rank, count = ranks.join()
out, found = Path(sys.argv[1]), {"rank": rank, "count": count}


def log():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 40, 2)).cumsum(1) * 0.1
    return Episodes([make_episode(f"{i}", {"x": x[i]}, rng.normal(size=(40, 1))) for i in range(4)])


def share(batch):
    return {k: v[:, rank::count] for k, v in batch.items()}


def bits(module):
    values = [v.double().sum().item() for v in module.state_dict().values()]
    return [v.hex() for v in values]


# the loss of a batch that is split
torch.manual_seed(0)
settings = OneStepSettings(lr=1e-2, warmup=0, updates=20)
model = StepModel(OneStep({"x": (2,)}, 1, OneStepConfig(units=8, members=2)))
model.fit_units(log())
learner = LogLearner(model, settings)
g = torch.Generator().manual_seed(1)
losses = []
for _ in range(10):
    x = torch.randn(5, 8, 2, generator=g)
    batch = {"x": x, "action": torch.randn(5, 8, 1, generator=g), "reward": x[..., 0]}
    batch |= {k: torch.zeros(5, 8, dtype=torch.bool) for k in ("is_first", "is_terminal")}
    losses.append(learner.learn(share(batch)).metrics["loss"])
found |= {"losses": losses, "model": bits(model)}

# what is not finite in one of them moves none
if count > 1:
    bad = share({k: v.clone() for k, v in batch.items()})
    if rank == 1:
        bad["x"][0, 0, 0] = float("nan")
    try:
        learner.learn(bad)
    except NotFinite:
        found["refused"] = bits(model) == found["model"]

# running estimates: of returns, and of batch norm
scale = ReturnRange(rate=1.0)
scale(torch.arange(40.0)[rank::count])
found["bounds"] = scale.bounds.tolist()
torch.manual_seed(0)
agent = SAC({"x": (2,)}, ActionSpec(1), SACConfig(units=8, batch=8, norm="batch"))
torch.manual_seed(rank)
for _ in range(3):
    x = torch.randn(2, 8, 2)
    flags = {k: torch.zeros(2, 8, dtype=torch.bool) for k in ("is_first", "is_terminal")}
    agent.learn({"x": x, "action": torch.rand(2, 8, 1), "reward": x[..., 0], **flags})
found["agent"] = bits(agent)

# a run
small = {"batch": 4, "length": 5, "seen": 5, "horizon": 4, "eval_every": 4, "checkpoint_every": 4}
run = OneStepSettings(model=OneStepConfig(units=8, members=2), updates=int(sys.argv[2]), **small)
trainer = Pretrainer(run, log())
place = out / "run"
with trainer.resume(place) if sys.argv[3] else trainer.begin(place):
    found["began"] = trainer.run.at
    found["windows"] = trainer.source.windows.draw()["x"].double().sum().item()
    found["ended"] = trainer.train().progress.updates
found["trained"] = bits(trainer.model)
(out / f"found-{count}-{rank}-{sys.argv[2]}.json").write_text(json.dumps(found))
ranks.leave()
"""


def start(folder, count, updates):
    """What each of ``count`` processes found."""
    script = folder / "work.py"
    script.write_text(WORK, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    env |= {"WORLD_SIZE": str(count), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    going = "on" if (folder / "run").exists() else ""  # decided once, not by each
    given = [sys.executable, str(script), str(folder), str(updates), going]
    made = [subprocess.Popen(given, env={**env, "RANK": str(r)}) for r in range(count)]
    assert [p.wait(timeout=300) for p in made] == [0] * count
    names = [folder / f"found-{count}-{r}-{updates}.json" for r in range(count)]
    return [json.loads(name.read_text()) for name in names]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    both = start(folder, 2, 8)
    return both, start(folder, 1, 12)[0]


def test_the_loss_of_two_is_that_of_one_and_their_bits_are_the_same(found):
    (one, two), alone = found
    assert (one["rank"], two["rank"], one["count"], alone["count"]) == (0, 1, 2, 1)
    assert one["losses"] == two["losses"]
    assert one["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert len(set(alone["losses"])) == 10
    for name in ("model", "agent", "trained"):
        assert one[name] == two[name], name
    assert one["refused"] and two["refused"]


def test_running_estimates_take_in_the_batches_of_all(found):
    (one, two), alone = found
    assert one["bounds"] == two["bounds"] == pytest.approx(alone["bounds"], rel=1e-6)
    assert alone["bounds"] == pytest.approx([0.05 * 39, 0.95 * 39], rel=1e-5)
    assert one["agent"] != alone["agent"]  # other batches


def test_each_has_its_own_windows_and_one_goes_on_alone(found):
    (one, two), alone = found
    assert (one["began"], one["ended"]) == (two["began"], two["ended"]) == (0, 8)
    assert one["windows"] != two["windows"]
    assert (alone["began"], alone["ended"]) == (8, 12)
    assert alone["trained"] != one["trained"]


def test_where_there_is_one_process_nothing_happens():
    x = torch.arange(4.0)
    assert not ranks.active() and ranks.join() == (0, 1)
    assert ranks.averaged(x)[0] is x and ranks.gathered(x) is x and ranks.least(3) == 3
    together = Together(Offline(updates=2, evaluate=1), lambda: True)
    assert together.next(Progress(), 0, True) == "done"
