"""Mistakes that people make, and what they are told: one line that names what came and what to do.

    python tests/mistakes.py            # write docs/mistakes.md

Each is made in an empty folder; ``tests/test_mistakes.py`` makes them all, and compares.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

import agents
import envs
from agents.cli import main
from agents.settings import EnvSettings
from agents.video import drawn
from envs import rendering
from envs.robot import load_limits
from pixyz.distributions import Bernoulli, Categorical, Normal
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Parameter
from pixyz.models import Model
from worldmodels import RSSM, VRNN, RSSMConfig, VRNNConfig, from_pretrained
from worldmodels.data import Episodes, make_episode, read_episodes, write_npz

PAGE = Path(__file__).resolve().parents[1] / "docs" / "mistakes.md"
TINY = VRNNConfig(latent=2, rnn=4, hidden=4)


@dataclass(frozen=True)
class Mistake:
    """Something that people do.

    Args:
        what: in words.
        make: does it; given the empty folder that it stands in.
        cure: what the answer has to name.
    """

    what: str
    make: Callable[[Path], Any]
    cure: str


class CommandFailed(ValueError):
    """A command ended with 2; its text is the line that it wrote."""


def pixyz(line: str) -> None:
    """A command; what it writes on an error is raised."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(line.split())
        except SystemExit as ended:
            code = int(ended.code or 0)
    assert code == 2, f"{line}: expected 2, got {code}"
    text = err.getvalue().strip()
    raise CommandFailed(text.removeprefix("pixyz: "))


# ---------------------------------------------------------------- what the mistakes are made with


def normal(var: str, cond: str = "", **more: Any) -> Normal:
    given = {"loc": cond, "scale": 1.0} if cond else {"loc": 0.0, "scale": 1.0}
    return Normal(var, cond or [], features_shape=[2], **{**given, **more})


class Net(Normal):
    """A network whose result is given."""

    def __init__(self, result: Callable[[torch.Tensor], dict[str, Any]]) -> None:
        super().__init__("y", "x", "p", features_shape=[2])
        self.result = result

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        return self.result(x)


def score(result: Callable[[torch.Tensor], dict[str, Any]]) -> None:
    """The density under such a network."""
    Net(result).log_prob().mean().eval({"x": torch.ones(3, 2), "y": torch.ones(3, 2)})


class Env(gymnasium.Env[Any, Any]):
    """An environment that is right, but for what is given."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, seen: Any = None, action: Any = None, returned: Any = None) -> None:
        self.seen = np.zeros(3, np.float32) if seen is None else seen
        self.action_space = self.action_space if action is None else action
        self.returned = returned

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.seen, {}

    def step(self, action: Any) -> Any:
        return self.returned or (self.seen, 0.0, False, False, {})


def model_of(p: Bernoulli) -> Model:
    """A model with one weight."""
    net = torch.nn.Linear(2, 2)
    return Model(LogProb(p).mean(), distributions=[net], optimizer=torch.optim.Adam)


def image(shape: tuple[int, ...], dtype: Any = np.uint8, high: float = 255) -> None:
    """An environment that declares such an observation."""
    env = Env()
    env.observation_space = spaces.Box(0, high, shape, dtype)
    envs.adapt(env)


def log(folder: Path, rows: int = 40, bad: bool = False) -> None:
    """A log of two episodes."""
    found = []
    for i in range(2):
        joint = np.cumsum(np.ones((rows, 2), np.float32), 0)
        if bad and i:
            joint[7, 0] = np.nan
        found.append(make_episode(f"{i}", {"joint": joint}, action=np.zeros((rows, 1), np.float32)))
    write_npz(Episodes(found), folder / "log")


def train_a_run(folder: Path) -> None:
    """A run's folder where a config is asked for."""
    (folder / "config.yaml").write_text("steps: 10\n")
    pixyz(f"train {folder}")


def without_gpu(_: Path) -> None:
    """A run on a GPU, on a machine that has none."""
    with mock.patch.object(torch.cuda, "device_count", return_value=0):
        pixyz("train dreamer_v3/pendulum device=cuda:7")


def undrawn() -> None:
    """What makes an environment that takes no options."""


def csv(folder: Path, text: str, columns: str | None = None) -> None:
    """A log in CSV, read."""
    (folder / "log").mkdir()
    (folder / "log" / "a.csv").write_text(text)
    if columns is not None:
        (folder / "log" / "columns.json").write_text(columns)
    read_episodes(folder / "log")


def without(name: str, do: Callable[[], Any]) -> None:
    """As where a package is not installed."""
    with mock.patch.dict(sys.modules, {name: None}):
        do()


def minari(folder: Path) -> None:
    """A data set of Minari, read where h5py is not installed."""
    (folder / "log" / "data").mkdir(parents=True)
    (folder / "log" / "data" / "main_data.hdf5").write_bytes(b"")
    without("h5py", lambda: read_episodes(folder / "log"))


def no_screen(_: Path) -> None:
    """A camera where nothing draws."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    kept.pop(rendering.FOUND, None)
    broken = mock.patch.object(rendering, "trouble", lambda name: f"no {name}")
    with mock.patch.dict(os.environ, kept, clear=True), broken:
        rendering.choose()


def rssm(shapes: dict[str, tuple[int, ...]]) -> RSSM:
    return RSSM(shapes, 1, RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8))


def flags(*lead: int) -> dict[str, torch.Tensor]:
    found = {
        k: torch.zeros(*lead, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")
    }
    return {**found, "reward": torch.zeros(*lead)}


def trained(folder: Path) -> str:
    """A run with a checkpoint, of no update."""
    small = ["steps=120", "prefill=60", "agent.units=8", "agent.batch=8", "env.time_limit=20"]
    settings = agents.load_config(agents.RunSettings, "sac/small", ["env.id=Pendulum-v1", *small])
    with agents.Trainer(settings) as trainer, trainer.begin(folder / "run") as begun:
        begun.run.save()
    return str(folder / "run")


def policy(folder: Path, observation: Any) -> None:
    agents.load(trained(folder)).act(observation)


joint = normal("z", name="p") * normal("x", "z", name="p")
q = normal("z", "x", name="q")

MISTAKES = [
    # ------------------------------------------------------------ equations
    Mistake(
        "a value [B] of a density with parameters [B, 1]",
        lambda _: Normal("y", "x", loc="x", scale=1.0).get_log_prob(
            {"x": torch.ones(4, 1), "y": torch.ones(4)}
        ),
        "give 'y' the shape of a sample",
    ),
    Mistake(
        "a variable is missing in what eval gets",
        lambda _: E(q, LogProb(joint)).mean().eval({}),
        r"\['x'\] missing; add them to the dict",
    ),
    Mistake(
        "a misspelt parameter in a network's result",
        lambda _: score(lambda x: {"mean": x, "scale": x}),
        r"keys \['loc', 'scale'\]",
    ),
    Mistake(
        "a negative scale",
        lambda _: score(lambda x: {"loc": x, "scale": -x}),
        r"softplus\(x\) or exp\(x\)",
    ),
    Mistake(
        "a network that returns a tensor",
        lambda _: score(lambda x: x),
        r"return a dict with the keys \['loc', 'scale'\]",
    ),
    Mistake(
        "pixels of 0 to 255 under a Bernoulli",
        lambda _: (
            Bernoulli("x", "z", probs="z")
            .log_prob()
            .mean()
            .eval({"x": 255 * torch.ones(3, 2), "z": torch.full((3, 2), 0.5)})
        ),
        "x / 255",
    ),
    Mistake(
        "class numbers under a one-hot density",
        lambda _: (
            Categorical("x", "z", probs="z")
            .log_prob()
            .mean()
            .eval({"x": torch.tensor([0.0, 1.0]), "z": torch.full((2, 3), 1 / 3)})
        ),
        r"give one-hot vectors \(class numbers n: one_hot",
    ),
    Mistake(
        "a circle of conditions",
        lambda _: normal("x", "z") * normal("z", "x"),
        "rename one of these variables: replace_var",
    ),
    Mistake(
        "two factors of one variable",
        lambda _: normal("x") * normal("x", "z"),
        r"rename one: replace_var\(x=",
    ),
    Mistake(
        "a divergence of two different variables",
        lambda _: KullbackLeibler(normal("z"), normal("x")),
        "rename one with replace_var",
    ),
    Mistake(
        "a Parameter without a name", lambda _: Parameter(), r'write alpha = Parameter\("alpha"\)'
    ),
    Mistake(
        "a carried value of unknown shape starts at 0",
        lambda _: IterativeLoss(
            E(Normal("z", "z_prev", loc="z_prev", scale=1.0), LogProb(normal("z", name="r"))),
            max_iter=3,
            update_value={"z": "z_prev"},
            init={"z_prev": 0},
        ).eval({}),
        "declare features_shape .* or give a tensor",
    ),
    Mistake(
        "update_value of a variable that the step does not draw",
        lambda _: IterativeLoss(
            E(q, LogProb(joint)), max_iter=3, series_var="x", update_value={"w": "w_prev"}
        ).eval({"x": torch.ones(3, 4, 2)}),
        "name one that is drawn, or put the distribution of 'w' into the step",
    ),
    Mistake(
        "a renaming of a variable that is not there",
        lambda _: joint.replace_var(y="w"),
        r"it has \['z', 'x'\]",
    ),
    Mistake(
        "a model file that is not there",
        lambda f: model_of(Bernoulli("x", "z", probs="z")).load(f / "none"),
        r"give a folder that save\(\) wrote",
    ),
    # ------------------------------------------------------------ world models
    Mistake(
        "a mask with the batch first",
        lambda _: VRNN(3, TINY).objective.eval(
            {"x": torch.rand(5, 2, 3), "mask": torch.ones(2, 5)}
        ),
        r"\[T, B\] = \[5, 2\].*give one row for each frame and sequence, time first",
    ),
    Mistake(
        "a frame with other features than the model's",
        lambda _: VRNN(3, TINY).objective.eval({"x": torch.rand(5, 2, 4)}),
        r"built for \[3\] a frame, this has \[4\]; give it what it was built for",
    ),
    Mistake(
        "no action in a batch of a model that reads it",
        lambda _: rssm({"x": (3,)}).objective.eval(
            {"x": torch.rand(5, 2, 3), "cont": torch.ones(5, 2, 1), **flags(5, 2)}
        ),
        r": \['action'\] missing; add them to the dict",
    ),
    Mistake(
        "`is_terminal` where a model reads `cont`",
        lambda _: rssm({"x": (3,)}).objective.eval(
            {"x": torch.rand(5, 2, 3), "action": torch.rand(5, 2, 1), **flags(5, 2)}
        ),
        r"'cont' is \(~is_terminal\)",
    ),
    Mistake(
        "an observation with a name of the model's own",
        lambda _: rssm({"deter": (3,)}),
        r"call them \['deter_'\]",
    ),
    Mistake(
        "an image whose sides are no multiples of 16",
        lambda _: rssm({"camera": (30, 30, 3)}),
        r"scale them, as by env.options.image_size=\[64, 64\]",
    ),
    Mistake(
        "a folder without a saved model",
        lambda f: from_pretrained(f),
        "expected config.json and model.safetensors of save_pretrained",
    ),
    # ------------------------------------------------------------ logs
    Mistake(
        "a log that is not there",
        lambda f: (log(f), read_episodes(f / "lgo")),
        r"\(nearest: log\); give",
    ),
    Mistake("an empty folder", lambda f: read_episodes(f), r"looked for .*\*\.npz, \*\.csv"),
    Mistake(
        "CSV without a word on its columns",
        lambda f: csv(f, "q,u\n1,2\n"),
        "write log/columns.json, for example",
    ),
    Mistake(
        "a CSV file whose columns stand between semicolons",
        lambda f: csv(f, "q;u\n1;2\n", '{"observations": {"x": ["q"]}}'),
        'in columns.json say "delimiter": ";"',
    ),
    Mistake(
        "a name that a column map does not have",
        lambda f: csv(f, "q\n1\n2\n", '{"observation": {"x": ["q"]}}'),
        "nearest: 'observations'",
    ),
    Mistake(
        "a column that is named twice",
        lambda f: csv(f, "q,u\n1,2\n", '{"observations": {"x": ["q", "q"]}}'),
        r"'x' names \['q'\] more than once",
    ),
    Mistake(
        "a column that is not in the file",
        lambda f: csv(f, "q,u\n1,2\n", '{"observations": {"x": ["p"]}}'),
        r"no column 'p'; it has \['q', 'u'\]",
    ),
    Mistake(
        "a blank cell",
        lambda f: csv(f, 'q\n1\n" "\n3\n', '{"observations": {"x": ["q"]}}'),
        "line 3, column q: .*write the number, or nan .*on_bad=.cut",
    ),
    Mistake(
        "NaN in a log",
        lambda f: (log(f, bad=True), read_episodes(f / "log")),
        "step 7, key joint.*mend the log, leave such episodes out with on_bad",
    ),
    Mistake(
        "`pixyz pretrain` of two short episodes",
        lambda f: (log(f, rows=6), pixyz("pretrain rssm --data log")),
        "split by time",
    ),
    Mistake("a package that is not installed", minari, "pip install h5py"),
    Mistake(
        "a split by time of episodes that are too short for it",
        lambda f: (log(f, rows=12), pixyz("pretrain rssm --data log split=time")),
        "give episodes of 30 rows, a larger share",
    ),
    Mistake(
        "a missing `--data`",
        lambda _: pixyz("pretrain rssm"),
        "required: --data; see pixyz pretrain --help",
    ),
    # ------------------------------------------------------------ environments
    Mistake(
        "one's own environment by its class alone",
        lambda _: envs.make("MyRobot"),
        "written module:Id, .* module:Class or module:function",
    ),
    Mistake("a misspelt id", lambda _: envs.make("Pendulm-v1"), "nearest: Pendulum-v1"),
    Mistake(
        "a module that is not in this folder",
        lambda _: envs.make("my_robot:MyRobot"),
        "install it, or start in the folder where it lies",
    ),
    Mistake(
        "a misspelt option of an environment",
        lambda _: envs.make("Pendulum-v1", graviti=9.8),
        "got {'graviti': 9.8}.*correct them",
    ),
    Mistake(
        "an action without bounds",
        lambda _: envs.adapt(Env(action=spaces.Box(-np.inf, np.inf, (1,)))),
        "give the environment a Box with those of its actuators",
    ),
    Mistake(
        "an observation of NaN",
        lambda _: envs.adapt(Env(np.full(3, np.nan, np.float32))).reset(),
        "look at its state and at the last actions",
    ),
    Mistake(
        "an observation of another shape than declared",
        lambda _: envs.adapt(Env(np.zeros(4, np.float32))).reset(),
        "make observation_space and the observation agree",
    ),
    Mistake(
        "a step that returns four values, as in old gym",
        lambda _: (
            env := envs.adapt(Env(returned=(np.zeros(3, np.float32), 0.0, False, {}))),
            env.reset(),
            env.step(np.zeros(1)),
        ),
        "expected 5 values .*return them as gymnasium has it",
    ),
    Mistake(
        "a step before the first reset",
        lambda _: envs.adapt(Env()).step(np.zeros(1, np.float32)),
        r"call reset\(\) first",
    ),
    Mistake(
        "an image whose channels cannot be told",
        lambda _: image((64, 64, 64)),
        "transpose it in the environment",
    ),
    Mistake(
        "a float image without a range",
        lambda _: image((64, 64, 3), np.float32, np.inf),
        "correct the bounds of its Box, or flatten what is no image",
    ),
    Mistake("a camera where nothing draws", no_screen, "apt-get install libosmesa6"),
    # ------------------------------------------------------------ runs
    Mistake(
        "a misspelt setting",
        lambda _: pixyz("train dreamer_v3/pendulum agent.horizn=5"),
        r"nearest: agent.horizon\)",
    ),
    Mistake(
        "a misspelt config",
        lambda _: pixyz("train dreamer_v3/pendulm"),
        r"nearest: dreamer_v3/pendulum\)",
    ),
    Mistake(
        "a number out of its range",
        lambda _: pixyz("train dreamer_v3/pendulum agent.lam=1.5"),
        "lam must be at least 0 and at most 1",
    ),
    Mistake(
        "text where a number belongs",
        lambda _: pixyz("train dreamer_v3/pendulum steps=many"),
        "steps: expected int",
    ),
    Mistake(
        "a GPU that is not there",
        without_gpu,
        "take device=cpu",
    ),
    Mistake(
        "nothing left to learn in behind the prefill",
        lambda _: pixyz("train dreamer_v3/pendulum steps=500 prefill=600"),
        "lower it, or raise steps",
    ),
    Mistake(
        "an agent that is not in the table",
        lambda _: pixyz("train dreamer_v3/pendulum agent.kind=dremer_v3"),
        r"nearest: dreamer_v3\)",
    ),
    Mistake(
        "a new run in the folder of another",
        lambda f: (trained(f), pixyz("train sac/small --run run")),
        "go on with .pixyz resume run., or choose another folder with --run",
    ),
    Mistake(
        "a folder that is no run",
        lambda _: pixyz("resume nothing"),
        "expected a file config.yaml in it",
    ),
    Mistake(
        "a resumed run with another batch",
        lambda f: (trained(f), pixyz("resume run agent.batch=3")),
        "only steps, eval_every",
    ),
    Mistake(
        "an open-loop film of an agent without a decoder",
        lambda f: (trained(f), pixyz("openloop run")),
        "expected an agent whose model is an RSSM, such as dreamer_v3",
    ),
    Mistake(
        "a world model asked of a training run",
        lambda f: agents.load_model(trained(f)),
        "take load$",
    ),
    Mistake(
        "NaN given to a policy",
        lambda f: policy(f, np.array([0.0, np.nan, 0.0], np.float32)),
        "look at its state and at the last actions",
    ),
    Mistake(
        "an observation of another robot given to a policy",
        lambda f: policy(f, np.zeros(4, np.float32)),
        r"expected shape \(3,\)",
    ),
    Mistake("an unknown command", lambda _: pixyz("trian sac/small"), "choose from '?train"),
    Mistake(
        "a run's folder in the place of a config", train_a_run, "go on with it by .pixyz resume"
    ),
    Mistake(
        "a config of pretraining given to `train`",
        lambda _: pixyz("train pretrain/rssm env.id=Pendulum-v1"),
        "pixyz pretrain rssm --data LOG",
    ),
    Mistake(
        "a video of an environment that does not draw",
        lambda _: drawn(EnvSettings("my_env:Target"), lambda: undrawn(render_mode="rgb_array")),
        r"let its __init__ take render_mode, and its render\(\) return",
    ),
    # ------------------------------------------------------------ robots
    Mistake(
        "limits whose low lies above their high",
        lambda _: load_limits(
            {
                "hz": 20,
                "stale_ms": 150,
                "stop_ms": 600,
                "watchdog_ms": 200,
                "actions": {"j.pos": {"low": 1.0, "high": -1.0, "step": 0.1, "rate": 1, "home": 0}},
            }
        ),
        "low: expected less than high, got low=1.0 and high=-1.0",
    ),
    Mistake(
        "a robot without limits",
        lambda _: pixyz("robot check --robot my_arm:Arm"),
        "required: --limits; see pixyz robot check --help",
    ),
]


def told(mistake: Mistake, folder: Path) -> str:
    """What somebody is told who makes it there; the folder is left out.

    Raises:
        AssertionError: nothing was said.
    """
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mistake.make(folder)
    except (ValueError, OSError, RuntimeError, TypeError, KeyError) as error:
        said = error
    else:
        raise AssertionError(f"{mistake.what}: nothing was said")
    finally:
        os.chdir(before)
        sys.path[:] = path
    assert type(said).__module__.split(".")[0] not in ("builtins", "torch"), (
        f"{mistake.what}: {said!r}"
    )
    return str(said).replace(f"{folder}/", "").replace(str(folder), "the folder")


HEAD = """# Mistakes, and what is said

Written by `tests/mistakes.py`, which makes each of them; a test compares.
One line says what was expected, what came and what to do.

| mistake | what is said |
|---|---|
"""


def page() -> str:
    """The page of all mistakes."""
    rows = []
    for mistake in MISTAKES:
        with tempfile.TemporaryDirectory() as name:
            text = told(mistake, Path(name))
        rows.append(f"| {mistake.what} | {cell(text)} |")
    return HEAD + "\n".join(rows) + "\n"


def cell(text: str) -> str:
    r"""A message in a table: code; where it holds ``|``, which ends a cell in backticks too and
    keeps its backslash on the site, as HTML.

    >>> cell("p(y|x_1)"), cell("a  `b`")
    ('<code>p(y&#124;x&#95;1)</code>', "`a 'b'`")
    """
    text = re.sub(r"\s+", " ", text).replace("`", "'")
    if "|" not in text:
        return f"`{text}`"
    coded = (f"&#{ord(c)};" if c in "&<>|*_\\$~" else c for c in text)
    return f"<code>{''.join(coded)}</code>"


if __name__ == "__main__":
    if sys.argv[1:] == ["try"]:
        for each in MISTAKES:
            with tempfile.TemporaryDirectory() as place:
                try:
                    line = told(each, Path(place))
                except Exception as error:
                    line = f"!!! {type(error).__name__}: {error}"
            mark = "" if re.search(each.cure, line, re.S) and "\n" not in line else "??? "
            print(f"{mark}{each.what}\n      {line}", flush=True)
    else:
        PAGE.write_text(page(), encoding="utf-8")
