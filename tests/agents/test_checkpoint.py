"""A checkpoint is whole or it is not there."""

import errno
import json
import math
import mmap
import os
import shutil
import signal
import stat

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_parts import forked

from agents.checkpoint import flatten_state, load_checkpoint, save_checkpoint, unflatten_state
from agents.errors import CheckpointError


def tensors(value):
    return {
        "w": torch.full((2, 3), float(value)),
        "b": torch.tensor([True, False]),
        "h": torch.ones(2, dtype=torch.bfloat16),
    }


def test_round_trip_and_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, tensors(step), {"n": step, "x": 0.1 + 0.2})
    assert sorted(p.name[-1] for p in tmp_path.iterdir()) == ["2", "3"]
    found = load_checkpoint(tmp_path)
    assert found.step == 3 and found.state == {"n": 3, "x": 0.1 + 0.2}
    assert all(
        torch.equal(found.tensors[k], v) and found.tensors[k].dtype == v.dtype
        for k, v in tensors(3).items()
    )
    assert not any(
        b"pickle" in f.read_bytes() or f.suffix in (".pt", ".pkl") for f in found.path.iterdir()
    )


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "manifest"])
def test_a_damaged_one_is_passed_over(tmp_path, damage):
    save_checkpoint(tmp_path, 1, tensors(1), {})
    path = save_checkpoint(tmp_path, 2, tensors(2), {})
    file = path / "tensors.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-5])
    elif damage == "missing":
        file.unlink()
    else:
        (path / "manifest.json").write_text("{")
    with pytest.warns(UserWarning, match="damaged"):
        assert load_checkpoint(tmp_path).step == 1


def test_a_crash_while_writing_leaves_the_one_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, tensors(1), {})

    def crash(*args):
        raise OSError("no space left")

    monkeypatch.setattr("agents.checkpoint.os.rename", crash)
    with pytest.raises(CheckpointError, match="no space left; those before are as they were"):
        save_checkpoint(tmp_path, 2, tensors(2), {})
    assert load_checkpoint(tmp_path).step == 1
    monkeypatch.undo()
    save_checkpoint(tmp_path, 2, tensors(2), {})
    assert load_checkpoint(tmp_path).step == 2


def test_none(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        load_checkpoint(tmp_path)


def test_nested_states_survive_exactly():
    weights = torch.nn.Parameter(torch.randn(3))
    optimizer = torch.optim.Adam([weights], lr=1e-3)
    weights.sum().backward()
    optimizer.step()
    state = {
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "array": np.arange(3),
        "t": (1, [2.5, None, "x"]),
        "generator": np.random.default_rng(0).bit_generator.state,
        7: True,
    }
    flat, plain = flatten_state(state)
    found = unflatten_state(flat, json.loads(json.dumps(plain)))
    assert (
        found["t"] == (1, [2.5, None, "x"])
        and found[7] is True
        and found["generator"] == state["generator"]
    )
    assert np.array_equal(found["array"], state["array"]) and torch.equal(
        found["rng"], state["rng"]
    )
    other = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
    other.load_state_dict(found["optimizer"])
    assert other.param_groups[0]["lr"] == 1e-3
    with pytest.raises(TypeError, match="object"):
        flatten_state({"a": object()})


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_any_flipped_byte_and_any_cut_is_found(name, tmp_path):
    save_checkpoint(tmp_path, 1, tensors(1), {"n": 1})
    file = save_checkpoint(tmp_path, 2, tensors(2), {"n": 2}) / name
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), min(len(whole), 60), replace=False).tolist():
        for damaged in (
            whole[:at],
            whole[:at] + bytes([whole[at] ^ (1 << int(rng.integers(8)))]) + whole[at + 1 :],
        ):
            file.write_bytes(damaged)
            with pytest.warns(UserWarning, match="damaged"):
                assert load_checkpoint(tmp_path).step == 1


def test_what_a_kill_leaves_behind_is_passed_over_and_removed(tmp_path):
    path = save_checkpoint(tmp_path, 1, tensors(1), {})
    shutil.copytree(path, tmp_path / ".writing-000000002")
    (tmp_path / "checkpoint-notes.txt").write_text("mine")
    assert load_checkpoint(tmp_path).path == path
    save_checkpoint(tmp_path, 3, tensors(3), {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-000000001",
        "checkpoint-000000003",
        "checkpoint-notes.txt",
    ]


@pytest.mark.parametrize("failing", [1, 2])
def test_saving_a_step_again_never_leaves_none(failing, tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, tensors(1), {"n": "old"}, keep=1)
    rename, calls = os.rename, []

    def crash(*args):
        calls.append(args)
        if len(calls) == failing:
            raise OSError("no space left")
        rename(*args)

    monkeypatch.setattr("agents.checkpoint.os.rename", crash)
    with pytest.raises(CheckpointError, match="no space left; those before are as they were"):
        save_checkpoint(tmp_path, 1, tensors(2), {"n": "new"}, keep=1)
    assert load_checkpoint(tmp_path).state == {"n": "old"}
    monkeypatch.undo()
    save_checkpoint(tmp_path, 1, tensors(2), {"n": "new"}, keep=1)
    assert load_checkpoint(tmp_path).state == {"n": "new"} and len(list(tmp_path.iterdir())) == 1


def test_a_run_that_went_on_from_an_earlier_one_supersedes_later_ones(tmp_path):
    save_checkpoint(tmp_path, 10, tensors(1), {}, keep=1)
    later = save_checkpoint(tmp_path, 20, tensors(2), {}, keep=2)
    (later / "state.json").write_text("{}  ")
    with pytest.warns(UserWarning, match="damaged"):
        assert load_checkpoint(tmp_path).step == 10
    save_checkpoint(tmp_path, 15, tensors(3), {}, keep=1)
    assert load_checkpoint(tmp_path).step == 15 and len(list(tmp_path.iterdir())) == 1


def test_steps_are_compared_as_numbers(tmp_path):
    for step in (999_999_999, 1_000_000_000):
        save_checkpoint(tmp_path, step, {}, {})
    assert load_checkpoint(tmp_path).step == 1_000_000_000


def test_the_error_says_what_is_wrong_with_each(tmp_path):
    (save_checkpoint(tmp_path, 1, tensors(1), {}) / "state.json").unlink()
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(CheckpointError, match=r"checkpoint-000000001.*state\.json"),
    ):
        load_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="keep >= 1"):
        save_checkpoint(tmp_path, 1, {}, {}, keep=0)
    with pytest.raises(TypeError, match="flatten_state"):
        save_checkpoint(tmp_path, 2, {}, {"x": np.float32(1)})
    with pytest.raises(CheckpointError, match="nothing"):
        load_checkpoint(tmp_path / "nowhere")


def test_tensors_that_share_memory_or_have_strides(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    given = {"a": base, "b": base, "t": base.T, "row": base[1], "one": torch.ones(1).expand(5)}
    given |= {"0": torch.tensor(3), "none": torch.zeros(0, 2)}
    given |= {
        str(d): torch.ones(3).to(d)
        for d in (torch.float64, torch.float16, torch.int8, torch.int64, torch.uint8)
    }
    given["p"] = torch.nn.Parameter(torch.ones(2))
    save_checkpoint(tmp_path, 0, given, {})
    found = load_checkpoint(tmp_path).tensors
    assert found.keys() == given.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in given.items())
    found["a"][0, 0] = 7.0
    assert found["b"][0, 0] == 0.0


def same(a, b):
    if isinstance(a, dict):
        return type(b) is dict and same(list(a), list(b)) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return (
        type(a) is type(b)
        and a == b
        and (not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b))
    )


KEYS = st.text(max_size=4) | st.integers(-3, 3)
PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text(max_size=5)
)


def groups(inner):
    lists = st.lists(inner, max_size=3)
    return lists | lists.map(tuple) | st.dictionaries(KEYS, inner, max_size=3)


@given(st.recursive(PLAIN, groups, max_leaves=12))
@settings(max_examples=50, deadline=None)
def test_plain_values_survive_json_exactly(nested):
    found, plain = flatten_state(nested)
    assert not found and same(unflatten_state(found, json.loads(json.dumps(plain))), nested)


def test_names_do_not_collide():
    nested = {
        1: torch.tensor(1),
        "1": torch.tensor(2),
        "a/b": torch.tensor(3),
        "a": {"b": torch.tensor(4)},
        "": torch.tensor(5),
    }
    flat, plain = flatten_state(nested)
    assert len(flat) == 5
    found = unflatten_state(flat, plain)
    assert found.pop("a") == {"b": 4} and [int(x) for x in found.values()] == [1, 2, 3, 5]
    flat, plain = flatten_state(torch.ones(2))
    assert torch.equal(unflatten_state(flat, plain), torch.ones(2)) and "" not in flat


def test_arrays_of_any_layout_survive(tmp_path):
    nested = {
        "scalar": np.array(2.5),
        "back": np.arange(6)[::-2],
        "t": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        "big": np.arange(3, dtype=">i4"),
        "f32": np.float32(0.1),
        "i": np.int64(2**62),
        "b": np.bool_(True),
        "empty": np.zeros((0, 3)),
        "size": torch.Size([2, 3]),
    }
    nested["frozen"] = np.ones(3)
    nested["frozen"].flags.writeable = False
    flat, plain = flatten_state(nested)
    save_checkpoint(tmp_path, 0, flat, {"nested": plain})
    read = load_checkpoint(tmp_path)
    found = unflatten_state(read.tensors, read.state["nested"])
    assert found["size"] == (2, 3)
    for k, v in nested.items():
        assert np.array_equal(found[k], v) and type(found[k]) is (
            tuple if k == "size" else type(v)
        ), k
        assert k == "size" or (
            found[k].dtype == v.dtype.newbyteorder("=") and found[k].shape == v.shape
        )


@pytest.mark.parametrize(
    "bit", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]
)
def test_generators_go_on_where_they_were(bit, tmp_path):
    rng, torch_rng = np.random.Generator(bit(1)), torch.Generator().manual_seed(3)
    rng.random(5), torch.rand(5, generator=torch_rng)
    flat, plain = flatten_state({"numpy": rng.bit_generator.state, "torch": torch_rng.get_state()})
    save_checkpoint(tmp_path, 0, flat, {"nested": plain})
    read = load_checkpoint(tmp_path)
    found = unflatten_state(read.tensors, read.state["nested"])
    other, torch_other = np.random.Generator(bit(2)), torch.Generator()
    other.bit_generator.state = found["numpy"]
    torch_other.set_state(found["torch"])
    assert np.array_equal(rng.random(9), other.random(9))
    assert torch.equal(torch.rand(9, generator=torch_rng), torch.rand(9, generator=torch_other))


@pytest.mark.parametrize(
    "nested",
    [{"a": {1, 2}}, {"a": [b"x"]}, {(1, 2): 3}, {"a": np.array(["x"])}, {"a": np.array([None])}],
)
def test_what_cannot_be_kept_is_named(nested):
    with pytest.raises(TypeError, match=r"state, .*: expected"):
        flatten_state(nested)


# ---------------------------------------------------------------- numbers that are not finite


BAD = [
    ("agent/w", torch.tensor([1.0, float("nan")])),
    ("optimizer/state/0/exp_avg", torch.tensor([[float("inf")]])),
    ("scale", torch.tensor(float("-inf"), dtype=torch.float64)),
    ("half", torch.tensor([float("nan")], dtype=torch.bfloat16)),
    ("complex", torch.tensor([complex(0, float("nan"))])),
    ("eight", torch.tensor([float("nan")]).to(torch.float8_e4m3fn)),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[name for name, _ in BAD])
def test_numbers_that_are_not_finite_are_not_written_and_not_loaded(
    name, value, tmp_path, monkeypatch
):
    path = save_checkpoint(tmp_path, 1, tensors(1), {"n": 1})
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(
        CheckpointError,
        match=f"NaN or infinity in {name}; the checkpoint of step 2 was not written",
    ) as error:
        save_checkpoint(tmp_path, 2, {**tensors(2), name: value}, {})
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and {
        p.name: p.read_bytes() for p in path.iterdir()
    } == before
    # as a version without the check wrote it, with a right checksum
    with monkeypatch.context() as patch:
        patch.setattr("agents.checkpoint._not_finite", lambda tensors: "")
        save_checkpoint(tmp_path, 2, {**tensors(2), name: value}, {})
    with pytest.warns(
        UserWarning, match=f"000000002 holds NaN or infinity in {name}; trying the one before"
    ) as caught:
        assert load_checkpoint(tmp_path).step == 1
    assert len(caught) == 1


def test_many_names_are_cut_and_integers_are_always_fine(tmp_path):
    with pytest.raises(CheckpointError, match="in 0, 1, 2, 3 and 6 more;"):
        save_checkpoint(tmp_path, 2, {str(i): torch.tensor(float("nan")) for i in range(10)}, {})
    assert not tmp_path.exists() or not list(tmp_path.iterdir())
    save_checkpoint(
        tmp_path,
        2,
        {"n": torch.tensor(2**62), "empty": torch.zeros(0), "b": torch.tensor(True)},
        {},
    )


def test_plain_numbers_may_be_infinite(tmp_path):
    """The best bound before the first validation is; JSON as Python writes it holds it."""
    given = {"best": math.inf, "low": -math.inf, "nan": math.nan}
    save_checkpoint(tmp_path, 1, {}, {**given, "nested": flatten_state(given)[1]})
    found = load_checkpoint(tmp_path).state
    assert same(given, {k: found[k] for k in given}) and same(
        given, unflatten_state({}, found["nested"])
    )


# ---------------------------------------------------------------- kills, disks and shares


def save_on(folder, first, done):
    """Save for ever; ``done`` is shared memory that says which step was saved last."""
    for i in range(first, 10**6):
        save_checkpoint(folder, i, {"w": torch.full((500,), float(i))}, {"i": i})
        done[:8] = i.to_bytes(8, "little")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_200_kills_while_saving(tmp_path):
    """A process that does nothing but save is killed at random moments, and at each of its calls to
    the system.
    """
    done, rng, step, kills = mmap.mmap(-1, 8), np.random.default_rng(0), 0, 0

    def dying(call, left):
        def counted(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    def at_call(number):
        left = [number]
        for name in ("open", "fsync", "rename", "mkdir", "close", "rmdir", "unlink"):
            setattr(os, name, dying(getattr(os, name), left))
        save_on(tmp_path, step + 1, done)

    for turn in range(200):
        if turn % 2:
            kills += forked(
                lambda: save_on(tmp_path, step + 1, done),  # noqa: B023
                float(rng.uniform(0.0, 0.02)),
            )
        else:
            kills += forked(lambda: at_call(1 + turn // 2), 60.0)  # noqa: B023
        saved = int.from_bytes(done[:8], "little")
        if saved or list(tmp_path.glob("checkpoint-*")):
            found = load_checkpoint(tmp_path)
            assert (found.tensors["w"] == found.state["i"]).all() and found.step == found.state["i"]
            assert found.step >= max(saved, step)
            step = found.step
    assert kills == 200 and step > 100


def test_a_full_disk_while_saving_is_one_line(tmp_path):
    resource = pytest.importorskip("resource")
    save_checkpoint(tmp_path, 1, tensors(1), {})

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        with pytest.raises(
            CheckpointError, match=r"step 2 cannot be written: .*; those before are as they were"
        ) as error:
            save_checkpoint(tmp_path, 2, {"w": torch.ones(100_000)}, {})
        assert "\n" not in str(error.value)

    forked(full)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000000001"] and load_checkpoint(
        tmp_path
    ).step == 1


def test_a_folder_that_cannot_be_synced_is_noted_once(tmp_path, monkeypatch):
    """As on network shares."""
    whole = os.fsync

    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        whole(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr("agents.disk._NOTED", set())
    with pytest.warns(UserWarning, match="cannot be synced here") as caught:  # noqa: PT031 (one in all)
        save_checkpoint(tmp_path, 1, tensors(1), {})
        save_checkpoint(tmp_path, 2, tensors(2), {})
    assert len(caught) == 1 and load_checkpoint(tmp_path).step == 2
