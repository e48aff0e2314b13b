"""Wrong settings: no traceback, no nonsense accepted, nothing left behind (a sample;
benchmarks/wrong_settings.py has all).
"""

import random
from dataclasses import fields, is_dataclass
from typing import get_args, get_origin, get_type_hints

import pytest
import wrong_settings

from agents import process
from agents.config import load_config
from agents.dreamer.config import DreamerV3Config
from agents.dreamer.config_v1 import DreamerV1Config
from agents.dreamer.config_v2 import DreamerV2Config
from agents.errors import ConfigError
from agents.planet.config import PlaNetConfig
from agents.pretrain import KINDS
from agents.pretrain.settings import PretrainSettings
from agents.run import Trainer
from agents.rundir import created
from agents.sac.config import SACConfig
from agents.settings import (
    EnvSettings,
    OfflineSettings,
    ReplaySettings,
    RunSettings,
    ShownSettings,
)
from agents.tdmpc.config import TDMPCConfig
from pixyz.types import PixyzError
from worldmodels.dmm import DMMConfig
from worldmodels.hrssm import HRSSMConfig
from worldmodels.mrssm import MRSSMConfig
from worldmodels.newtonian_vae import NewtonianVAEConfig
from worldmodels.one_step_config import OneStepConfig
from worldmodels.ranges import check_ranges, ranges
from worldmodels.rssm_config import RSSMConfig
from worldmodels.slac import SLACConfig
from worldmodels.td_vae import TDVAEConfig
from worldmodels.vrnn import VRNNConfig

MODELS = [
    DMMConfig,
    HRSSMConfig,
    MRSSMConfig,
    NewtonianVAEConfig,
    OneStepConfig,
    RSSMConfig,
    SLACConfig,
    TDVAEConfig,
    VRNNConfig,
]
SETTINGS = [
    ReplaySettings,
    RunSettings,
    EnvSettings,
    OfflineSettings,
    ShownSettings,
    DreamerV1Config,
    DreamerV2Config,
    DreamerV3Config,
    PlaNetConfig,
    SACConfig,
    TDMPCConfig,
    *KINDS.values(),
    *MODELS,
]
WALKED = [
    cls for cls in SETTINGS if cls not in (HRSSMConfig, MRSSMConfig, NewtonianVAEConfig, SLACConfig)
]
"""Those that a command's settings hold."""


@pytest.fixture
def folder(tmp_path):
    wrong_settings.files(tmp_path)
    return tmp_path


def test_a_sample_of_wrong_settings(folder):
    own = list(wrong_settings.own(folder))
    rest = [case for case in wrong_settings.cases(folder) if case not in own]
    chosen = random.Random(7).sample(own, 40) + random.Random(7).sample(rest, 160)
    assert wrong_settings.run(chosen, folder) == []


def test_a_form_that_the_data_are_not_of(folder):
    forms = [f"format={form}" for form in get_args(get_type_hints(PretrainSettings)["format"])]
    chosen = [case for case in wrong_settings.own(folder) if case and case[-1] in forms]
    asked = {case[-1].partition("=")[2] for case in chosen}
    assert asked == {"store", "csv", "minari", "lerobot", "replay"}
    assert wrong_settings.run(chosen, folder) == []


@pytest.mark.parametrize(
    "case",
    [
        ["pretrain", "tdvae", "--data", "LOGS", "horizon=0"],
        ["pretrain", "one_step", "--data", "LOGS", "model.prior=0"],
        [*wrong_settings.TRAIN, "agent.candidates=0"],
    ],
    ids=lambda case: case[-1],
)
def test_a_0_that_is_the_default_changes_nothing(case, folder):
    """It is accepted, and none of the wrong settings."""
    case = [str(folder / "logs") if a == "LOGS" else a for a in case]
    cls = RunSettings if case[0] == "train" else KINDS[case[1]]
    name = case[1] if case[0] == "train" else f"pretrain/{case[1]}"
    assert load_config(cls, name, case[-1:]) == load_config(cls, name)
    assert [x["end"] for x in wrong_settings.run([case], folder)] == ["accepted"]
    assert case not in wrong_settings.cases(folder)


@pytest.mark.parametrize("cls", WALKED, ids=lambda c: c.__name__)
def test_0_is_a_wrong_number_wherever_it_means_nothing(cls):
    """What the dataclass refuses, and what the benchmark makes 0, are the same numbers."""
    hints = get_type_hints(cls)
    for f in fields(cls):
        hint = hints[f.name]
        if get_origin(hint) is not tuple and {int, float} & {hint, *get_args(hint)}:
            if wrong_settings.zero_means(cls, f):
                cls(**{f.name: 0})
            else:
                with pytest.raises(ValueError, match=f.name):
                    cls(**{f.name: 0})


def test_the_sample_would_see_a_fault(folder, monkeypatch):
    """Right settings reach the training; without their ranges wrong ones do."""
    right = (
        [*wrong_settings.TRAIN, "seed=1"],
        ["pretrain", "rssm", "--data", str(folder / "logs"), "lr=1e-4"],
    )
    assert [x["end"] for x in wrong_settings.run(right, folder)] == ["accepted", "accepted"]
    monkeypatch.setattr("agents.dreamer.config.check_ranges", lambda settings: None)
    (found,) = wrong_settings.run([[*wrong_settings.TRAIN, "agent.lam=1.5"]], folder)
    assert found["end"] == "accepted" and found["left"] == ["runs"]


@pytest.mark.parametrize("cls", SETTINGS, ids=lambda c: c.__name__)
def test_every_number_has_a_range_and_defaults_lie_in_it(cls):
    hints = {
        name: hint for name, hint in get_type_hints(cls).items() if get_origin(hint) is not tuple
    }
    numbers = {
        f.name
        for f in fields(cls)
        if {int, float} & {hints.get(f.name), *get_args(hints.get(f.name))}
    }
    assert numbers <= set(dict(ranges(cls)))
    assert set(dict(ranges(cls))) <= {f.name for f in fields(cls)}
    check_ranges(cls())
    assert not any(is_dataclass(hints[name]) for name in dict(ranges(cls)))


@pytest.mark.parametrize("cls", SETTINGS, ids=lambda c: c.__name__)
def test_numbers_outside_are_refused_from_python_too(cls):
    for name, _ in ranges(cls):
        for value in (
            -1000,
            float("nan"),
            float("inf"),
            -float("inf"),
            "text",
            True,
            10**5000,
            [1],
        ):
            with pytest.raises(ValueError, match=f"^{name} must be "):
                cls(**{name: value})


def test_the_edges_are_those_that_are_written():
    good = {
        "lam": 0.0,
        "unimix": 0.0,
        "slow_rate": 1.0,
        "clip": 0.0,
        "entropy": 0.0,
        "lr": 1.0,
        "length": 2,
    }
    for name, value in good.items():
        DreamerV3Config(**{name: value})
    bad = {
        "lam": 1.01,
        "unimix": 1.0,
        "slow_rate": 0.0,
        "clip": -0.1,
        "entropy": -0.1,
        "lr": 0.0,
        "length": 1,
        "beta1": 1.0,
    }
    for name, value in bad.items():
        with pytest.raises(PixyzError, match=f"^{name} must be (at least|above) "):
            DreamerV3Config(**{name: value})


def test_threads_are_few(monkeypatch):
    monkeypatch.setattr(process.os, "cpu_count", lambda: 2)
    assert RunSettings(threads=8).threads == 8
    with pytest.raises(ConfigError, match="threads must be at least 0 and at most 8"):
        load_config(RunSettings, {}, ["threads=9"])


def test_weights_that_fill_the_memory_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(process, "physical_memory", lambda: 4e6)
    with pytest.raises(
        ValueError,
        match=r"the weights alone would take 0.0\d+ GB or more, "
        r"of this machine's 0.004",
    ):
        Trainer(load_config(RunSettings, "dreamer_v3/pendulum", ["agent.units=1024"]))
    Trainer(load_config(RunSettings, "dreamer_v3/pendulum")).close()
    with pytest.raises(ValueError, match="no memory for the weights"), process.Weighed():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


# ---------------------------------------------------------------- a run that cannot begin


def test_a_replay_without_room_leaves_no_folder(tmp_path):
    settings = load_config(RunSettings, "dreamer_v3/pendulum", ["capacity=10000000000"])
    with Trainer(settings) as trainer, pytest.raises(ValueError, match=r"space|room|bytes|GiB|GB"):
        trainer.begin(tmp_path / "runs" / "a")
    assert not list(tmp_path.iterdir())


def interrupt(path):
    (path / "replay").mkdir()
    (path / "replay" / "x").write_text("1")
    raise KeyboardInterrupt


def test_what_was_there_is_left(tmp_path):
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    for name, kept in (("runs/empty", ["empty"]), ("runs/b/c", ["empty"])):
        with pytest.raises(KeyboardInterrupt), created(tmp_path / name, EnvSettings(), seed=0):
            interrupt(tmp_path / name)
        assert [p.name for p in (tmp_path / "runs").iterdir()] == kept and not list(
            (tmp_path / "runs" / "empty").iterdir()
        )
    with created(tmp_path / "runs" / "d", EnvSettings(), seed=0):
        pass
    assert (tmp_path / "runs" / "d" / "run.json").is_file()
