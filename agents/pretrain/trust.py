"""How far a pretrained model is to be trusted: from the validation part, measured on the test part.

intervals    around its open-loop forecast, and the share of the test part that they hold
thresholds   of an ensemble of one-step predictors: where a robot is no longer like its log
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from agents.pretrain.model import PretrainModel
from agents.pretrain.models import StepModel
from agents.pretrain.settings import PretrainSettings
from agents.run.parts import seeded
from worldmodels.data import DataError, Split, windows
from worldmodels.doubt import thresholds, with_drift
from worldmodels.intervals import Intervals, calibrate, coverage
from worldmodels.open_loop import Forecaster

INTERVALS, THRESHOLDS = "intervals.safetensors", "thresholds.json"
LEVEL = 0.9


def judge_intervals(
    forecaster: Forecaster, data: Split, settings: PretrainSettings, units: Mapping[str, Tensor]
) -> tuple[Intervals, dict[str, Any]]:
    """Intervals from the validation part, and what they hold of the test part, as plain data:
    ``coverage`` of each key (a list over the horizon) and the mean ``width`` on the test part in
    standard deviations of the training part.

    Raises:
        DataError: the validation part is too short, or there are no vectors.
    """
    s = settings
    parts = [windows(part, s.seen + s.horizon, s.stride) for part in (data.valid, data.test)]
    with seeded(s.seed):
        found = calibrate(forecaster, parts[0], s.seen, LEVEL)
        held = coverage(found, forecaster, parts[1], s.seen)
    return found, {
        "level": LEVEL,
        "windows": len(parts[0]),
        "coverage": {k: v.tolist() for k, v in held.share.items()},
        "width": {k: (v / units[k]).mean(-1).tolist() for k, v in held.width.items()},
    }


def write(
    directory: Path,
    model: PretrainModel,
    forecaster: Forecaster,
    data: Split,
    settings: PretrainSettings,
    units: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Write ``intervals.safetensors``, and ``thresholds.json`` of an ensemble of steps, into a
    run's folder. Returns what is known of them, and under ``left_out`` why there are none.
    """
    found: dict[str, Any] = {"left_out": {}}
    try:
        intervals, found["intervals"] = judge_intervals(forecaster, data, settings, units)
        intervals.save(directory / INTERVALS)
    except DataError as error:
        found["left_out"]["intervals"] = str(error)
    if isinstance(model, StepModel):
        left = "thresholds"
        try:
            trusted = thresholds(model.model, data.valid)
            trusted.save(directory / THRESHOLDS)
            left = "drift"
            with_drift(trusted, model.model, data.valid).save(directory / THRESHOLDS)
        except DataError as error:
            found["left_out"][left] = str(error)
    return found


def lines(found: Mapping[str, Any]) -> list[str]:
    """What :func:`write` found, in words.

    >>> held = {"level": 0.9, "windows": 346, "coverage": {"all": [0.88, 0.9]}, "width": {}}
    >>> lines({"intervals": held, "left_out": {}})
    ['90 % intervals, from 346 windows of the validation part, hold 89.0 % of the test part']
    """
    said = []
    if "intervals" in found:
        held, share = found["intervals"], found["intervals"]["coverage"]["all"]
        said.append(
            f"{100 * held['level']:g} % intervals, from {held['windows']} windows of the "
            f"validation part, hold {100 * sum(share) / len(share):.1f} % of the test part"
        )
    return said + [f"no {name}: {why}" for name, why in found["left_out"].items()]
