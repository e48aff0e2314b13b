"""What formats keep beside numbers: the names of features, and whether an episode goes on behind
its last row.
"""

import csv
import json

import numpy as np
import pytest
from recordings import same

from worldmodels.data import (
    Columns,
    Episodes,
    make_episode,
    read_csv,
    read_episodes,
    split,
    write_csv,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)

WRITERS = {
    "store": write_store,
    "npz": write_npz,
    "csv": write_csv,
    "minari": write_minari,
    "lerobot": write_lerobot,
}
NAMES = {"joint": ("elbow", "wrist.angle"), "action": ("motor 1", "motor 2")}


def arm(*last, terminal=False, named=None, steps=5):
    draw = np.random.default_rng(0)
    found = [
        make_episode(
            f"{i}",
            {"joint": draw.normal(size=(steps, 2)), "load": draw.normal(size=steps)},
            draw.normal(size=(steps - 1, 2)),
            draw.normal(size=steps - 1),
            terminal=terminal,
            last=ended,
        )
        for i, ended in enumerate(last)
    ]
    return Episodes(found, 10.0, named=named)


@pytest.mark.parametrize("name", WRITERS)
def test_an_episode_that_goes_on_stays_one(name, tmp_path):
    for i, data in enumerate([arm(False, True), arm(True), arm(True, terminal=True)]):
        WRITERS[name](data, tmp_path / f"{i}")
        same(read_episodes(tmp_path / f"{i}"), data)


def test_a_column_of_ends(tmp_path):
    """It cuts inside a file, and is not written where it says nothing."""
    (tmp_path / "a.csv").write_text("q,over\n0,0\n1,1\n2,0\n3,0\n")
    with pytest.warns(UserWarning, match=r"over ends 1 episode inside, the first in line 3"):
        one, two = read_csv(tmp_path, Columns({"q": ["q"]}, last="over"))
    assert one["is_last"].tolist() == [False, True] and not one["is_terminal"].any()
    assert two["q"][:, 0].tolist() == [2, 3] and not two["is_last"].any()
    write_csv(arm(True), tmp_path / "ended")
    assert json.loads((tmp_path / "ended/columns.json").read_text())["last"] is None


@pytest.mark.parametrize("name", ["store", "csv", "lerobot"])
def test_names_of_features_are_kept(name, tmp_path):
    data = arm(True, True, True, named=NAMES)
    WRITERS[name](data, tmp_path / "log")
    found = read_episodes(tmp_path / "log")
    same(found, data)
    assert {k: found.named[k] for k in NAMES} == NAMES
    for part in (found[:1], found.select(["joint"]), *split(found, "episode")):
        assert part.named["joint"] == NAMES["joint"]
    assert "joint" not in found.select(["load"]).named


def test_columns_of_csv_keep_their_names(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.csv").write_text("time,b,a,go\n" + "".join(f"{i},{i},{-i},up\n" for i in range(4)))
    columns = Columns({"pose": ["a", "b"]}, action=["go"], choices=["up", "down"])
    data = read_episodes(log, columns=columns)
    assert data.named == {"pose": ("a", "b"), "action": ("up", "down")}
    write_csv(data, tmp_path / "new")
    with (tmp_path / "new/00000.csv").open() as file:
        assert next(csv.reader(file)) == ["a", "b", "up", "down", "reward", "terminal"]
    same(read_episodes(tmp_path / "new"), data)


def test_a_name_that_two_columns_would_have_is_not_taken(tmp_path):
    for i, named in enumerate(
        [{"joint": ("x", "x")}, {"joint": ("reward", "y")}, {"joint": ("load_0", "y")}]
    ):
        data = arm(True, named=named)
        write_csv(data, tmp_path / f"{i}")
        with (tmp_path / f"{i}" / "00000.csv").open() as file:
            assert next(csv.reader(file))[:3] == ["joint_0", "joint_1", "load_0"]
        same(read_episodes(tmp_path / f"{i}"), data)


def test_a_column_that_is_called_time_cuts_nothing(tmp_path):
    data = arm(True, named={"load": ("time",)}, steps=9)
    write_csv(data, tmp_path / "log")
    same(read_episodes(tmp_path / "log"), data)


def test_names_of_lerobot_in_a_dict(tmp_path):
    write_lerobot(arm(True), tmp_path / "log")
    about = tmp_path / "log/meta/info.json"
    content = json.loads(about.read_text())
    content["features"]["observation.joint"]["names"] = {"motors": ["m1", "m2"]}
    content["features"]["action"]["names"] = ["one"]  # of another size
    about.write_text(json.dumps(content))
    found = read_episodes(tmp_path / "log")
    assert found.named == {"joint": ("m1", "m2")}
