"""All formats: what is written is read again, nothing is written over, and damage is named."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import LOSS, recording, same

from worldmodels.data import (
    READERS,
    Columns,
    DataError,
    Episodes,
    make_episode,
    read_episodes,
    read_lerobot,
    read_minari,
    read_npz,
    read_store,
    write_csv,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)

FORMATS = {
    "store": (write_store, read_store),
    "npz": (write_npz, read_npz),
    "minari": (write_minari, read_minari),
    "lerobot": (write_lerobot, read_lerobot),
}


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


@pytest.mark.parametrize("name", FORMATS)
def test_a_rate_is_kept(name, tmp_path):
    write, read = FORMATS[name]
    data = Episodes(list(recording()), rate=12.5)
    write(data, tmp_path / "log")
    assert read(tmp_path / "log").rate == 12.5
    if name == "npz":
        assert read(tmp_path / "log", rate=3.0).rate == 3.0, "what is given comes first"


def test_npz_without_a_rate_and_with_one_that_is_none(tmp_path):
    write_npz(Episodes(list(recording())), tmp_path / "log")
    assert read_npz(tmp_path / "log").rate is None
    for text in ('{"rate": 0}', '{"rate": "fast"}', '{"rate": NaN}', '{"rate": true}', "[]", "{"):
        (tmp_path / "log" / "rate.json").write_text(text)
        with pytest.raises(DataError, match=r"rate\.json: expected .*rows a second, above 0"):
            read_npz(tmp_path / "log")
        assert read_npz(tmp_path / "log", rate=2.0).rate == 2.0
    (tmp_path / "log" / "rate.json").unlink()
    (tmp_path / "rate.json").write_text('{"rate": 5}')
    (tmp_path / "log" / "rate.json").symlink_to(tmp_path / "rate.json")
    with pytest.raises(DataError, match="out of the folder"):
        read_npz(tmp_path / "log")


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
    """Each file in turn is cut in half, emptied, or filled with noise: an error of ours, or the
    same data.
    """
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
        # the two are not read
        assert caught == 3 or path.name in ("stats.json", "tasks.parquet"), path
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
        "import sys, time, pathlib, numpy as np; from worldmodels.data import Episodes, "
        "make_episode, write_npz\n"
        "class Slow(Episodes):\n"
        "    def __iter__(self):\n"
        "        for e in list(super().__iter__()):\n"
        "            yield e; time.sleep(0.02)\n"
        "data = Slow([make_episode('e', {'x': np.zeros(9)})] * 500)\n"
        "print([m for m in ('h5py', 'pyarrow', 'av', 'scipy') if m in sys.modules], flush=True)\n"
        "write_npz(data, pathlib.Path(sys.argv[1]))"
    )
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as writer:
        # the extra's packages are imported where they are needed
        assert writer.stdout.readline() == b"[]\n"
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
    """Discrete actions, discounts, several episodes in a file, ends without a last observation's
    row.
    """
    folder = npz(
        tmp_path / "a",
        obs=np.arange(6.0),
        action=np.array([0, 1, 0, 2, 0, 0]),
        is_first=np.array([1, 0, 0, 1, 0, 0]),
        is_last=np.array([0, 0, 1, 0, 0, 0]),
        discount=np.array([1, 1, 0, 1, 1, 1.0]),
    )
    npz(
        folder,
        obs=np.arange(3.0),
        action=np.array([1, 1]),
        terminated=np.array([False, True]),
        truncated=np.zeros(2, bool),
    )
    one, two, three = read_npz(folder, rate=5.0)
    assert one["obs"][:, 0].tolist() == [0, 1, 2] and two["obs"][:, 0].tolist() == [3, 4, 5]
    assert one["is_terminal"].tolist() == one["is_last"].tolist() == [0, 0, 1] and two[
        "is_first"
    ].tolist() == [1, 0, 0]
    assert not two["is_last"].any() and not two["is_terminal"].any()  # the file was cut there
    assert one["action"].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]] and three[
        "action"
    ].tolist() == [
        [0, 1, 0],
        [0, 1, 0],
        [0, 0, 0],
    ]
    assert three["is_terminal"].tolist() == [0, 0, 1]
    assert [one.name, two.name, three.name] == ["000.npz#0", "000.npz#1", "001.npz"]


def led(steps=7):
    """A file of DreamerV1 or V2: ``x_t = x_{t-1} + action[t]``, and no action in row 0."""
    action = np.random.default_rng(0).normal(size=(steps, 2)).astype(np.float32)
    action[0] = 0
    return {"x": action.cumsum(0), "action": action, "reward": np.zeros(steps)}


def test_npz_of_dreamer_v1_and_v2_have_actions_that_led_to_their_row(tmp_path):
    goes = np.array([1, 1, 1, 1, 1, 1, 0.0])
    npz(tmp_path / "a", **led(), discount=goes)
    with pytest.warns(UserWarning, match=r"000\.npz, key discount: .* what led to its row"):
        (one,) = read_npz(tmp_path / "a")
    np.testing.assert_allclose(one["action"][:-1], np.diff(one["x"], axis=0), rtol=1e-5, atol=1e-6)
    assert not one["action"][-1].any() and one["is_terminal"].tolist() == [0] * 6 + [1]
    write_npz(Episodes([one]), tmp_path / "ours")  # DreamerV3's form: not moved again
    same(read_npz(tmp_path / "ours"), Episodes([one]))
    # two episodes in a file, and actions by number
    npz(tmp_path / "b", x=np.arange(4.0), action=np.array([0, 2, 0, 1]), discount=[1, 0, 1, 0.5])
    one, two = read_npz(tmp_path / "b")
    assert one["action"].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert two["action"].tolist() == [[0, 1, 0], [0, 0, 0]] and not two["is_terminal"].any()


def test_npz_with_a_discount_of_another_form_stay(tmp_path):
    """An action in row 0 cannot have led to it; actions between rows are known."""
    found = led()
    npz(tmp_path / "a", x=found["x"], action=found["action"] + 1, discount=np.ones(7))
    npz(tmp_path / "a", x=found["x"], action=found["action"][1:], discount=np.ones(6))
    with pytest.warns(UserWarning, match=r"000\.npz, key discount \(and 1 file more\): .* after"):
        one, two = read_npz(tmp_path / "a")
    np.testing.assert_array_equal(one["action"], found["action"] + 1)
    np.testing.assert_array_equal(two["action"][:-1], found["action"][1:])
    named = make_episode("e", {"discount": np.ones(3)})
    with pytest.raises(DataError, match=r"would be read with \['discount'\] as ends"):
        write_npz(Episodes([named]), tmp_path / "log")


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (dict(action=np.zeros((3, 1))), "expected observations beside .'action'., found none"),
        (dict(x=np.zeros(3), y=np.zeros(4)), "one length"),
        (dict(x=np.array(["a", "b"])), "key x: expected an array of numbers"),
        (
            dict(x=np.zeros(3), is_last=np.zeros(2)),
            "key is_last: expected 3 rows beside 3 observations, got 2",
        ),
        (
            dict(x=np.zeros(3), is_first=np.array(["a"] * 3)),
            "key is_first: expected one flag a row",
        ),
        (dict(x=np.array([{}, {}], dtype=object)), "allow_pickle=False"),
    ],
)
def test_npz_that_does_not_fit_is_named(arrays, text, tmp_path):
    with pytest.raises(DataError, match=rf"000\.npz.*{text}"):
        read_npz(npz(tmp_path / "a", **arrays))


@pytest.mark.parametrize("name", FORMATS)
def test_the_form_of_a_folder_is_found(name, tmp_path):
    data = recording()
    FORMATS[name][0](data, tmp_path / "log")
    same(read_episodes(str(tmp_path / "log")), data, LOSS)
    assert read_episodes(tmp_path / "log", format=name, keys=["touch"]).observations == ["touch"]
    with pytest.raises(DataError, match="q"):
        read_episodes(tmp_path / "log", keys=["q"])
    for other in FORMATS.keys() - {name}:
        with pytest.raises(DataError, match="log"):
            read_episodes(tmp_path / "log", format=other)


def test_csv_files_need_a_map(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    for path in (tmp_path, tmp_path / "a.csv"):
        with pytest.raises(DataError, match=r"need a column map: .*columns\.json"):
            read_episodes(path)
        assert read_episodes(path, columns=Columns({"x": ["y"]}))[0]["x"].tolist() == [[2], [4]]
    (tmp_path / "columns.json").write_text(json.dumps({"observations": {"p": ["x", "y"]}}))
    assert (
        read_episodes(tmp_path)[0]["p"].tolist()
        == read_episodes(tmp_path / "a.csv")[0]["p"].tolist()
        == [[1, 2], [3, 4]]
    )


@pytest.mark.parametrize(
    ("name", "package"), [("minari", "h5py"), ("lerobot", "pyarrow"), ("lerobot", "av")]
)
def test_a_missing_package_is_named(name, package, tmp_path, monkeypatch):
    FORMATS[name][0](recording(), tmp_path / "log")
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    for call in (
        lambda: FORMATS[name][1](tmp_path / "log"),
        lambda: FORMATS[name][0](recording(), tmp_path / "new"),
    ):
        with pytest.raises(
            DataError,
            match=f"needs the package {package}, which is not installed: pip install {package}",
        ):
            call()
    assert not (tmp_path / "new").exists()


def test_what_is_no_data_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path, text in [
        (tmp_path, r"looked for episodes\.json.*LeRobot.*Minari.*there are \['notes.txt'\]"),
        (tmp_path / "notes.txt", r"expected a folder or a \.csv file"),
        (tmp_path / "no", "no such file"),
    ]:
        with pytest.raises(DataError, match=text):
            read_episodes(path)
    with pytest.raises(DataError, match="format must be one of"):
        read_episodes(tmp_path, format="parquet")


@pytest.mark.parametrize("name", [reader.name for reader in READERS])
def test_a_form_that_is_not_there_is_refused_in_one_line(name, tmp_path):
    """Folders without a file of the form that is asked for, and a file of none."""
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other"
    write_npz(recording(image=False), other) if name != "npz" else other.mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path / "empty", other, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=re.escape(str(path))) as caught:
            read_episodes(path, format=name)
        assert "expected" in str(caught.value) or "CSV files need" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_without_csv_files_needs_them_before_a_map(tmp_path):
    write_npz(recording(image=False), tmp_path / "log")
    for columns in (None, Columns({"x": ["y"]})):
        with pytest.raises(DataError, match=r"expected a CSV file, or a folder with \.csv files$"):
            read_episodes(tmp_path / "log", format="csv", columns=columns)


def test_a_bad_value_is_named_or_left_out(tmp_path):
    data = recording(image=False)
    series = {k: np.array(v) for k, v in data[2].series.items()}
    series["state"][4, 1] = np.nan
    for name, (write, _) in FORMATS.items():
        write(Episodes([data[0], type(data[2])("e2", series)], 20.0), tmp_path / name)
        with pytest.raises(
            DataError,
            match=rf"{name}: 1 of 2 episodes has a problem: .*, step 4, key state: .*nan, index .1",
        ):
            read_episodes(tmp_path / name)
        with pytest.warns(UserWarning, match="step 4, key state"):
            same(read_episodes(tmp_path / name, on_bad="drop"), data[:1])


@pytest.mark.parametrize("name", ["npz", "minari", "lerobot"])
def test_a_flipped_bit_is_found(name, tmp_path):
    """Numbers carry checksums in these forms."""
    write, read = FORMATS[name]
    draw, caught, tried = np.random.default_rng(0), 0, 0
    write(recording(image=False), tmp_path / "log")
    for path in sorted(
        p for p in (tmp_path / "log").rglob("*") if p.suffix in (".npz", ".hdf5", ".parquet")
    ):
        content = path.read_bytes()
        for place in draw.integers(len(content), size=40):
            path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
            tried += 1
            try:
                same(read(tmp_path / "log"), recording(image=False))
            except DataError:
                caught += 1
            path.write_bytes(content)
    assert caught > 0.2 * tried  # the others hit what is not read, or names


def test_formats_without_a_place_for_a_value_refuse_it(tmp_path):
    data = recording(image=False)
    part, two = Episodes([data[0].part(2, 5)], 5.0), np.zeros((3, 8, 8, 2), np.uint8)
    for write, log, text in [
        (write_minari, part, "reward of the first row and action of the last row"),
        (write_lerobot, part, "step 0, key reward"),
        (write_minari, Episodes([make_episode("e", {"x": np.zeros(3)})]), "needs actions"),
        (write_lerobot, Episodes([make_episode("e", {"x": two})], 5.0), "1 or 3"),
        (write_lerobot, Episodes([make_episode("e", {"x": np.zeros(3)})]), "give fps="),
    ]:
        with pytest.raises(DataError, match=text):
            write(log, tmp_path / "log")
    assert not any(tmp_path.iterdir())


def test_lerobot_of_other_programs(tmp_path):
    """Several episodes in a file and a video, images in the table, discrete actions, rewards of
    each frame's action.
    """
    write_lerobot(recording(), tmp_path / "log")
    info = json.loads((tmp_path / "log/meta/info.json").read_text())
    assert (
        info["features"]["observation.images.camera"]["dtype"] == "video"
        and info["fps"] == 20
        and info["total_frames"] == 18
    )
    from_file = pq.read_table(tmp_path / "log/data/chunk-000/file-000.parquet")
    png = io.BytesIO()
    with av.open(png, "w", format="image2pipe") as file:
        stream = file.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = 8, 6, "rgb24"
        image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
        for packet in [
            *stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")),
            *stream.encode(),
        ]:
            file.mux(packet)
    camera = pa.array([{"bytes": png.getvalue(), "path": "0.png"}] * 18)
    table = pa.table(
        {
            "observation.images.top": camera,
            "observation.state.q": from_file["observation.state"],
            "observation.note": ["a"] * 18,
            "action": pa.array(np.arange(18) % 4),
            "next.reward": pa.array(np.ones(18, np.float32)),
            "next.success": pa.array(np.arange(18) == 17),
            "episode_index": from_file["episode_index"],
            "frame_index": from_file["frame_index"],
        }
    )
    pq.write_table(table, tmp_path / "log/data/chunk-000/file-000.parquet")
    number = {"dtype": "int64", "shape": [1]}
    info["features"] = {
        "observation.images.top": {"dtype": "image", "shape": [3, 8, 6]},
        "action": number,
        "observation.state.q": {"dtype": "float32", "shape": [4]},
        "observation.note": {"dtype": "string", "shape": [1]},
        "observation.images.camera": info["features"]["observation.images.camera"],
    }
    (tmp_path / "log/meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="episode 0, key note: expected"):
        read_lerobot(tmp_path / "log")
    data = read_lerobot(tmp_path / "log", keys=["top", "state_q", "camera"])
    assert (
        (data[2]["top"] == image).all()
        and data.action_size == 4
        and data[1]["action"].argmax(1).tolist() == [2, 3, 0]
    )
    assert data[1]["reward"].tolist() == [0, 1, 2]  # the last one has no row of its own
    assert [bool(e["is_terminal"][-1]) for e in data] == [False, False, True]
    same(
        read_lerobot(tmp_path / "log", keys=["camera"]).select(["camera"]),
        read_lerobot(tmp_path / "log", keys=["camera"]),
    )


def test_images_are_scaled_while_they_are_read(tmp_path):
    data = recording()
    write_lerobot(data, tmp_path / "log")
    for a, b in zip(read_episodes(tmp_path / "log", image_size=(16, 12)), data):
        means = b["camera"].astype(float).reshape(len(b), 16, 2, 12, 4, 3).mean((2, 4))
        assert (
            a["camera"].shape == (len(b), 16, 12, 3) and np.abs(a["camera"] - means).mean() < LOSS
        )
    write_npz(data, tmp_path / "npz")
    with pytest.raises(DataError, match="image_size is for LeRobot"):
        read_episodes(tmp_path / "npz", image_size=(16, 12))


def place_in(row, start):
    """Say that an episode's frames lie in the first video, from ``start`` seconds on."""
    name = "videos/observation.images.camera"
    row |= {
        f"{name}/file_index": 0,
        f"{name}/from_timestamp": start,
        f"{name}/to_timestamp": start + row["length"] / 20,
    }


def test_lerobot_video_of_several_episodes(tmp_path):
    """An episode's frames begin at from_timestamp."""
    whole = recording().select(["camera"])
    together = make_episode("all", {"camera": np.concatenate([e["camera"] for e in whole])})
    write_lerobot(Episodes([together], 20.0), tmp_path / "one")
    write_lerobot(whole, tmp_path / "log")
    video = "videos/observation.images.camera/chunk-000/file-000.mp4"
    (tmp_path / "log" / video).write_bytes((tmp_path / "one" / video).read_bytes())
    file = tmp_path / "log/meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(file).to_pylist()
    for row, start in zip(table, [0, 6, 9]):
        place_in(row, start / 20)
    pq.write_table(pa.Table.from_pylist(table[::-1]), file)
    same(read_lerobot(tmp_path / "log"), whole, LOSS)
    for start, text in [
        (10 / 20, r"episode 2, key camera, step 8: .*file-000\.mp4 has no such frame \(1 of 9"),
        (
            8 / 20,
            r"key camera: the frames of episode 2 begin at 0.4 s, within those of episode 1, "
            r"which end at 0.45 s",
        ),
        (
            9.01 / 20,
            r"episode 2, key camera, step 0: .* has a frame at 0.45 s, the row is of 0.4505 s",
        ),
    ]:
        place_in(table[2], start)
        pq.write_table(pa.Table.from_pylist(table), file)
        with pytest.raises(DataError, match=text):
            read_lerobot(tmp_path / "log")
    place_in(table[2], 9 / 20)
    table[2] |= {"videos/observation.images.camera/to_timestamp": 17 / 20}
    pq.write_table(pa.Table.from_pylist(table), file)
    with pytest.raises(
        DataError,
        match=r"episode 2, key camera: its video lies from 0.45 to 0.85 s, but its 9 frames",
    ):
        read_lerobot(tmp_path / "log")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.slice(0, 17), "episode 2: expected 9 frames .*found 8"),
        (lambda t: t.drop_columns(["episode_index"]), "lacks the column"),
        (
            lambda t: t.drop_columns(["observation.state"]),
            "episode 0, key state: the file has no column",
        ),
        (
            lambda t: t.take([0, 2, 1, *range(3, 18)]),
            "episode 0, step 1: expected its frames in order, got frame_index 2",
        ),
        (
            lambda t: t.set_column(
                0, "observation.state", pa.array([[1.0] * 4, None, *[[2.0] * 4] * 16])
            ),
            "key state, step 1",
        ),
        (
            lambda t: t.set_column(0, "observation.state", pa.array([[1.0] * 3] * 18)),
            "key state: expected .4. numbers a frame",
        ),
    ],
)
def test_lerobot_that_does_not_fit_is_named(change, text, tmp_path):
    write_lerobot(recording(image=False), tmp_path / "log")
    file = tmp_path / "log/data/chunk-000/file-000.parquet"
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(DataError, match=rf"file-000\.parquet.*{text}"):
        read_lerobot(tmp_path / "log")


def test_an_old_lerobot_is_told_how_to_convert(tmp_path):
    write_lerobot(recording(image=False), tmp_path / "log")
    info = tmp_path / "log/meta/info.json"
    info.write_text(info.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(
        DataError,
        match=r"expected LeRobot's format v3\.0, got v2\.1; "
        r"convert it .*convert_dataset_v21_to_v30",
    ):
        read_episodes(tmp_path / "log")


@pytest.mark.parametrize("discrete", [False, True])
def test_csv_files_are_read_by_the_columns_that_were_written_with_them(discrete, tmp_path):
    data = recording(image=False, discrete=discrete)
    assert write_csv(data, tmp_path / "log") == tmp_path / "log"
    found = read_episodes(tmp_path / "log")
    same(found, data)
    assert found.rate == data.rate
    with pytest.raises(DataError, match="exists and is not empty; nothing was written"):
        write_csv(data, tmp_path / "log")
    with pytest.raises(DataError, match="are images"):
        write_csv(recording(), tmp_path / "other")
    assert not (tmp_path / "other").exists()
