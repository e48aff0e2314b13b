"""A run that is stopped and resumed is a straight run, bit for bit: every saved part, every row,
every line of the log.
"""

import shutil

import numpy as np
import pytest
from resume_parts import differences, interrupted, start
from test_pretrain import SHORT, SMALL, turning

from agents.config import load_config
from agents.pretrain import KINDS, Pretrainer
from agents.run import Trainer
from agents.settings import RunSettings
from worldmodels.data import write_npz

TINY = [
    "steps=400",
    "prefill=120",
    "eval_every=150",
    "eval_episodes=2",
    "log_every=3",
    "checkpoint_every=100",
    "capacity=150",
    "env.time_limit=60",
    "agent.batch=4",
    "agent.length=6",
    "agent.horizon=3",
    "train_ratio=8",
]
SHORT_RUN = [
    "steps=400",
    "prefill=120",
    "eval_every=150",
    "eval_episodes=2",
    "log_every=3",
    "checkpoint_every=100",
    "capacity=150",
    "env.time_limit=60",
    "env.action_repeat=1",
]
AGENTS = {
    "tdmpc/small": [
        "agent.batch=4",
        "train_ratio=4",
        "agent.units=16",
        "agent.encoder_units=16",
        "agent.latent=16",
        "agent.candidates=16",
        "agent.proposals=2",
        "agent.elites=4",
        "agent.rounds=2",
    ],
    **{
        name: [
            "agent.batch=4",
            "agent.length=6",
            "agent.horizon=3",
            "train_ratio=8",
            "agent.model.deter=16",
            *more,
        ]
        for name, more in {
            "dreamer_v1/small": [],
            "dreamer_v2/small": ["agent.slow_every=3"],
            "planet/small": [
                "agent.candidates=16",
                "agent.elites=4",
                "agent.rounds=2",
                "agent.stored_latents=true",
            ],
        }.items()
    },
    "sac/small": ["agent.batch=4", "train_ratio=4", "agent.units=16"],
    "sac/crossq": ["agent.batch=4", "train_ratio=4", "agent.units=16"],
}
ENVS = {
    "classic": ["env.id=Pendulum-v1"],
    "dm_control": [
        "env.id=dm_control/cartpole-swingup-v0",
        "env.num_envs=2",
        "env.action_repeat=4",
        "steps=800",
        "capacity=300",
    ],
    "discrete": ["env.id=CartPole-v1", "env.action_repeat=1"],
    "priorities": [
        "env.id=CartPole-v1",
        "env.action_repeat=1",
        "replay.recent=0.2",
        "replay.prioritized=0.5",
        "agent.latents=bfloat16",
    ],
    "surprising": ["env.id=CartPole-v1", "env.action_repeat=1", "replay.prioritized=0.5"],
}
COMMAND = ["train", "dreamer_v3/fast", *TINY, *ENVS["classic"], "steps=240", "checkpoint_every=40"]


class Stops:
    """Asks a run to stop, or kills it, when the loop has turned so many times."""

    def __init__(self, made, turns, kill=False):
        self.left, self.kill, self.made = turns, kill, made
        self.next = made.schedule.next
        object.__setattr__(made.schedule, "next", self)

    def __call__(self, progress, saved, ready):
        self.left -= 1
        if self.left == 0:
            if self.kill:
                # saves nothing: what is left is the last checkpoint, and a replay that is ahead of
                # it
                raise KeyboardInterrupt
            self.made.run.stop.ask("SIGTERM")
        return self.next(progress, saved, ready)


def go_on(make, folder, moments, kill):
    """Run with stops at the moments; a kill before the first checkpoint begins anew."""
    for turns in [*moments, None]:
        made = make()
        begun = folder.exists() and any((folder / "checkpoints").glob("checkpoint-*"))
        if folder.exists() and not begun:
            shutil.rmtree(folder)
        with made.resume(folder) if begun else made.begin(folder):
            if turns is not None:
                Stops(made, turns, kill)
            try:
                made.train()
            except KeyboardInterrupt:
                assert kill and turns is not None


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The straight run of each kind, made once."""
    made = {}

    def find(name, make):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("straight") / "run"
            go_on(make, made[name], [], False)
        return made[name]

    return find


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("env", ["classic", "dm_control", "priorities"])
def test_an_agent(env, kill, tmp_path, straight):
    def make():
        return Trainer(load_config(RunSettings, "dreamer_v3/fast", [*TINY, *ENVS[env]]))

    rng = np.random.default_rng([len(env), kill])
    moments = rng.integers(2, 260, size=3).tolist()
    go_on(make, tmp_path / "run", moments, kill)
    assert differences(straight(env, make), tmp_path / "run") == []


OTHERS = [
    *[("tdmpc/small", e) for e in ("classic", "dm_control", "discrete")],
    ("tdmpc/small", "surprising"),
    ("sac/small", "discrete"),
    ("sac/small", "surprising"),
    ("sac/crossq", "classic"),
    ("dreamer_v1/small", "classic"),
    ("dreamer_v2/small", "discrete"),
    ("planet/small", "classic"),
]


@pytest.mark.parametrize(("name", "env"), OTHERS)
def test_other_agents(name, env, tmp_path, straight):
    def make():
        return Trainer(load_config(RunSettings, name, [*SHORT_RUN, *AGENTS[name], *ENVS[env]]))

    moments = np.random.default_rng(len(env)).integers(2, 260, size=2).tolist()
    go_on(make, tmp_path / "run", moments, env == "classic")
    assert differences(straight(f"{name}, {env}", make), tmp_path / "run") == []


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_pretraining(kind, kill, tmp_path, straight):
    settings = load_config(KINDS[kind], f"pretrain/{kind}", [*SMALL[kind], *SHORT])

    def make():
        return Pretrainer(settings, turning())

    rng = np.random.default_rng([len(kind), kill])
    moments = [1, *rng.integers(1, 10, size=3).tolist()]
    go_on(make, tmp_path / "run", moments, kill)
    assert differences(straight(kind, make), tmp_path / "run") == []


def test_workers_give_the_same_run(tmp_path, straight):
    def make(*more):
        return Trainer(
            load_config(RunSettings, "dreamer_v3/fast", [*TINY, *ENVS["dm_control"], *more])
        )

    go_on(lambda: make("env.workers=2"), tmp_path / "run", [70, 161], False)
    assert differences(straight("dm_control", make), tmp_path / "run") == []


@pytest.fixture(scope="module")
def by_command(tmp_path_factory):
    """The straight run of the command."""
    folder = tmp_path_factory.mktemp("command")
    assert start([*COMMAND, "--run", str(folder / "run")], folder).wait(timeout=120) == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("signal", "at"), [("SIGINT", [16]), ("SIGTERM", [12]), ("SIGKILL", [12, 20])]
)
def test_a_process_that_is_signalled(signal, at, tmp_path, by_command):
    """The command itself, with real signals; many moments and seeds are in benchmarks/resume.py."""
    assert interrupted(COMMAND, tmp_path / "run", signal, at) >= 1
    assert differences(by_command, tmp_path / "run") == []


def test_a_log_that_is_pretrained_on_by_the_command(tmp_path):
    write_npz(turning(), tmp_path / "logs")
    arguments = [
        "pretrain",
        "vrnn",
        "--data",
        str(tmp_path / "logs"),
        *SMALL["vrnn"],
        *SHORT,
        "updates=60",
    ]
    straight = start([*arguments, "--run", str(tmp_path / "straight")], tmp_path)
    assert interrupted(arguments, tmp_path / "run", "SIGTERM", [3]) == 1
    assert straight.wait(timeout=120) == 0
    assert differences(tmp_path / "straight", tmp_path / "run") == []
