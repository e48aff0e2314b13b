"""From a run's folder to a file, and a look whether it acts the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agents.build import build
from agents.chosen import Chosen
from agents.export.files import ENDINGS, Form, check_packages, read, write
from agents.export.parity import Parity, arranged, check_parity, latency, start
from agents.export.step import Signature, policy_step
from agents.policy import Policy, declared, guards, load, read_settings
from agents.run import read_part
from agents.spaces import Interface
from envs.plain import space_to_plain


def export(
    run: str | Path,
    form: Form = "onnx",
    path: Path | None = None,
    *,
    exported: str | None = None,
    explore: bool = False,
) -> Path:
    """Write the policy of a training run as a function of tensors; see :mod:`agents.export.step`.

    Args:
        run: its folder.
        form: ``"onnx"``, or ``"torch"`` (``torch.export``).
        path: of the file; ``RUN/policy.onnx`` or ``.pt2`` if None, with the name of what is
            exported.
        exported: which function of the agent: for TD-MPC ``"planner"`` or ``"policy"``; what
            ``act`` does if None.
        explore: draw actions as in training; else the best ones.

    Raises:
        UsageError: it is no such run, a package is missing, or the agent cannot be exported.
    """
    check_packages(form, runs=False)
    directory = Path(run)
    settings = read_settings(directory, "cpu")
    (see, do), (_, action) = guards(directory), declared(directory)
    interface = Interface.from_spaces(see.space, do.space)
    agent: Any = build(settings.agent, interface)
    at, state = read_part(directory, "agent")
    agent.load_state(state)
    if isinstance(agent, torch.nn.Module):
        agent.eval()
    step, inputs = policy_step(
        agent,
        interface,
        action,
        space_to_plain(action),
        exported=exported,
        explore=explore,
        step=at,
    )
    path = path or directory / f"{step.signature.exported}{ENDINGS[form]}"
    write(step, inputs, path, form)
    return path


def check(
    run: str | Path, path: Path, form: Form, steps: int = 32
) -> tuple[Signature, Parity, dict[str, dict[str, float]]]:
    """Compare a file of :func:`export` with ``agents.load(run)``, and time both on one thread.

    Returns:
        The file's signature, the largest differences, and milliseconds of a step by who makes it,
            p50 and p99.

    Raises:
        ParityError: they differ.
    """
    signature, function = read(path, form)
    observation, _ = declared(Path(run))
    policy = reference(run, signature)
    parity = check_parity(policy, observation, signature, function, steps)
    seen = observation.sample()
    noise = [_noise(slot.shape, slot.draws) for slot in signature.inputs if slot.what == "noise"]
    inputs = arranged(signature, policy.seen(seen), False, start(signature), noise)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = latency(
            {"agents.load": lambda: policy.act(seen), path.name: lambda: function(inputs)}
        )
    finally:
        torch.set_num_threads(threads)
    return signature, parity, taken


def reference(run: str | Path, signature: Signature) -> Policy:
    """What an exported function is compared with: ``agents.load(run)``; where that does something
    else (a planner under a limit of time, another function of the agent), the agent's own function
    in its place.
    """
    policy = load(run, device="cpu", explore=signature.explore)
    agent: Any = policy.actor
    if signature.exported != next(iter(agent.exports)) or getattr(agent.config, "seconds", 0.0):
        policy.actor = Chosen(agent, agent.exports[signature.exported])
        policy.reset()
    return policy


def _noise(shape: tuple[int, ...], draws: str | None) -> Any:
    return (torch.rand(shape) if draws == "uniform" else torch.randn(shape)).numpy()
