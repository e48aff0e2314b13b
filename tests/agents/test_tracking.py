"""Trackers: wandb under its own variables, one run over resumes; TensorBoard; a failing one never
stops a run.
"""

import builtins
import sys
import types
import warnings

import pytest

from agents.config import load_config
from agents.errors import UsageError
from agents.logger import Logger, read_metrics
from agents.run import Trainer
from agents.settings import RunSettings
from agents.tracking import TensorBoardTracker, WandbTracker, check_tracker, tracker


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variable of wandb's, and no key."""
    import os

    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    (tmp_path / "netrc").write_text("")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def calls(monkeypatch):
    """What wandb is asked for."""
    found = []

    class Run:
        def log(self, metrics):
            found.append(metrics)

        def finish(self):
            found.append("finished")

    def init(**options):
        found.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return found


def test_wandb_without_a_key_is_offline(tmp_path, calls):
    logger = Logger(tmp_path, tracker=WandbTracker({"a": 1}, tmp_path))
    logger.log(7, {"loss": 0.5})
    logger.close()
    assert (
        calls[0]["mode"] == "offline"
        and calls[0]["config"] == {"a": 1}
        and calls[0]["project"] == "pixyz"
    )
    assert calls[0]["name"] == tmp_path.name and calls[0]["dir"] == str(tmp_path)
    assert calls[1:] == [{"train/loss": 0.5, "step": 7}, "finished"]


def test_a_resumed_run_is_the_same_in_wandb(tmp_path, calls):
    for _ in range(2):
        WandbTracker({}, tmp_path)
    assert calls[0]["id"] == calls[1]["id"] and calls[0]["resume"] == "allow"
    (tmp_path / "other").mkdir()
    WandbTracker({}, tmp_path / "other")
    assert calls[2]["id"] != calls[0]["id"]


@pytest.mark.parametrize(
    ("variable", "value", "option"),
    [
        ("WANDB_PROJECT", "mine", "project"),
        ("WANDB_DIR", "/elsewhere", "dir"),
        ("WANDB_NAME", "n", "name"),
        ("WANDB_RUN_ID", "x", "id"),
        ("WANDB_MODE", "online", "mode"),
        ("WANDB_RESUME", "never", "resume"),
    ],
)
def test_a_variable_of_wandb_is_left_to_wandb(
    variable, value, option, tmp_path, calls, monkeypatch
):
    monkeypatch.setenv(variable, value)
    WandbTracker({}, tmp_path)
    assert option not in calls[0] and {"config"} < set(calls[0])


@pytest.mark.parametrize("how", ["variable", "netrc", "own server"])
def test_with_a_key_wandb_decides(how, tmp_path, calls, monkeypatch):
    if how == "variable":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    else:
        host = "api.wandb.ai" if how == "netrc" else "wandb.example.org"
        (tmp_path / "netrc").write_text(f"machine {host}\n  login user\n  password {'0' * 40}\n")
        if how == "own server":
            WandbTracker({}, tmp_path)
            assert calls.pop()["mode"] == "offline"
            monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    WandbTracker({}, tmp_path)
    assert "mode" not in calls[0]


def test_a_wandb_that_does_not_start_only_warns(tmp_path, monkeypatch):
    def init(**given):
        raise RuntimeError("not logged in")

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    with pytest.warns(UserWarning, match=r"not logged in.*goes on"):
        tracker = WandbTracker({}, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger = Logger(tmp_path, tracker=tracker)
        logger.log(1, {"a": 1})
        logger.close()


def missing(monkeypatch, *packages):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in packages:
            raise ModuleNotFoundError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("agents.tracking.find_spec", lambda name: None)


def test_a_missing_package_and_a_wrong_mode_are_named(tmp_path, monkeypatch):
    missing(monkeypatch, "wandb")
    for name in ("torch.utils.tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="pip install wandb"):
        WandbTracker({}, tmp_path)
    with pytest.raises(UsageError, match="pip install tensorboard"):
        TensorBoardTracker(tmp_path)
    for name in ("wandb", "tensorboard"):
        with pytest.raises(UsageError, match=f"pip install {name}"):
            check_tracker(RunSettings(tracker=name))
        settings = load_config(RunSettings, "dreamer_v3/pendulum", [f"tracker={name}"])
        with pytest.raises(UsageError, match=f"pip install {name}"):
            Trainer(settings)
    monkeypatch.undo()
    # a folder of that name, without init
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    with pytest.raises(UsageError, match="pip install wandb"):
        WandbTracker({}, tmp_path)
    monkeypatch.setenv("WANDB_MODE", "on")
    with pytest.raises(UsageError, match="online, offline, disabled"):
        WandbTracker({}, tmp_path)


def test_tensorboard_gets_the_numbers(tmp_path, monkeypatch):
    seen = []

    class Writer:
        def __init__(self, folder):
            seen.append(folder)

        def add_scalar(self, name, value, step):
            seen.append((name, value, step))

        def close(self):
            seen.append("closed")

    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer)
    )
    logger = Logger(tmp_path, tracker=tracker(RunSettings(tracker="tensorboard"), tmp_path))
    logger.log(5, {"loss": 1.5, "rec": 2})
    logger.close()
    assert seen == [
        str(tmp_path / "tensorboard"),
        ("train/loss", 1.5, 5),
        ("train/rec", 2, 5),
        "closed",
    ]


def test_a_tensorboard_that_fails_is_switched_off(tmp_path, monkeypatch):
    class Writer:
        def __init__(self, folder):
            pass

        def add_scalar(self, name, value, step):
            raise OSError("disk full")

    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer)
    )
    logger = Logger(tmp_path, tracker=TensorBoardTracker(tmp_path))
    with pytest.warns(UserWarning, match="disk full.*switched off"):
        logger.log(5, {"loss": 1.5})
    logger.log(6, {"loss": 1.5})
    broken = types.SimpleNamespace(SummaryWriter=lambda folder: Writer(folder).add_scalar(0, 0, 0))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", broken)
    with pytest.warns(UserWarning, match="did not start .*goes on without"):
        TensorBoardTracker(tmp_path).log(1, {"loss": 1.5})
    assert len(read_metrics(logger.path)) == 2 and tracker(RunSettings(), tmp_path) is None
