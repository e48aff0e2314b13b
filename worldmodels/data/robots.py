"""Two recordings of real robots, one long episode each: a wall follower's sonars,
and a SARCOS arm.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from worldmodels.data.columns import Columns
from worldmodels.data.download import Source, cache_folder, fetch
from worldmodels.data.episodes import Array, Episodes
from worldmodels.data.folders import need, reading
from worldmodels.data.log import make_episode
from worldmodels.data.table import read_csv

MOVES = ("Move-Forward", "Slight-Right-Turn", "Sharp-Right-Turn", "Slight-Left-Turn")
SONARS = tuple(f"S{i}" for i in range(1, 25))
JOINTS, ROWS, STEP = 7, 4449, 0.11


def _sha256(*arrays: Array) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array, "<f4").tobytes())
    return found.hexdigest()


def _follower(file: Path) -> Episodes:
    columns = Columns({"sonar": SONARS}, action=["OUTPUT"], choices=MOVES, rate=9.0)
    with file.open(encoding="utf-8") as opened:  # UCI's file has no header, copies have one
        first = opened.readline()
    if not first.startswith("S1,"):
        columns = Columns(
            columns.observations, columns.action, MOVES, header=(*SONARS, "OUTPUT"), rate=9.0
        )
    return read_csv(file, columns)


def _follower_sha256(file: Path) -> str:
    (episode,) = _follower(file)
    return _sha256(episode["sonar"], episode["action"])


FOLLOWER = Source(
    "wall_following/sensor_readings_24.data",
    "https://raw.githubusercontent.com/Transcendence-ML-Python/robot-sensor-data-classification-ml/"
    "26b6938695cbc5bcd188c0d0cb781ef2ab9145e8/sensor_readings_24.data",
    "d2b5aab0615cb99f067689bbcf8396bd08e39feeeeaf72103b8c276b2579b7f3",
    "CC BY 4.0 by UCI (data set 194; not verified), none stated by the copy",
    870_516,
    _follower_sha256,
)


def wall_following(folder: str | Path | None = None) -> Episodes:
    """A SCITOS G5 that drives along the walls of a room, four rounds (Freire, Barreto, Veloso and
    Varela, 2009; UCI 194).

    One episode of 5,456 rows, 9 a second: ``sonar [T, 24]``, the ranges in metres of ultrasound
    sensors around the robot, clockwise from its front, cut at 5.0; ``action [T, 4]``, one-hot:
    forward, slight right, sharp right, slight left.

    Args:
        folder: with ``sensor_readings_24.data``; it is downloaded if None.

    Raises:
        DataError: the file is missing or another one.
    """
    return _follower(fetch(FOLLOWER, folder))


def _arm_arrays(file: Path) -> tuple[Array, Array, Array]:
    """Positions, velocities and torques from the ``.mat`` file, or from an ``.npz`` file with
    ``q``, ``qd``, ``tau``.
    """
    with reading(f"{file}: expected SARCOS's test set"):
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as held:
                q, qd, tau = held["q"], held["qd"], held["tau"]
        else:
            table = need("scipy.io", "reading .mat files").loadmat(file)["sarcos_inv_test"]
            q, qd, tau = (table[:, i * JOINTS : (i + 1) * JOINTS] for i in (0, 1, 3))
        return q.astype(np.float32), qd.astype(np.float32), tau.astype(np.float32)


def _arm_sha256(file: Path) -> str:
    return _sha256(*_arm_arrays(file))


ARM = Source(
    "sarcos/sarcos_inv_test.mat",
    "https://raw.githubusercontent.com/Kaixhin/SARCOS/master/sarcos_inv_test.mat",
    "2cb77c6cf3b61b7f310ea3754f5005c740219496532c626473d1f594e7d3139b",
    "none stated for the data (gaussianprocess.org/gpml/data); the copy is MIT",
    996_776,
    _arm_sha256,
)
ARM_NPZ = "sarcos_inv_test_ordered.npz"


def sarcos(folder: str | Path | None = None) -> Episodes:
    """A SARCOS arm with seven joints that follows rhythmic movements (Vijayakumar and Schaal,
    2000): its test set.

    One episode of 4,449 rows in the order of time, about 0.11 s apart: ``position [T, 7]`` (rad),
    ``velocity [T, 7]`` (rad/s), and as ``action [T, 7]`` the torques.  The file's accelerations are
    left out: they are what is to be predicted.

    Args:
        folder: with ``sarcos_inv_test.mat`` (or ``sarcos_inv_test_ordered.npz``: the same rows as
            float32); it is downloaded if None. Reading the former needs SciPy.

    Raises:
        DataError: the file is missing or another one.
    """
    place = Path(folder).expanduser() if folder is not None else cache_folder() / "sarcos"
    if (place / ARM_NPZ).exists():
        file = fetch(Source(ARM_NPZ, ARM.url, ARM.sha256, ARM.licence, 404_635, _arm_sha256), place)
    else:
        file = fetch(ARM, folder)
    position, velocity, torque = _arm_arrays(file)
    episode = make_episode("sarcos", {"position": position, "velocity": velocity}, torque)
    return Episodes([episode], 1 / STEP, str(file))
