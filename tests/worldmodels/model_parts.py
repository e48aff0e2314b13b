"""Every world model, small, and what it reads: for tests of what all have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from worldmodels.dmm import DMM, DMMConfig
from worldmodels.hrssm import HRSSM, HRSSMConfig
from worldmodels.mrssm import MRSSM, MRSSMConfig
from worldmodels.newtonian_vae import NewtonianVAE, NewtonianVAEConfig
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig
from worldmodels.slac import SLAC, SLACConfig
from worldmodels.state_space import StateSpaceModel
from worldmodels.td_vae import TDVAE, TDVAEConfig
from worldmodels.vrnn import VRNN, VRNNConfig

T, B, D, A = 6, 4, 3, 2


def dmm(
    reads: str, observation: str = "bernoulli", flows: int = 0
) -> Callable[[bool], StateSpaceModel]:
    config = DMMConfig(3, 5, 4, 6, reads, observation, dropout=0.0, flows=flows, flow_hidden=5)  # type: ignore[arg-type]
    return lambda fission: DMM(D, config, fission)


def rssm(
    latent: str, vectors: str = "symlog", predicts: str = "value"
) -> Callable[[bool], StateSpaceModel]:
    config = RSSMConfig(
        latent,
        deter=8,
        hidden=6,
        groups=3,
        classes=4,
        blocks=2,
        units=6,
        bins=11,
        depth=1,
        vectors=vectors,  # type: ignore[arg-type]
        predicts=predicts,  # type: ignore[arg-type]
    )
    return lambda fission: RSSM({"x": (D,)}, A, config, fission)


MODELS: dict[str, Callable[[bool], StateSpaceModel]] = {
    "dmm": dmm("right"),
    "dmm_filter": dmm("left"),
    "dmm_flows": dmm("left", "gaussian", 2),
    "dmm_both": dmm("both", "gaussian"),
    "vrnn": lambda fission: VRNN(D, VRNNConfig(3, 5, 8), fission),
    "dmm_acts": lambda fission: DMM(
        D, DMMConfig(3, 5, 4, 6, "left", "gaussian", 0.0), fission, action_size=A
    ),
    "vrnn_acts": lambda fission: VRNN(D, VRNNConfig(3, 5, 8), fission, action_size=A),
    "hrssm_acts": lambda fission: HRSSM(
        D, HRSSMConfig(2, 3, 4, 5, 4, length=2.0), fission, action_size=A
    ),
    "td_vae": lambda fission: TDVAE(D, TDVAEConfig(3, 5, 4), fission),
    "td_vae_jumpy": lambda fission: TDVAE(
        D, TDVAEConfig(3, 5, 4, ((1, 2), (2, 4)), (0.8, 0.2), pairs=1), fission
    ),
    "slac": lambda fission: SLAC(D, A, SLACConfig(3, 4, 8, 5), fission),
    "hrssm": lambda fission: HRSSM(D, HRSSMConfig(2, 3, 4, 5, 4, length=2.0), fission),
    "mrssm": lambda fission: MRSSM({"x": D, "y": 2}, A, MRSSMConfig(4, 3, 6), fission),
    "newtonian": lambda fission: NewtonianVAE(D, A, NewtonianVAEConfig(6, 4, 0.5), fission),
    "rssm_gaussian": rssm("gaussian"),
    "rssm_categorical": rssm("categorical"),
    "rssm_normal_vectors": rssm("gaussian", vectors="gaussian"),
    "rssm_changes": rssm("gaussian", vectors="gaussian", predicts="change"),
}
every = pytest.mark.parametrize("name", MODELS)


def make(name: str, fission: bool = True) -> StateSpaceModel:
    torch.manual_seed(0)
    model = MODELS[name](fission).double().eval()
    with torch.no_grad():  # layers that start at zero shall matter
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def data(steps: int = T, batch: int = B) -> dict[str, Tensor]:
    """What every model reads; frames are bits, so that all densities take them."""
    g = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    x = (draw(steps, batch, D) > 0).double()
    return {
        "x": x,
        "I": x,
        "y": draw(steps, batch, 2),
        "action": torch.tanh(draw(steps, batch, A)),
        "x_given": torch.ones(steps, batch),
        "y_given": (draw(steps, batch) > 0),
        "reward": draw(steps, batch, 1),
        "cont": torch.ones(steps, batch, 1, dtype=torch.float64),
        "is_first": torch.zeros(steps, batch, dtype=torch.bool),
    }


def ragged(lengths: tuple[int, ...] = (6, 3, 5, 2)) -> dict[str, Tensor]:
    return {**data(), "mask": (torch.arange(T)[:, None] < torch.tensor(lengths)).double()}


def rows(batch: dict[str, Tensor], start: int, stop: int) -> dict[str, Tensor]:
    return {k: v[start:stop] for k, v in batch.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert set(a) == set(b)
    for k in a:
        torch.testing.assert_close(a[k], b[k], rtol=1e-9, atol=1e-10)
