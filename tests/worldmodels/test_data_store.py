"""Stores: memory-mapped, checked, and damage is named."""

import json
import warnings
import zlib

import numpy as np
import pytest
import torch
from recordings import recording, same

from worldmodels.data import DataError, read_store, write_store
from worldmodels.open_loop import moments, roughness


def test_a_store_is_not_read_into_memory(tmp_path):
    write_store(recording(), tmp_path / "log")
    data = read_store(tmp_path / "log")
    assert (
        isinstance(data[1]["camera"], np.memmap)
        and data.rate == 20.0
        and [e.name for e in data] == ["e0", "e1", "e2"]
    )
    with pytest.raises(ValueError, match="read-only"):
        data[0]["state"][0] = 0


def test_what_is_found_out_of_a_store_is_that_of_its_log_without_a_warning(tmp_path):
    data = recording(image=False)
    write_store(data, tmp_path / "log")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, of arrays that are not to be written to
        stored = read_store(tmp_path / "log")
        assert roughness(stored) == roughness(data)
        for key, found in moments(stored).items():
            assert all(map(torch.equal, found, moments(data)[key]))


def test_a_store_with_a_missing_key_or_of_another_version_is_named(tmp_path):
    write_store(recording(image=False), tmp_path / "log")
    index = json.loads((tmp_path / "log" / "episodes.json").read_text())
    del index["index_crc32"]
    for change, text in [
        ({"format": 9}, "its format is 9, this version reads 2"),
        ({"keys": ["state", "is_first"]}, "lacks the keys"),
        ({"episodes": [["e0", 5]]}, "expected 5 rows in each file"),
        ({"keys": [*index["keys"], "q"]}, "q.npy"),
    ]:
        changed = {**index, **change}
        changed["index_crc32"] = zlib.crc32(json.dumps(changed).encode())
        (tmp_path / "log" / "episodes.json").write_text(json.dumps(changed))
        with pytest.raises(DataError, match=text):
            read_store(tmp_path / "log")


def test_every_flipped_bit_of_a_store_is_found(tmp_path):
    """Rows, headers and the index carry checksums; a store of an earlier version has none and is
    read.
    """
    write_store(recording(image=False), tmp_path / "log")
    draw = np.random.default_rng(0)
    for path in sorted(p for p in (tmp_path / "log").iterdir()):
        content = path.read_bytes()
        for place, bit in zip(draw.integers(len(content), size=25), draw.integers(8, size=25)):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
            )
            try:
                found = read_store(tmp_path / "log")
            except DataError:
                continue
            else:  # a space of a header
                assert path.suffix == ".npy" and place < 128
                same(found, recording(image=False))
        path.write_bytes(content)
    states = tmp_path / "log" / "state.npy"
    content = states.read_bytes()
    states.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=r"state\.npy, episode e2: its checksum is another one"):
        read_store(tmp_path / "log")
    assert read_store(tmp_path / "log", keys=["touch"]).observations == ["touch"]
    assert len(read_store(tmp_path / "log", verify=False)) == 3
    index = json.loads((tmp_path / "log" / "episodes.json").read_text())
    old = {k: v for k, v in index.items() if k not in ("kinds", "crc32", "index_crc32")}
    (tmp_path / "log" / "episodes.json").write_text(json.dumps({**old, "format": 1}))
    assert len(read_store(tmp_path / "log")) == 3
