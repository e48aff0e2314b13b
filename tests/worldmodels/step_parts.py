"""What tests of the ensemble of one-step predictors share."""

from __future__ import annotations

import torch

from worldmodels.one_step import OneStep
from worldmodels.open_loop import Batch


def trained(model: OneStep, batch: Batch, updates: int) -> OneStep:
    """The model after so many updates on one batch, the rate falling from 3e-3 to nothing."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for i in range(updates):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - i / updates)
        nats, made = model.nats(batch)
        optimizer.zero_grad()
        (nats.sum() / made.sum()).backward()
        optimizer.step()
    return model.eval()
