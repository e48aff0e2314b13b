"""Compiling beside training: updates run as they are until another process has filled the
compiler's cache.

    a run     updates as they are ...              compiles from the cache (seconds), goes on
    a child   builds the same agent, compiles its update on made data (a minute or more), ends

``torch.compile`` works in the process that it is called in, holds Python's lock and sets random
states back: in a thread beside updates it would slow them down and change their draws. What another
process has compiled lies in a folder of torch's that both read
(:func:`agents.process.keep_compiled`), and later runs find it there, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import torch
from torch import Tensor

from agents.build import agent_class
from agents.config import load_config, to_dict
from agents.process import prepare_process
from agents.spaces import ActionSpec
from envs.child import start_python

RUNS = 3
"""Evaluations of a child: the first shows what networks return, the second compiles, the third
looks at strides.
"""


@dataclass
class Beside:
    """A process that compiles an agent's update while the agent learns.

    Args:
        shapes, action, config: what the agent is built from.
    """

    shapes: Mapping[str, Any]
    action: ActionSpec
    config: Any
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _said: IO[bytes] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_child": None, "_said": None}  # a copy compiles for itself

    def state(self, batch: Mapping[str, Tensor]) -> Literal["running", "done", "failed"]:
        """How far it is; the first call begins. ``failed`` comes with a warning that says why.

        Args:
            batch: what updates are made from; only its shapes and types count.
        """
        if self._child is None:
            self._child = self._begin(batch)
        code = self._child.poll()
        if code is None:
            return "running"
        if code:
            warnings.warn(
                f"the process that compiles ended with {code}: {self._last_line()}; "
                "training goes on without compiling, or with beside=false and it says more",
                stacklevel=2,
            )
        return "failed" if code else "done"

    def _begin(self, batch: Mapping[str, Tensor]) -> subprocess.Popen[bytes]:
        device = next(iter(batch.values())).device
        task = {
            "kind": self.config.kind,
            "config": to_dict(self.config),
            "device": str(device),
            "shapes": {k: list(s) for k, s in self.shapes.items()},
            "action": [self.action.size, self.action.discrete],
            "threads": torch.get_num_threads(),
            "batch": {k: [list(v.shape), str(v.dtype)] for k, v in batch.items()},
        }
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the child
        child = start_python(
            "agents.compiling",
            [task],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )  # its standard input stays open: it ends when that closes
        weakref.finalize(self, _end, child, self._said)
        return child

    def _last_line(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"


def _end(child: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    child.communicate()
    said.close()


def compile_update(task: Mapping[str, Any]) -> None:
    """Build an agent, and evaluate its losses and their gradients, compiled, on made data."""
    prepare_process(task["threads"])
    kind = agent_class(task["kind"])
    config = load_config(kind.Config, {**task["config"], "beside": False})
    shapes = {k: tuple(s) for k, s in task["shapes"].items()}
    agent = kind(shapes, ActionSpec(*task["action"]), config).to(task["device"]).train()
    batch = {
        k: torch.zeros(
            shape, dtype=getattr(torch, dtype.removeprefix("torch.")), device=task["device"]
        )
        for k, (shape, dtype) in task["batch"].items()
    }
    for _ in range(RUNS):
        loss, _ = agent.losses(batch)
        loss.backward()


def main(task: Mapping[str, Any]) -> None:
    """Compile an update; end when the standard input closes, with the run that asked for it."""
    threading.Thread(target=_until_closed, daemon=True).start()
    compile_update(task)


def _until_closed() -> None:
    sys.stdin.read()
    os._exit(0)
