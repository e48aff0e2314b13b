r"""One step of a policy as a function of tensors: observation, state and noise in, action and state
out.

.. math:: (a_t, s_t) = f(x_t, \mathrm{is\_first}_t, s_{t-1}, \epsilon_t)

Nothing is drawn in it, so that equal inputs give equal outputs. All tensors have one row, ``[1,
...]``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.agent import Choose
from agents.chosen import choices_of, kind_of
from agents.errors import UsageError
from agents.export.draws import Recorded, given
from agents.export.units import Units
from agents.spaces import Interface

FORMAT = 1


@dataclass(frozen=True)
class Slot:
    """An input or an output: its name, what it is, shape and type; of noise, its distribution.

    >>> Slot("noise_0", "noise", (1, 8), "float32", "uniform").draws
    'uniform'
    """

    name: str
    what: str
    shape: tuple[int, ...]
    dtype: str
    draws: str | None = None


@dataclass(frozen=True)
class Signature:
    """What an exported function is: where it comes from, its inputs and outputs in their order.

    Args:
        agent: its kind.
        exported: which of its functions: ``"policy"``, or ``"planner"``.
        explore: actions are drawn as in training; else the best ones.
        step: the checkpoint's.
        inputs, outputs: in their order; the state that comes out as ``next_NAME`` goes in as
            ``state_NAME``.
        action: the space of the action, as plain data.

    >>> Signature("dreamer_v3", "policy", False, 0, (), (), {}).text()[:42]
    '{"agent": "dreamer_v3", "exported": "polic'
    """

    agent: str
    exported: str
    explore: bool
    step: int
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    action: dict[str, Any]
    format: int = FORMAT

    def text(self) -> str:
        """As JSON, which lies in the file beside the function."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> Signature:
        """From JSON.

        Raises:
            UsageError: it is of another version, or none.
        """
        try:
            found = json.loads(text)
            for key in ("inputs", "outputs"):
                found[key] = tuple(
                    Slot(**{**slot, "shape": tuple(slot["shape"])}) for slot in found[key]
                )
            signature = Signature(**found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"expected the signature of an exported policy, got {text[:80]!r}: {error}"
            ) from None
        if signature.format != FORMAT:
            raise UsageError(
                f"expected format {FORMAT} of an exported policy, got {signature.format}; "
                f"export it again"
            )
        return signature

    def names(self, what: str) -> list[str]:
        """Of the inputs of one kind."""
        return [slot.name for slot in self.inputs if slot.what == what]


class PolicyStep(nn.Module):
    """The function ``(x_t, is_first_t, s_{t-1}, noise_t) -> (a_t, s_t)``, all ``[1, ...]``, in the
    order of a signature.

    Args:
        agent: holds the weights.
        choose: acts, without a look at any number.
        signature: which input is what.
        units: of the environment.
        explore: draw actions as in training.
    """

    def __init__(
        self, agent: nn.Module, choose: Choose, signature: Signature, units: Units, explore: bool
    ) -> None:
        super().__init__()
        self.agent, self.units, self.explore = agent, units, explore
        self.__dict__["choose"] = choose  # its weights are the agent's
        self.signature = signature

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        by_name = dict(zip((slot.name for slot in self.signature.inputs), tensors, strict=True))
        obs = {k.removeprefix("obs_"): by_name[k] for k in self.signature.names("observation")}
        state = {k.removeprefix("state_"): by_name[k] for k in self.signature.names("state")}
        noise = [by_name[k] for k in self.signature.names("noise")]
        choose: Choose = self.__dict__["choose"]
        with torch.no_grad(), given(noise):
            action, following = choose(
                {**obs, "is_first": by_name["is_first"]}, state, self.explore
            )
        return (self.units(action), *(following[k] for k in state))


def policy_step(
    agent: Any,
    interface: Interface,
    space: Any,
    plain: dict[str, Any],
    *,
    exported: str | None = None,
    explore: bool = False,
    step: int = 0,
) -> tuple[PolicyStep, tuple[Tensor, ...]]:
    """The function of an agent, and inputs to try it with.

    Args:
        agent: on a CPU; has ``exports``: name -> :data:`Choose`, of which the first is what ``act``
            does.
        interface: what it sees and does.
        space, plain: the action space that the environment declares, and the same as plain data.
        exported: a name of ``exports``; the first if None.
        explore: draw actions as in training.
        step: of the checkpoint.

    Raises:
        UsageError: the agent says of no function that it can be exported, has none of this name, or
            draws what cannot be an input.
    """
    choices, kind = choices_of(agent, "see agents/export"), kind_of(agent)
    name = exported or next(iter(choices))
    if name not in choices:
        raise UsageError(
            f"agent.kind {kind}: expected one of {', '.join(choices)} to export, got {name!r}"
        )
    reads = getattr(agent, "reads", interface.shapes)
    obs = {
        k: torch.zeros(1, *s, dtype=_torch_dtype(interface, k))
        for k, s in interface.shapes.items()
        if k in reads
    }
    first = torch.tensor([True])
    state = {k: v.clone() for k, v in agent.initial(1).items()}
    choose = choices[name]
    # plans are written at the first call
    _, following = choose({**obs, "is_first": first}, state, explore)
    state = state if following else {}
    with Recorded() as recorded:
        _, following = choose({**obs, "is_first": first}, state, explore)
    if {k: v.shape for k, v in following.items()} != {k: v.shape for k, v in state.items()}:
        raise UsageError(
            f"{kind}, {name}: expected the state {sorted(state)} as it was given, "
            f"got {sorted(following)}"
        )
    named = {f"obs_{k}": ("observation", v) for k, v in obs.items()} | {
        "is_first": ("is_first", first)
    }
    named |= {f"state_{k}": ("state", v) for k, v in state.items()}
    noise = {f"noise_{i}": draw for i, draw in enumerate(recorded.draws)}
    inputs = [_slot(n, what, v) for n, (what, v) in named.items()]
    inputs += [_slot(n, "noise", draw.value, draw.kind) for n, draw in noise.items()]
    units = Units(space)
    action = units(torch.zeros(1, interface.action.size))
    outputs = [
        _slot("action", "action", action),
        *(_slot(f"next_{k}", "state", v) for k, v in state.items()),
    ]
    signature = Signature(kind, name, explore, step, tuple(inputs), tuple(outputs), plain)
    values = [v for _, v in named.values()] + [draw.value for draw in noise.values()]
    return PolicyStep(agent, choose, signature, units, explore).eval(), tuple(
        v.detach().clone() for v in values
    )


def _slot(name: str, what: str, value: Tensor, draws: str | None = None) -> Slot:
    return Slot(name, what, tuple(value.shape), str(value.dtype).removeprefix("torch."), draws)


def _torch_dtype(interface: Interface, key: str) -> torch.dtype:
    return torch.uint8 if interface.dtypes[key].kind == "u" else torch.float32
