"""What a model of a log predicts, values or changes: chosen before it is built, kept in the run's
settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from agents.errors import UsageError
from agents.pretrain.settings import PretrainSettings, RSSMSettings
from worldmodels.data import Episodes
from worldmodels.open_loop import roughness

ROUGH = 0.1
"""Changes are predicted where a line through the last two rows leaves less than this of the next
one's deviation.
"""
NEAR = 1e-3
"""A share by which an action may be above its bound: rounding."""


def largest_actions(data: Episodes) -> list[float]:
    """The largest size of each action of a log."""
    return [float(v) for v in np.max([np.abs(e["action"]).max(0) for e in data], 0)]


def bounds_above(largest: Sequence[float]) -> list[float]:
    """Bounds for actions whose own are not known: whole numbers that hold them, 1 at least.

    >>> bounds_above([13.29, 2.0000002, 0.5])
    [14.0, 2.0, 1.0]
    """
    return [max(1.0, float(math.ceil(v / (1 + NEAR)))) for v in largest]


@dataclass(frozen=True)
class Choice:
    """What is predicted, and why.

    Args:
        predicts: ``value`` or ``change``.
        roughness: see :func:`worldmodels.open_loop.roughness`.
        why: in words.

    >>> print(Choice("change", 0.012, "below 0.1"))
    predicts change: a line through the last rows leaves 0.012 deviations of the next one (below 0.1)
    """  # noqa: E501

    predicts: Literal["value", "change"]
    roughness: float
    why: str

    def __str__(self) -> str:
        return (
            f"predicts {self.predicts}: "
            f"a line through the last rows leaves {self.roughness:.2g} deviations of the "
            f"next one ({self.why})"
        )


def chosen(settings: PretrainSettings, train: Episodes) -> tuple[PretrainSettings, Choice]:
    """The settings with ``predicts`` decided, and the reason.

    ``auto`` is ``change`` where :func:`worldmodels.open_loop.roughness` of the training part is
    below 0.1, as in a log that is sampled fast, and the model has normal densities; else ``value``.

    Args:
        settings: the run.
        train: the part that is learned from.

    Raises:
        UsageError: changes are asked for, and the log has no vectors.

    >>> import numpy
    >>> from agents.pretrain.settings import RSSMSettings
    >>> from worldmodels import RSSMConfig
    >>> from worldmodels.data import make_episode
    >>> slow = Episodes([make_episode("run", {"x": numpy.sin(numpy.arange(500.0) / 50)[:, None]})])
    >>> settings, choice = chosen(RSSMSettings(model=RSSMConfig(vectors="gaussian")), slow)
    >>> settings.predicts, settings.model.predicts, choice.why
    ('change', 'change', 'below 0.1')
    """
    rough, model = roughness(train), getattr(settings, "model", None)
    asked = (
        settings.predicts if settings.predicts != "auto" else getattr(model, "predicts", "value")
    )
    vectors = any(len(shape) == 1 for shape in train.shapes.values())
    if asked == "change" and not vectors:
        raise UsageError(
            f"predicts=change needs vectors among the observations, got {dict(train.shapes)}; "
            f"give predicts=value"
        )
    if settings.predicts != "auto" or asked == "change":
        found = Choice("change" if asked == "change" else "value", rough, "as asked")
    elif not vectors or not settings.has_normal:
        found = Choice("value", rough, "no normal densities" if vectors else "no vectors")
    elif rough < ROUGH:
        found = Choice("change", rough, f"below {ROUGH}")
    else:
        found = Choice("value", rough, f"not below {ROUGH}")
    settings = replace(settings, predicts=found.predicts)
    if isinstance(settings, RSSMSettings):
        settings = replace(settings, model=replace(settings.model, predicts=found.predicts))
    return settings, found
