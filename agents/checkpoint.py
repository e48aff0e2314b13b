"""Checkpoints: a folder each, written whole or not at all, without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from agents.errors import CheckpointError

FORMAT = 1
FILES = ("tensors.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: the step, named tensors, plain data, and where it lies."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    path: Path


def save_checkpoint(
    directory: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], keep: int = 2
) -> Path:
    """Write ``checkpoint-STEP`` and then remove all but the newest ``keep``.

    Everything is written under another name, synced to the disk and renamed; ``manifest.json`` holds the sha256 of
    every file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / f"checkpoint-{step:012d}"
    temporary = directory / f".writing-{step:012d}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    copies = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    contents = (save(copies), json.dumps(dict(state)).encode())
    for name, data in zip(FILES, contents, strict=True):
        _write(temporary / name, data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in zip(FILES, contents, strict=True)}
    _write(temporary / "manifest.json", json.dumps({"format": FORMAT, "step": step, "sha256": sums}).encode())
    _sync_folder(temporary)
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    _sync_folder(directory)
    for old in sorted(directory.glob("checkpoint-*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(directory: Path) -> Checkpoint:
    """The newest checkpoint that is sound; a damaged one gives a warning and the one before is taken.

    Raises:
        CheckpointError: there is none.
    """
    found = sorted(directory.glob("checkpoint-*"), reverse=True)
    for path in found:
        try:
            return _read(path)
        except (OSError, ValueError, KeyError) as error:
            warnings.warn(f"{path} is damaged ({error}); trying the one before", stacklevel=2)
    raise CheckpointError(f"no sound checkpoint in {directory}; found {[p.name for p in found] or 'nothing'}")


def _read(path: Path) -> Checkpoint:
    manifest = json.loads((path / "manifest.json").read_bytes())
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
    contents = [(path / name).read_bytes() for name in FILES]
    for name, data in zip(FILES, contents, strict=True):
        if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
            raise ValueError(f"{name} is not what was written")
    return Checkpoint(manifest["step"], load(contents[0]), json.loads(contents[1]), path)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# -------------------------------------------------------------------------------------------- nested states


def flatten_state(nested: Any) -> tuple[dict[str, Tensor], Any]:
    """Nested dicts, lists and tuples with tensors -> named tensors and plain data that JSON keeps exactly."""
    tensors: dict[str, Tensor] = {}

    def visit(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value
            return {"tensor": path}
        if isinstance(value, np.ndarray):
            tensors[path] = torch.from_numpy(np.ascontiguousarray(value))
            return {"array": path}
        if isinstance(value, Mapping):
            return {"dict": [[k, visit(v, f"{path}/{k}")] for k, v in value.items()]}
        if isinstance(value, (list, tuple)):
            return {type(value).__name__: [visit(v, f"{path}/{i}") for i, v in enumerate(value)]}
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"value": value}
        raise TypeError(f"a checkpoint holds tensors, arrays, numbers and text, got {type(value).__name__} at {path or '/'}")

    return tensors, visit(nested, "")


def unflatten_state(tensors: Mapping[str, Tensor], plain: Any) -> Any:
    """The inverse of :func:`flatten_state`."""
    (kind, value), = plain.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "array":
        return tensors[value].numpy()
    if kind == "dict":
        return {k: unflatten_state(tensors, v) for k, v in value}
    if kind in ("list", "tuple"):
        found = [unflatten_state(tensors, v) for v in value]
        return found if kind == "list" else tuple(found)
    return value
