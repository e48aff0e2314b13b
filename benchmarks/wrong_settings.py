"""A thousand wrong settings: each must be refused in one line, and leave nothing behind.

Made from the dataclasses behind the YAML files (keys mistyped, types that are wrong, numbers that
are negative, 0, infinite, no number or huge), from ids, devices and trackers that are not there,
from settings that do not fit together, and from arguments of the command.  All go through
``agents.cli.main`` in this process; the training itself is left out.  Appends a JSON line to
``results/wrong_settings.jsonl``: how many were refused, and each that ended in a traceback, was
accepted, said more than one line or left something behind.

    python benchmarks/wrong_settings.py
    python benchmarks/wrong_settings.py --count 50 --out /tmp/wrong.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import tempfile
import typing
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np

from agents.cli import main as command
from agents.dreamer.config import DreamerV3Config
from agents.dreamer.config_v1 import DreamerV1Config
from agents.dreamer.config_v2 import DreamerV2Config
from agents.planet.config import PlaNetConfig
from agents.pretrain import KINDS, Pretrainer
from agents.pretrain.settings import PretrainSettings
from agents.run import Trainer
from agents.sac.config import SACConfig
from agents.settings import OfflineSettings, ReplaySettings, RunSettings
from agents.tdmpc.config import TDMPCConfig
from worldmodels.dmm import DMMConfig
from worldmodels.rssm_config import RSSMConfig

Case = list[str]
TRAIN = ["train", "dreamer_v3/pendulum"]
HUGE = 10**30
NUMBERS = ("-1", "-1000000", ".inf", "-.inf", ".nan", str(HUGE), "1e300", "-0.5", "9" * 5000)
AGENTS = {
    "dreamer_v1/small": DreamerV1Config,
    "dreamer_v2/small": DreamerV2Config,
    "planet/small": PlaNetConfig,
    "sac/small": SACConfig,
    "tdmpc/small": TDMPCConfig,
}
"""Configs of other agents, and their settings."""
ZERO_MEANS: dict[type[Any], str] = {
    RunSettings: "prefill eval_every checkpoint_every checkpoint_minutes",
    ReplaySettings: "recency priority",
    OfflineSettings: "penalty",
    RSSMConfig: "align_scale redundancy free_nats dyn_scale rep_scale unimix",
    DMMConfig: "dropout",
    DreamerV1Config: "lam kl noise",
    DreamerV2Config: "lam reinforce entropy weight_decay",
    DreamerV3Config: (
        "lam entropy unimix slow_regularizer replay_value proposals beta1 beta2 clip warmup"
    ),
    PlaNetConfig: "reward kl noise",
    SACConfig: "target_entropy target_share min_log_std max_log_std beta1",
    TDMPCConfig: (
        "pessimism consistency reward value cont entropy min_log_std max_log_std proposals"
    ),
    PretrainSettings: "warmup weight_decay anneal patience checkpoint_minutes",
}
"""Settings -> those of their numbers that may be 0 though their default is another: a weight, a
share, or a number whose docstring says what 0 does.
"""
BELOW_ZERO = "min_log_std max_log_std target_entropy"
NOT_ONE = "classes bins length discount_horizon unimix beta1 beta2 dropout"
AT_MOST_ONE = (
    "lam unimix slow_rate beta1 beta2 return_rate valid test final_lr dropout lr "
    "eps weight_decay target_share"
)
OWN = ("agent.kind", "data", "start", "kind", "device", "threads", "id")
"""Fields whose wrong values are written out below, or that take any text."""


class Reached(BaseException):
    """A setting was accepted: the training would begin."""


def zero_means(cls: type[Any], field: Field[Any]) -> bool:
    """Whether 0 is no wrong number of a field: it is the default, or is in :data:`ZERO_MEANS`."""
    return field.default == 0 or any(
        field.name in ZERO_MEANS.get(base, "").split() for base in cls.__mro__
    )


def numbers(name: str, hint: Any, zero: bool) -> Iterator[str]:
    """Wrong numbers of a field; 0 is one unless ``zero`` says that it means something."""
    yield from (
        text for text in NUMBERS if name not in BELOW_ZERO.split() or text not in ("-1", "-0.5")
    )
    if not zero:
        yield "0"
    if name in NOT_ONE.split():
        yield "1"
    if name in AT_MOST_ONE.split():
        yield "1.5"
    if int in (hint, *typing.get_args(hint)):
        yield from ("1.5", "1e3")


def wrong(name: str, hint: Any, zero: bool) -> Iterator[str]:
    """Wrong values of a field, as text of YAML; ``zero`` as in :func:`numbers`."""
    inner = typing.get_args(hint) or (hint,)
    yield from ("{a: 1}", "[[]]", "2024-13-45", "'", "[" * 3000)
    if type(None) not in inner:
        yield "null"
    if typing.get_origin(hint) is Literal:
        yield from (str(inner[0]).upper(), f"{inner[0]}x", "5", "", "true")
    elif typing.get_origin(hint) is tuple:
        yield from ("3", "text", "[{}]", "[.nan, x]", "[null]")
    elif typing.get_origin(hint) is dict:
        yield from ("3", "text", "{1: 2}", "{nonsense: 1}", "{render_mode: nonsense, more: 2}")
    elif int in inner or float in inner:
        yield from ("text", "true", "''", "1,000", *numbers(name, hint, zero))
    elif bool in inner:
        yield from ("1", "text", "0", "-1", "''")
    elif str in inner:
        yield from ("5", "1.5", "true", "[]")


def mistyped(name: str, known: Sequence[str]) -> Iterator[str]:
    """A key with a mistake in it."""
    for key in (
        name[:-1],
        name + name[-1],
        name[0] + name,
        name.upper(),
        name.replace("_", "-"),
        f"{name}.x",
        f"x{name}",
    ):
        if key and key not in known:
            yield key


def walk(cls: type[Any], prefix: str = "") -> Iterator[str]:
    """Every field of a dataclass with every wrong value, and every key mistyped,
    as ``key=value``.
    """
    hints, known = typing.get_type_hints(cls), [f.name for f in fields(cls)]
    for f in fields(cls):
        hint = DreamerV3Config if "kinds" in f.metadata else hints[f.name]
        hint = next((inner for inner in typing.get_args(hint) if is_dataclass(inner)), hint)
        path = f"{prefix}{f.name}"
        yield from (
            f"{prefix}{key}=1"
            for key in mistyped(f.name, known)
            if f.name not in OWN or "." not in key
        )
        if is_dataclass(hint):
            yield from (f"{path}={value}" for value in ("3", "text", "[]", "true"))
            yield from walk(typing.cast("type[Any]", hint), f"{path}.")
        elif f.name not in OWN and path not in OWN:
            yield from (f"{path}={value}" for value in wrong(f.name, hint, zero_means(cls, f)))


def own(folder: Path) -> Iterator[Case]:
    """Names that are not there, settings that do not fit together, arguments of the command."""
    cores = os.cpu_count() or 1
    for value in (
        "Pendulum",
        "Pendulum-v99",
        "pendulum-v1",
        "CartPole",
        "",
        "dm_control/",
        "dm_control/cartpole-swingdown",
        "MyRobot/Point-v0",
        "no_such_module:Id",
        "json:loads",
        "os:path",
        ":",
        "a:b:c",
        "../x",
        "5",
        "null",
        "agents:Trainer",
    ):
        yield [*TRAIN, f"env.id={value}"]
    for value in (
        "cdua",
        "cuda:99",
        "cuda:-1",
        "cpu:1",
        "CPU",
        "",
        "gpu",
        "mps:7",
        "cuda:x",
        "5",
        "null",
        "xla",
    ):
        yield [*TRAIN, f"device={value}"]
    for value in (
        "dreamer",
        "dreamer_v4",
        "",
        "5",
        "null",
        "json:loads",
        "no_such:Agent",
        ":",
        "agents.run:Trainer",
        "os:no",
    ):
        yield [*TRAIN, f"agent.kind={value}"]
    for value in ("-1", str(4 * cores + 1), "100000", "1.5", "many", ".inf", "null"):
        yield [*TRAIN, f"threads={value}"]
    for changes in (
        "prefill=10000",
        "prefill=20000",
        "steps=600",
        "capacity=10",
        "capacity=33",
        "agent.length=60000",
        "env.num_envs=4000",
        "train_ratio=1e-9",
        "agent.whole=true",
        "agent.max_rows=1",
        "agent.model.blocks=7",
        "agent.model.deter=129",
        "env.options.nonsense=1",
        "env.options={g: 1, h: 2}",
        "env.id=CartPole-v1 env.options.x=1",
        "start=nowhere",
        "env.options.render_mode=5",
        "agent.batch=60000 agent.length=60000",
        "capacity=10000000000",
        "agent.units=65536",
    ):
        yield [*TRAIN, *re.split(r" (?=\w+[.=])", changes)]
    yield from (
        ["train", name]
        for name in ("", "pendulum", "dreamer_v3/pendulm", "nowhere.yaml", ".", "/", "a\0b")
    )
    yield ["train", "pretrain/rssm"]
    yield from (
        [*TRAIN, "--from", name]
        for name in ("nowhere", ".", str(folder / "logs"), str(folder / "text.txt"))
    )
    yield from ([*TRAIN, "--run", str(folder / name)] for name in ("text.txt", "text.txt/x"))
    yield from (
        [*TRAIN, text]
        for text in ("steps", "=3", "a..b=1", "steps:5", "--steps=5", ".=1", "seed=1=2", "--run")
    )
    yield from ([*TRAIN, f"seed={value}"] for value in (2**32, 2**64, "-1", "0x"))
    yield from ([name, str(folder / "nowhere")] for name in ("resume", "evaluate"))
    yield from ([name, str(folder)] for name in ("resume", "evaluate", "show"))
    yield from (
        [],
        ["fly"],
        ["train"],
        ["evaluate"],
        ["show"],
        ["pretrain"],
        ["pretrain", "rssm"],
        ["--nonsense"],
    )
    yield from (
        ["evaluate", str(folder), "--episodes", value] for value in ("0", "-1", "many", "1.5")
    )
    yield from (["evaluate", str(folder), "--seed", value] for value in ("-1", "x"))
    for name in ("nowhere", "torn", "text.txt", "empty", "text.csv"):
        yield ["pretrain", "rssm", "--data", str(folder / name)]
    for name in ("empty", "text.txt", "torn"):
        for form in ("store", "csv", "minari", "lerobot", "replay"):
            yield ["pretrain", "rssm", "--data", str(folder / name), f"format={form}"]
    yield from (
        ["pretrain", model, "--data", str(folder / "logs")] for model in ("lstm", "", "RSSM")
    )
    yield ["pretrain", "dmm", "--data", str(folder / "logs"), "--config", "pretrain/rssm"]
    yield ["pretrain", "dmm", "--data", str(folder / "logs"), "--config", "dreamer_v3/pendulum"]
    for changes in (
        "keys=[nothing]",
        "seen=500",
        "horizon=500",
        "valid=0.6 test=0.6",
        "valid=0.99",
        "length=5000000",
        "format=csv",
        "kind=dmm",
        "data=/nowhere",
        "device=cuda:99",
        "threads=100000",
        "threads=-1",
        "action_scale=[1, 2, 3]",
        "action_scale=[0.01]",
        "action_scale=[-1]",
        "action_scale=[.nan]",
        "action_scale=2",
    ):
        yield ["pretrain", "rssm", "--data", str(folder / "logs"), *re.split(r" (?=\w+=)", changes)]


def cases(folder: Path) -> list[Case]:
    """All of them."""
    found = [[*TRAIN, text] for text in walk(RunSettings)] + list(own(folder))
    found += [
        ["train", name, text] for name, agent in AGENTS.items() for text in walk(agent, "agent.")
    ]
    for kind, cls in KINDS.items():
        found += [["pretrain", kind, "--data", str(folder / "logs"), text] for text in walk(cls)]
    return found


def files(folder: Path) -> None:
    """A log, and files that are none."""
    rng = np.random.default_rng(0)
    (folder / "logs").mkdir()
    np.savez(
        folder / "logs" / "log.npz",
        observation=rng.normal(size=(1200, 2)).astype(np.float32),
        action=rng.uniform(-1, 1, (1200, 1)).astype(np.float32),
    )
    (folder / "torn").mkdir()
    (folder / "torn" / "log.npz").write_bytes((folder / "logs" / "log.npz").read_bytes()[:100])
    (folder / "text.txt").write_text("no log")
    (folder / "text.csv").write_text("a,b\nx,y\n")
    (folder / "empty").mkdir()


def attempt(case: Case) -> tuple[str, str]:
    """How a case ends (refused, accepted, traceback, lines), and what was said."""
    said = io.StringIO()
    with (
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            code = command(case)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Reached:
            return "accepted", ""
        except BaseException as error:
            return "traceback", f"{type(error).__name__}: {error}"
    text = said.getvalue()
    if code != 2:
        return "accepted", f"code {code}: {text}"
    return "refused" if text.startswith("pixyz: ") and text.count("\n") == 1 else "lines", text


def run(chosen: Sequence[Case], folder: Path) -> list[dict[str, Any]]:
    """What was wrong with how each case ended; nothing for one that was refused in one line and
    left nothing.
    """

    def reached(self: Any) -> None:
        raise Reached

    found, before = [], os.getcwd()
    with (
        tempfile.TemporaryDirectory() as empty,
        mock.patch.object(Trainer, "train", reached),
        mock.patch.object(Pretrainer, "train", reached),
    ):
        os.chdir(empty)
        there = sorted(path.name for path in folder.iterdir())
        try:
            for case in chosen:
                end, text = attempt(case)
                left = [p.name for p in Path(empty).iterdir()] + [
                    p.name for p in folder.iterdir() if p.name not in there
                ]
                if end != "refused" or left:
                    found.append(
                        {
                            "arguments": [a[:200] for a in case],
                            "end": end,
                            "said": text[:400],
                            "left": left,
                        }
                    )
                for path in Path(empty).iterdir():
                    shutil.rmtree(path)
        finally:
            os.chdir(before)
    return found


def main() -> None:
    from timing import about, append

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parent / "results" / "wrong_settings.jsonl",
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files(folder)
        everything = cases(folder)
        mine = list(own(folder))
        rest = [case for case in everything if case not in mine]
        chosen = [
            *mine,
            *random.Random(given.seed).sample(
                rest, min(len(rest), max(0, given.count - len(mine)))
            ),
        ]
        found = run(chosen, folder)
    ends = Counter(x["end"] for x in found)
    line = {
        "benchmark": "wrong_settings",
        "tried": len(chosen),
        "of": len(everything),
        "seed": given.seed,
        "refused_in_one_line": len(chosen) - ends["accepted"] - ends["traceback"] - ends["lines"],
        "accepted": ends["accepted"],
        "tracebacks": ends["traceback"],
        "several_lines": ends["lines"],
        "folders_left": sum(bool(x["left"]) for x in found),
        "faults": found[:50],
        **about(),
    }
    append(given.out, line)
    print({k: v for k, v in line.items() if k not in ("versions", "faults")})
    for fault in found:
        print(fault)


if __name__ == "__main__":
    main()
