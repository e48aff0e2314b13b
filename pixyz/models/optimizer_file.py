"""The state of an optimiser in two files, without pickle: tensors as safetensors,
the rest as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor, optim


def save_optimizer(optimizer: optim.Optimizer, folder: Path, name: str) -> None:
    """Write ``name.safetensors`` and ``name.json``."""
    from safetensors.torch import save_file  # not needed until a model is saved

    state = optimizer.state_dict()
    tensors = {
        f"{i}.{k}": v
        for i, s in state["state"].items()
        for k, v in s.items()
        if isinstance(v, Tensor)
    }
    plain = {
        str(i): {k: v for k, v in s.items() if not isinstance(v, Tensor)}
        for i, s in state["state"].items()
    }
    groups = [
        {k: v.item() if isinstance(v, Tensor) else v for k, v in g.items()}
        for g in state["param_groups"]
    ]
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps({"groups": groups, "plain": plain}))


def load_optimizer(optimizer: optim.Optimizer, folder: Path, name: str) -> None:
    """Read what :func:`save_optimizer` wrote."""
    from safetensors.torch import load_file

    meta = json.loads((folder / f"{name}.json").read_text())
    state: dict[int, dict[str, object]] = {int(i): dict(s) for i, s in meta["plain"].items()}
    for key, tensor in load_file(folder / f"{name}.safetensors").items():
        index, entry = key.split(".", 1)
        state.setdefault(int(index), {})[entry] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": meta["groups"]})
