"""Hostile files and names: nothing is executed, nothing outside of the given folder is read, each
is refused in one line.
"""

import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldmodels.data import (
    DataError,
    Episodes,
    make_episode,
    read_episodes,
    write_csv,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)

SECRET = 4321.0
"""What the file outside holds."""


class Bomb:
    """Leaves a marker where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def log(rows=5, value=1.0, image=False):
    """A small data set; ``value`` tells whose it is."""
    seen = {"state": np.full((rows, 2), value)}
    if image:
        seen["camera"] = np.zeros((rows, 16, 16, 3), np.uint8)
    return Episodes(
        [make_episode("e", seen, np.ones((rows - 1, 1)), np.ones(rows - 1))] * 2, rate=10.0
    )


def replaced(file, other):
    """A symbolic link in the place of a file."""
    file.unlink()
    file.symlink_to(other)


def objects(folder, marker):
    """A pickle among the arrays."""
    found = np.empty(3, dtype=object)
    found[:] = [Bomb(marker)] * 3
    return found


def npz_of_objects(folder, outside, marker):
    folder.mkdir()
    np.savez(folder / "a.npz", x=objects(folder, marker))


def npz_that_is_a_pickle(folder, outside, marker):
    folder.mkdir()
    (folder / "a.npz").write_bytes(pickle.dumps(Bomb(marker)))


def npz_with_a_pickle_as_an_entry(folder, outside, marker):
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.npz", "w") as file:
        file.writestr("x.npy", pickle.dumps(Bomb(marker)))


def npz_header_of_code(folder, outside, marker):
    folder.mkdir()
    text = f"__import__('pathlib').Path({str(marker)!r}).touch()".encode().ljust(117) + b"\n"
    with zipfile.ZipFile(folder / "a.npz", "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


def npz_of_a_false_size(folder, outside, marker):
    folder.mkdir()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 55,)}
    )
    with zipfile.ZipFile(folder / "a.npz", "w") as file:
        file.writestr("x.npy", header.getvalue() + bytes(16))


def npz_link(folder, outside, marker):
    folder.mkdir()
    (folder / "a.npz").symlink_to(outside / "npz" / "00000.npz")


def npz_pipe(folder, outside, marker):
    folder.mkdir()
    os.mkfifo(folder / "a.npz")


def npz_folder(folder, outside, marker):
    (folder / "a.npz").mkdir(parents=True)


def npz_names_of_control(folder, outside, marker):
    folder.mkdir()
    np.savez(folder / "a.npz", **{"x\n\x1b[2Jy": np.zeros(3), "x\n\x1b[2Jz": np.array(["a"] * 3)})


def store_link(folder, outside, marker):
    write_store(log(), folder)
    replaced(folder / "state.npy", outside / "store" / "state.npy")


def store_of_objects(folder, outside, marker):
    write_store(log(), folder)
    np.save(folder / "state.npy", objects(folder, marker))


def store_key_of_a_path(folder, outside, marker):
    write_store(log(), folder)
    index = json.loads((folder / "episodes.json").read_text())
    index = {k: v for k, v in index.items() if k not in ("crc32", "kinds", "index_crc32")} | {
        "format": 1
    }
    index["keys"].append("../out/store/state")
    (folder / "episodes.json").write_text(json.dumps(index))


def store_index_of_depth(folder, outside, marker):
    write_store(log(), folder)
    (folder / "episodes.json").write_text("[" * 100_000)


def csv_link(folder, outside, marker):
    write_csv(log(), folder)
    replaced(folder / "00000.csv", outside / "csv" / "00000.csv")


def csv_map_link(folder, outside, marker):
    write_csv(log(), folder)
    replaced(folder / "columns.json", outside / "csv" / "columns.json")


def csv_map_with_yaml_tags(folder, outside, marker):
    write_csv(log(), folder)
    (folder / "columns.json").write_text(f"!!python/object/apply:os.system ['touch {marker}']")


def hdf5(folder, change):
    write_minari(log(), folder)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        group = file["episode_0/observations"]
        del group["state"]
        change(group)


def hdf5_external_link(folder, outside, marker):
    target = outside / "minari" / "data" / "main_data.hdf5"
    hdf5(
        folder,
        lambda g: g.__setitem__(
            "state", h5py.ExternalLink(str(target), "episode_0/observations/state")
        ),
    )


def hdf5_external_storage(folder, outside, marker):
    hdf5(
        folder,
        lambda g: g.create_dataset(
            "state", (5, 2), "f4", external=[(str(outside / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
        ),
    )


def hdf5_virtual(folder, outside, marker):
    layout = h5py.VirtualLayout(shape=(5, 2), dtype="f4")
    layout[:] = h5py.VirtualSource(
        str(outside / "minari/data/main_data.hdf5"), "episode_0/observations/state", shape=(5, 2)
    )
    hdf5(folder, lambda g: g.create_virtual_dataset("state", layout))


def hdf5_circle(folder, outside, marker):
    hdf5(folder, lambda g: g.__setitem__("state", g))


def hdf5_link(folder, outside, marker):
    write_minari(log(), folder)
    replaced(folder / "data" / "main_data.hdf5", outside / "minari" / "data" / "main_data.hdf5")


def lerobot(folder, **info):
    write_lerobot(log(image="video_path" in info), folder)
    file = folder / "meta" / "info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **info}))


def lerobot_path_above(folder, outside, marker):
    lerobot(
        folder,
        data_path="../out/lerobot/data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    )


def lerobot_absolute_path(folder, outside, marker):
    lerobot(
        folder,
        data_path=str(
            outside / "lerobot/data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        ),
    )


def lerobot_path_of_attributes(folder, outside, marker):
    lerobot(folder, data_path="{chunk_index.__class__.__mro__}/{file_index:999999999d}.parquet")


def lerobot_video_above(folder, outside, marker):
    lerobot(
        folder,
        video_path="../out/lerobot/videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )


def lerobot_video_key_of_a_path(folder, outside, marker):
    lerobot(
        folder, video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    )
    info = json.loads((folder / "meta/info.json").read_text())
    key = "observation.images./../../../out/lerobot/videos/observation.images.camera"
    info["features"][key] = info["features"].pop("observation.images.camera")
    (folder / "meta/info.json").write_text(json.dumps(info))
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    rows = [
        {k.replace("observation.images.camera", key): v for k, v in row.items()} for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/file-000.parquet")


def lerobot_place_of_text(folder, outside, marker):
    lerobot(folder)
    file = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = [
        {**r, "data/chunk_index": "../../../out/lerobot/data/chunk-000"}
        for r in pq.read_table(file).to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows), file)


def lerobot_linked_folder(folder, outside, marker):
    lerobot(folder)
    os.rename(folder / "meta" / "episodes", folder / "meta" / "gone")
    (folder / "meta" / "episodes").symlink_to(outside / "lerobot" / "meta" / "episodes")


def lerobot_video_that_is_a_playlist(folder, outside, marker):
    lerobot(
        folder, video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    )
    film = outside / "lerobot/videos/observation.images.camera/chunk-000/file-000.mp4"
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n"
    (folder / "videos/observation.images.camera/chunk-000/file-000.mp4").write_text(text)


def lerobot_images_of(folder, cell):
    lerobot(folder)
    file = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(
        table.append_column("observation.images.top", pa.array([cell] * len(table))), file
    )
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["observation.images.top"] = {"dtype": "image", "shape": [16, 16, 3]}
    (folder / "meta/info.json").write_text(json.dumps(info))


def lerobot_image_elsewhere(folder, outside, marker):
    lerobot_images_of(
        folder, {"bytes": None, "path": str(outside / "lerobot/videos/observation.images.camera")}
    )


def lerobot_image_that_is_a_list(folder, outside, marker):
    lerobot_images_of(
        folder,
        {"bytes": f"ffconcat version 1.0\nfile {outside / 'raw.bin'}\n".encode(), "path": "a.png"},
    )


def lerobot_extension_type_of_a_pickle(folder, outside, marker):
    lerobot(folder)
    file = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    about = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Bomb(marker)),
    }
    i = table.column_names.index("observation.state")
    field = pa.field("observation.state", table.schema.field(i).type, metadata=about)
    pq.write_table(
        table.set_column(i, field, table["observation.state"]).take(
            [0, 2, 1, *range(3, len(table))]
        ),
        file,
    )


HOSTILE = [
    npz_of_objects,
    npz_that_is_a_pickle,
    npz_with_a_pickle_as_an_entry,
    npz_header_of_code,
    npz_of_a_false_size,
    npz_link,
    npz_pipe,
    npz_folder,
    npz_names_of_control,
    store_link,
    store_of_objects,
    store_key_of_a_path,
    store_index_of_depth,
    csv_link,
    csv_map_link,
    csv_map_with_yaml_tags,
    hdf5_external_link,
    hdf5_external_storage,
    hdf5_virtual,
    hdf5_circle,
    hdf5_link,
    lerobot_path_above,
    lerobot_absolute_path,
    lerobot_path_of_attributes,
    lerobot_video_above,
    lerobot_video_key_of_a_path,
    lerobot_place_of_text,
    lerobot_linked_folder,
    lerobot_video_that_is_a_playlist,
    lerobot_image_elsewhere,
    lerobot_image_that_is_a_list,
    lerobot_extension_type_of_a_pickle,
]


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Data sets in all forms, beside the folder that is given."""
    folder = tmp_path_factory.mktemp("base") / "out"
    for name, write in (
        ("npz", write_npz),
        ("store", write_store),
        ("csv", write_csv),
        ("minari", write_minari),
    ):
        write(log(value=SECRET), folder / name)
    write_lerobot(log(value=SECRET, image=True), folder / "lerobot")
    (folder / "raw.bin").write_bytes(np.full(10, SECRET, "f4").tobytes())
    return folder


@pytest.mark.parametrize("make", HOSTILE, ids=lambda f: f.__name__)
def test_a_hostile_file_is_refused_in_one_line(make, outside, monkeypatch):
    base = outside.parent
    folder, marker = base / make.__name__, base / f"{make.__name__}.marker"
    make(folder, outside, marker)
    opened = []
    real = io.open
    monkeypatch.setattr(
        io, "open", lambda file, *a, **k: (opened.append(str(file)), real(file, *a, **k))[1]
    )
    with pytest.raises(DataError) as error:
        read_episodes(folder)
    text = str(error.value)
    assert (
        (str(folder) in text or "episode a.npz" in text) and "\n" not in text and text.isprintable()
    )
    assert not marker.exists(), "code of the file ran"
    assert not [f for f in opened if f.startswith(str(outside))] and str(SECRET) not in text


def test_the_outside_is_read_where_it_is_asked_for(outside):
    """The files that the hostile ones point to are fine: what refuses them is where they are."""
    for name in ("npz", "store", "csv", "minari"):
        assert read_episodes(outside / name)[0]["state"][0, 0] == SECRET
    assert read_episodes(outside / "lerobot", keys=["state"])[0]["state"][0, 0] == SECRET


def test_a_folder_that_is_a_link_itself_is_read(outside, tmp_path):
    (tmp_path / "mine").symlink_to(outside / "npz")
    assert len(read_episodes(tmp_path / "mine")) == 2


def test_there_are_twenty_and_more():
    assert len(HOSTILE) >= 20 and all(
        re.match("npz|store|csv|hdf5|lerobot", f.__name__) for f in HOSTILE
    )
