r"""Latent overshooting: predictions of several steps are held against the filter's states (Hafner
et al. 2019, eq. 7).

.. math::
    \frac{1}{D} \sum_{d=2}^{D} \beta_d\, \mathbb{E}_{q(s_{t}|\ldots)\, p(s_{t+1:t+d}|s_t, a)}
        D_{KL}[\bar q(s_{t+d}|h_{t+d}, e_{t+d}) \| p(s_{t+d}|h_{t \to t+d})]

The bar stops gradients, so that the filter is not drawn to the predictions.  ``d = 1`` is the KL of
the objective itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pixyz.distributions import Distribution
from pixyz.expression import E, Loss
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.doors import ModelLoss
from worldmodels.rssm import RSSM


def overshooting(
    model: RSSM, depth: int, weights: Sequence[float] | None = None, first: int = 2
) -> Loss:
    """The divergence of predictions ``first`` to ``depth`` steps ahead from the filter's states, a
    mean over frames.

    Add it to ``model.objective``.  Frames from which ``depth`` steps exist, without a reset on the
    way, count; sequences of fewer than ``depth + 1`` frames are refused.

    Args:
        model: the RSSM.
        depth: how many steps ahead.
        weights: of each distance from ``first`` on; 1 if None.
        first: the smallest distance; 2 in the paper, where 1 is the objective's own KL.

    Raises:
        PixyzError: no distance is left, or their number is not that of the weights.
    """
    distances = range(first, depth + 1)
    betas = list(weights) if weights is not None else [1.0] * len(distances)
    if first < 1 or not distances or len(betas) != len(distances):
        raise PixyzError(
            f"overshooting from {first} to {depth} steps ahead, with {len(betas)} weights: "
            f"one a distance"
        )
    lags: dict[str, tuple[str, int]] = {}
    path: Distribution | None = None
    deter, stoch = "deter", "stoch"
    total: Loss | None = None
    for d in range(1, depth + 1):
        lags[f"action_{d}"] = ("action", d - 1)
        ahead = {"deter": f"deter_{d}", "stoch": f"stoch_{d}"}
        moved = model.dynamics.at(
            deter_prev=deter, stoch_prev=stoch, action_prev=f"action_{d}", deter=ahead["deter"]
        )
        prior = model.prior.at(**ahead)
        if d in distances:
            lags |= {f"seen_{d}": ("deter", d), f"embed_{d}": ("embed", d)}
            filtered = model.posterior.at(
                deter=f"seen_{d}", embed=f"embed_{d}", stoch=ahead["stoch"]
            ).detach()
            term = betas[d - first] * KullbackLeibler(filtered, prior)
            total = term if total is None else total + term
        deter, stoch = ahead["deter"], ahead["stoch"]
        step = moved * prior if d < depth else moved
        path = step if path is None else path * step
    assert path is not None and total is not None
    over_time = IterativeLoss(
        E(path, total),
        series_var=["deter", "stoch", "embed", "action"],
        lags=lags,
        reset_var="is_first",
        reduction="frame",
        fission=model.recurrence["fission"],
    )
    door = replace(model.door, least=depth + 1)
    return ModelLoss(E(model.scan(), over_time) / depth, door)
