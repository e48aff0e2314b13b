"""The library in fresh environments: Python 3.11 to 3.13, torch 2.6 to the newest, with and without
extras.

    python .ci/environments.py                          all that this machine has a Python for
    python .ci/environments.py --python 3.13 --torch 2.6.0 --extras none
    python .ci/environments.py --edges                  the oldest and the newest alone, as in CI
    python .ci/environments.py --lowest --maybe         each requirement at its lowest version
    python .ci/environments.py --list                   says what would be made, and makes nothing

Each is made empty, gets torch for the CPU, the library and its extras, and then: ``pip check``; an
import, which must pull in nothing optional; a VAE that trains; with the extra ``train`` a run of
the command from an empty folder, and its resume.  A line each; ends with 1 where one failed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
TORCHES = ("2.6.0", "2.8.0", "2.10.0", "newest")
EXTRAS = ("none", "train,sim,plots,data")
CPU = "https://download.pytorch.org/whl/cpu"
OPTIONAL = (
    "yaml", "rich", "gymnasium", "mujoco", "dm_control", "matplotlib", "h5py", "pyarrow", "av",
    "scipy", "zuko", "zmq", "onnx", "wandb", "tensordict", "sympy", "PIL",
)  # fmt: skip
BARE = f"""
import sys
import pixyz, worldmodels
pulled = [name for name in {OPTIONAL!r} if name in sys.modules]
assert not pulled, f"import pixyz pulls in {{pulled}}"
import torch
from torch import nn
from pixyz.distributions import Bernoulli, Normal
from pixyz.losses import E, KullbackLeibler, LogProb
from pixyz.models import Model

class Q(Normal):
    def __init__(self):
        super().__init__("z", "x", "q", features_shape=[2])
        self.net = nn.Linear(8, 4)
    def forward(self, x):
        loc, scale = self.net(x).chunk(2, -1)
        return {{"loc": loc, "scale": scale.exp()}}

class P(Bernoulli):
    def __init__(self):
        super().__init__("x", "z", "p", features_shape=[8])
        self.net = nn.Linear(2, 8)
    def forward(self, z):
        return {{"logits": self.net(z)}}

torch.manual_seed(0)
q, p, prior = Q(), P(), Normal("z", loc=0.0, scale=1.0, features_shape=[2], name="r")
loss = (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()
model = Model(loss, distributions=[p, q], optimizer_params={{"lr": 0.05}})
x = (torch.arange(64).reshape(8, 8) % 3 == 0).float()
values = [model.train({{"x": x}}).item() for _ in range(60)]
assert values[-1] < values[0], values
print(loss)
"""
CONTRADICTION = "conflicting dependencies"  # pip's words
TRAIN = [
    "train", "sac/small", "env.id=Pendulum-v1", "steps=200", "prefill=100", "eval_episodes=1",
    "agent.batch=8", "agent.units=16", "env.time_limit=40", "--run", "run",
]  # fmt: skip


class Failed(Exception):
    """A command that did not end well."""


class NotMade(Exception):
    """An environment that could not be made."""


@dataclass(frozen=True)
class Environment:
    """One of the table.

    Args:
        python, torch: versions.
        extras: of the library, or ``none``.
    """

    python: str
    torch: str
    extras: str

    def __str__(self) -> str:
        return f"python {self.python}, torch {self.torch}, extras {self.extras}"


def chosen(given: argparse.Namespace) -> Iterator[Environment]:
    """The environments that are asked for and that there is a Python for."""
    pythons, torches = given.python or PYTHONS, given.torch or TORCHES
    for python, torch, extras in itertools.product(pythons, torches, given.extras or EXTRAS):
        corner = (python, torch) in ((PYTHONS[0], TORCHES[0]), (PYTHONS[-1], TORCHES[-1]))
        if corner or not given.edges:
            yield Environment(python, torch, extras)


def runs(python: str) -> bool:
    """Whether there is such a Python, and it starts (pyenv puts names on the path that do not)."""
    program = shutil.which(f"python{python}")
    return (
        program is not None
        and not subprocess.run([program, "--version"], capture_output=True, check=False).returncode
    )


def run(command: Sequence[object], cwd: Path, env: dict[str, str]) -> str:
    """What a command prints.

    Raises:
        Failed: with the end of what it said.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(words)[:100]}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def lowest() -> str:
    """Constraints that hold each requirement at the lowest version that ``pyproject.toml`` allows,
    but for torch, which is asked for, and sympy, which torch chooses.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    found = (re.match(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", line) for line in wanted)
    pairs = dict(m.groups() for m in found if m and m[1] not in ("torch", "sympy"))
    return "\n".join(f"{name}=={version}" for name, version in pairs.items())


def try_out(each: Environment, index: str | None, bounds: str = "") -> str:
    """Make an environment, use it, throw it away; the versions that it had.

    Raises:
        NotMade: something could not be had.
        Failed: something did not work, or requirements contradict each other.
    """
    python = shutil.which(f"python{each.python}")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    clean["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run([python, "-m", "venv", folder / "venv"], folder, clean)
        (folder / "bounds.txt").write_text(bounds)
        own = folder / "venv" / "bin" / "python"
        pip = [own, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        pip += ["-c", folder / "bounds.txt"]
        version = "torch" if each.torch == "newest" else f"torch=={each.torch}"
        extras = "" if each.extras == "none" else f"[{each.extras}]"
        try:
            run([*pip, version, "numpy", *(["--index-url", index] if index else [])], folder, clean)
            run([*pip, f"{ROOT}{extras}"], folder, clean)
        except Failed as error:
            if CONTRADICTION in str(error):
                raise
            raise NotMade(str(error)) from None
        run([own, "-m", "pip", "check"], folder, clean)
        (folder / "empty").mkdir()
        run([own, "-c", BARE], folder / "empty", clean)
        if "train" in each.extras:
            command = own.with_name("pixyz")
            run([command, *TRAIN], folder / "empty", clean)
            run([command, "resume", "run", "steps=220"], folder / "empty", clean)
        say = "import torch, numpy; print('torch', torch.__version__, 'numpy', numpy.__version__)"
        return run([own, "-c", say], folder / "empty", clean).strip()


def main() -> int:
    """Go through the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--torch", action="append", help="a version, or newest")
    parser.add_argument("--extras", action="append", help="comma-separated, or none")
    parser.add_argument("--edges", action="store_true", help="the oldest and the newest pair alone")
    parser.add_argument("--list", action="store_true", help="make nothing")
    parser.add_argument("--lowest", action="store_true", help="requirements at their lowest")
    parser.add_argument("--maybe", action="store_true", help="one without its packages is left out")
    parser.add_argument("--index", default=CPU, help="where torch is, '' for pip's own index")
    given = parser.parse_args()
    failed = 0
    for each in chosen(given):
        began = time.monotonic()
        if not runs(each.python):
            print(f"{each}: left out, no python{each.python} starts here", flush=True)
            continue
        if given.list:
            print(each)
            continue
        try:
            found = try_out(each, given.index or None, lowest() if given.lowest else "")
        except (Failed, NotMade) as error:
            left_out = given.maybe and isinstance(error, NotMade)
            failed += not left_out
            print(f"{each}: {'left out,' if left_out else 'FAILED'} {error}", flush=True)
        else:
            print(f"{each}: {found}, {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
