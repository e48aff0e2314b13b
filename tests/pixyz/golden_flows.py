"""Densities by flows (``golden_expressions.py``)."""

from typing import Any

import torch
from golden_parts import B, Golden, Inference, X, Z, golden, of, prior, wave
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz import flows as pf


def flow_density(*parts: Any, size: int = 4) -> Golden:
    """log p(x) of an invertible flow over a normal."""
    flow = pf.FlowList(list(parts)) if len(parts) > 1 else parts[0]
    p = pd.InverseTransformedDistribution(prior("z", size), flow=flow, var=["x"])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, size)}, [flow])


def scale_and_translate(size: int) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(size, size), nn.Linear(size, size)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.tanh(self.fc1(x)), self.fc2(x)

    return Net()


@golden
def flow_coupling() -> Golden:
    return flow_density(
        pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4))
    )


@golden
def flow_two_couplings() -> Golden:
    return flow_density(
        pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4)),
        pf.Reverse(4),
        pf.AffineCoupling(
            in_features=4, scale_translate_net=scale_and_translate(4), inverse_mask=True
        ),
    )


@golden
def flow_permuted() -> Golden:
    return flow_density(
        pf.Permutation([2, 0, 3, 1]),
        pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4)),
    )


@golden
def flow_images() -> Golden:
    flow = pf.FlowList([pf.Squeeze(), pf.ChannelConv(4), pf.Unsqueeze()])
    z = pd.Normal(
        var=["z"],
        loc=torch.tensor(0.0),
        scale=torch.tensor(1.0),
        features_shape=[1, 4, 4],
        name="p_{prior}",
    )
    p = pd.InverseTransformedDistribution(z, flow=flow, var=["x"])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, 1, 4, 4)}, [flow])


@golden
def flow_batch_norm() -> Golden:
    return flow_density(
        pf.BatchNorm1d(4),
        pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4)),
        pf.BatchNorm1d(4),
    )


@golden
def flow_act_norm() -> Golden:
    """In evaluation mode, where no data set the initial scale."""
    flow = pf.ActNorm2d(2).eval()
    z = pd.Normal(
        var=["z"],
        loc=torch.tensor(0.0),
        scale=torch.tensor(1.0),
        features_shape=[2, 3, 3],
        name="p_{prior}",
    )
    p = pd.InverseTransformedDistribution(z, flow=flow, var=["x"])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, 2, 3, 3)}, [flow])


@golden
def flow_inference() -> Golden:
    flow = pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4))
    p = pd.InverseTransformedDistribution(prior("z", 4), flow=flow, var=["x"])
    return Golden(p, lambda x: p.inference(x)["z"], {"x": wave(B, 4)}, [flow])


@golden
def flow_of_maximum_likelihood() -> Golden:
    flow = pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4))
    p = pd.InverseTransformedDistribution(prior("z", 4), flow=flow, var=["x"])
    return of((-p.log_prob()).mean(), {"x": wave(B, 4)}, flow)


@golden
def flow_planar_posterior() -> Golden:
    q, flow = Inference(), pf.PlanarFlow(Z)
    p = pd.TransformedDistribution(q, flow=flow, var=["z_2"])
    return Golden(
        p,
        lambda x: p.sample(x, compute_jacobian=True, reparam=True)["z_2"],
        {"x": wave(B, X)},
        [q, flow],
    )
