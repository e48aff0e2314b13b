"""A trained policy as a function that runs without this library: ``torch.export`` or ONNX.

    draws     every draw is an input, so that the function is deterministic
    units     actions in the environment's units
    step      the function and its signature;  files: written and read
    parity    does it act as the loaded policy does, and how long does it take
    whole     export(run) and check(run, file)

An agent says what of it can be exported by a property ``exports``: name -> ``(obs, state, explore)
-> (action, state)``.
"""

from agents.export.files import read, write
from agents.export.parity import Parity, ParityError, check_parity
from agents.export.step import PolicyStep, Signature, Slot, policy_step
from agents.export.whole import check, export

__all__ = [
    "Parity",
    "ParityError",
    "PolicyStep",
    "Signature",
    "Slot",
    "check",
    "check_parity",
    "export",
    "policy_step",
    "read",
    "write",
]
