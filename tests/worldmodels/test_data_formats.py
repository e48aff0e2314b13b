"""All formats: what is written is read again, nothing is written over, and damage is named."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from worldmodels.data import (
    DataError,
    Episodes,
    make_episode,
    read_lerobot,
    read_minari,
    read_npz,
    read_store,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)

FORMATS = {
    "store": (write_store, read_store), "npz": (write_npz, read_npz), "minari": (write_minari, read_minari),
    "lerobot": (write_lerobot, read_lerobot),
}


LOSS = 2.0  # grey levels of 255, on average, that a video may lose


def recording(seed=0, image=True, discrete=False):
    """Three ragged episodes; the second ends in a terminal state."""
    draw = np.random.default_rng(seed)
    found = []
    for i, steps in enumerate([6, 3, 9]):
        seen = {"state": draw.normal(size=(steps, 4)), "touch": draw.normal(size=steps)}
        if image:
            rows, columns = np.mgrid[:32, :48]
            waves = [128 + 100 * np.sin((rows + 2 * columns) / 9 + t / 3 + i) for t in range(steps)]
            seen["camera"] = np.stack([np.stack([w, 255 - w, w / 2], -1) for w in waves]).astype(np.uint8)
        action = draw.integers(0, 3, steps - 1) if discrete else draw.normal(size=(steps - 1, 2))
        reward, actions = draw.normal(size=steps - 1), 3 if discrete else None
        found.append(make_episode(f"e{i}", seen, action, reward, terminal=i == 1, actions=actions))
    return Episodes(found, rate=20.0, source="made")


def same(found, data, tolerance=0):
    """Keys, types and values are equal; images within ``tolerance`` grey levels on average."""
    assert found.schema == data.schema and len(found) == len(data)
    for a, b in zip(found, data):
        for key in data.schema:
            if tolerance and a[key].dtype == np.uint8:
                assert np.abs(a[key].astype(float) - b[key]).mean() < tolerance
            else:
                np.testing.assert_array_equal(a[key], b[key], err_msg=f"{a.name} {key}")


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read(name, discrete, tmp_path):
    write, read = FORMATS[name]
    data = recording(discrete=discrete)
    assert write(data, tmp_path / "new" / "log") == tmp_path / "new" / "log"
    same(read(tmp_path / "new" / "log"), data, LOSS if name == "lerobot" else 0)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["log"]


@pytest.mark.parametrize("name", ["store", "npz"])
def test_parts_stay_parts(name, tmp_path):
    write, read = FORMATS[name]
    data = recording(image=False)
    parts = Episodes([data[0].part(1, 4), data[2].part(4, 9)])
    write(parts, tmp_path / "log")
    same(read(tmp_path / "log"), parts)


def test_a_store_is_not_read_into_memory(tmp_path):
    write_store(recording(), tmp_path / "log")
    data = read_store(tmp_path / "log")
    assert isinstance(data[1]["camera"], np.memmap) and data.rate == 20.0 and [e.name for e in data] == ["e0", "e1", "e2"]
    with pytest.raises(ValueError, match="read-only"):
        data[0]["state"][0] = 0


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_written_over(name, tmp_path):
    write, read = FORMATS[name]
    write(recording(), tmp_path / "log")
    before = {p: p.read_bytes() for p in (tmp_path / "log").rglob("*") if p.is_file()}
    for there in (tmp_path / "log", next(iter(before))):
        with pytest.raises(DataError, match="exists and is not empty; nothing was written"):
            write(recording(1), there)
    assert {p: p.read_bytes() for p in (tmp_path / "log").rglob("*") if p.is_file()} == before
    (tmp_path / "empty").mkdir()
    write(recording(), tmp_path / "empty")
    same(read(tmp_path / "empty"), recording(), LOSS)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_folder_is_named(name, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=f"{folder}"):
            FORMATS[name][1](folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_named(name, tmp_path):
    """Each file in turn is cut in half, emptied, or filled with noise: an error of ours, or the same data."""
    write, read = FORMATS[name]
    data = recording()
    write(data, tmp_path / "log")
    for path in sorted(p for p in (tmp_path / "log").rglob("*") if p.is_file()):
        content, caught = path.read_bytes(), 0
        for damage in (content[: len(content) // 2], b"", bytes(reversed(content))):
            path.write_bytes(damage)
            try:
                same(read(tmp_path / "log"), data, LOSS)
            except DataError as error:
                caught += str(tmp_path) in str(error)
        assert caught == 3 or path.name in ("stats.json", "tasks.parquet"), path  # the two are not read
        path.write_bytes(content)
    same(read(tmp_path / "log"), data, LOSS)


def test_a_failed_writer_leaves_nothing(tmp_path):
    class Breaks(Episodes):
        def __iter__(self):
            yield self[0]
            if any(tmp_path.iterdir()):  # it is being written
                raise OSError(28, "No space left on device")
            yield from self[1:]

    data = Breaks(list(recording()), rate=20.0)
    for write, _ in FORMATS.values():
        with pytest.raises(DataError, match=r"cannot write .*log: No space left on device"):
            write(data, tmp_path / "log")
        assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_folder_of_that_name(tmp_path):
    code = (
        "import sys, time, pathlib, numpy as np; from worldmodels.data import Episodes, make_episode, write_npz\n"
        "class Slow(Episodes):\n"
        "    def __iter__(self):\n"
        "        for e in list(super().__iter__()):\n"
        "            yield e; time.sleep(0.02)\n"
        "data = Slow([make_episode('e', {'x': np.zeros(9)})] * 500)\n"
        "print('go', flush=True); write_npz(data, pathlib.Path(sys.argv[1]))"
    )
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE, cwd=os.getcwd()) as writer:
        assert writer.stdout.readline() == b"go\n"
        waited = time.monotonic() + 20
        while not any(tmp_path.rglob("00003.npz")) and time.monotonic() < waited:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
    assert not log.exists() and any(tmp_path.iterdir())
    write_npz(recording(), log)
    assert [p.name for p in tmp_path.iterdir()] == ["log"]
    same(read_npz(log), recording())


def npz(folder, **arrays):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{len(list(folder.iterdir())):03d}.npz", **arrays)
    return folder


def test_npz_of_other_programs(tmp_path):
    """Discrete actions, discounts, several episodes in a file, ends without a last observation's row."""
    folder = npz(
        tmp_path / "a", obs=np.arange(6.0), action=np.array([0, 1, 0, 2, 0, 0]), is_first=np.array([1, 0, 0, 1, 0, 0]),
        is_last=np.array([0, 0, 1, 0, 0, 0]), discount=np.array([1, 1, 0, 1, 1, 1.0]),
    )
    npz(folder, obs=np.arange(3.0), action=np.array([1, 1]), terminated=np.array([False, True]), truncated=np.zeros(2, bool))
    one, two, three = read_npz(folder, rate=5.0)
    assert one["obs"][:, 0].tolist() == [0, 1, 2] and two["obs"][:, 0].tolist() == [3, 4, 5]
    assert one["is_terminal"].tolist() == one["is_last"].tolist() == [0, 0, 1] and two["is_first"].tolist() == [1, 0, 0]
    assert not two["is_last"].any() and not two["is_terminal"].any()  # the file was cut there
    assert one["action"].shape == (3, 3) and three["action"].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert three["is_terminal"].tolist() == [0, 0, 1]
    assert [one.name, two.name, three.name] == ["000.npz#0", "000.npz#1", "001.npz"]


@pytest.mark.parametrize(("arrays", "text"), [
    (dict(action=np.zeros((3, 1))), "expected observations beside .'action'., found none"),
    (dict(x=np.zeros(3), y=np.zeros(4)), "one length"), (dict(x=np.array(["a", "b"])), "key x: expected an array of numbers"),
    (dict(x=np.zeros(3), is_last=np.zeros(2)), "key is_last: expected 3 rows beside 3 observations, got 2"),
    (dict(x=np.zeros(3), is_first=np.array(["a"] * 3)), "key is_first: expected one flag a row"),
    (dict(x=np.array([{}, {}], dtype=object)), "allow_pickle=False"),
])
def test_npz_that_does_not_fit_is_named(arrays, text, tmp_path):
    with pytest.raises(DataError, match=rf"000\.npz.*{text}"):
        read_npz(npz(tmp_path / "a", **arrays))


def test_a_store_with_a_missing_key_or_of_another_version_is_named(tmp_path):
    write_store(recording(image=False), tmp_path / "log")
    index = json.loads((tmp_path / "log" / "episodes.json").read_text())
    for change, text in [
        ({"format": 9}, "its format is 9, this version reads 1"), ({"keys": ["state", "is_first"]}, "lacks the keys"),
        ({"episodes": [["e0", 5]]}, "expected 5 rows in each file"), ({"keys": [*index["keys"], "q"]}, "q.npy"),
    ]:
        (tmp_path / "log" / "episodes.json").write_text(json.dumps({**index, **change}))
        with pytest.raises(DataError, match=text):
            read_store(tmp_path / "log")
