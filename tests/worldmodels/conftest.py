"""Fixtures of tests of world models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixyz.distributions import Bernoulli, GroupedOneHot, Normal


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Base noise is 0.3 everywhere."""

    def constant(shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.full(tuple(shape), 0.3, dtype=like.dtype)

    monkeypatch.setattr(Normal, "noise", staticmethod(constant))
    monkeypatch.setattr(Bernoulli, "noise", staticmethod(constant))
    monkeypatch.setattr(
        GroupedOneHot, "noise", staticmethod(lambda shape, like: constant((*shape[:-1], 1), like))
    )
