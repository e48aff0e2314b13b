r"""Intervals around open-loop forecasts that hold what they promise: split conformal prediction.

.. math::
    r_{hd} = \Big(\frac{|x_{hd} - \hat x_{hd}|}{s_{hd}}\Big)_{(k)}, \quad
    k = \lceil (n + 1) (1 - \alpha) \rceil, \qquad
    C_{hd} = [\hat x_{hd} - s_{hd} r_{hd}, \hat x_{hd} + s_{hd} r_{hd}]

The ``k``-th smallest error of ``n`` windows that the model has not learned from is the radius, one
for each horizon and feature (Vovk et al. 2005; Lei et al. 2018). ``s`` is the deviation of the
model's own draws, so that intervals are wide where it is unsure; 1 of a forecaster that has none.
Where later windows are
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
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldmodels.data import DataError, Episode
from worldmodels.open_loop import Batch, Forecaster, residuals

TINY = 1e-9
"""A deviation of draws at least: those of a feature that never changes have none."""


@dataclass(frozen=True)
class Intervals:
    """Radii of a forecaster's errors, in the log's units, or in deviations of its draws.

    Args:
        level: the share of truths that an interval holds, such as 0.9.
        radius: key -> ``[H, D]``, for the horizons 1 to ``H``.
        relative: whether radii are in deviations of the draws.

    >>> intervals = Intervals(0.9, {"x": torch.tensor([[1.0], [2.0]])})
    >>> low, high = intervals.around({"x": torch.zeros(2, 1, 1)})["x"]
    >>> high.flatten().tolist()
    [1.0, 2.0]
    """

    level: float
    radius: Mapping[str, Tensor]
    relative: bool = False

    @property
    def horizon(self) -> int:
        """The longest horizon."""
        return len(next(iter(self.radius.values())))

    def around(
        self, forecast: Batch, spread: Batch | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Lower and upper ends ``[H, B, D]`` around forecasts ``[H, B, D]``.

        Args:
            forecast: of some of the keys.
            spread: the deviations of the draws, of the same shapes, where radii are relative.

        Raises:
            DataError: they are for more horizons than were calibrated, or of other sizes; spreads
                are missing.
        """
        found = self._reach(forecast, spread)
        return {k: (forecast[k] - r, forecast[k] + r) for k, r in found.items()}

    def outside(
        self, forecast: Batch, truth: Batch, spread: Batch | None = None
    ) -> dict[str, Tensor]:
        """Which truths ``[H, B, D]`` lie outside; NaN does. See :meth:`around`."""
        found = self._reach(forecast, spread)
        return {k: ~((truth[k] - forecast[k]).abs() <= r) for k, r in found.items()}

    def _reach(self, forecast: Batch, spread: Batch | None) -> dict[str, Tensor]:
        """Half of each interval, ``[H, B or 1, D]``."""
        keys = [k for k in self.radius if k in forecast]
        if not keys:
            raise DataError(f"expected some of the keys {list(self.radius)}, got {list(forecast)}")
        if self.relative and spread is None:
            raise DataError("these intervals are in deviations of the draws; give those as spread")
        found = {}
        for k in keys:
            found[k] = self.radii(k, forecast[k])
            if self.relative and spread is not None:
                found[k] = found[k] * spread[k].clamp(min=TINY)
        return found

    def radii(self, key: str, forecast: Tensor) -> Tensor:
        """Those of the horizons of a forecast ``[H, B, D]``, ``[H, 1, D]`` of its type.

        Raises:
            DataError: it has more horizons than were calibrated, or another size.
        """
        r, shape = self.radius[key], tuple(forecast.shape)
        if len(shape) != 3 or not 1 <= shape[0] <= len(r) or shape[-1] != r.shape[-1]:
            raise DataError(
                f"{key}: expected a forecast [H, B, {r.shape[-1]}] of at most {len(r)} horizons, "
                f"got {list(shape)}; calibrate on longer windows"
            )
        return r[: shape[0]].unsqueeze(1).to(forecast)

    # -------------------------------------------------------------- files

    def save(self, path: str | Path) -> Path:
        """Write a file of safetensors."""
        about = {"level": self.level, "relative": self.relative}
        tensors = {k: r.contiguous() for k, r in self.radius.items()}
        save_file(tensors, path, metadata={"intervals": json.dumps(about)})
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> Intervals:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: it is not there, damaged, or another file.
        """
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["intervals"])
            found = Intervals(float(about["level"]), load_file(path), bool(about["relative"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: expected a file of Intervals.save, got {error!r:.100}"
            ) from None
        return found


def calibrate(
    forecaster: Forecaster, parts: Sequence[Episode], seen: int, level: float = 0.9
) -> Intervals:
    """Intervals from windows that the forecaster has not learned from; images have none.

    Args:
        forecaster: a model or a baseline; of one with ``spread(seen, action, steps)``, which gives
            means and deviations of its draws, radii are relative.
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
    for key, error in _errors(forecaster, parts, seen)[0].items():
        if not bool(torch.isfinite(error).all()):
            raise DataError(f"{key}: expected finite forecasts and truths, got others")
        radius[key] = error.kthvalue(rank, dim=1).values.float()
    return Intervals(level, radius, hasattr(forecaster, "spread"))


class Held(NamedTuple):
    """What intervals hold, and how wide they are.

    Args:
        share: of truths within their intervals, ``[H]`` of each key and of all as ``"all"``.
        width: key -> the mean width ``[H, D]``, in the log's units.

    >>> Held({"all": torch.tensor([0.9])}, {"x": torch.ones(1, 2)}).share["all"].item()
    0.8999999761581421
    """

    share: dict[str, Tensor]
    width: dict[str, Tensor]


def coverage(
    intervals: Intervals, forecaster: Forecaster, parts: Sequence[Episode], seen: int
) -> Held:
    """What intervals hold of other windows than they are from.

    Args:
        intervals: of :func:`calibrate`.
        forecaster, parts, seen: as there.

    Raises:
        DataError: they are for fewer horizons than the windows have, for other keys or sizes, or
            relative where the forecaster has no spread (or the other way round).
    """
    relative = hasattr(forecaster, "spread")
    if intervals.relative != relative:
        units = {True: "deviations of the draws", False: "the log's units"}
        raise DataError(
            f"intervals in {units[intervals.relative]} were given with a forecaster whose errors "
            f"are in {units[relative]}; calibrate with this forecaster"
        )
    errors, scales = _errors(forecaster, parts, seen)
    if missing := [k for k in errors if k not in intervals.radius]:
        raise DataError(
            f"expected intervals of {list(errors)}, got those of {list(intervals.radius)}; "
            f"calibrate {missing}, too"
        )
    radius = {k: intervals.radii(k, e) for k, e in errors.items()}
    inside = {k: (e <= radius[k]).double() for k, e in errors.items()}
    share = {k: v.mean((1, 2)) for k, v in inside.items()}
    share["all"] = torch.cat(list(inside.values()), -1).mean((1, 2))
    return Held(share, {k: 2 * r[:, 0] * scales[k].mean(1) for k, r in radius.items()})


class _Spread:
    """A forecaster that keeps the deviations of the draws that its last forecast is the mean of."""

    def __init__(self, forecaster: Any) -> None:
        self._own, self.scale = forecaster, dict[str, Tensor]()

    def forecast(self, seen: Batch, action: Tensor | None, steps: int) -> dict[str, Tensor]:
        found, self.scale = self._own.spread(seen, action, steps)
        return dict(found)


def _errors(
    forecaster: Forecaster, parts: Sequence[Episode], seen: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The sizes of the errors of vectors, and the deviations that they are counted in (1 where
    there are none), both ``[H, windows, D]``.
    """
    asked = _Spread(forecaster) if hasattr(forecaster, "spread") else forecaster
    errors: dict[str, list[Tensor]] = {}
    scales: dict[str, list[Tensor]] = {}
    for gaps in residuals(asked, parts, seen):
        for key, gap in gaps.items():
            if gap.ndim != 3:
                continue
            scale = torch.ones_like(gap)
            if isinstance(asked, _Spread):
                scale = asked.scale[key].double().clamp(min=TINY)
            errors.setdefault(key, []).append(gap.abs() / scale)
            scales.setdefault(key, []).append(scale)
    if not errors:
        raise DataError("intervals are of vectors, and there are none among the observations")
    first, second = ({k: torch.cat(v, 1) for k, v in d.items()} for d in (errors, scales))
    return first, second
