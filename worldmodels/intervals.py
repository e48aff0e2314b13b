r"""Intervals around open-loop forecasts that hold what they promise: split conformal prediction.

.. math::
    r_{hd} = |x_{hd} - \hat x_{hd}|_{(k)}, \quad k = \lceil (n + 1) (1 - \alpha) \rceil, \qquad
    C_{hd} = [\hat x_{hd} - r_{hd}, \hat x_{hd} + r_{hd}]

The ``k``-th smallest error of ``n`` windows that the model has not learned from is the radius, one
for each horizon and feature (Vovk et al. 2005; Lei et al. 2018). Where later windows are
exchangeable with these, an interval holds the truth with a probability of at least
:math:`1 - \alpha`, whatever the model is. Windows of one log overlap, and a robot changes, so
:func:`coverage` measures on other windows what is left of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldmodels.data import DataError, Episode
from worldmodels.open_loop import Batch, Forecaster, residuals


@dataclass(frozen=True)
class Intervals:
    """Radii of a forecaster's errors, in the log's units.

    Args:
        level: the share of truths that an interval holds, such as 0.9.
        radius: key -> ``[H, D]``, for the horizons 1 to ``H``.

    >>> intervals = Intervals(0.9, {"x": torch.tensor([[1.0], [2.0]])})
    >>> low, high = intervals.around({"x": torch.zeros(2, 1, 1)})["x"]
    >>> high.flatten().tolist()
    [1.0, 2.0]
    """

    level: float
    radius: Mapping[str, Tensor]

    @property
    def horizon(self) -> int:
        """The longest horizon."""
        return len(next(iter(self.radius.values())))

    def around(self, forecast: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Lower and upper ends ``[H, B, D]`` around forecasts ``[H, B, D]``.

        Raises:
            DataError: they are for more horizons than were calibrated, or of other sizes.
        """
        return {k: (forecast[k] - r, forecast[k] + r) for k, r in self._fitting(forecast).items()}

    def outside(self, forecast: Batch, truth: Batch) -> dict[str, Tensor]:
        """Which truths ``[H, B, D]`` lie outside; NaN does.

        Raises:
            DataError: as of :meth:`around`.
        """
        found = self._fitting(forecast)
        return {k: ~((truth[k] - forecast[k]).abs() <= r) for k, r in found.items()}

    def _fitting(self, forecast: Batch) -> dict[str, Tensor]:
        """The radii ``[H, 1, D]`` of what is forecast."""
        found = {k: r for k, r in self.radius.items() if k in forecast}
        if not found:
            raise DataError(f"expected some of the keys {list(self.radius)}, got {list(forecast)}")
        for k, r in found.items():
            shape = tuple(forecast[k].shape)
            if len(shape) != 3 or not 1 <= shape[0] <= len(r) or shape[-1] != r.shape[-1]:
                size = r.shape[-1]
                raise DataError(
                    f"{k}: expected a forecast [H, B, {size}] of at most {len(r)} horizons, got "
                    f"{list(shape)}; calibrate on longer windows"
                )
        return {k: r[: len(forecast[k])].unsqueeze(1).to(forecast[k]) for k, r in found.items()}

    # -------------------------------------------------------------- files

    def save(self, path: str | Path) -> Path:
        """Write a file of safetensors."""
        tensors = {k: r.contiguous() for k, r in self.radius.items()}
        save_file(tensors, path, metadata={"intervals": json.dumps({"level": self.level})})
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> Intervals:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: it is not there, damaged, or another file.
        """
        try:
            with safe_open(path, "pt") as file:
                level = float(json.loads((file.metadata() or {})["intervals"])["level"])
            radius = load_file(path)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: expected a file of Intervals.save, got {error!r:.100}"
            ) from None
        return Intervals(level, radius)


def calibrate(
    forecaster: Forecaster, parts: Sequence[Episode], seen: int, level: float = 0.9
) -> Intervals:
    """Intervals from windows that the forecaster has not learned from; images have none.

    Args:
        forecaster: a model or a baseline.
        parts: windows of equal length, ``seen + H`` rows (:func:`worldmodels.data.windows`).
        seen: how many rows are read.
        level: the share of truths that an interval shall hold.

    Raises:
        DataError: too few windows for this level, no vectors, or errors that are not finite.

    >>> import numpy as np
    >>> from worldmodels.data import Episodes, make_episode, windows
    >>> from worldmodels.open_loop import PersistLast
    >>> ramp = Episodes([make_episode("ramp", {"x": np.arange(40.0)})])
    >>> calibrate(PersistLast(), windows(ramp, 8), seen=6).radius["x"].flatten().tolist()
    [1.0, 2.0]
    """
    if not 0 < level < 1:
        raise DataError(f"level must be above 0 and below 1, got {level}")
    count = len(parts)
    rank = math.ceil((count + 1) * level - 1e-9)
    if rank > count:
        least = math.ceil(level / (1 - level) - 1e-9)
        raise DataError(
            f"intervals of {level:g} need at least {least} windows that were not learned from, got "
            f"{count}; give a larger validation part, or shorter windows"
        )
    radius = {}
    for key, gap in _gaps(forecaster, parts, seen).items():
        if not bool(torch.isfinite(gap).all()):
            raise DataError(f"{key}: expected finite forecasts and truths, got others")
        radius[key] = gap.abs().kthvalue(rank, dim=1).values.float()
    return Intervals(level, radius)


def coverage(
    intervals: Intervals, forecaster: Forecaster, parts: Sequence[Episode], seen: int
) -> dict[str, Tensor]:
    """The share of truths within their intervals, ``[H]`` of each key and of all as ``"all"``.

    Args:
        intervals: of :func:`calibrate`.
        forecaster, parts, seen: as there, with other windows.
    """
    inside = {
        k: (gap.abs() <= intervals.radius[k][: len(gap)].unsqueeze(1)).double()
        for k, gap in _gaps(forecaster, parts, seen).items()
    }
    found = {k: v.mean((1, 2)) for k, v in inside.items()}
    return found | {"all": torch.cat(list(inside.values()), -1).mean((1, 2))}


def _gaps(forecaster: Forecaster, parts: Sequence[Episode], seen: int) -> dict[str, Tensor]:
    """Truth less forecast of the vectors, ``[H, windows, D]``."""
    found: dict[str, list[Tensor]] = {}
    for batch in residuals(forecaster, parts, seen):
        for key, gap in batch.items():
            if gap.ndim == 3:
                found.setdefault(key, []).append(gap)
    if not found:
        raise DataError("intervals are of vectors, and there are none among the observations")
    return {k: torch.cat(v, 1) for k, v in found.items()}
