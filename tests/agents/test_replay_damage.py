"""What a power loss or a bad disk makes of a replay's folder: no wrong row is accepted, and nothing
is unreadable.
"""

import json
import mmap
import re
import shutil
import warnings

import numpy as np
import pytest
from replay_parts import SPEC, check, fill, held, make, walk

from agents.replay import ReplayBuffer, ReplayError
from agents.replay import folder as folder_module
from agents.replay.folder import Folder

PAGE = 4096
WIDE = {**SPEC, "deter": ((300,), np.float32), "image": ((40, 40, 3), np.uint8)}


def rows_of(buffer, stream, number):
    return {k: v[0] for k, v in buffer._rings.read(np.array([stream]), np.array([number])).items()}


def add(buffer, times):
    """Rows that say in every key who they are, with latents that :func:`refresh` changes."""
    for _ in range(times):
        n = buffer.counters
        row = {k: np.zeros((3, *s), d) for k, (s, d) in WIDE.items()}
        row |= {
            "count": np.stack([np.arange(3), n], -1),
            "reward": n.astype("f4"),
            "is_first": n % 7 == 0,
            "is_last": n % 7 == 6,
        }
        row["image"][:] = (n % 256)[:, None, None, None]
        row["deter"][:] = n[:, None]
        buffer.add(row)


def refresh(buffer, by):
    sample = buffer.sample(4, 5)
    buffer.update(sample["index"], {"deter": sample["deter"] + by})


def everything(buffer):
    """(stream, number) -> the bytes of each key."""
    rings = buffer._rings
    return {
        (s, n): {k: v.tobytes() for k, v in rows_of(buffer, s, n).items()}
        for s, (first, end) in enumerate(zip(rings.oldest, rings.written))
        for n in range(first, end)
    }


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def mixed(old, new, rng):
    """Each page of each file is the old or the new one; a file that only one of them has may be
    there in part, or not.
    """
    found = {}
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        if a is None or b is None:
            whole = a if b is None else b
            forms = [None, whole, whole[: len(whole) // 2], _pages(bytes(len(whole)), whole, rng)]
            found[name] = forms[int(rng.integers(4))]
        else:
            found[name] = b if a == b else _pages(a, b, rng)
    return {name: data for name, data in found.items() if data is not None}


def _pages(a, b, rng):
    size = max(len(a), len(b))
    a, b = a.ljust(size, b"\0"), b.ljust(size, b"\0")
    return b"".join((a, b)[int(rng.integers(2))][i : i + PAGE] for i in range(0, size, PAGE))


@pytest.mark.parametrize("capacity", [90, 600])  # a full ring, and one with room
def test_torn_pages(tmp_path, capacity, monkeypatch):
    """20 mixtures of the folder at a state and at some time after it: what is loaded are rows of
    the state, and no others.
    """
    whole = Folder.__init__
    monkeypatch.setattr(Folder, "__init__", lambda *a, **k: whole(*a, **{"unsaved": 40_000, **k}))
    buffer = ReplayBuffer(WIDE, capacity, 3, directory=tmp_path / "replay", seed=1)
    add(buffer, 50)
    rng, seen, lost, refused = np.random.default_rng(0), [], 0, 0
    for turn in range(20):
        refresh(buffer, 0.25)
        add(buffer, 5)
        seen.append((json.loads(json.dumps(buffer.state())), everything(buffer)))
        old = files(tmp_path / "replay")
        for _ in range(3):
            add(buffer, int(rng.integers(1, 4)))
            refresh(buffer, 0.5)
        if turn % 3 == 0:  # the pages of two states
            seen.append((json.loads(json.dumps(buffer.state())), everything(buffer)))
        new = files(tmp_path / "replay")
        torn = tmp_path / "torn"
        shutil.rmtree(torn, ignore_errors=True)
        torn.mkdir()
        for name, data in mixed(old, new, rng).items():
            (torn / name).write_bytes(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            resumed = ReplayBuffer(WIDE, capacity, 3, directory=torn)
            state, expected = seen[-1]  # the newest checkpoint, or the one before
            try:
                resumed.load_state(state)
            except ReplayError:
                refused += 1
                state, expected = seen[-2]
                resumed.load_state(state)
        found = everything(resumed)
        assert found.items() <= expected.items()
        assert resumed.counters.tolist() == state["counts"]
        assert len(found) == len(expected) or any("left out" in str(w.message) for w in caught)
        lost += len(found) < len(expected)
        add(resumed, 40)
        resumed.close()
        assert everything(ReplayBuffer(WIDE, capacity, 3, directory=torn))
    assert lost and refused < 20


@pytest.mark.parametrize("capacity", [90, 600])
def test_power_that_goes_at_any_write_of_a_state_loses_nothing(tmp_path, capacity, monkeypatch):
    """Files as they are synced, in the order that a saved state asks for: pages not synced yet are
    old or new.
    """
    buffer = ReplayBuffer(WIDE, capacity, 3, directory=tmp_path / "replay", seed=1)
    add(buffer, 50)
    refresh(buffer, 0.25)
    state, expected = buffer.state(), everything(buffer)
    before = files(tmp_path / "replay")
    shots = []

    def shoot(whole):
        def call(*args, **kwargs):
            shots.append(files(tmp_path / "replay"))
            result = whole(*args, **kwargs)
            shots.append(files(tmp_path / "replay"))
            return result

        return call

    for name in ("sync_path", "write_epoch", "_remove", "write_all"):
        monkeypatch.setattr(folder_module, name, shoot(getattr(folder_module, name)))
    add(buffer, 20)
    refresh(buffer, 0.5)
    buffer.state()
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    for now in shots[:: max(1, len(shots) // 25)]:
        # synced before a page of the data changes
        synced = {k: v for k, v in now.items() if k.startswith("epoch")}
        data = {k: _pages(before[k], v, rng) if k.endswith(".bin") else v for k, v in now.items()}
        torn = tmp_path / "torn"
        shutil.rmtree(torn, ignore_errors=True)
        torn.mkdir()
        committed = sum(k.endswith(".sums") for k in synced) > sum(
            k.endswith(".sums") for k in before
        )
        for name, content in (now if committed else data | synced).items():
            (torn / name).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            resumed = ReplayBuffer(WIDE, capacity, 3, directory=torn)
            resumed.load_state(state)
        assert everything(resumed) == expected


def damaged(folder, action):
    buffer = fill(make(directory=folder), 50)
    state, expected = buffer.state(), held(buffer)
    buffer.close()
    action(folder)
    return state, expected


def test_random_data_of_the_right_size_is_left_out(tmp_path):
    def noise(folder):
        for path in folder.glob("*.bin"):
            path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))

    state, _ = damaged(tmp_path, noise)
    text = (
        r"60 of 60 rows are left out, since they are damaged or older than damage \(count.bin, "
        r"image.bin"
    )
    with pytest.warns(UserWarning, match=text) as caught:
        buffer = make(directory=tmp_path)
    assert len(caught) == 1 and len(buffer) == 0
    with pytest.warns(UserWarning, match="60 of 60"):
        buffer.load_state(state)
    assert buffer.counters.tolist() == [50] * 3 and not buffer.can_sample(1)
    fill(buffer, 30)
    check(buffer, buffer.sample(30, 4), 4)
    buffer.close()
    assert len(make(directory=tmp_path)) == 60  # without a warning


def test_one_damaged_block_costs_its_rows_and_older_ones(tmp_path):
    buffer = ReplayBuffer(WIDE, 90, 3, directory=tmp_path)
    add(buffer, 50)
    expected = everything(buffer)
    buffer.close()
    layout = buffer._store._layouts["image"]
    assert layout.per == 1
    raw = bytearray((tmp_path / "image.bin").read_bytes())
    raw[layout.size * (30 + 41 % 30) + 17] ^= 4  # row 41 of stream 1
    (tmp_path / "image.bin").write_bytes(raw)
    with pytest.warns(UserWarning, match=r"22 of 90 rows.*\(image.bin\)"):
        found = everything(ReplayBuffer(WIDE, 90, 3, directory=tmp_path))
    assert found == {(s, n): v for (s, n), v in expected.items() if s != 1 or n > 41}


@pytest.mark.parametrize("how", ["noise", "cut", "empty", "zeros", "swapped"])
def test_a_damaged_epoch_is_passed_over(tmp_path, how):
    """The counters of the newest state are nonsense: the one before is there, whole."""
    buffer = fill(make(directory=tmp_path, seed=3), 50)
    state, expected = buffer.state(), held(buffer)
    walk(buffer, 0, 4)
    newer = buffer.state()
    buffer.close()
    path = max(tmp_path.glob("*.sums"))
    data = path.read_bytes()
    other = min(tmp_path.glob("*.sums")).read_bytes()
    noise = np.random.default_rng(0).bytes(len(data))
    path.write_bytes(
        {
            "noise": noise,
            "cut": data[:-3],
            "empty": b"",
            "zeros": bytes(len(data)),
            "swapped": other,
        }[how]
    )
    with pytest.warns(
        UserWarning, match=rf"{path.name} is damaged .* the one before is taken"
    ) as caught:
        buffer = make(directory=tmp_path)
    assert len(caught) == 1
    assert held(buffer)[:3] == expected[:3]
    with pytest.raises(ReplayError, match="take another state"):
        buffer.load_state(newer)
    buffer.load_state(state)
    assert held(buffer) == expected


def test_a_folder_without_its_meta_is_refused_and_not_touched(tmp_path):
    damaged(tmp_path, lambda folder: (folder / "meta.json").unlink())
    before = files(tmp_path)
    with pytest.raises(ReplayError, match=re.escape("expected meta.json of a replay, got")):
        make(directory=tmp_path)
    assert files(tmp_path) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ReplayError, match=r"notes\.txt"):
        make(directory=tmp_path / "other")


def test_a_folder_without_a_sound_epoch_is_refused(tmp_path):
    damaged(tmp_path, lambda folder: [p.write_bytes(b"1234") for p in folder.glob("*.sums")])
    before = files(tmp_path)
    with pytest.raises(
        ReplayError, match=r"expected a sound epoch-\*\.sums, got epoch-000000001\.sums is damaged"
    ):
        make(directory=tmp_path)
    for path in tmp_path.glob("*.sums"):
        path.unlink()
    with pytest.raises(ReplayError, match="got none"):
        make(directory=tmp_path)
    assert files(tmp_path) == {k: v for k, v in before.items() if not k.endswith(".sums")}


def test_a_making_that_was_killed_is_begun_anew(tmp_path):
    make(directory=tmp_path).close()
    (tmp_path / "meta.json").rename(tmp_path / ".meta.json")
    (tmp_path / "image.bin").write_bytes(b"123")
    fill(make(directory=tmp_path), 5).close()
    assert make(directory=tmp_path).counters.tolist() == [5] * 3


def test_stored_keys_must_be_in_the_spec(tmp_path):
    with pytest.raises(ReplayError, match=r"expected stored keys among .*, got \['stoch'\]"):
        make(directory=tmp_path / "replay", stored=["deter", "stoch"])
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_and_one_that_cannot_be_read_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "replay"):
        with pytest.raises(ReplayError, match="cannot be made"):
            make(directory=path)
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    make(directory=tmp_path / "replay").close()

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(ReplayError, match="cannot be opened: Permission denied"):
        make(directory=tmp_path / "replay")


def test_after_a_damaged_last_row_a_stream_goes_on(tmp_path):
    """Its ``is_last`` is not to be trusted."""
    buffer = fill(make(directory=tmp_path), 10)
    buffer.close()
    (tmp_path / "is_last.bin").write_bytes(b"\1" * (tmp_path / "is_last.bin").stat().st_size)
    with pytest.warns(UserWarning, match="30 of 30 rows"):
        buffer = make(directory=tmp_path)
    fill(buffer, 1)
    assert len(buffer) == 3
