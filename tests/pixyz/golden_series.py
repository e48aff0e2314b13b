"""Objectives over series (``golden_expressions.py``)."""

import torch
from golden_parts import (
    B,
    Cell,
    Filter,
    Generator,
    Golden,
    Inference,
    Slice,
    Transition,
    X,
    Z,
    bits,
    golden,
    of,
    prior,
    wave,
)

from pixyz import losses as pl


@golden
def state_space_model() -> Golden:
    p, q, t = Generator(), Filter(), Transition()
    step = (pl.KullbackLeibler(q, t) - pl.Expectation(q, pl.LogProb(p))).mean()
    loss = pl.IterativeLoss(step, max_iter=5, series_var=["x"], update_value={"z": "z_prev"})
    return of(loss, {"x": bits(5, B, X), "z_prev": torch.zeros(B, Z)}, p, q, t)


@golden
def state_space_model_by_draws() -> Golden:
    p, q, t = Generator(), Filter(), Transition()
    loss = pl.IterativeLoss(pl.ELBO(p * t, q), series_var=["x"], update_value={"z": "z_prev"})
    return of(loss.mean(), {"x": bits(5, B, X), "z_prev": torch.zeros(B, Z)}, p, q, t)


@golden
def recurrent_network() -> Golden:
    """The example of 0.3.3's documentation: a deterministic cell is carried."""
    p, f = Generator().replace_var(z="h"), Cell()
    loss = pl.IterativeLoss(
        p.log_prob().expectation(f).mean(),
        max_iter=5,
        series_var=["x", "z"],
        update_value={"h": "h_prev"},
    )
    return of(loss, {"x": bits(5, B, X), "z": wave(5, B, Z), "h_prev": torch.zeros(B, Z)}, p, f)


@golden
def masked_series() -> Golden:
    p, q, t = Generator(), Filter(), Transition()
    step = pl.KullbackLeibler(q, t) - pl.Expectation(q, pl.LogProb(p))
    loss = pl.IterativeLoss(step, max_iter=4, series_var=["x"], update_value={"z": "z_prev"})
    mask = torch.ones(4, B)
    mask[2:, 1] = 0
    return Golden(
        loss,
        lambda x: loss.eval(x, mask=mask),
        {"x": bits(4, B, X), "z_prev": torch.zeros(B, Z)},
        [p, q, t],
    )


@golden
def sliced_series() -> Golden:
    p = prior("x_t", X, "p")
    loss = pl.IterativeLoss(p.log_prob().mean(), max_iter=3, slice_step=Slice(), timestep_var=["t"])
    return of(loss, {"x": wave(3, B, X)})


@golden
def series_without_carry() -> Golden:
    p, q = Generator(), Inference()
    step = (pl.KullbackLeibler(q, prior()) - pl.Expectation(q, pl.LogProb(p))).mean()
    return of(pl.IterativeLoss(step, max_iter=3, series_var=["x"]), {"x": bits(3, B, X)}, p, q)
