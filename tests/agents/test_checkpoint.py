"""A checkpoint is whole or it is not there."""

import json

import numpy as np
import pytest
import torch

from agents.checkpoint import flatten_state, load_checkpoint, save_checkpoint, unflatten_state
from agents.errors import CheckpointError


def tensors(value):
    return {"w": torch.full((2, 3), float(value)), "b": torch.tensor([True, False]), "h": torch.ones(2, dtype=torch.bfloat16)}


def test_round_trip_and_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, tensors(step), {"n": step, "x": 0.1 + 0.2})
    assert sorted(p.name[-1] for p in tmp_path.iterdir()) == ["2", "3"]
    found = load_checkpoint(tmp_path)
    assert found.step == 3 and found.state == {"n": 3, "x": 0.1 + 0.2}
    assert all(torch.equal(found.tensors[k], v) and found.tensors[k].dtype == v.dtype for k, v in tensors(3).items())
    assert not any(b"pickle" in f.read_bytes() or f.suffix in (".pt", ".pkl") for f in found.path.iterdir())


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
    with pytest.raises(OSError):
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
        "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(), "array": np.arange(3), "t": (1, [2.5, None, "x"]),
        "generator": np.random.default_rng(0).bit_generator.state, 7: True,
    }
    flat, plain = flatten_state(state)
    found = unflatten_state(flat, json.loads(json.dumps(plain)))
    assert found["t"] == (1, [2.5, None, "x"]) and found[7] is True and found["generator"] == state["generator"]
    assert np.array_equal(found["array"], state["array"]) and torch.equal(found["rng"], state["rng"])
    other = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
    other.load_state_dict(found["optimizer"])
    assert other.param_groups[0]["lr"] == 1e-3
    with pytest.raises(TypeError, match="object"):
        flatten_state({"a": object()})
