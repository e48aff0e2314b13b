"""What is in a file is taken for what it is: numbers, classes, ends, gaps, names, encodings,
images; and it is said.
"""

import io
import json
import warnings

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from pixyz.types import PixyzError
from worldmodels import MRSSM, RSSM, MRSSMConfig, RSSMConfig
from worldmodels.data import (
    Columns,
    DataError,
    Episodes,
    make_episode,
    read_csv,
    read_episodes,
    read_lerobot,
    read_minari,
    read_npz,
    write_csv,
    write_lerobot,
    write_minari,
    write_npz,
    write_store,
)
from worldmodels.data.names import taken, variable

SMALL = RSSMConfig(
    latent="gaussian", core="gru", deter=8, hidden=8, groups=3, units=8, bins=11, depth=1
)


def csv(folder, text, name="log.csv", **columns):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return read_csv(folder, Columns(**{"observations": {"x": ["x"]}, **columns}))


def rows(actions):
    return "x,u\n" + "".join(f"{i / 10},{a}\n" for i, a in enumerate(actions))


# ---------------------------------------------------------------- numbers and classes


def test_a_blank_cell_does_not_make_classes_of_numbers(tmp_path):
    values = [f"{np.sin(i):.4f}" for i in range(60)]
    values[7] = ""
    with pytest.raises(DataError, match=r"log\.csv, line 9, column u: expected a number, got ''"):
        csv(tmp_path / "a", rows(values), action=["u"])
    values[7] = "n/a"
    with pytest.raises(DataError, match=r"line 9, column u: expected a number, got 'n/a'"):
        csv(tmp_path / "a", rows(values), action=["u"])
    with pytest.raises(
        DataError, match=r"expected numbers, or names of at most 32 actions, got 40 texts"
    ):
        csv(tmp_path / "b", rows([f"name{i}" for i in range(40)]), action=["u"])
    with pytest.warns(
        UserWarning,
        match=r"column u: taken as 2 actions \['go', 'stop'\] .*declare them by choices",
    ):
        (e,) = csv(tmp_path / "c", rows(["go", "stop", "go"]), action=["u"])
    assert e["action"].tolist() == [[1, 0], [0, 1], [1, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # declared ones need no word
        csv(tmp_path / "c", rows(["go", "stop", "go"]), action=["u"], choices=["go", "stop"])


def test_true_and_false_are_numbers(tmp_path):
    text = "x,u,end\n1,True,False\n2,false,FALSE\n3,TRUE,True\n"
    (e,) = csv(tmp_path / "a", text, action=["u"], terminal="end")
    assert e["action"][:, 0].tolist() == [1, 0, 1] and e["is_terminal"].tolist() == [0, 0, 1]
    with pytest.raises(DataError, match=r"line 2, column u: expected a number, got '1_000'"):
        csv(tmp_path / "a", rows(["1_000", "2"]), action=["u"])


TICKS = np.array([12, 900, 2049, 1024])


@pytest.mark.parametrize(
    "action", [TICKS, TICKS - 1000, TICKS.astype(np.uint16), TICKS.astype(np.int32)]
)
def test_ticks_of_a_motor_stay_numbers(action, tmp_path):
    with pytest.warns(UserWarning, match="are taken as numbers"):
        e = make_episode("e", {"x": np.zeros(4)}, action)
    np.testing.assert_array_equal(e["action"], action[:, None].astype(np.float32))
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "a.npz", x=np.zeros(4), action=action)
    # one answer for all files
    np.savez(tmp_path / "a" / "b.npz", x=np.zeros(4), action=np.array([1, 0, 1, 0]))
    with pytest.warns(
        UserWarning, match="a, key action: the whole numbers .* are taken as numbers"
    ):
        assert [d["action"].shape for d in read_npz(tmp_path / "a")] == [(4, 1), (4, 1)]


def test_few_and_small_classes_are_said_and_declared_ones_are_not(tmp_path):
    with pytest.warns(UserWarning, match=r"whole numbers 0 to 2 are taken as 3 classes"):
        assert make_episode("e", {"x": np.zeros(3)}, np.array([0, 2, 1]))["action"].shape == (3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_episode("e", {"x": np.zeros(3)}, np.array([0, 2, 1]), actions=50)[
            "action"
        ].shape == (3, 50)
        assert make_episode("e", {"x": np.zeros(3)}, np.array([0, 2, 1]), actions=0)[
            "action"
        ].shape == (3, 1)
    with pytest.raises(DataError, match="step 1, key action: expected 0 to 1, got 2"):
        make_episode("e", {"x": np.zeros(3)}, np.array([0, 2, 1]), actions=2)


def test_ticks_of_minari_and_lerobot(tmp_path):
    data = Episodes([make_episode("e", {"x": np.zeros((5, 2))}, np.ones((4, 1)))], 10.0)
    write_minari(data, tmp_path / "minari")
    about = tmp_path / "minari/data/metadata.json"
    about.write_text(
        json.dumps({k: v for k, v in json.loads(about.read_text()).items() if k != "action_space"})
    )
    with h5py.File(tmp_path / "minari/data/main_data.hdf5", "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions"] = TICKS
    with pytest.warns(UserWarning, match="12 to 2049 are taken as numbers"):
        assert read_minari(tmp_path / "minari")[0]["action"][:, 0].tolist() == [*TICKS, 0]
    change_lerobot(
        tmp_path / "lerobot",
        data,
        {"action": pa.array([[int(t)] for t in [*TICKS, 0]])},
        {"action": {"dtype": "int64", "shape": [1]}},
    )
    with pytest.warns(UserWarning, match="0 to 2049 are taken as numbers"):
        assert read_lerobot(tmp_path / "lerobot")[0]["action"][:, 0].tolist() == [*TICKS, 0]


# ---------------------------------------------------------------- ends and gaps


def test_the_time_of_a_csv_file_jumps(tmp_path):
    times = np.arange(10) * 0.1 + np.where(np.arange(10) > 5, 10, 0) + 0.003 * np.sin(np.arange(10))
    text = "timestamp,x\n" + "".join(f"{t:.4f},{i}\n" for i, t in enumerate(times))
    with pytest.warns(
        UserWarning,
        match=r"log\.csv: timestamp jumps 1 times, the first in line 8 by 10\.\d+ where 0\.\d+ is",
    ):
        one, two = csv(tmp_path / "a", text)
    assert one["x"][:, 0].tolist() == [0, 1, 2, 3, 4, 5] and two["x"][:, 0].tolist() == [6, 7, 8, 9]
    assert (
        [one.name, two.name] == ["log.csv#0", "log.csv#1"]
        and one["is_last"][-1]
        and not one["is_terminal"].any()
    )
    with pytest.warns(UserWarning, match="jumps 1 times"):
        assert len(csv(tmp_path / "a", text.replace("timestamp", "T1"), time="T1")) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for columns in ({"time": ""}, {"gap": 1000.0}):
            assert len(csv(tmp_path / "a", text, **columns)) == 1
        assert (
            len(csv(tmp_path / "b", "time,x\n" + "".join(f"12:00:0{i},{i}\n" for i in range(5))))
            == 1
        )
        # whole seconds of a faster log
        whole = "time,x\n" + "".join(f"{i // 4},{i}\n" for i in range(20))
        assert len(csv(tmp_path / "c", whole)) == 1
        # known ends need no word
        runs = "time,x,run\n" + "".join(f"{i % 5},{i},{i // 5}\n" for i in range(10))
        assert len(csv(tmp_path / "d", runs, episode="run")) == 2
    with pytest.raises(DataError, match="gap is a number of steps above 1, got 0"):
        Columns({"x": ["x"]}, gap=0)


def test_time_that_goes_back_and_ends_inside_a_csv_file(tmp_path):
    text = "time,x,end\n" + "".join(
        f"{t},{i},{int(i == 2)}\n" for i, t in enumerate([0, 1, 2, 3, 4, 0, 1, 2])
    )
    with (
        pytest.warns(
            UserWarning, match=r"end ends 1 episode inside, the first in line 4; cut there"
        ),
        pytest.warns(UserWarning, match=r"time jumps 1 times, the first in line 7 by -4"),
    ):
        found = csv(tmp_path / "a", text, terminal="end")
    assert [len(e) for e in found] == [3, 2, 3] and [bool(e["is_terminal"][-1]) for e in found] == [
        True,
        False,
        False,
    ]


def change_lerobot(folder, data, columns, features=None, **info):
    """A LeRobot data set with other columns."""
    write_lerobot(data, folder)
    file, about = folder / "data/chunk-000/file-000.parquet", folder / "meta/info.json"
    table = pq.read_table(file)
    for name, values in columns.items():
        i = table.column_names.index(name) if name in table.column_names else None
        table = (
            table.append_column(name, values) if i is None else table.set_column(i, name, values)
        )
    pq.write_table(table, file)
    content = json.loads(about.read_text())
    content["features"].update(features or {})
    about.write_text(json.dumps({**content, **info}))
    return folder


def arm(steps=8):
    return Episodes(
        [
            make_episode(
                "e",
                {"q": np.arange(steps)[:, None] + np.zeros(2)},
                np.ones((steps - 1, 1)),
                np.arange(1.0, steps),
            )
        ],
        10.0,
    )


def test_ends_and_jumps_inside_a_lerobot_episode(tmp_path):
    ends, times = np.zeros(8, bool), np.arange(8, dtype=np.float32) / 10
    ends[[2, 7]] = True
    folder = change_lerobot(
        tmp_path / "a",
        arm(),
        {"next.done": pa.array(ends), "next.truncated": pa.array(np.zeros(8, bool))},
    )
    with pytest.warns(
        UserWarning,
        match=r"episode 0, step 2: next.done before the last frame \(1 times\); cut there",
    ):
        one, two = read_lerobot(folder)
    assert one["q"][:, 0].tolist() == [0, 1, 2] and two["q"][:, 0].tolist() == [3, 4, 5, 6, 7]
    # 3 has no row of its own
    assert one["reward"].tolist() == [0, 1, 5] and two["reward"].tolist() == [
        0,
        4,
        5,
        6,
        7,
    ]
    assert one["is_terminal"][-1] and two["is_terminal"][-1] and one["is_last"][-1]
    times[5:] += 10
    folder = change_lerobot(tmp_path / "b", arm(), {"timestamp": pa.array(times)})
    with pytest.warns(
        UserWarning, match="step 5: the timestamp jumps from 0.4 to 10.5 s at 10 frames a second"
    ):
        assert [len(e) for e in read_lerobot(folder)] == [5, 3]
    jitter = times - np.float32(10) * (np.arange(8) >= 5) + np.float32(0.01) * (np.arange(8) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            len(
                read_lerobot(change_lerobot(tmp_path / "c", arm(), {"timestamp": pa.array(jitter)}))
            )
            == 1
        )


# ---------------------------------------------------------------- LeRobot's vectors and images


def test_vectors_of_uneven_length_are_refused(tmp_path):
    # as many numbers as there should be
    uneven = [
        [0.0, 0.0],
        [1.0],
        [2.0, 2.0, 2.0],
        *[[float(i)] * 2 for i in range(3, 8)],
    ]
    folder = change_lerobot(tmp_path / "a", arm(), {"observation.q": pa.array(uneven)})
    with pytest.raises(
        DataError, match=r"key q, step 1: expected vectors of one length, 2 as in step 0, got 1"
    ):
        read_lerobot(folder)
    nested = [[[float(i)], [1.0]] if i != 4 else [[1.0, 2.0], []] for i in range(8)]
    folder = change_lerobot(
        tmp_path / "b",
        arm(),
        {"observation.q": pa.array(nested)},
        {"observation.q": {"dtype": "float32", "shape": [2, 1]}},
    )
    with pytest.raises(DataError, match=r"key q, step 4: expected vectors of one length"):
        read_lerobot(folder)


def test_features_of_one_number_as_lists(tmp_path):
    one = {"dtype": "float32", "shape": [1]}
    lists = {
        k: pa.array([[v] for v in values])
        for k, values in {
            "observation.touch": np.arange(8.0),
            "next.reward": np.arange(8.0),
            "frame_index": np.arange(8),
            "episode_index": np.zeros(8, int),
            "next.done": np.arange(8) == 7,
            "timestamp": np.arange(8) / 10,
            "action": np.arange(8) % 3,
        }.items()
    }
    folder = change_lerobot(
        tmp_path / "a",
        arm(),
        lists,
        {"observation.touch": one, "action": {"dtype": "int64", "shape": [1]}},
    )
    with pytest.warns(UserWarning, match="0 to 2 are taken as 3 classes"):
        (e,) = read_lerobot(folder)
    assert e["touch"].shape == (8, 1) and e["action"].argmax(1).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert e["reward"].tolist() == [0, 0, 1, 2, 3, 4, 5, 13]


def png(image, kind):
    """An image as a PNG file."""
    out = io.BytesIO()
    with av.open(out, "w", format="image2pipe") as file:
        stream = file.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], kind
        for packet in [
            *stream.encode(av.VideoFrame.from_ndarray(image, format=kind)),
            *stream.encode(),
        ]:
            file.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "channels", "shape", "names"),
    [
        ("rgb24", 3, [6, 8, 3], ["height", "width", "channels"]),
        ("rgba", 4, [6, 8, 4], ["height", "width", "channel"]),
        ("gray", 1, [6, 8, 1], None),
        ("gray", 1, [6, 8], ["height", "width"]),
        ("gray", 1, [1, 6, 8], ["channels", "height", "width"]),
        ("rgba", 4, [4, 6, 8], None),
        ("gray16be", 1, [6, 8, 1], None),
    ],
)
def test_images_of_lerobot(kind, channels, shape, names, tmp_path):
    deep, draw = "16" in kind, np.random.default_rng(0)
    image = draw.integers(0, 65536 if deep else 256, (6, 8, channels)).astype(
        np.uint16 if deep else np.uint8
    )
    cell = {"bytes": png(image[..., 0] if channels == 1 else image, kind), "path": "0.png"}
    folder = change_lerobot(
        tmp_path / "a",
        arm(),
        {"observation.images.top": pa.array([cell] * 8)},
        {"observation.images.top": {"dtype": "image", "shape": shape, "names": names}},
    )
    (e,) = read_lerobot(folder)
    assert e["top"].shape == (8, 6, 8, channels)
    if deep:  # no bit is lost
        assert (
            e["top"].dtype == np.float32
            and (np.round(e["top"][3].astype(float) * 65535) == image).all()
        )
    else:
        assert e["top"].dtype == np.uint8 and (e["top"][3] == image).all()


def test_grey_arrays_are_images():
    e = make_episode("e", {"x": np.zeros((3, 16, 8), np.uint8)})
    assert e["x"].shape == (3, 16, 8, 1) and e["x"].dtype == np.uint8


# ---------------------------------------------------------------- npz of other programs


def test_what_keys_leave_out_may_be_anything(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        x=np.zeros((4, 2)),
        note=np.array(["a"] * 4),
        version=3.0,
        action=np.zeros((4, 1)),
    )
    with pytest.raises(DataError, match=r"key note|key version"):
        read_episodes(tmp_path)
    assert read_episodes(tmp_path, keys=["x"]).observations == ["x"]
    with pytest.raises(
        DataError,
        match=r"expected some of the observations \['note', 'version', 'x'\], got \['y'\]",
    ):
        read_episodes(tmp_path, keys=["y"])


def test_d4rl_names(tmp_path):
    """A row is a step: its reward and its end follow its action."""
    series = dict(
        observations=np.arange(6.0)[:, None],
        actions=np.arange(6.0)[:, None] + 0.5,
        rewards=np.arange(6.0) + 1,
        terminals=np.arange(6) == 2,
        timeouts=np.arange(6) == 5,
    )
    np.savez(
        tmp_path / "a.npz",
        **series,
        **{"infos/qpos": np.zeros((6, 3)), "metadata/name": np.array("x")},
    )
    one, two = read_episodes(tmp_path)
    assert one.observations == ["observation"] and one["observation"][:, 0].tolist() == [0, 1, 2]
    assert one["action"][:, 0].tolist() == [0.5, 1.5, 2.5] and one["reward"].tolist() == [0, 1, 5]
    assert two["reward"].tolist() == [0, 4, 11] and one["is_terminal"].tolist() == [0, 0, 1]
    assert two["is_last"].tolist() == [0, 0, 1] and not two["is_terminal"].any()
    np.savez(tmp_path / "a.npz", **series, next_observations=np.arange(6.0)[:, None] + 1)
    one, two = read_episodes(tmp_path)
    assert one["observation"][:, 0].tolist() == [0, 1, 2, 3] and two["observation"][
        :, 0
    ].tolist() == [3, 4, 5, 6]
    assert one["action"][:, 0].tolist() == [0.5, 1.5, 2.5, 0] and two["reward"].tolist() == [
        0,
        4,
        5,
        6,
    ]
    assert one["is_terminal"].tolist() == [0, 0, 0, 1] and two["is_last"].tolist() == [0, 0, 0, 1]
    np.savez(
        tmp_path / "a.npz",
        obs=np.arange(4.0),
        actions=np.zeros((4, 1)),
        dones=np.array([0, 1, 0, 0]),
    )
    one, two = read_episodes(tmp_path)
    assert (
        one["is_terminal"].tolist() == [0, 1]
        and not two["is_last"].any()
        and one.observations == ["obs"]
    )
    np.savez(tmp_path / "a.npz", observations=np.zeros((4, 1)), actions=np.zeros((3, 1)))
    with pytest.raises(DataError, match=r"a\.npz: expected one length .*'actions': 3"):
        read_episodes(tmp_path)


def test_an_episode_without_a_step_is_dropped(tmp_path):
    data = arm()
    for name, write in (
        ("npz", write_npz),
        ("csv", write_csv),
        ("minari", write_minari),
        ("lerobot", write_lerobot),
    ):
        write(Episodes([data[0], data[0], data[0]], 10.0), tmp_path / name)
    np.savez(tmp_path / "npz" / "00001.npz", q=np.zeros((0, 2)), action=np.zeros((0, 1)))
    header = (tmp_path / "csv" / "00001.csv").read_text().split("\n")[0]
    (tmp_path / "csv" / "00001.csv").write_text(header + "\n")
    with h5py.File(tmp_path / "minari/data/main_data.hdf5", "a") as file:
        for key in ("actions", "rewards", "terminations", "truncations", "observations/q"):
            old = file[f"episode_1/{key}"][: 0 if key != "observations/q" else 1]
            del file[f"episode_1/{key}"]
            file[f"episode_1/{key}"] = old
    rows_, table = (
        tmp_path / "lerobot" / part / "chunk-000/file-000.parquet"
        for part in ("meta/episodes", "data")
    )
    whole = pq.read_table(table)
    pq.write_table(pa.concat_tables([whole.slice(0, 8), whole.slice(16)]), table)
    pq.write_table(
        pa.Table.from_pylist(
            [
                {**r, "length": 0 if r["episode_index"] == 1 else 8}
                for r in pq.read_table(rows_).to_pylist()
            ]
        ),
        rows_,
    )
    for name in ("npz", "csv", "minari", "lerobot"):
        with pytest.raises(DataError, match='leave such episodes out with on_bad="drop"') as error:
            read_episodes(tmp_path / name)
        assert "1" in str(error.value)
        with pytest.warns(UserWarning, match="left out"):
            assert len(read_episodes(tmp_path / name, on_bad="drop")) == 2
    with pytest.raises(DataError, match="on_bad must be one of"):
        read_episodes(tmp_path / "npz", on_bad="skip")


# ---------------------------------------------------------------- encodings and endings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ending", ["csv", "CSV", "Csv"])
def test_encodings_and_endings(encoding, ending, tmp_path):
    (tmp_path / f"a.{ending}").write_bytes("größe,x\r\n1,2\r\n3,4\r\n".encode(encoding))
    (tmp_path / "columns.json").write_text(
        json.dumps({"observations": {"size": ["größe"]}}), encoding="utf-8-sig"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error" if encoding != "latin-1" else "ignore")
        for path in (tmp_path, tmp_path / f"a.{ending}"):
            assert read_episodes(path)[0]["size"][:, 0].tolist() == [1, 3]
    if encoding == "latin-1":
        with pytest.warns(UserWarning, match="is not UTF-8, and read as Latin-1"):
            read_episodes(tmp_path)
    (tmp_path / f"a.{ending}").write_bytes("größe,x\r\n1,2\r\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="save it as UTF-8"):
        read_episodes(tmp_path)


# ---------------------------------------------------------------- names


ODD = [
    "mask",
    "beta",
    "keys",
    "type",
    "forward",
    "values",
    "joint.position",
    "observation.images.front",
    "action_prev",
    "deter",
    "stoch",
    "cont",
    "train",
    "items",
    "pop",
    "x_rec",
    "x_log_scale",
    "state_dict",
    "parameters",
    "class",
    "lambda",
    "9",
    "grüße",
    "a b",
    "a-b",
    "_modules",
    "training",
    "x",
]


def test_names_become_names_of_variables():
    found = [variable(n) for n in ODD]
    assert len(set(found)) == len(ODD) - 1 and [variable(n) for n in found] == found
    assert (
        dict(zip(ODD, found))["joint.position"] == "joint_position"
        and dict(zip(ODD, found))["mask"] == "mask_"
    )
    nn.ModuleDict({n: nn.Identity() for n in found})


@pytest.mark.parametrize("name", ODD)
def test_every_name_is_read_by_every_reader_and_a_model_takes_it(name, tmp_path):
    key = variable(name)
    raw = Episodes(
        [type(arm()[0])("e", {**make_episode("e", {"q": np.arange(6.0)}, np.ones((5, 1))).series})],
        10.0,
    )
    series = dict(raw[0].series)
    series = {name: series.pop("q"), **series}
    data = Episodes([type(raw[0])("e", series)], 10.0)
    write_npz(data, tmp_path / "npz")
    write_store(data, tmp_path / "store")
    write_minari(raw, tmp_path / "minari")
    write_lerobot(raw, tmp_path / "lerobot")
    with h5py.File(tmp_path / "minari/data/main_data.hdf5", "a") as file:
        file.move("episode_0/observations/q", f"episode_0/observations/{name}")
    about = tmp_path / "minari/data/metadata.json"
    about.write_text(about.read_text().replace('\\"q\\"', json.dumps(json.dumps(name))[1:-1]))
    feature = f"observation.{name}"
    file = tmp_path / "lerobot/data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(
        table.rename_columns([feature if c == "observation.q" else c for c in table.column_names]),
        file,
    )
    about = tmp_path / "lerobot/meta/info.json"
    about.write_text(about.read_text().replace('"observation.q"', json.dumps(feature)))
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "a.csv").write_text("q,u\n" + "".join(f"{i},1\n" for i in range(6)))
    (tmp_path / "csv" / "columns.json").write_text(
        json.dumps({"observations": {name: ["q"]}, "action": ["u"]})
    )
    for form in ("npz", "store", "minari", "lerobot", "csv"):
        found = read_episodes(tmp_path / form)
        short = key
        assert found.observations == [short] and found[0][short][:, 0].tolist() == [
            0,
            1,
            2,
            3,
            4,
            5,
        ]
        assert read_episodes(tmp_path / form, keys=[short]).observations == [short]
    if key != name:
        with pytest.raises(DataError, match=r"may not be called .*call them"):
            make_episode("e", {name: np.zeros(3)})
    model = RSSM({key: (1,), "camera": (16, 16, 1)}, 1, SMALL)
    batch = {
        key: torch.zeros(3, 2, 1),
        "camera": torch.zeros(3, 2, 16, 16, 1),
        "action": torch.zeros(3, 2, 1),
        "reward": torch.zeros(3, 2, 1),
        "cont": torch.ones(3, 2, 1),
        "is_first": torch.zeros(3, 2, dtype=torch.bool),
    }
    assert torch.isfinite(model.objective.eval(batch))


@pytest.mark.parametrize("path", [20240501, 42, True, None])
def test_a_path_is_text(path):
    with pytest.raises(
        DataError, match=r"expected the path of a file or folder as text, got .* of type"
    ):
        read_episodes(path)


def test_a_path_that_looks_like_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2024-05-01", "0042", "on", "run #2", "null", "~x"):
        write_npz(arm(), tmp_path / name)
        assert read_episodes(name if name != "~x" else tmp_path / name).source.endswith(name)


def test_two_names_that_become_one_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{"a.b": np.zeros(3), "a_b": np.zeros(3)})
    with pytest.raises(
        DataError, match=r"a\.npz: 'a\.b' and 'a_b' would both be called 'a_b'; rename one"
    ):
        read_episodes(tmp_path)


@pytest.mark.parametrize("name", [n for n in ODD if taken(n)])
def test_a_model_refuses_a_name_that_it_cannot_take(name):
    with pytest.raises(PixyzError, match=r"observations may not be called .*; call them"):
        RSSM({name: (2,)}, 1, SMALL)
    with pytest.raises(PixyzError, match="modalities may not be called"):
        MRSSM({name: 2}, 1, MRSSMConfig(4, 3, 6))
