"""Data sets of Minari (Farama): HDF5, read and written by h5py.

A folder holds ``data/main_data.hdf5`` with groups ``episode_N`` (``observations`` of ``T + 1``
rows; ``actions``, ``rewards``, ``terminations``, ``truncations`` of ``T``) and
``data/metadata.json`` with the spaces.  The reward of step ``t`` becomes that of row ``t + 1``,
with which it arrived.  Files that point to others (external links and storage, virtual data sets)
are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.actions import classes_of, one_hot
from worldmodels.data.check import OnBad, gathered
from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError, EmptyEpisode
from worldmodels.data.flags import flags_of
from worldmodels.data.folders import fresh_folder, inside, need, reading
from worldmodels.data.frames import decode_images
from worldmodels.data.log import make_episode
from worldmodels.data.names import chosen, variables

FILE, ABOUT, VERSION = "main_data.hdf5", "metadata.json", "0.5.4"
DEEPEST = 20
STEPS = ("actions", "rewards", "terminations", "truncations")
Space = dict[str, Any]


def minari_folder(folder: str | Path) -> Path | None:
    """The folder with the metadata: ``folder`` or its ``data``; None if there is none."""
    return next((f for f in (Path(folder) / "data", Path(folder)) if (f / FILE).exists()), None)


def read_minari(
    folder: str | Path, keys: Sequence[str] | None = None, on_bad: OnBad = "refuse"
) -> Episodes:
    """A Minari data set in HDF5.

    Observations of nested dicts are called by their path, joined by ``_``; a bare Box is called
    ``"observation"``.  Discrete observations and actions become one-hot, images ``[H, W, C]``
    stored as JPEG are decoded, other boxes are flattened.

    Args:
        folder: the data set's folder, or its ``data``.
        keys: the observations to read; all if None.
        on_bad: ``"drop"`` leaves out episodes without a row.

    Raises:
        DataError: the folder is damaged, points to files outside of it, or has what is not read
            (spaces of text, tuples, several discrete ones; Arrow files).
    """
    h5py = need("h5py", "reading Minari's files")
    place = minari_folder(folder)
    if place is None:
        raise DataError(
            f"{folder}: expected data/{FILE} and data/{ABOUT}, Minari's HDF5 files, found no {FILE}"
        )
    with reading(f"{place / ABOUT}: expected Minari's metadata"):
        about: dict[str, Any] = json.loads(
            inside(place / ABOUT, Path(folder)).read_text(encoding="utf-8")
        )
        seen, acted = (
            json.loads(about[k]) if k in about else None
            for k in ("observation_space", "action_space")
        )
        total = int(about.get("total_episodes", -1))
    with (
        reading(f"{place / FILE}: expected Minari's episodes"),
        h5py.File(inside(place / FILE, Path(folder)), "r") as file,
    ):
        _held(file, str(place / FILE))
        groups = {int(m[1]): name for name in file if (m := re.fullmatch(r"episode_(\d+)", name))}
        if total not in (-1, len(groups)) or not groups:
            raise DataError(
                f"{place / FILE}: expected {total} episodes as {ABOUT} says, found {len(groups)}"
            )
        acted = acted or _actions(
            [file[name]["actions"] for name in groups.values()], str(place / FILE)
        )
        makers = (
            partial(_episode, str(place / FILE), file[groups[i]], seen, acted, keys)
            for i in sorted(groups)
        )
        episodes = gathered(makers, on_bad)
    return Episodes(episodes, about.get("rate"), str(folder))


def _held(file: Any, where: str) -> None:
    """Refuse a file that points to others, or to parts of itself in a circle."""
    h5py = need("h5py", "reading Minari's files")
    groups = [file]
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise DataError(
                    f"{where}: {group.name}/{name} is a link to another place, and is not read; "
                    f"copy its data there"
                )
            node = group[name]
            if isinstance(node, h5py.Group):
                if node.name.count("/") > DEEPEST:
                    raise DataError(
                        f"{where}: {node.name[:40]}... holds groups of more than {DEEPEST} levels"
                    )
                groups.append(node)
            elif isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
                raise DataError(
                    f"{where}: the data of {node.name} are in other files, and are not read; "
                    f"copy them there"
                )


def _actions(nodes: Sequence[Any], where: str) -> Space | None:
    """The space of discrete actions where the metadata gives none."""
    if not all(hasattr(n, "dtype") and n.ndim == 1 and n.dtype.kind in "iu" for n in nodes):
        return None
    count = classes_of([n[()] for n in nodes], where)
    return None if count is None else {"type": "Discrete", "n": count}


def _episode(
    file: str, group: Any, seen: Space | None, acted: Space | None, keys: Sequence[str] | None
) -> Episode:
    name = group.name.strip("/")
    where = f"{file}, episode {name}"
    missing = [k for k in ("observations", *STEPS) if k not in group]
    if missing:
        raise DataError(f"{where}: lacks {missing}; it has {sorted(group)}")
    leaves = dict(_leaves(group["observations"], seen, ""))
    names = variables(leaves, where)
    asked = chosen(keys, names.values(), where)
    wanted = {
        names[path]: leaf for path, leaf in leaves.items() if asked is None or names[path] in asked
    }
    found = {key: _values(*leaf, f"{where}, key {key}") for key, leaf in wanted.items()}
    if not hasattr(group["actions"], "dtype"):
        raise DataError(
            f"{where}: expected actions of a Box or Discrete space, got a dict or tuple of them"
        )
    action = _values(group["actions"], acted, f"{where}, key actions")
    lengths = {**{k: len(v) - 1 for k, v in found.items()}, **{k: len(group[k]) for k in STEPS}}
    if set(lengths.values()) <= {0, -1} and lengths["actions"] == 0 and -1 in lengths.values():
        raise EmptyEpisode(f"{where}: expected rows, got none")
    if len(set(lengths.values())) != 1:
        raise DataError(
            f"{where}: expected one number of steps (and one observation more), got {lengths}"
        )
    over, cut = (flags_of(group[k][()], where, k) for k in ("terminations", "truncations"))
    ends = over | cut
    if ends[:-1].any():
        raise DataError(
            f"{where}, step {int(np.flatnonzero(ends)[0])}: ends before its last step; "
            f"split it there"
        )
    terminal = bool(len(ends) and over[-1])
    steps = len(ends)
    action = action.reshape(steps, int(np.prod(action.shape[1:])))
    return make_episode(
        name, found, action, group["rewards"][()], terminal, last=bool(steps and ends[-1])
    )


def _leaves(
    node: Any, space: Space | None, path: str
) -> Iterator[tuple[str, tuple[Any, Space | None]]]:
    """Path -> data set and space."""
    kind = (space or {}).get("type")
    if hasattr(node, "dtype"):
        yield path or "observation", (node, space)
    elif kind == "Tuple":
        for inner in node:  # of no use, but named
            yield from _leaves(node[inner], {"type": "Tuple"}, f"{path}/{inner}".lstrip("/"))
    else:
        for inner in node:
            yield from _leaves(
                node[inner],
                space["subspaces"][inner] if space else None,
                f"{path}/{inner}".lstrip("/"),
            )


def _values(node: Any, space: Space | None, where: str) -> Array:
    """Numbers or images ``[T, ...]``."""
    space = space or {"type": "Box", "shape": node.shape[1:]}
    kind = space["type"]
    if kind == "Discrete":
        given, size = np.asarray(node[()]) - int(space.get("start", 0)), int(space["n"])
        wrong = np.flatnonzero((given < 0) | (given >= size))
        if len(wrong):
            raise DataError(
                f"{where}, step {wrong[0]}: expected 0 to {size - 1}, got {given[wrong[0]]}"
            )
        return one_hot(given.reshape(-1), size)
    if kind not in ("Box", "MultiBinary"):
        raise DataError(
            f"{where}: a {kind} space is not read; leave it out by keys=, or convert it"
        )
    shape = tuple(space.get("shape") or ()) if kind == "Box" else tuple(node.shape[1:])
    values = node[()]
    if len(shape) in (2, 3) and (values.dtype == object or values.shape[1:] != shape):
        channels = shape[2] if len(shape) == 3 else 1
        values = decode_images([np.asarray(v, np.uint8).tobytes() for v in values], channels, where)
    if len(shape) == 2 and values.dtype == np.uint8:
        return values.reshape(len(values), *shape, 1)
    return values if len(shape) in (0, 1, 3) else values.reshape(len(values), -1)


def write_minari(data: Episodes, folder: str | Path, dataset_id: str | None = None) -> Path:
    """Write ``data`` as a Minari data set into an empty or new folder; images are not compressed by
    JPEG.

    Args:
        dataset_id: Minari's name, ``(namespace/)name-v0``; the folder's if None.

    Raises:
        DataError: the folder is not empty; there are no actions; an episode has a reward in its
            first row, or an action in its last, for which this format has no place
            (:func:`~worldmodels.data.write_store` keeps all).
    """
    h5py, folder = need("h5py", "writing Minari's files"), Path(folder)
    if not data.action_size:
        raise DataError(
            f"{data.source}: Minari's format needs actions; write_store and write_npz "
            f"(pixyz data convert --to store, npz) do not"
        )
    for e in data:
        lost = [k for k, row in (("reward", 0), ("action", -1)) if np.any(e[k][row] != 0)]
        if lost or len(e) < 2:
            what = (
                " and ".join(f"{k} of the {'last' if k == 'action' else 'first'} row" for k in lost)
                or "only row"
            )
            raise DataError(
                f"{data.source}, episode {e.name}: Minari's format has no place for its {what}; "
                f"write_store (pixyz data convert --to store) has"
            )
    discrete = data.action_size > 1 and all(_one_hot(e["action"][:-1]) for e in data)
    name = dataset_id or (folder.name if re.search(r"-v\d+$", folder.name) else f"{folder.name}-v0")
    with fresh_folder(folder) as writing:
        (writing / "data").mkdir()
        with h5py.File(
            writing / "data" / FILE, "w", track_order=True, libver=("v110", "latest")
        ) as file:  # with checksums
            for i, e in enumerate(data):
                group = file.create_group(f"episode_{i}", track_order=True)
                group.attrs.update(id=i, total_steps=len(e) - 1)
                for key in data.observations:
                    group.create_dataset(
                        f"observations/{key}", data=e[key], compression="gzip", fletcher32=True
                    )
                action, ends = e["action"][:-1], e["is_terminal"][1:]
                columns = (
                    action.argmax(1) if discrete else action,
                    e["reward"][1:],
                    ends,
                    e["is_last"][1:] & ~ends,
                )
                for key, values in zip(STEPS, columns):
                    group.create_dataset(key, data=values, fletcher32=True)
        box = {k: _box(*data.schema[k]) for k in data.observations}
        size = data.action_size
        acted = (
            {"type": "Discrete", "dtype": "int64", "start": 0, "n": size}
            if discrete
            else _box((size,), np.dtype(np.float32))
        )
        about = {
            "dataset_id": name,
            "minari_version": VERSION,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "rate": data.rate,
            "total_episodes": len(data),
            "total_steps": data.steps - len(data),
            "dataset_size": round((writing / "data" / FILE).stat().st_size / 1e6, 1),
            "observation_space": json.dumps({"type": "Dict", "subspaces": box}),
            "action_space": json.dumps(acted),
        }
        (writing / "data" / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    return folder


def _one_hot(action: Array) -> bool:
    return bool(np.isin(action, (0, 1)).all() and (action.sum(1) == 1).all())


def _box(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Space:
    low, high = (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)
    return {
        "type": "Box",
        "dtype": str(dtype),
        "shape": list(shape),
        "low": np.full(shape, low).tolist(),
        "high": np.full(shape, high).tolist(),
    }
