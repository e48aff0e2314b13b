"""A replay's folder is again, bit for bit, what it was at a saved state: rows, latents, flags,
sampler.
"""

import errno
import json
import os
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from replay_parts import SPEC, equal, fill, forked, held, make, walk

from agents.checkpoint import load_checkpoint, save_checkpoint
from agents.replay import ReplayBuffer, ReplayError
from agents.replay import folder as folder_module
from agents.replay.episodes import read_replay
from agents.replay.folder import Folder
from agents.replay.ring import Rings
from agents.replay.rows import RowSpec
from agents.replay.space import NO_RESERVE, map_privately


def kill(buffer):
    """What a SIGKILL leaves: everything in memory is gone, the files are as they are."""
    buffer._store.flat, buffer._store._memory, buffer._open = {}, {}, None


def saved(buffer):
    state = json.loads(json.dumps(buffer.state()))
    return state, held(buffer)


@pytest.fixture(params=[2000, 1 << 28], ids=["files change soon", "files change when saved"])
def limit(request, monkeypatch):
    """How much may be held in memory."""
    whole = Folder.__init__
    monkeypatch.setattr(
        Folder, "__init__", lambda *a, **k: whole(*a, **{"unsaved": request.param, **k})
    )


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("end", ["kill", "close", "same process"])
@pytest.mark.parametrize("capacity", [60, 3000])  # rings that are full, and never are
def test_each_of_the_last_three_states_comes_back(tmp_path, capacity, end):
    for back in (1, 2, 3):
        buffer = make(capacity, 3, directory=tmp_path / str(back), seed=1)
        states = []
        for i in range(5):
            walk(buffer, i, 5)
            states.append(saved(buffer))
        walk(buffer, 9, 10)
        if end == "kill":
            kill(buffer)
        elif end == "close":
            buffer.close()
        if end != "same process":
            buffer = make(capacity, 3, directory=tmp_path / str(back), seed=7)
        state, expected = states[-back]
        buffer.load_state(state)
        assert held(buffer) == expected
        first = walk(buffer, 3, 6)
        kill(buffer)
        again = make(capacity, 3, directory=tmp_path / str(back))
        again.load_state(state)  # once more, after the first try was killed
        assert held(again) == expected
        for one, two in zip(walk(again, 3, 6), first, strict=True):
            equal(one, two)
        again.close()


def test_what_was_marked_after_a_state_is_undone(tmp_path):
    buffer = fill(make(directory=tmp_path), 10)
    state, expected = saved(buffer)
    buffer.mark_abandoned()
    buffer.close()
    buffer = make(directory=tmp_path)
    buffer.load_state(state)
    assert held(buffer) == expected
    fill(buffer, 1)  # the episode goes on


def test_a_folder_opens_as_it_was_when_last_saved(tmp_path):
    buffer = fill(make(directory=tmp_path), 30)
    buffer.flush()
    expected = held(buffer)
    fill(buffer, 7)
    kill(buffer)
    assert held(make(directory=tmp_path))[:3] == expected[:3]


def test_states_that_are_not_kept_and_those_of_other_folders_are_refused(tmp_path):
    buffer = fill(make(directory=tmp_path / "a"), 5)
    states = []
    for _ in range(6):
        states.append(fill(buffer, 3).state())
    before = held(buffer)
    with pytest.raises(ReplayError, match=r"expected epoch .* of the state, got \[3, 4, 5, 6\]"):
        buffer.load_state(states[0])
    other = make(directory=tmp_path / "b")
    for _ in range(6):
        fill(other, 3).state()
    with pytest.raises(ReplayError, match="another run"):
        other.load_state(states[-1])
    with pytest.raises(ReplayError, match="of the state"):
        buffer.load_state({**states[-1], "mark": {"epoch": "x"}})
    assert held(buffer) == before
    # nothing new: no new epoch
    assert buffer.state()["mark"] == buffer.state()["mark"] == states[-1]["mark"]


def test_old_epochs_and_journals_are_removed(tmp_path):
    buffer = make(directory=tmp_path)
    for i in range(12):
        walk(buffer, i, 5)
        buffer.state()
    names = sorted(p.suffix for p in tmp_path.iterdir() if p.name.startswith("epoch"))
    assert names == [".sums"] * 4 + [".undo"] * 3
    size = sum(p.stat().st_size for p in tmp_path.glob("*.undo"))
    assert size < 4 * sum(p.stat().st_size for p in tmp_path.glob("*.bin"))


def test_rows_where_none_were_are_not_copied(tmp_path):
    buffer = ReplayBuffer({**SPEC, "image": ((64, 64, 3), np.uint8)}, 50, directory=tmp_path)
    row = {k: np.zeros((1, *s), d) for k, (s, d) in buffer.spec.keys.items()}
    for _ in range(4):
        for _ in range(10):
            buffer.add(row)
        buffer.state()
    assert sum(p.stat().st_size for p in tmp_path.glob("*.undo")) < 64 * 64 * 3


def test_reading_changes_nothing(tmp_path):
    """A killed run's folder, whose files had changed before the state that
    it opens with was left.
    """
    store = Folder(RowSpec(SPEC), 3, 20, tmp_path, unsaved=1)
    buffer = make(directory=tmp_path)
    kill(buffer)
    buffer._store, buffer._open = store, Rings(store)
    fill(buffer, 25).flush()
    fill(buffer, 9)
    kill(buffer)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert any(name.endswith(".undo") for name in before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_replay(tmp_path)
    assert sum(len(e) for e in data) == 60
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert make(directory=tmp_path).counters.tolist() == [25] * 3


def test_going_back_may_be_cut_at_any_write(tmp_path, monkeypatch):
    """A kill while a state is put back, with each file's block half written: the folder opens
    without damage, and goes back all the same.
    """
    buffer = fill(make(directory=tmp_path / "first"), 30)
    state, expected = saved(buffer)
    walk(buffer, 3, 6)
    buffer.flush()  # an epoch later
    walk(buffer, 4, 6)
    kill(buffer)
    whole = folder_module.write_all

    class Killed(BaseException):
        pass

    cuts = 0
    while True:
        place, left = tmp_path / f"cut {cuts}", [cuts]
        shutil.copytree(tmp_path / "first", place)
        buffer = make(directory=place)

        def torn(file, data, left=left):
            left[0] -= 1
            if left[0] < 0:
                whole(file, data[: len(data) // 2])
                raise Killed
            whole(file, data)

        monkeypatch.setattr(folder_module, "write_all", torn)
        try:
            buffer.load_state(state)
        except Killed:
            cuts += 1
        monkeypatch.setattr(folder_module, "write_all", whole)
        kill(buffer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = make(directory=place)
        again.load_state(state)
        assert held(again) == expected
        if left[0] >= 0:
            break
    assert cuts >= 8  # a block of each file, at least


def run(folder, steps):
    """A run of a replay and its checkpoints, which goes on from where it is."""
    step = 0
    if not list(folder.glob("checkpoint-*")):
        shutil.rmtree(folder / "replay", ignore_errors=True)
    buffer = make(directory=folder / "replay", seed=5)
    if list(folder.glob("checkpoint-*")):
        found = load_checkpoint(folder)
        buffer.load_state(found.state["replay"])
        step = found.step
    while step < steps:
        walk(buffer, step, 4)
        step += 1
        save_checkpoint(folder, step, {}, {"replay": buffer.state()})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_it_is_the_straight_run(tmp_path):
    """A run of a replay and its checkpoints is killed at random times; the state it ends with is
    the straight run's.
    """
    for delay in np.random.default_rng(0).uniform(0.0, 0.3, 10).tolist():
        forked(lambda: run(tmp_path, 10**6), delay)
    forked(lambda: run(tmp_path, 30))
    found = load_checkpoint(tmp_path)
    buffer, straight = make(directory=tmp_path / "replay"), make(seed=5)
    buffer.load_state(found.state["replay"])
    assert found.step >= 30
    for step in range(found.step):
        walk(straight, step, 4)
    assert held(buffer) == held(straight)


# ---------------------------------------------------------------- the disk


def test_a_disk_without_room_is_met_at_the_start(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        ReplayError, match=r"cannot be made: No space left on device; give a smaller capacity"
    ) as error:
        make(directory=tmp_path / "run" / "replay")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 93, 7))
    with pytest.raises(ReplayError, match=r"expected .* KiB free for the replay, got 7 bytes"):
        make(directory=tmp_path / "run" / "replay")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["missing", "unsupported"])
def test_where_space_cannot_be_reserved_zeros_are_written(tmp_path, monkeypatch, how):
    def unsupported(*args):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if how == "missing":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", unsupported)
    make(3000, 3, directory=tmp_path)
    assert all(p.stat().st_blocks * 512 >= p.stat().st_size for p in tmp_path.glob("*.bin"))


def test_space_is_taken_when_a_replay_is_made(tmp_path):
    make(30_000, 3, directory=tmp_path)
    assert all(p.stat().st_blocks * 512 >= p.stat().st_size > 0 for p in tmp_path.glob("*.bin"))


@pytest.mark.skipif(not NO_RESERVE, reason="this system is not asked for memory in advance")
def test_files_larger_than_the_memory_are_mapped(tmp_path):
    size = 8 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with (tmp_path / "large").open("wb") as file:
        try:
            file.truncate(size)
        except OSError:
            pytest.skip("the file system has no files of this size")
    mapped = map_privately(tmp_path / "large", size)
    mapped[5] = 3
    assert mapped[:7].tolist() == [0, 0, 0, 0, 0, 3, 0] and (tmp_path / "large").open("rb").read(
        7
    ) == bytes(7)


def test_a_disk_that_fills_loses_nothing(tmp_path, monkeypatch):
    """Saving fails with one line; the buffer goes on, the states before are there, and later it is
    saved.
    """
    buffer = make(directory=tmp_path, seed=2)
    walk(buffer, 0, 12)
    state, expected = saved(buffer)
    walk(buffer, 1, 12)

    def full(file, data):
        file.write(bytes(data)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    # the journal, then the files
    for where in (
        "agents.replay.epochs.write_all",
        "agents.replay.folder.write_all",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, full)
            with pytest.raises(
                ReplayError, match=r"cannot be written: No space left on device; what was saved"
            ):
                buffer.state()
        walk(buffer, 2, 3)
    straight = make(seed=2)
    for seed, steps in ((0, 12), (1, 12), (2, 3), (2, 3)):
        walk(straight, seed, steps)
    shutil.copytree(tmp_path, tmp_path.with_name("killed"))
    assert held(buffer) == held(straight)
    for folder in (tmp_path, tmp_path.with_name("killed")):
        resumed = make(directory=folder)
        resumed.load_state(state)
        assert held(resumed) == expected


def test_a_real_disk_that_is_too_small(tmp_path):
    """A file system of 1 MiB in memory: refused with one line before anything is written; smaller
    ones fit.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if (
        mount is None
        or os.geteuid() != 0
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("mounting a small file system is not permitted here")
    try:
        with pytest.raises(ReplayError, match=r"expected .* MiB free"):
            make(60_000, 3, directory=disk / "replay")
        assert not list(disk.iterdir())
        buffer = fill(make(6000, 3, directory=disk / "replay"), 30)
        expected = saved(buffer)
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free))
        fill(buffer, 2500)  # the ring turns: what it overwrites does not fit any more
        with pytest.raises(ReplayError, match="No space left on device"):
            buffer.state()
        kill(buffer)
        buffer = make(6000, 3, directory=disk / "replay")
        buffer.load_state(expected[0])
        (disk / "ballast").unlink()
        assert held(buffer) == expected[1]
        fill(buffer, 5).close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ---------------------------------------------------------------- several blocks a key


def test_each_journal_holds_what_changed_in_its_own_time(tmp_path):
    """Rows that change between different states lie in different journals; all of them are put
    back.
    """
    # a row is a block
    buffer = ReplayBuffer({**SPEC, "deter": ((1024,), np.float32)}, 40, directory=tmp_path)

    def write(row, value):
        buffer.update(np.array([[[0, row]]]), {"deter": np.full((1, 1, 1024), value, np.float32)})

    for n in range(40):
        buffer.add(
            {
                k: np.full((1, *s), n if k == "deter" else 0, d)
                for k, (s, d) in buffer.spec.keys.items()
            }
        )
    states = [saved(buffer)]
    for i in range(1, 4):
        write(10 * i, 100.0)
        write(5, 100.0 + i)
        states.append(saved(buffer))
    write(1, 7.0)
    for back in (2, 1):
        buffer.load_state(states[back][0])
        assert held(buffer) == states[back][1]
        kill(buffer)
        buffer = ReplayBuffer({**SPEC, "deter": ((1024,), np.float32)}, 40, directory=tmp_path)
        assert held(buffer)[:3] == states[back][1][:3]  # what was gone back from is gone
    buffer.load_state(states[1][0])
    write(2, 8.0)
    newest = saved(buffer)
    kill(buffer)
    buffer = ReplayBuffer({**SPEC, "deter": ((1024,), np.float32)}, 40, directory=tmp_path)
    assert held(buffer)[:3] == newest[1][:3]
    with pytest.raises(ReplayError, match=r"of the state"):
        buffer.load_state(states[2][0])
    buffer.load_state(states[0][0])
    assert held(buffer) == states[0][1]


def test_files_change_after_their_journal_lies_on_the_disk(tmp_path, monkeypatch):
    buffer = fill(make(directory=tmp_path), 30)
    buffer.state()
    fill(buffer, 5)
    events = []

    def watched(name):
        whole = getattr(folder_module, name)
        monkeypatch.setattr(
            folder_module, name, lambda *a: (events.append((name, a[0])), whole(*a))[1]
        )

    for name in ("sync_path", "write_all", "write_epoch", "_remove"):
        watched(name)
    buffer.state()
    kinds = [name if name != "sync_path" else f"sync {path.suffix}" for name, path in events]
    assert [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k] == [
        "sync .undo",
        "write_all",
        "sync .bin",
        "write_epoch",
        "_remove",
    ]
    assert {path.stem for name, path in events if name == "sync_path"} >= set(SPEC)
