"""Rows that say who they are, buffers of them, and what a sample of them must be."""

import json
import os
import signal
import time
import traceback
import warnings

import numpy as np

from agents.replay import ReplayBuffer

SPEC = {
    "count": ((2,), np.int64),  # (stream, number of the row)
    "image": ((2, 2, 3), np.uint8),
    "action": ((2,), np.float32),
    "reward": ((), np.float32),
    "is_first": ((), np.bool_),
    "is_last": ((), np.bool_),
    "is_terminal": ((), np.bool_),
    "deter": ((4,), np.float32),
}
EPISODE = 7


def rows(streams, numbers):
    """Rows ``[N, ...]`` that say themselves who they are; episodes have 7 rows."""
    s, n = np.asarray(streams), np.asarray(numbers)
    return {
        "count": np.stack([s, n], -1),
        "image": np.broadcast_to((n % 256)[:, None, None, None], (len(n), 2, 2, 3)).astype(
            np.uint8
        ),
        "action": np.stack([s, n], -1).astype(np.float32),
        "reward": n.astype(np.float32),
        "is_first": n % EPISODE == 0,
        "is_last": n % EPISODE == EPISODE - 1,
        "is_terminal": (n % EPISODE == EPISODE - 1) & (n % 2 == 0),
        "deter": np.broadcast_to(n[:, None], (len(n), 4)).astype(np.float32),
    }


def fill(buffer, times, streams=None):
    which = list(range(buffer.streams)) if streams is None else list(streams)
    for _ in range(times):
        buffer.add(rows(which, buffer.counters[which]), streams)
    return buffer


def make(capacity=60, streams=3, **kwargs):
    return ReplayBuffer(SPEC, capacity, streams, **kwargs)


def check(buffer, sample, length):
    """Every window is ``length`` consecutive rows of one stream that are there now, with all their
    values.
    """
    stream, number = sample["index"][..., 0], sample["index"][..., 1]
    assert len(number) == length and sample["index"].dtype == np.int64
    assert (stream == stream[0]).all() and (np.diff(number, axis=0) == 1).all()
    assert (number < buffer.counters[stream]).all() and (
        number >= buffer.counters[stream] - buffer.rows
    ).all()
    expected = rows(stream.ravel(), number.ravel())
    for key, value in expected.items():
        np.testing.assert_array_equal(sample[key], value.reshape(sample[key].shape), err_msg=key)
    assert sample.keys() == {*SPEC, "index"}


def equal(one, two):
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)
        assert one[key].dtype == two[key].dtype


def snapshot(buffer):
    return json.dumps(buffer.state()), buffer.state_arrays()


def unchanged(buffer, before):
    assert json.dumps(buffer.state()) == before[0]
    equal(buffer.state_arrays(), before[1])


def walk(buffer, seed, steps):
    """Some adding, sampling and updating; what was sampled."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        fill(buffer, int(rng.integers(1, 6)))
        if buffer.can_sample(4):
            sample = buffer.sample(3, 4)
            stream, number = sample["index"].reshape(-1, 2).T
            # all but the latents, which are refreshed
            check(buffer, {**sample, "deter": rows(stream, number)["deter"]}, 4)
            buffer.update(sample["index"], {"deter": sample["deter"] + 0.5})
            found.append(sample)
    return found


def held(buffer):
    """All that a replay holds: each row of each stream by its number, which rows there are, and the
    sampler's state.
    """
    rings, found = buffer._rings, []
    for stream, (first, end) in enumerate(zip(rings.oldest, rings.written)):
        number = np.arange(first, end)
        found.append(
            {k: v.tobytes() for k, v in rings.read(np.full(len(number), stream), number).items()}
        )
    return (
        found,
        rings.oldest.tolist(),
        rings.written.tolist(),
        {k: v for k, v in buffer.state().items() if k != "mark"},
    )


def forked(work, delay=None):
    """Do something in a child process that is killed after so many seconds, if it is not done by
    then; whether it was killed.

    Any error or warning in the child fails.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("error")
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    until = time.monotonic() + (delay or 0.0)
    ended, status = 0, 0
    while delay is not None and not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if not ended:
        if delay is not None:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    assert ended in ((0,) if delay is None else (0, -signal.SIGKILL)), (
        "the child failed, see its traceback"
    )
    return ended != 0
