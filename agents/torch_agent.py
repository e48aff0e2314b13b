"""What agents made of torch modules share: where they are, saving, one guarded update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agents.agent import Nested, State
from agents.capture import Captured, why_not
from agents.guard import backward
from agents.replay.codecs import Codec
from agents.replay.priorities import Ranked


@torch.no_grad()
def follow(slow: nn.Module, module: nn.Module, rate: float) -> None:
    """Move the weights of a copy a little towards those of a module.

    >>> slow, module = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> follow(slow, module, 1.0)
    >>> torch.equal(slow.weight, module.weight)
    True
    """
    torch._foreach_lerp_(list(slow.parameters()), list(module.parameters()), rate)


class TorchAgent(nn.Module):
    """Abstract: an agent of networks and optimizers. A final class adds ``window``, ``initial``,
    ``act`` and ``learn``.

    Parameters, buffers and every attribute that is a ``torch.optim.Optimizer`` are what
    :meth:`state` saves.

    >>> from agents.dreamer.v3 import DreamerV3
    >>> issubclass(DreamerV3, TorchAgent)
    True
    """

    @property
    def stored(self) -> Mapping[str, tuple[int, ...]]:
        """Nothing, unless a final class says otherwise."""
        return {}

    @property
    def packed(self) -> Mapping[str, Codec]:
        """How the replay packs what is stored (:mod:`agents.replay.codecs`); else as it is."""
        return {}

    @property
    def ranks(self) -> Ranked:
        """What updates say the surprise of, in ``Learned.priority``: nothing, unless a final class
        says otherwise.
        """
        return ""

    @property
    def device(self) -> torch.device:
        """That of the first parameter."""
        return next(self.parameters()).device

    @property
    def acting(self) -> nn.Module:
        """All weights, unless a final class names those that it acts with."""
        return self

    def acted(self, state: State, action: Tensor) -> State:
        """``action`` in its place, if the state remembers the last action."""
        return {**state, "action": action.to(state["action"])} if "action" in state else state

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By the name of the attribute."""
        return {k: v for k, v in vars(self).items() if isinstance(v, torch.optim.Optimizer)}

    def state(self) -> Nested:
        """Weights, running estimates and optimizers."""
        return {
            "weights": self.state_dict(),
            **{k: v.state_dict() for k, v in self.optimizers.items()},
        }

    def load_state(self, state: Nested) -> None:
        """Be as it was."""
        self.load_state_dict(state["weights"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])

    # ---------------------------------------------------------------- an update

    def losses(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and the named variables that an update reads; a final class defines
        it.
        """
        raise NotImplementedError

    def capture(self, batch: Mapping[str, Tensor]) -> str:
        """Record losses and gradients of an update as a CUDA graph (:mod:`agents.capture`); later
        updates replay it.

        Batches of other shapes are computed as before, and so is everything after the weights were
        moved to another device.  After a change of the objective capture again.

        Args:
            batch: an example; nothing is learned from it.

        Returns:
            Why it could not be captured, an empty string if it was.
        """
        self.__dict__["_captured"] = None
        if why := why_not(self):
            return why
        self.train()
        trained = [p for p in self.parameters() if p.requires_grad]
        try:
            self.__dict__["_captured"] = Captured(self.losses, batch, trained, list(self.buffers()))
        except RuntimeError as error:  # what waits for the device, or reads a generator's state
            return f"a part of the update cannot be recorded: {str(error).strip().splitlines()[0]}"
        return ""

    @property
    def captured(self) -> bool:
        """Whether updates replay a CUDA graph."""
        return self.__dict__.get("_captured") is not None

    def evaluate(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """:meth:`losses`; where they were captured, every parameter has its gradient, too."""
        captured = self.__dict__.get("_captured")
        if captured is not None and captured.serves(batch):
            found: tuple[Tensor, dict[str, Tensor]] = captured(batch)
            return found
        return self.losses(batch)

    def minimise(
        self,
        loss: Tensor,
        optimizer: Any,
        metrics: Mapping[str, Tensor],
        given: Mapping[str, Tensor],
        undo: Sequence[tuple[Tensor, Tensor]] = (),
        clip: float = 0.0,
    ) -> dict[str, float]:
        """Gradient and step, or :class:`agents.guard.NotFinite` and nothing; see
        :func:`agents.guard.backward`.

        Args:
            given: the batch.
            clip: the largest norm of all gradients together; 0: they are not clipped here.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        found = backward(loss, metrics, parameters, undo, given)
        if clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip, found.norm)
        if getattr(optimizer, "takes_norms", False):
            optimizer.step(norms=found.norms)
        else:
            optimizer.step()
        return found.metrics
