"""Actor and learner: the log at every kill, damaged and hostile messages, rows once each in their
order whatever happens.
"""

import errno
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from online_parts import Both, Network, damage

from agents.errors import RunError
from agents.online import DamagedError, LogFullError, Pace, Receiving, RowLog, Sending, pack, unpack
from agents.online.log import HEAD
from agents.online.message import as_array
from envs.wire import encode

ROWS = [b"a", b"", b"some bytes", bytes(range(30)), b"row1" * 3]


def opened(folder, **options):
    with RowLog(folder, **options) as log:
        return log.read(log.first, 10**6, 10**9), log.name


# -------------------------------------------------------------------- the log


def test_a_log_that_is_cut_anywhere_has_the_records_before(tmp_path):
    """A kill in the middle of a write, at every byte: whole records stay, the torn one goes, and
    writing goes on.
    """
    with RowLog(tmp_path / "log") as log:
        for row in ROWS:
            log.append(row)
    file = tmp_path / "log" / "rows-000000000001.bin"
    whole = file.read_bytes()
    ends = np.cumsum([HEAD.size + len(row) for row in ROWS])
    for size in range(len(whole) + 1):
        file.write_bytes(whole[:size])
        with RowLog(tmp_path / "log") as log:
            there = ROWS[: int((ends <= size).sum())]
            assert log.read(1, 99) == there and log.next == len(there) + 1
            assert log.cut == size - (int(ends[len(there) - 1]) if there else 0)
            assert log.append(b"new") == len(there) + 1
        assert opened(tmp_path / "log")[0] == [*there, b"new"]


def test_a_record_that_is_damaged_in_the_middle_is_refused_and_not_cut(tmp_path):
    with RowLog(tmp_path / "log") as log:
        for row in ROWS:
            log.append(row)
    file = tmp_path / "log" / "rows-000000000001.bin"
    whole = bytearray(file.read_bytes())
    whole[HEAD.size] ^= 1
    file.write_bytes(whole)
    with pytest.raises(RunError, match="damaged after record 0"):
        RowLog(tmp_path / "log")
    assert file.read_bytes() == whole


def test_files_are_dropped_when_all_of_them_is_safe_and_the_name_stays(tmp_path):
    with RowLog(tmp_path / "log", segment=100) as log:
        for i in range(40):
            log.append(b"%03d" % i * 5)
        files = len(list((tmp_path / "log").glob("rows-*")))
        assert files > 5
        log.drop(20)
        assert 1 < log.first <= 21 and log.read(21, 1) == [b"020" * 5]
        assert len(list((tmp_path / "log").glob("rows-*"))) < files
        with pytest.raises(RunError, match="oldest"):
            log.read(log.first - 1, 1)
        name, first = log.name, log.first
    with RowLog(tmp_path / "log", segment=100) as log:
        assert (log.name, log.first, log.next) == (name, first, 41)
        log.drop(99)
        assert log.next == 41 and log.append(b"x") == 41
    with RowLog(tmp_path / "other") as log:
        assert log.name != name


def test_two_processes_have_no_log_together(tmp_path):
    with RowLog(tmp_path / "log"), pytest.raises(RunError, match="in use"):
        RowLog(tmp_path / "log")
    (tmp_path / "log" / "log.json").unlink()
    with pytest.raises(RunError, match=r"expected log\.json"):
        RowLog(tmp_path / "log")


class FullDisk:
    """``os.write`` that has no room now and then, also in the middle of a record."""

    def __init__(self, seed):
        self.rng, self.write, self.full = random.Random(seed), os.write, False

    def __call__(self, handle, data):
        if self.full and len(data) > HEAD.size:
            if self.rng.random() < 0.5:
                return self.write(handle, data[: self.rng.randrange(len(data))])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.write(handle, data)


@pytest.mark.parametrize("seed", range(20))
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, seed):
    disk, rng = FullDisk(seed), random.Random(seed)
    monkeypatch.setattr("agents.online.log.os.write", disk)
    rows = [b"%d" % i * rng.randrange(1, 9) for i in range(60)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with RowLog(tmp_path / "log", segment=200) as log:
            for i, row in enumerate(rows):
                disk.full = rng.random() < 0.5
                assert log.append(row) == i + 1
                assert log.read(1, 99) == rows[: i + 1]  # also those that no disk has yet
            disk.full = False
        assert opened(tmp_path / "log")[0] == rows


def test_a_disk_that_stays_full_is_said_before_a_row_is_lost(tmp_path, monkeypatch):
    disk = FullDisk(0)
    monkeypatch.setattr("agents.online.log.os.write", disk)
    with RowLog(tmp_path / "log", waiting=100) as log:
        disk.full = True
        with pytest.warns(UserWarning, match="rows are held in memory"):
            log.append(b"x" * 60)
        assert log.append(b"y" * 30) == 2 and log.unwritten == 2
        with pytest.raises(LogFullError, match="make space"):
            log.append(b"z" * 60)
        disk.full = False
        assert log.append(b"z") == 3 and log.unwritten == 0
    assert opened(tmp_path / "log")[0] == [b"x" * 60, b"y" * 30, b"z"]


# -------------------------------------------------------------------- messages


def test_messages_come_back_and_damaged_ones_do_not():
    rng = random.Random(0)
    frame = pack(
        "rows", actor=0, log="a", life="b", session="c", first=1, rows=[as_array(r) for r in ROWS]
    )
    assert [bytes(r) for r in unpack(frame)["rows"]] == ROWS
    for _ in range(2000):
        with pytest.raises(DamagedError):
            unpack(damage(frame, rng))


HOSTILE = [
    b"",
    b"pxo1",
    b"cos\nsystem\n(S'touch PATH'\ntR.",
    b"\x80\x04\x95",
    {"kind": "exec", "code": "PATH"},
    {"kind": ["rows"]},
    {"kind": "hello"},
    {"kind": "hello", "actor": 0, "log": "a", "life": "b", "first": -1, "about": {}},
    {"kind": "hello", "actor": 10**30, "log": "a", "life": "b", "first": 1, "about": {}},
    {"kind": "hello", "actor": True, "log": "a", "life": "b", "first": 1, "about": {}},
    {
        "kind": "hello",
        "actor": 0,
        "log": "../../PATH",
        "life": "b",
        "first": 1,
        "about": {"__class__": "os.system"},
    },
    {
        "kind": "rows",
        "actor": 0,
        "log": "a",
        "life": "b",
        "session": "c",
        "first": 1,
        "rows": ["touch PATH"],
    },
    {
        "kind": "rows",
        "actor": 0,
        "log": "a",
        "life": "b",
        "session": "c",
        "first": 1,
        "rows": [np.zeros((2, 2))],
    },
    {"kind": "rows", "actor": 5, "log": "a", "life": "b", "session": "c", "first": 1, "rows": []},
    {"kind": "want", "actor": 0, "log": "a", "life": "b", "session": "c", "version": 2.5},
    {"kind": "state", "log": "a", "session": "c", "have": 10**18, "safe": 10**18},
    {"kind": "weights", "session": "c", "version": 10**18, "arrays": {"w": "import os"}},
    {"kind": "refused", "log": "a", "why": "\x1b]0;PATH\x07", "again": False},
    b'{"__is__": "array", "dtype": "O", "shape": [1]}' + b"touch PATH",
    b"[" * 100_000,
    b'{"__is__":"tuple"}',
    b'{"__is__": "array", "dtype": "f8", "shape": [99999999999999]}',
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_nothing_that_comes_is_executed(tmp_path, number):
    """Hostile bytes, with a checksum that fits where they are a message: nothing happens but a
    count.
    """
    import zlib

    trap = tmp_path / "trap"
    raw = HOSTILE[number]
    if not isinstance(raw, bytes):
        raw = encode(raw)
    raw = raw.replace(b"PATH", str(trap).encode())
    body = len(raw).to_bytes(8, "little") + raw if raw[:1] in b"[{" and raw else raw
    frames = [
        raw,
        b"pxo1" + zlib.crc32(raw).to_bytes(4, "little") + raw,
        b"pxo1" + zlib.crc32(body).to_bytes(4, "little") + body,
    ]
    with RowLog(tmp_path / "log") as log:
        log.append(b"row")
        sending = Sending(log, 0, {}, lambda arrays: refuse())
        receiving = Receiving(1, lambda about: refuse())
        for frame in frames:
            for answer in receiving.received(frame, 0.0):
                assert unpack(answer)["kind"] == "refused"
            sending.received(frame, 0.0)
        assert receiving.take(9) == [] and sending.take() is None and sending.session is None
        assert log.next == 2 and not trap.exists()


def refuse():
    raise DamagedError("it does not fit")


# -------------------------------------------------------------------- both ends


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"lost": 0.3},
        {"twice": 0.4},
        {"late": 2.0},
        {"damaged": 0.3},
        {"lost": 0.2, "twice": 0.2, "damaged": 0.2, "late": 1.5},
    ],
    ids=lambda fault: "-".join(fault) or "sound",
)
@pytest.mark.parametrize("seed", range(4))
def test_rows_come_once_each_in_order(tmp_path, fault, seed):
    """20 deaths of either end, cuts of the network, and the fault all the time: the replay holds
    what the log holds.
    """
    both, rng = Both(tmp_path / "log", Network(seed, **fault)), random.Random(seed)
    for i in range(800):
        both.act()
        both.talk()
        if i % 3 == 0:
            both.learn()
        if i % 50 == 49:
            both.checkpoint()
        event = rng.randrange(60)
        if event == 0 and both.log is not None:
            both.kill_actor()
        elif event == 1:
            both.kill_learner()
        elif event == 2:
            both.network.cut = not both.network.cut
        if both.log is None and rng.random() < 0.1:
            both.start_actor()
        if both.receiving is None and rng.random() < 0.1:
            both.start_learner()
    both.settle()
    assert both.rows == [b"row %d" % i for i in range(1, both.made + 1)]
    for _ in range(40):
        both.talk()
    assert both.policies and both.sending.behind == 0
    assert both.sending.version == both.receiving._newest[0]
    both.log.close()


def test_the_log_keeps_what_no_checkpoint_has(tmp_path):
    both = Both(tmp_path / "log", Network(0))
    for _ in range(100):
        both.act()
        both.talk()
        both.learn(9)
    assert len(both.rows) == 100 and both.log.first == 1
    both.checkpoint()
    both.talk(1.0)
    both.talk(1.0)
    assert both.log.first > 80
    both.kill_learner()
    both.start_learner()
    assert both.rows == [b"row %d" % i for i in range(1, 101)]
    both.settle()
    assert len(both.rows) == 100
    both.log.close()


def test_an_older_checkpoint_gets_the_rest_again(tmp_path):
    """The learner's newest checkpoint is damaged and it goes on from the one before: rows that the
    log has dropped are said to be missing, and not made up.
    """
    both = Both(tmp_path / "log", Network(0))
    for _ in range(60):
        both.act()
        both.talk()
        both.learn(9)
    both.checkpoint()
    both.talk(1.0)
    both.talk(1.0)
    assert both.log.first > 20
    both.kill_learner()
    both.kept = both.kept[0][:10], {0: (both.log.name, 10)}
    both.start_learner()
    for _ in range(100):
        both.talk()
    assert (
        both.sending.hopeless
        and "row 11 is needed" in both.sending.refused
        and both.rows == both.kept[0]
    )
    both.log.close()


def test_an_actor_that_lost_the_end_of_its_log_gives_the_numbers_away(tmp_path):
    """Its machine lost power: the learner has rows that the log has not, and later rows are not
    taken for them.
    """
    both = Both(tmp_path / "log", Network(0))
    for _ in range(10):
        both.act()
        both.talk()
        both.learn(9)
    both.kill_actor()
    file = tmp_path / "log" / "rows-000000000001.bin"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    both.start_actor()
    gone = 11 - both.log.next
    assert gone > 2
    both.talk(0.6)
    both.talk(0.6)
    both.act()
    both.settle()
    assert both.log.next == 12 and both.rows == [b"row %d" % i for i in range(1, 12)]
    both.log.close()


def test_what_waits_is_bounded(tmp_path):
    """A learner that takes nothing: rows stay in the log, a window of them is under way, and its
    memory does not grow.
    """
    both = Both(tmp_path / "log", Network(0))
    sizes = []
    for _ in range(300):
        both.act()
        both.talk()
        sizes.append(sum(len(row.data) for row in both.receiving._waiting))
    assert (
        max(sizes) <= 300
        and len(both.network.under_way) < 20
        and both.receiving.counts["no room"] > 0
    )
    both.settle()
    assert len(both.rows) == 300
    both.log.close()


def test_policies_that_do_not_fit_are_not_taken(tmp_path):
    both = Both(tmp_path / "log", Network(0), check=lambda arrays: refuse())
    for _ in range(50):
        both.talk()
        both.learn()
    assert both.policies == [] and both.sending.counts["unfit policies"] > 0
    both.log.close()


def test_a_second_actor_of_the_same_number_is_refused_and_an_unfit_one_too(tmp_path):
    both = Both(tmp_path / "log", Network(0))
    for _ in range(5):
        both.act()
        both.talk()
    with RowLog(tmp_path / "two") as log:
        two = Sending(log, 0, {"spec": "x"}, lambda arrays: None, Pace())
        for answer in both.receiving.received(two.due(both.now)[0], both.now):
            two.received(answer, both.now)
        assert "another process" in two.refused and not two.hopeless and two.session is None
        unfit = Sending(log, 0, {"spec": "y"}, lambda arrays: None, Pace())
        for answer in both.receiving.received(unfit.due(100.0)[0], 100.0):
            unfit.received(answer, 100.0)
        assert unfit.refused == "another spec" and unfit.hopeless
        for answer in both.receiving.received(two.due(200.0)[0], 200.0):
            two.received(answer, 200.0)
        assert two.session == both.receiving.session
    both.log.close()


CHILD = """
import sys
from pathlib import Path
from agents.online import RowLog
log = RowLog(Path(sys.argv[1]))
print(log.next, flush=True)
while True:
    log.append(b"%d" % log.next * 50)
"""


def test_a_killed_process_leaves_every_record_that_was_written(tmp_path):
    """SIGKILL, at any time: the log that is opened again holds the numbers in a row, each whole."""
    env, last = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}, 0
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "log")], stdout=subprocess.PIPE, env=env
    )
    child.stdout.readline()
    while last < 200:
        last = sum(p.stat().st_size for p in (tmp_path / "log").glob("rows-*")) // 200
    child.kill()
    child.wait()
    rows, _ = opened(tmp_path / "log")
    assert len(rows) > 50 and rows == [b"%d" % i * 50 for i in range(1, len(rows) + 1)]
