"""The folder of a run: what was asked for and where it came from.

create_run  ->  config.yaml (every setting) and run.json (commit, versions, machine,
                seed, command, time)
open_run    ->  both, read again
keep_config ->  config.yaml of a run that goes on with other settings
lock        ->  one process at a time
count_start ->  how often a process has begun with it
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from agents.config import parse_yaml, to_dict, to_yaml
from agents.disk import sync_file, sync_folder
from agents.errors import RunError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PACKAGES = ("pixyz-worldmodels", "torch", "numpy", "gymnasium", "mujoco", "dm-control")
INTERFACE = "interface.json"
SOURCES = ("agents", "configs", "envs", "pixyz", "worldmodels")
_HELD: set[Path] = set()  # folders that this process has locked


def create_run(path: Path, config: Any, *, seed: int) -> Path:
    """Make the folder with ``config.yaml`` and ``run.json``.

    Args:
        config: the run's settings, a dataclass.

    Raises:
        RunError: the folder exists and is not empty, or cannot be written.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            on = f"go on with `pixyz resume {path}`, or " if (path / "run.json").is_file() else ""
            raise RunError(f"{path} exists and is not empty; {on}choose another folder with --run")
        path.mkdir(parents=True, exist_ok=True)
        with (path / "config.yaml").open(
            "x", encoding="utf-8"
        ) as file:  # x: of two runs that start at once, one gets it
            file.write(to_yaml(config))
        (path / "run.json").write_text(
            json.dumps({**origin(), "seed": seed}, indent=1), encoding="utf-8"
        )
    except OSError as error:
        raise RunError(
            f"cannot write the run folder {path}: {error.strerror or error}; "
            f"choose another with --run"
        ) from None
    return path


@contextmanager
def created(path: Path, config: Any, *, seed: int) -> Iterator[None]:
    """As :func:`create_run`; an error within the context takes away what was made, so that it
    blocks no second try.

    >>> import tempfile
    >>> from agents.settings import EnvSettings
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     suppress(OSError),
    ...     created(Path(folder) / "a/b", EnvSettings(), seed=0),
    ... ):
    ...     raise OSError("no space left")
    >>> (Path(folder) / "a").exists()
    False
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    create_run(path, config, seed=seed)
    try:
        yield
    except BaseException:
        for item in path.iterdir():  # it was empty or not there
            shutil.rmtree(item, ignore_errors=True) if item.is_dir() else item.unlink(
                missing_ok=True
            )
        with suppress(OSError):  # a parent that another run has come into
            for folder in new:
                folder.rmdir()
        raise


def open_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the origin of a run.

    Raises:
        RunError: it is no run folder, or its files are damaged.
    """
    try:
        config = parse_yaml((path / "config.yaml").read_text(encoding="utf-8"), "config.yaml")
        info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(
            f"{path} is no run folder: expected a file {Path(error.filename).name} in it, got none"
        ) from None
    except OSError as error:
        raise RunError(f"cannot read the run folder {path}: {error.strerror or error}") from None
    except ValueError as error:  # not UTF-8, not YAML, not JSON
        raise RunError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not isinstance(info, dict):
        raise RunError(f"{path} is damaged: expected keys and values in config.yaml and run.json")
    return config, info


def keep_config(path: Path, config: Any) -> None:
    """Keep the settings that a run goes on with, if they are others than ``config.yaml`` has: the
    next start goes on with them, too.

    Args:
        config: the settings, a dataclass; the run that they say that it started from is that of its
            beginning.

    Raises:
        RunError: the folder cannot be written.
    """
    kept, _ = open_run(path)
    if hasattr(config, "start"):
        config = replace(config, start=kept.get("start"))
    if to_dict(config) != kept:
        _write(path / "config.yaml", to_yaml(config))


def write_interface(path: Path, interface: dict[str, Any]) -> None:
    """Keep what a run's environment or log looks like, so that its agent or model can be loaded
    without it.
    """
    _write(path / INTERFACE, json.dumps(interface))


def read_interface(path: Path) -> dict[str, Any]:
    """What :func:`write_interface` kept.

    Raises:
        RunError: it is not there, or damaged.
    """
    try:
        found = json.loads((path / INTERFACE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path}: expected a file {INTERFACE} in the run's folder, got none; "
            f"go on with the run once"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / INTERFACE} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise RunError(f"{path / INTERFACE} is damaged: expected keys and values")
    return found


def same_interface(path: Path, interface: dict[str, Any]) -> bool:
    """Whether a run began with an environment or a log like this one; False if that is not known:
    nothing was kept, or it is damaged.

    Of numbers that are observed the bounds may be others: they are looked at, nothing is scaled by
    them.

    Raises:
        RunError: it began with another one; says what differs.
    """
    try:
        kept = read_interface(path)
    except RunError:
        return False
    then, now = _without_bounds(kept), _without_bounds(json.loads(json.dumps(interface)))
    if then == now:
        return True
    name, was, is_now = _differing(then, now)
    raise RunError(
        f"{path} began with another environment or log: its {name} was {_brief(was)}, got "
        f"{_brief(is_now)}; give the one that it began with, or start a new run"
    )


def _without_bounds(interface: dict[str, Any]) -> dict[str, Any]:
    """An interface with the parts of spaces by their names, and vectors of observations that have
    no bounds.
    """

    def plain(value: Any, seen: bool) -> Any:
        if isinstance(value, list) and value and all(map(_is_named, value)):
            value = dict(value)
        if isinstance(value, dict):
            vector = value.get("kind") == "Box" and len(value.get("shape", ())) < 2
            free = seen and vector and str(value.get("dtype")).startswith("float")
            keys = [k for k in value if not (free and k in ("low", "high"))]
            return {k: plain(value[k], seen) for k in keys}
        return [plain(v, seen) for v in value] if isinstance(value, list) else value

    return {key: plain(value, key == "observation") for key, value in interface.items()}


def _is_named(part: Any) -> bool:
    """Whether it is a name and a space, as those of a Dict are kept."""
    return isinstance(part, list) and len(part) == 2 and isinstance(part[0], str)


def _differing(then: Any, now: Any, name: str = "") -> tuple[str, Any, Any]:
    """The first value that differs: its name, and both."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            if then.get(key) != now.get(key):
                found = f"{name} {key}".strip()
                return _differing(then.get(key), now.get(key), found)
    return name, then, now


def _brief(value: Any) -> str:
    return "nothing" if value is None else f"{value!s:.100}"


def _write(path: Path, text: str) -> None:
    """Write a file of a run's folder whole, or not at all.

    Raises:
        RunError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            sync_file(file)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Have a run's folder alone; the lock ends with the process, also when it is killed.

    Processes that are forked meanwhile do not hold it. Where the file system has no locks a warning
    is given.

    Raises:
        RunError: another process has it, or this one already; says which.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, lock(Path(folder)):
        ...     pass
    """
    name = path.resolve()
    if name in _HELD:
        raise RunError(f"{path} is in use by this process; close the run that has it first")
    try:
        file = (path / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write the run folder {path}: {error.strerror or error}") from None
    with file:
        try:
            _lock_file(file)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                file.seek(0)
                holder = file.read(200).strip() or "another process"
                raise RunError(
                    f"{path} is in use by {holder}; wait until it ends, or stop it"
                ) from None
            text = (
                f"{path} cannot be locked ({error.strerror or error}); "
                f"see that no second process uses it"
            )
            warnings.warn(text, stacklevel=3)
        _HELD.add(name)
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield
        finally:
            _HELD.discard(name)
            with suppress(OSError):
                file.truncate(0)


def count_start(path: Path) -> int:
    """Count a start of a process in a run's folder: 1 for the first. It lies on the disk before
    this returns.

    ``starts`` has a line for each: its number, the time, the process.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        with (path / "starts").open("a+", encoding="utf-8") as file:
            file.seek(0)
            lines = file.read().split("\n")
            number = (
                max(
                    [
                        len(lines) - 1,
                        *(
                            int(x)
                            for x in (line.partition(" ")[0] for line in lines)
                            if x.isdecimal()
                        ),
                    ]
                )
                + 1
            )
            new = "" if not lines[-1] else "\n"  # a crash has torn the last line
            file.write(
                f"{new}{number} {datetime.now(UTC).isoformat(timespec='seconds')} {os.getpid()}\n"
            )
            sync_file(file)
        sync_folder(path)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"cannot count the start of {path}: {error}; "
            f"see that the folder is there and can be written"
        ) from None
    return number


def _lock_file(file: IO[str]) -> None:
    """Lock for this process, or raise OSError; closing the file unlocks."""
    if sys.platform == "win32":
        file.seek(1 << 30)  # not the text, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock would be kept by forked processes


def origin() -> dict[str, Any]:
    """Commit, versions, machine, command and time: what a result came from."""
    root = Path(__file__).resolve().parents[1]
    # else another's repository
    tracked = _git(root, "ls-files", "--error-unmatch", "agents/__init__.py") is not None
    changes = _git(root, "status", "--porcelain", "--", *SOURCES) if tracked else None
    return {
        "commit": _git(root, "rev-parse", "HEAD") if tracked else None,
        "dirty": None if changes is None else bool(changes),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None if it fails or is not there."""
    command = ["git", "--no-optional-locks", *arguments]
    # a hook's GIT_DIR is another's
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
