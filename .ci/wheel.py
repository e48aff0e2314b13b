"""The sdist and the wheel: built, installed into an empty environment, and used from an empty
folder.

    python .ci/wheel.py              dependencies from the package index, as a user gets them; then
                                     `pip check`
    python .ci/wheel.py --here       dependencies of this environment (offline)

The wheel is built from the sdist, so that what the sdist lacks is seen.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "train,sim,plots,data,shell"
NEEDED = ("constraints.txt", "CHANGELOG.md", "docs/runs.md", "tests/mistakes.py", "benchmarks")
"""What an sdist holds beside the packages: what its README's commands read."""
TRAIN = [
    "dreamer_v3/pendulum",
    "steps=400",
    "prefill=300",
    "train_ratio=16",
    "eval_every=0",
    "eval_episodes=1",
    "agent.batch=4",
    "agent.length=8",
    "agent.horizon=3",
    "env.time_limit=60",
]
ACT = (
    "import agents, numpy; policy = agents.from_pretrained('taken'); "
    "print(policy.act(numpy.zeros(3, 'f4')));"
    "import pixyz, worldmodels, envs; print(pixyz.__version__, pixyz.__file__)"
)
COMMANDS = [
    ["pixyz", "--version"],
    ["pixyz", "doctor"],
    ["pixyz", "list", "configs"],
    ["pixyz", "list", "envs", "walker"],
    ["pixyz", "completion", "bash"],
    ["pixyz", "show", "dreamer_v3/pendulum"],
    ["pixyz", "train", *TRAIN, "--run", "run"],
    ["pixyz", "resume", "run", "steps=420"],
    ["pixyz", "evaluate", "run", "--episodes", "1"],
    ["pixyz", "save", "run", "taken"],
    ["pixyz", "data", "check", "run/replay"],
    ["python", "-c", ACT],
]


def run(command: list[object], **more: object) -> str:
    """The output of a command; ends this script where it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **more
    )
    if done.returncode:
        sys.exit(
            f"{' '.join(map(str, command))} ended with "
            f"{done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist from the sources, the wheel from the sdist."""
    code = "import sys; from setuptools import build_meta as b; print(b.build_{}(sys.argv[1]))"
    run([sys.executable, "-c", code.format("sdist"), folder], cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    lacking = [name for name in NEEDED if not (folder / sdist.name[:-7] / name).exists()]
    if lacking:
        sys.exit(f"{sdist.name} lacks {', '.join(lacking)}: see MANIFEST.in")
    run(
        [sys.executable, "-c", code.format("wheel"), folder],
        cwd=folder / sdist.name.removesuffix(".tar.gz"),
    )
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def environment(folder: Path, wheel: Path, here: bool) -> Path:
    """An empty virtual environment with the wheel in it; its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    if here:
        run([*pip, "--no-deps", "--no-index", wheel])
        site = run(
            [programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        ).strip()
        (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    else:
        run([*pip, "-c", ROOT / "constraints.txt", f"{wheel}[{EXTRAS}]"])
        run([programs / "python", "-m", "pip", "check"])
    return programs


def main() -> None:
    """Build, install, run; a line each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--here", action="store_true", help="take the dependencies of this environment"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dist").mkdir()
        sdist, wheel = build(folder / "dist")
        print(
            f"{sdist.name} {sdist.stat().st_size:,} bytes, "
            f"{wheel.name} {wheel.stat().st_size:,} bytes"
        )
        programs = environment(folder / "venv", wheel, given.here)
        empty = folder / "empty"
        empty.mkdir()
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        for program, *arguments in COMMANDS:
            start = time.monotonic()
            out = run([programs / program, *arguments], cwd=empty, env=clean).strip().split("\n")
            print(
                f"{time.monotonic() - start:6.1f} s  {program} {' '.join(arguments)[:60]}: "
                f"{out[-1][:90]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
