"""Checkpoints: a folder each, written whole or not at all, without pickle.

nested state  ->  flatten_state  ->  named tensors + plain data  ->  save_checkpoint  ->
checkpoint-000012345/ load_checkpoint  ->  the newest that is sound  ->  unflatten_state  ->  the
same nested state
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from agents.disk import sync_file, sync_folder
from agents.errors import CheckpointError

FORMAT = 1
FILES = ("tensors.safetensors", "state.json")
NAME = re.compile(r"checkpoint-(\d+)(\.replaced)?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: the step, named tensors on the CPU, plain data, and where it
    lies.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    path: Path


def save_checkpoint(
    directory: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write ``checkpoint-STEP``, and then remove all but the newest ``keep`` up to this step.

    Everything is written under another name, synced to the disk and renamed, so that a crash at any
    point leaves a sound checkpoint; ``manifest.json`` holds the sha256 of every file. Checkpoints
    of later steps, left by a run that went on from an earlier one, are removed too: they would be
    taken for the newest.

    Args:
        tensors: of any device and type, finite; those that share memory are written one by one.
        state: what JSON keeps as it is, and numbers that are not finite in Python's own form
            (``Infinity``, such as the best bound before there is one); see ``flatten_state`` for
            the rest.

    Raises:
        CheckpointError: tensors hold NaN or infinity, or the disk is full or not writable; earlier
            checkpoints are as they were.
    """
    if step < 0 or keep < 1:
        raise ValueError(
            f"save_checkpoint: expected step >= 0 and keep >= 1, got {step} and {keep}"
        )
    try:
        text = json.dumps(dict(state))
    except TypeError as error:
        raise TypeError(
            f"state of a checkpoint: expected what JSON holds; {error}; give it to flatten_state"
        ) from None
    # the format takes neither strides nor shared memory
    copies = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()
    }
    wrong = _not_finite(copies)
    if wrong:
        raise CheckpointError(
            f"{directory}: expected finite numbers, got NaN or infinity in {wrong}; "
            f"the checkpoint of step {step} was not "
            "written, those before are as they were"
        )
    contents = dict(zip(FILES, (save(copies), text.encode()), strict=True))
    manifest = {
        "format": FORMAT,
        "step": step,
        "sha256": {k: hashlib.sha256(v).hexdigest() for k, v in contents.items()},
    }
    final, temporary = directory / f"checkpoint-{step:09d}", directory / f".writing-{step:09d}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob(".writing-*"):
            shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir()
        for name, data in (contents | {"manifest.json": json.dumps(manifest).encode()}).items():
            _write(temporary / name, data)
        sync_folder(temporary)
        _put(temporary, final)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise CheckpointError(
            f"{directory}: the checkpoint of step {step} cannot be written: "
            f"{error.strerror or error}; "
            "those before are as they were, make space and go on from there"
        ) from error
    kept = [p for p in _list(directory) if p == final or (_step(p) < step and not p.suffix)][:keep]
    for old in set(_list(directory)).difference(kept):
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(directory: Path) -> Checkpoint:
    """The newest checkpoint that is sound; one that is damaged, or holds NaN or infinity in a
    tensor, gives a warning and the one before is taken.

    Raises:
        CheckpointError: there is none; says what there is.
    """
    found = []
    for path in _list(directory):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            damage = f"is damaged ({type(error).__name__}: {error})"
            reason = f"{path.name} {error if isinstance(error, _NotFiniteError) else damage}"
            warnings.warn(f"{directory}: {reason}; trying the one before", stacklevel=2)
            found.append(reason)
    raise CheckpointError(
        f"{directory}: expected a sound checkpoint, found {', '.join(found) or 'nothing'}; "
        f"start a new run"
    )


def _list(directory: Path) -> list[Path]:
    """The checkpoints of a folder, newest first; behind a step's own the one that it replaces."""
    found = [p for p in directory.glob("checkpoint-*") if NAME.fullmatch(p.name)]
    return sorted(found, key=lambda p: (-_step(p), p.suffix))


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("checkpoint-"))


def _read(path: Path) -> Checkpoint:
    manifest = json.loads((path / "manifest.json").read_bytes())
    if (manifest["format"], manifest["step"]) != (FORMAT, _step(path)):
        raise ValueError(
            f"expected format {FORMAT} of step {_step(path)}, "
            f"got {manifest['format']} of {manifest['step']}"
        )
    contents = [(path / name).read_bytes() for name in FILES]
    for name, data in zip(FILES, contents, strict=True):
        if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
            raise ValueError(f"{name} is not what was written")
    found = Checkpoint(manifest["step"], load(contents[0]), json.loads(contents[1]), path)
    wrong = _not_finite(found.tensors)
    if wrong:
        raise _NotFiniteError(f"holds NaN or infinity in {wrong}")
    return found


class _NotFiniteError(ValueError):
    """Whole, and of no use."""


def _not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The names of tensors with NaN or infinity, a few of many; empty if there are none."""
    found = []
    for name, value in tensors.items():
        if value.is_floating_point() or value.is_complex():
            # torch looks into no number of 8 bits
            whole = value.float() if value.element_size() == 1 else value
            if not bool(torch.isfinite(whole).all()):
                found.append(name)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def _put(temporary: Path, final: Path) -> None:
    """Rename; one that has the name already is moved aside, where it can still be loaded."""
    if final.exists():
        aside = final.with_name(f"{final.name}.replaced")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(final, aside)
    os.rename(temporary, final)
    sync_folder(final.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        sync_file(file)


def flatten_state(nested: Any) -> tuple[dict[str, Tensor], Any]:
    """Nested dicts, lists and tuples of tensors, arrays and plain values -> named tensors and data
    that JSON keeps exactly.

    Keys of dicts may be text, numbers, bools and None. Raises TypeError, with the path, for
    anything else.

    Example:
        >>> tensors, plain = flatten_state({"adam": {0: (torch.ones(2), 0.1)}})
        >>> list(tensors), unflatten_state(tensors, plain)
        (['adam/0/0'], {'adam': {0: (tensor([1., 1.]), 0.1)}})
    """
    tensors: dict[str, Tensor] = {}

    def store(value: Tensor, path: str) -> str:
        name = path or "value"
        while name in tensors:  # the keys 0 and "0", or "a/b" and "a" with "b"
            name += "'"
        tensors[name] = value
        return name

    def visit(value: Any, path: str) -> Any:
        below = f"{path}/" if path else ""
        if isinstance(value, Tensor):
            return {"tensor": store(value, path)}
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            return {
                kind: store(
                    torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C")),
                    path,
                )
            }
        if isinstance(value, Mapping):
            return {"dict": [[_key(k, path), visit(v, f"{below}{k}")] for k, v in value.items()]}
        if isinstance(value, (list, tuple)):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [visit(v, f"{below}{i}") for i, v in enumerate(value)]}
        if value is None or type(value) in (bool, int, float, str):
            return {"value": value}
        raise TypeError(
            f"state, {path or 'whole'}: expected tensors, arrays, numbers, text, got "
            f"{type(value).__name__}; leave it out"
        )

    return tensors, visit(nested, "")


def unflatten_state(tensors: Mapping[str, Tensor], plain: Any) -> Any:
    """The inverse of ``flatten_state``: dicts, lists and tuples are plain ones, tensors lie where
    ``tensors`` has them.
    """
    ((kind, value),) = plain.items()
    if kind == "tensor":
        return tensors[value]
    if kind in ("array", "scalar"):
        array = tensors[value].numpy()
        return array if kind == "array" else array[()]
    if kind == "dict":
        return {k: unflatten_state(tensors, v) for k, v in value}
    if kind in ("list", "tuple"):
        found = [unflatten_state(tensors, v) for v in value]
        return found if kind == "list" else tuple(found)
    return value


def _key(key: Any, path: str) -> Any:
    if key is None or type(key) in (bool, int, float, str):
        return key
    raise TypeError(
        f"state, {path or 'whole'}: expected keys of text or numbers, "
        f"got {key!r} ({type(key).__name__})"
    )
