"""Flags of all forms: a value that is neither 0 nor 1 is named, and becomes no end."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from worldmodels.data import (
    Columns,
    DataError,
    Episodes,
    from_tensordict,
    make_episode,
    pad,
    read_csv,
    read_episodes,
    to_tensordict,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)

ODD = [float("nan"), float("inf"), -1.0, 0.0001, 2.0]


def arm(steps=6):
    x = np.arange(steps)[:, None] + np.zeros(2)
    return Episodes([make_episode("e", {"q": x}, np.ones((steps - 1, 1)))], 10.0)


def flags(odd, steps=6):
    found = np.zeros(steps)
    found[2] = odd
    return found


@pytest.mark.parametrize("odd", ODD)
def test_a_flag_of_csv(odd, tmp_path):
    text = "q,done\n" + "".join(f"{i},{v}\n" for i, v in enumerate(flags(odd)))
    (tmp_path / "a.csv").write_text(text)
    columns = Columns({"q": ["q"]}, terminal="done")
    with pytest.raises(DataError, match=rf"a\.csv, line 4, column done: expected a flag.* {odd};"):
        read_csv(tmp_path / "a.csv", columns)
    (tmp_path / "a.csv").write_text("q,done\n1,False\n2,0\n3,1.0\n")
    assert read_csv(tmp_path / "a.csv", columns)[0]["is_terminal"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["is_first", "is_last", "is_terminal", "terminated", "truncated"])
def test_a_flag_of_npz(key, odd, tmp_path):
    np.savez(tmp_path / "a.npz", q=np.zeros(6), **{key: flags(odd)})
    with pytest.raises(DataError, match=rf"a\.npz, step 2, key {key}: expected a flag, 0 or 1"):
        read_episodes(tmp_path)


@pytest.mark.parametrize("odd", [float("nan"), -1.0, 1.5])
def test_a_discount_of_npz(odd, tmp_path):
    np.savez(tmp_path / "a.npz", q=np.zeros(6), discount=flags(odd))
    with pytest.raises(DataError, match=r"a\.npz, step 2, key discount: expected 0 to 1, got"):
        read_episodes(tmp_path)


@pytest.mark.parametrize("key", ["terminals", "timeouts", "dones"])
def test_a_flag_of_d4rl(key, tmp_path):
    about = {"observations": np.zeros((6, 1)), "actions": np.zeros((6, 1)), key: flags(np.nan)}
    np.savez(tmp_path / "a.npz", **about)
    with pytest.raises(DataError, match=rf"a\.npz, step 2, key {key}: expected a flag, 0 or 1"):
        read_episodes(tmp_path)


@pytest.mark.parametrize("key", ["terminations", "truncations"])
def test_a_flag_of_minari(key, tmp_path):
    write_minari(arm(), tmp_path / "log")
    with h5py.File(tmp_path / "log/data/main_data.hdf5", "a") as file:
        del file[f"episode_0/{key}"]
        file[f"episode_0/{key}"] = flags(np.nan, 5)
    with pytest.raises(DataError, match=rf"episode_0, step 2, key {key}: expected a flag, 0 or 1"):
        read_episodes(tmp_path / "log")


@pytest.mark.parametrize("key", ["done", "truncated", "terminated", "success"])
def test_a_flag_of_lerobot(key, tmp_path):
    write_lerobot(arm(), tmp_path / "log")
    file, about = (
        tmp_path / "log" / f for f in ("data/chunk-000/file-000.parquet", "meta/info.json")
    )
    table, content = pq.read_table(file), json.loads(about.read_text())
    name = f"next.{key}"
    if name in table.column_names:
        table = table.drop([name])
    if key == "success":  # of no use beside next.done
        odd = table.append_column(name, pa.array(flags(np.nan)))
        content["features"][name] = {"dtype": "float32", "shape": [1]}
        about.write_text(json.dumps(content))
        pq.write_table(odd, file)
        assert not read_episodes(tmp_path / "log")[0]["is_terminal"].any()
        table = table.drop(["next.done"])
    pq.write_table(table.append_column(name, pa.array(flags(np.nan))), file)
    content["features"][name] = {"dtype": "float32", "shape": [1]}
    about.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"episode 0, step 2, key {name}: expected a flag, 0 or 1"):
        read_episodes(tmp_path / "log")


def test_a_flag_of_a_store(tmp_path):
    write_store(arm(), tmp_path / "log")
    np.save(tmp_path / "log/is_terminal.npy", flags(np.nan))
    index = json.loads((tmp_path / "log/episodes.json").read_text())
    index["format"] = 1  # without checksums
    (tmp_path / "log/episodes.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"is_terminal\.npy holds float64, not one bool a row"):
        read_episodes(tmp_path / "log")


@pytest.mark.parametrize("key", ["done", "terminated", "truncated"])
def test_a_flag_of_a_tensordict(key):
    pytest.importorskip("tensordict")
    found = to_tensordict(pad(arm()))
    found["next", key] = torch.from_numpy(flags(np.nan, 5)).reshape(1, 5, 1)
    with pytest.raises(DataError, match=rf"step 2, key next\.{key}: expected a flag, 0 or 1"):
        from_tensordict(found)


def test_flags_of_whole_numbers_are_read(tmp_path):
    write_npz(arm(), tmp_path / "log")
    with np.load(tmp_path / "log/00000.npz") as file:
        series = dict(file)
    series["is_terminal"] = np.array([0, 0, 0, 0, 0, 1])
    np.savez(tmp_path / "log/00000.npz", **series)
    assert read_episodes(tmp_path / "log")[0]["is_terminal"].tolist() == [0, 0, 0, 0, 0, 1]
