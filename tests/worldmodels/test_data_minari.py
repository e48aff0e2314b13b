"""Minari's data sets as its own library writes them."""

import io
import json

import av
import h5py
import numpy as np
import pytest

from worldmodels.data import DataError, read_minari


def jpeg(image):
    """An image as a JPEG file."""
    out = io.BytesIO()
    with av.open(out, "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuvj444p"
        for packet in [
            *stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")),
            *stream.encode(),
        ]:
            file.mux(packet)
    return np.frombuffer(out.getvalue(), np.uint8)


def box(*shape, dtype="float32"):
    return {"type": "Box", "dtype": dtype, "shape": list(shape), "low": 0, "high": 1}


def farama(folder, seen, space, acted=None, steps=3, **changes):
    """A Minari data set made by hand, of one episode."""
    (folder / "data").mkdir(parents=True)
    acted = acted or {"type": "Discrete", "dtype": "int64", "start": 1, "n": 4}
    spaces = {"observation_space": json.dumps(space), "action_space": json.dumps(acted)}
    about = {"data_format": "hdf5", "total_episodes": 1, **spaces}
    (folder / "data" / "metadata.json").write_text(json.dumps(about))
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        rows = {f"observations/{k}" if k else "observations": v for k, v in seen.items()}
        rows |= {
            "actions": np.arange(steps) + 1,
            "rewards": np.ones(steps),
            "terminations": np.arange(steps) == steps - 1,
            "truncations": np.zeros(steps, bool),
        }
        for key, value in {**rows, **changes}.items():
            if value is not None:
                file[f"episode_0/{key}"] = value
    return folder


def test_minari_made_by_hand(tmp_path):
    images = np.tile(np.linspace(0, 255, 40).astype(np.uint8)[:, None, None], (4, 1, 48, 3))
    files = np.empty(4, dtype=object)
    files[:] = [jpeg(i) for i in images]
    space = {
        "type": "Dict",
        "subspaces": {
            "arm": {
                "type": "Dict",
                "subspaces": {
                    "q.pos": box(2),
                    "mode": {"type": "Discrete", "start": 0, "n": 3},
                    "grid": box(2, 5),
                },
            },
            "camera": box(40, 48, 3, dtype="uint8"),
            "mission": {"type": "Text"},
        },
    }
    seen = {
        "arm/q.pos": np.ones((4, 2)),
        "arm/mode": np.array([0, 2, 1, 0]),
        "arm/grid": np.arange(40.0).reshape(4, 2, 5),
        "mission": ["go"] * 4,
    }
    folder = farama(tmp_path / "a", seen, space)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        file["episode_0/observations"].create_dataset(
            "camera", data=files, dtype=h5py.vlen_dtype(np.uint8)
        )
    with pytest.raises(
        DataError, match="episode_0, key mission: a Text space is not read; leave it out by keys="
    ):
        read_minari(folder)
    (e,) = read_minari(folder, keys=["arm_q_pos", "arm_mode", "arm_grid", "camera"])
    assert e["arm_mode"].argmax(1).tolist() == [0, 2, 1, 0] and e["arm_grid"].shape == (4, 10)
    assert np.abs(e["camera"].astype(int) - images).max() <= 6 and e["camera"].shape == (
        4,
        40,
        48,
        3,
    )
    assert e["action"].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert e["reward"].tolist() == [0, 1, 1, 1] and e["is_terminal"].tolist() == [0, 0, 0, 1]


def test_minari_without_spaces(tmp_path):
    folder = farama(tmp_path / "a", {"": np.arange(4)}, None)
    file = folder / "data" / "metadata.json"
    file.write_text(json.dumps({"total_episodes": 1, "env_spec": "{}"}))
    (e,) = read_minari(folder / "data")
    assert e["observation"][:, 0].tolist() == [0, 1, 2, 3] and e["action"].argmax(1)[
        :3
    ].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(rewards=None), r"lacks \['rewards'\]"),
        (dict(rewards=np.ones(2)), "one number of steps .*'rewards': 2"),
        (dict(observations=np.ones((3, 2))), "'observation': 2"),
        (dict(actions=np.array([1, 9, 1])), "key actions, step 1: expected 0 to 3"),
        (dict(truncations=np.array([1, 0, 0], bool)), "step 0: ends before its last step"),
        (dict(observations=np.array([b"a"] * 4)), "key observation: expected an array of numbers"),
    ],
)
def test_minari_that_does_not_fit_is_named(changes, text, tmp_path):
    folder = farama(tmp_path / "a", {"": np.ones((4, 2))}, box(2), **changes)
    with pytest.raises(
        DataError, match=rf"main_data.hdf5.*episode_0.*{text}|episode episode_0.*{text}"
    ):
        read_minari(folder)


@pytest.mark.parametrize(
    ("space", "acted", "text"),
    [
        ({"type": "Tuple", "subspaces": [box(2)]}, None, "a Tuple space is not read"),
        (box(2), {"type": "MultiDiscrete"}, "MultiDiscrete"),
    ],
)
def test_minari_spaces_that_are_not_read_are_named(space, acted, text, tmp_path):
    seen = {"_index_0": np.ones((4, 2))} if space["type"] == "Tuple" else {"": np.ones((4, 2))}
    with pytest.raises(DataError, match=text):
        read_minari(farama(tmp_path / "a", seen, space, acted))
