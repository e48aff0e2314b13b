"""Downloads from a local server, the known data sets on made files, and what is generated."""

import functools
import gzip
import hashlib
import http.server
import json
import math
import threading

import numpy as np
import pytest
import scipy.io
import torch
from made_digits import write_digits, write_idx

from worldmodels.data import (
    DataError,
    Source,
    bouncing_balls,
    cache_folder,
    fetch,
    mnist,
    mnist_rows,
    moving_mnist,
    music,
    oscillators,
    polyphonic,
    robots,
    sarcos,
    wall_following,
)
from worldmodels.data import digits as digits_module
from worldmodels.data.download import unzipped_sha256


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXYZ_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    """A folder that is served, and its address; ``requests`` counts."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        requests = 0

        def log_message(self, *args):
            Handler.requests += 1

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{served.server_port}/", Handler
        served.shutdown()
        thread.join()


def source(url, content, name="set/a.bin", **more):
    return Source(name, url, hashlib.sha256(content).hexdigest(), "CC0", len(content), **more)


def test_a_file_is_downloaded_once_and_checked_each_time(server, cache, capsys):
    folder, url, handler = server
    (folder / "a.bin").write_bytes(b"abc" * 1000)
    wanted = source(url + "a.bin", b"abc" * 1000)
    assert fetch(wanted) == cache / "set" / "a.bin" and cache_folder() == cache
    said = capsys.readouterr().err
    assert "licence: CC0" in said and url in said
    assert (
        fetch(wanted).read_bytes() == b"abc" * 1000
        and handler.requests == 1
        and capsys.readouterr().err == ""
    )
    assert [p.name for p in (cache / "set").iterdir()] == ["a.bin"]
    (cache / "set" / "a.bin").write_bytes(b"abd" * 1000)
    with pytest.raises(DataError, match=r"a\.bin: expected the SHA-256 .*delete it"):
        fetch(wanted)


def test_what_is_compressed_again_is_the_same(server, cache):
    folder, url, _ = server
    (folder / "a.gz").write_bytes(gzip.compress(b"content", mtime=77))
    wanted = source(url + "a.gz", b"content", "set/a.gz", digest=unzipped_sha256)
    assert gzip.decompress(fetch(wanted).read_bytes()) == b"content"
    fetch(wanted).write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff")
    with pytest.raises(DataError, match="delete it"):
        fetch(wanted)


@pytest.mark.parametrize(
    ("fault", "text"),
    [("wrong", "expected the SHA-256"), ("missing", "File not found"), ("offline", "refused")],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(
    fault, text, server, cache, tmp_path
):
    folder, url, _ = server
    if fault == "wrong":
        (folder / "a.bin").write_bytes(b"abd")
    address = "http://127.0.0.1:9/a.bin" if fault == "offline" else url + "a.bin"
    with pytest.raises(DataError, match=rf"{address}.*{text}.*give a folder that holds a\.bin"):
        fetch(source(address, b"abc"))
    assert list((cache / "set").iterdir()) == []
    with pytest.raises(
        DataError,
        match=r"served/a\.bin: " + ("expected the SHA-256" if fault == "wrong" else "no such file"),
    ):
        fetch(source(address, b"abc"), folder)


def made(count):
    draw = np.random.default_rng(count)
    return draw.integers(0, 10, (count, 28, 28), np.uint8), draw.integers(0, 10, count, np.uint8)


MADE = {"train": made(3), "t10k": made(2)}


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A made MNIST of 3 and 2 digits, which is taken for the true one."""
    folder = tmp_path / "digits"
    folder.mkdir()
    monkeypatch.setattr(digits_module, "CONTENT", write_digits(folder, MADE))
    return folder


def test_digits_and_their_rows(digits):
    images, labels = mnist("test", digits)
    np.testing.assert_array_equal(images, MADE["t10k"][0])
    assert labels.tolist() == MADE["t10k"][1].tolist() and labels.dtype == torch.int64
    rows = mnist_rows("train", digits)
    assert rows.shape == (28, 3, 28)
    np.testing.assert_allclose(rows[4, 2] * 255, MADE["train"][0][2, 4], rtol=1e-6)
    with pytest.raises(DataError, match="'train' or 'test'"):
        mnist("t10k", digits)


def test_other_digits_are_refused_unless_asked_for(digits):
    file = digits / "t10k-images-idx3-ubyte.gz"
    write_idx(file, np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: expected the SHA-256"):
        mnist("test", digits)
    assert not mnist("test", digits, verify=False)[0].any()
    write_idx(file, np.zeros((5, 28, 28), np.uint8))
    with pytest.raises(DataError, match="5 images and 2 labels"):
        mnist("test", digits, verify=False)
    for damage in (
        b"",
        file.read_bytes()[:-9],
        gzip.compress(bytes(16)),
        gzip.compress(b"\0\0\x08\x03\0\0\0\x05"),
        b"\x1f\x8b",
    ):
        file.write_bytes(damage)
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz"):
            mnist("test", digits, verify=False)


def test_chorales(tmp_path, monkeypatch):
    songs = {
        "train": [[[21, 108], []], [[60]]],
        "valid": [[[61], [62], [63]]],
        "test": [[[43, 47, 43]]],
    }
    content = json.dumps(songs).encode()
    (tmp_path / "jsb-chorales-quarter.json").write_bytes(content)
    with pytest.raises(DataError, match="expected the SHA-256"):
        polyphonic("jsb", tmp_path)
    monkeypatch.setattr(music, "JSB", source("http://x", content, "jsb/jsb-chorales-quarter.json"))
    with pytest.raises(DataError, match=r"expected \(songs, rows\).*'train': \(2, 3\)"):
        polyphonic("jsb", tmp_path)
    monkeypatch.setattr(music, "COUNTS", {"train": (2, 3), "valid": (1, 3), "test": (1, 1)})
    found = polyphonic("jsb", tmp_path)
    first = found["train"][0]["x"]
    assert (
        first.shape == (2, 88)
        and np.flatnonzero(first[0]).tolist() == [0, 87]
        and not first[1].any()
    )
    assert [len(e) for e in found["train"]] == [2, 1] and found["test"][0]["x"].sum() == 2


def test_sisters_of_the_chorales_are_read_from_a_folder(tmp_path):
    draw = np.random.default_rng(0)
    rolls = {
        f"{p}data": np.array(
            [(draw.random((t, 88)) < 0.1).astype(float) for t in (3, 5)], dtype=object
        )[None]
        for p in ("train", "valid", "test")
    }
    scipy.io.savemat(tmp_path / "Nottingham.mat", rolls)
    found = polyphonic("nottingham", tmp_path)
    assert [len(e) for e in found["valid"]] == [3, 5]
    np.testing.assert_array_equal(found["test"][1]["x"], rolls["testdata"][0, 1])
    rolls["traindata"][0, 1][2, 3] = 2
    scipy.io.savemat(tmp_path / "MuseData.mat", rolls)
    with pytest.raises(DataError, match=r"MuseData\.mat, episode train_1"):
        polyphonic("musedata", tmp_path)
    with pytest.raises(DataError, match=r"Piano_midi\.mat: no such file"):
        polyphonic("piano_midi", tmp_path)
    with pytest.raises(DataError, match=r"no checksum of Nottingham\.mat is known"):
        polyphonic("nottingham")
    with pytest.raises(DataError, match="name must be"):
        polyphonic("bach")


@pytest.mark.parametrize("header", [True, False])
def test_the_wall_follower(header, tmp_path, monkeypatch):
    ranges = np.random.default_rng(0).uniform(0, 5, (6, 24)).round(3)
    moves = [robots.MOVES[i] for i in (0, 2, 2, 1, 3, 0)]
    lines = [",".join([*(f"{v:.3f}" for v in r), m]) for r, m in zip(ranges, moves)]
    first = [",".join([*robots.SONARS, "OUTPUT"])] if header else []
    (tmp_path / "sensor_readings_24.data").write_text("\n".join(first + lines) + "\n")
    with pytest.raises(DataError, match="expected the SHA-256"):
        wall_following(tmp_path)
    expected = hashlib.sha256(
        ranges.astype("<f4").tobytes() + np.eye(4, dtype="<f4")[[0, 2, 2, 1, 3, 0]].tobytes()
    ).hexdigest()
    monkeypatch.setattr(
        robots,
        "FOLLOWER",
        Source(robots.FOLLOWER.name, "", expected, "", 1, robots.FOLLOWER.digest),
    )
    (episode,) = data = wall_following(tmp_path)
    assert (
        data.rate == 9
        and data.shapes == {"sonar": (24,)}
        and episode["action"].argmax(1).tolist() == [0, 2, 2, 1, 3, 0]
    )
    np.testing.assert_array_equal(episode["sonar"], ranges.astype(np.float32))


@pytest.mark.parametrize("kind", ["mat", "npz"])
def test_the_arm(kind, tmp_path, monkeypatch):
    q, qd, qdd, tau = np.random.default_rng(0).normal(size=(4, 5, 7))
    if kind == "mat":
        scipy.io.savemat(
            tmp_path / "sarcos_inv_test.mat",
            {"sarcos_inv_test": np.concatenate([q, qd, qdd, tau], 1)},
        )
    else:
        np.savez(tmp_path / "sarcos_inv_test_ordered.npz", q=q, qd=qd, qdd=qdd, tau=tau)
    with pytest.raises(DataError, match="expected the SHA-256"):
        sarcos(tmp_path)
    expected = hashlib.sha256(b"".join(a.astype("<f4").tobytes() for a in (q, qd, tau))).hexdigest()
    monkeypatch.setattr(
        robots, "ARM", Source(robots.ARM.name, "", expected, "", 1, robots.ARM.digest)
    )
    (episode,) = data = sarcos(tmp_path)
    assert data.shapes == {"position": (7,), "velocity": (7,)} and data.rate == pytest.approx(
        1 / 0.11
    )
    np.testing.assert_array_equal(episode["action"], tau.astype(np.float32))
    np.testing.assert_array_equal(episode["velocity"], qd.astype(np.float32))


def test_oscillators_turn_by_their_frequency_and_keep_their_energy():
    seen, phase, rate = oscillators(400, 60, torch.Generator().manual_seed(0), 0.2, 0.4)
    assert (
        seen.shape == (60, 400, 1)
        and phase.shape == (60, 400)
        and rate.min() >= 0.2
        and rate.max() <= 0.4
    )
    turned = torch.remainder(phase[1:] - phase[:-1] + math.pi, 2 * math.pi) - math.pi
    assert (turned - rate).abs().max() < 0.07 and (
        turned.mean(0) - rate
    ).abs().max() < 0.01  # the shaking is 0.01 a step
    size = (seen[..., 0] * torch.cos(phase)).mean(0) / torch.cos(phase).square().mean(0)
    assert (size > 0.7).all() and (size < 1.3).all()
    left = seen[..., 0] - size * torch.cos(phase)
    assert abs(left.std().item() - 0.1) < 0.005
    assert torch.equal(seen, oscillators(400, 60, torch.Generator().manual_seed(0), 0.2, 0.4)[0])


def test_balls_stay_inside_and_keep_their_energy():
    found = bouncing_balls(6, 60, seed=1, balls=3, size=32, radius=4.0, speed=2.0)
    assert (
        found.frames.shape == (60, 6, 32, 32, 1)
        and found.frames.dtype == np.uint8
        and found.position.shape == (60, 6, 3, 2)
    )
    assert found.position.min() >= 4 and found.position.max() <= 28
    energy = np.square(found.velocity).sum((2, 3))
    np.testing.assert_allclose(energy, 3 * 4.0, rtol=1e-12)
    speeds = np.linalg.norm(found.velocity, axis=-1)
    assert np.ptp(speeds) > 0.5  # they did meet
    apart = np.linalg.norm(found.position[:, :, 0] - found.position[:, :, 1], axis=-1)
    assert apart.min() > 8 - 0.6  # two substeps of approach at most
    down, right = np.mgrid[:32, :32] + 0.5
    alone = bouncing_balls(2, 20, balls=1)
    weight = alone.frames[..., 0].astype(float)
    centre = np.stack(
        [(weight * axis).sum((2, 3)) / weight.sum((2, 3)) for axis in (down, right)], -1
    )
    np.testing.assert_allclose(centre, alone.position[:, :, 0], atol=0.05)
    np.testing.assert_array_equal(found.frames, bouncing_balls(6, 60, seed=1).frames)
    assert (found.frames != bouncing_balls(6, 60, seed=2).frames).any()


def test_a_ball_that_hits_another_head_on_stops():
    """Balls of one mass exchange their velocities."""
    position, velocity = (
        np.array([[[8.0, 16.0], [16.1, 16.0]]]),
        np.array([[[2.0, 0.5], [0.0, 0.0]]]),
    )
    from_generated = bouncing_balls.__globals__["_collide"]
    from_generated(position, velocity, 1, 0, 4.0)
    assert velocity.tolist() == [[[2.0, 0.5], [0.0, 0.0]]]  # they do not touch yet
    position[0, 0, 0] = 8.2
    from_generated(position, velocity, 1, 0, 4.0)
    np.testing.assert_allclose(velocity, [[[0.0, 0.5], [2.0, 0.0]]], atol=1e-12)


@pytest.mark.parametrize("given", [dict(balls=30), dict(radius=20.0), dict(count=0), dict(steps=0)])
def test_balls_that_do_not_fit_are_refused(given):
    with pytest.raises(DataError, match="balls"):
        bouncing_balls(**{"count": 1, "steps": 1, **given})


def test_moving_digits_stay_whole_and_bounce():
    digit = np.zeros((1, 28, 28), np.uint8)
    digit[0, 0, 0] = digit[0, 27, 27] = 200
    frames = moving_mnist(digit, 5, 80, seed=3, each=1, size=64, speed=3.6)
    assert frames.shape == (80, 5, 64, 64, 1) and frames.dtype == np.uint8
    assert ((frames == 200).sum((2, 3, 4)) == 2).all()  # both corners are always in the picture
    place = np.stack(np.unravel_index(frames.reshape(400, -1).argmax(1), (64, 64)), -1).reshape(
        80, 5, 2
    )
    assert place.min() == 0 and place.max() == 36
    step = np.linalg.norm(np.diff(place, axis=0), axis=-1)
    assert step.max() < 3.6 + 1.5 and np.median(step) > 2.5  # corners are whole pixels
    both = moving_mnist(digit, 2, 3, each=2)
    assert ((both == 200).sum((2, 3, 4)) <= 4).all() and both.max() == 200
    np.testing.assert_array_equal(
        frames, moving_mnist(torch.from_numpy(digit), 5, 80, seed=3, each=1)
    )
    with pytest.raises(DataError, match="smaller than 20"):
        moving_mnist(digit, 1, 1, size=20)
