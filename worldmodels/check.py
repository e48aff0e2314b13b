"""check_model: the contract of models of series, clause by clause, for any model, also of your own.

its face        what SequenceModel names (and a smoother's, and what acts, where it says so)
shapes          states and observations are [T, B, ...], of the weights' type and device; the bound
                is [B]
learning        the loss is one finite number, and its gradient reaches every weight
one seed        one result; a copy has it too, and shares no weight
saved           a state dict holds every weight once and restores the result
chopped         filtering a sequence in two parts is filtering the whole
step by step    observing frame by frame is filtering
masked          frames that are masked change nothing, whatever they hold
ragged          a ragged batch is its sequences one by one
resets          a frame that begins an episode sees nothing before it, or the batch is refused
prediction      a sampled path is a loop of predict
imagination     an imagined path is a loop of predict, under a policy
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.types import PixyzError
from worldmodels.checked import Checked, ModelError, Series, face, name_of
from worldmodels.clauses import LAWS
from worldmodels.types import SequenceModel

STEPS, ROWS = 6, 4


def check_model(model: Any, batch: Series | None = None) -> None:
    """Check a model of series against its contract.

    A copy is checked, in evaluation mode: the model stays as it is, and so does torch's generator.

    Args:
        model: a :class:`worldmodels.StateSpaceModel`, or anything with the face of
            :class:`worldmodels.SequenceModel`.
        batch: what its objective reads, time-major, without ``mask``: at least 4 frames of 2
            sequences. Drawn from the declared shapes if None (vectors of zeros and ones, actions
            within -1 and 1).

    Raises:
        ModelError: a clause does not hold.
        PixyzError: no batch was given, and shapes are not declared.

    >>> from worldmodels import VRNN, VRNNConfig
    >>> check_model(VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4)))
    """
    if not isinstance(model, SequenceModel) or not isinstance(model, nn.Module):
        names = [n for n in face(SequenceModel) if not hasattr(model, n)]
        raise ModelError(
            f"its face: {type(model).__name__} was expected to be a module with {names}; "
            f"see SequenceModel"
        )
    twin: Any = copy.deepcopy(model).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checked = Checked(twin, dict(batch) if batch is not None else example(twin))
        for law in LAWS:
            try:
                law(checked)
            except ModelError:
                raise
            except Exception as error:
                raise ModelError(
                    f"{name_of(law)}: {type(twin).__name__} raised {type(error).__name__}: {error}"
                ) from error


def example(model: Any, steps: int = STEPS, rows: int = ROWS) -> dict[str, Tensor]:
    """A batch of the declared shapes, ``[T, B, ...]``.

    Raises:
        PixyzError: the model declares none.
    """
    door = getattr(model, "door", None)
    shapes = {} if door is None else {k: v for k, v in door.series.items() if k != "mask"}
    unknown = [k for k, v in shapes.items() if v is None]
    if not shapes or unknown:
        raise PixyzError(
            f"the shapes of {unknown or 'its series'} are not declared: "
            f"give check_model a batch of what it "
            "reads"
        )
    like = next(model.parameters())
    found = {
        k: torch.rand(steps, rows, *s, device=like.device).round().to(like.dtype)
        for k, s in shapes.items()
    }
    for name in found:
        if name == "action":
            found[name] = 2 * torch.rand_like(found[name]) - 1
        elif name in model.flags or name == "cont":
            found[name] = torch.ones_like(found[name])
        elif name == model.recurrence["reset_var"]:
            found[name] = torch.zeros_like(found[name], dtype=torch.bool)
    return found
