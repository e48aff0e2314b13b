"""Compiling beside training: updates run as they are until another process has filled the
compiler's cache.

    a run     updates as they are ...              compiles from the cache (seconds), goes on
    a child   builds the same agent, compiles its update on made data (a minute or more), ends

:class:`Beside` is that child; :class:`Switch` has one, and switches over before a certain update.

``torch.compile`` works in the process that it is called in, holds Python's lock and sets random
states back: in a thread beside updates it would slow them down and change their draws. What another
process has compiled lies in a folder of torch's that both read
(:func:`agents.process.keep_compiled`), and later runs find it there, too.
"""

from __future__ import annotations

import os
import signal
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

from agents.agent import Batch, Choose, State
from agents.build import agent_class
from agents.capture import undone
from agents.chosen import compiled_choice
from agents.config import load_config, to_dict
from agents.errors import UsageError
from agents.process import prepare_process
from agents.spaces import ActionSpec
from envs.child import start_python
from worldmodels import ranks

RUNS = 3
"""Evaluations until all is compiled: the first shows what networks return, the second compiles, the
third looks at strides.
"""


@dataclass
class Beside:
    """A process that compiles an agent's update while the agent learns.

    Args:
        shapes, action, config: what the agent is built from, there: one that compiles at once.
        obs: what it explores from, :func:`described`, where that is compiled, too.
        flags: of the agent, by the names of its buffers; programs differ by them.
        cure: what the warning says at its end if it fails.
    """

    shapes: Mapping[str, Any]
    action: ActionSpec
    config: Any
    obs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    flags: Mapping[str, bool] = field(default_factory=dict)
    cure: str = ""
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _said: IO[bytes] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_child": None, "_said": None}  # a copy compiles for itself

    @property
    def begun(self) -> bool:
        """Whether the process was begun."""
        return self._child is not None

    def begin(self, batch: Mapping[str, Tensor]) -> subprocess.Popen[bytes]:
        """The process, which begins at the first call.

        Args:
            batch: what updates are made from; only its shapes and types count.
        """
        if self._child is None:
            self._child = self._begin(batch)
        return self._child

    def wait(self, batch: Mapping[str, Tensor]) -> bool:
        """Until it has ended; whether it did what it is for, else with :meth:`state`'s warning."""
        self.begin(batch).wait()
        return self.state(batch) == "done"

    def state(self, batch: Mapping[str, Tensor]) -> Literal["running", "done", "failed"]:
        """How far it is; the first call begins. ``failed`` comes with a warning that says why.

        Args:
            batch: what updates are made from; only its shapes and types count.
        """
        code = self.begin(batch).poll()
        if code is None:
            return "running"
        if code:
            warnings.warn(
                f"the process that compiles ended with {code}: {self._last_line()}; "
                f"training goes on without compiling{self.cure}",
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
            "batch": described(batch),
            "obs": dict(self.obs),
            "flags": dict(self.flags),
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
        child.kill()
    child.communicate()
    said.close()


def described(given: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """Shapes and types."""
    return {k: [list(v.shape), str(v.dtype)] for k, v in given.items()}


def _made(like: Mapping[str, Any], device: str) -> dict[str, Tensor]:
    return {
        k: torch.zeros(shape, dtype=getattr(torch, dtype.removeprefix("torch.")), device=device)
        for k, (shape, dtype) in like.items()
    }


def compile_update(task: Mapping[str, Any]) -> None:
    """Build an agent; evaluate its losses and their gradients, compiled, on made data, and explore
    from made observations where that is compiled, too.
    """
    prepare_process(task["threads"])
    kind, device = agent_class(task["kind"]), task["device"]
    shapes = {k: tuple(s) for k, s in task["shapes"].items()}
    config = load_config(kind.Config, task["config"])
    agent = kind(shapes, ActionSpec(*task["action"]), config).to(device).train()
    agent.load_state_dict({k: torch.tensor(v) for k, v in task["flags"].items()}, strict=False)
    batch, obs = _made(task["batch"], device), _made(task["obs"], device)
    if (switch := getattr(agent, "switch", None)) is None:
        rehearse(agent, batch)
    else:
        switch.on = True
        switch.before(agent, batch)
    if obs:
        agent.choose(obs, agent.initial(len(obs["is_first"])), True)


def rehearse(agent: Any, batch: Batch) -> None:
    """Losses and gradients, as often as it takes until they are compiled; nothing of it stays."""
    with undone(agent.parameters(), agent.buffers()):
        for _ in range(RUNS):
            loss, _ = agent.losses(batch)
            loss.backward()


class Switch:
    """Compiles an agent's updates, and what it explores by, before a certain update: on a CPU equal
    seeds give equal numbers then, and a run that was resumed those of one that was not.

    A process beside training fills the compiler's cache until then, from half of these updates on;
    it is waited for. If it fails, that is said, and nothing is compiled.

    Args:
        at: the update; 0: nothing is compiled.
        chunk: steps of a time loop that are compiled at a time.
        beside: that process.

    Raises:
        UsageError: several processes learn together, of which each would compile for itself.
    """

    def __init__(self, at: int, chunk: int, beside: Beside) -> None:
        if at and ranks.active():
            raise UsageError(
                f"agent.compile_from={at}: expected one process that learns, got "
                f"{ranks.count()}; take 0"
            )
        self.at, self.chunk, self.beside = at, chunk, beside
        self.updates, self.on, self._ready = 0, False, False
        self._choices: dict[object, Choose] = {}

    def __getstate__(self) -> dict[str, Any]:  # a copy compiles for itself
        return {**vars(self), "_ready": False, "_choices": {}}

    def state(self) -> dict[str, Any]:
        """How far it is."""
        return {"updates": self.updates, "on": self.on, "obs": dict(self.beside.obs)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Be as far; the agent's objective is not compiled by now."""
        self.updates, self.on = state["updates"], state["on"]
        self.beside.obs = state["obs"]
        self._ready, self._choices = False, {}

    def before(self, agent: Any, batch: Batch) -> None:
        """What is due before an update of ``agent``, which counts it in ``updates`` when it is
        made.
        """
        if not self.at or self._ready:
            return
        if not self.on and self.at // 2 <= self.updates <= self.at:
            if not self.beside.begun:
                self.beside.flags = _flags(agent)
                self.beside.begin(batch)
            self.on = self.updates == self.at and self.beside.wait(batch)
        if self.on:
            agent.objective.compile(self.chunk, whole=True)
            rehearse(agent, batch)
            self._ready = True

    def choose(
        self, agent: Any, obs: Mapping[str, Tensor], state: State, program: object
    ) -> tuple[Tensor, State] | None:
        """What ``agent.exports`` names first, exploring, where that is compiled by now.

        Args:
            program: which one it is, of those that it may be.
        """
        if not self.at:
            return None
        if not self.on:
            self.beside.obs = described(obs)
        if not self.on or not agent.training:
            return None
        if program not in self._choices:
            plain = next(iter(agent.exports.values()))
            choose = self._choices[program] = compiled_choice(plain)
            with undone(agent.parameters(), agent.buffers()):
                plain(obs, state, True)  # what it makes once is not made by compiled code
                for _ in range(RUNS):
                    choose(obs, state, True)
        return self._choices[program](obs, state, True)


def _flags(agent: Any) -> dict[str, bool]:
    return {k: bool(v) for k, v in agent.named_buffers() if v.dtype == torch.bool and not v.ndim}


def main(task: Mapping[str, Any]) -> None:
    """Compile an update; end when the standard input closes, with the run that asked for it, and
    not by a signal that asks that run to stop.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # passed on to the compilers that it starts
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_until_closed, daemon=True).start()
    compile_update(task)


def _until_closed() -> None:
    sys.stdin.read()
    os._exit(0)
