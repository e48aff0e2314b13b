"""Figure 8: Glow (Kingma and Dhariwal, 2018): flows in a list, the distribution that they make of a
prior, its likelihood.
"""

import torch
from torch import Tensor, nn

from pixyz.distributions import InverseTransformedDistribution, Normal
from pixyz.flows import ActNorm2d, AffineCoupling, ChannelConv, Flatten, Flow, FlowList, Squeeze
from pixyz.models import ML

channels, height, depth = 1, 4, 4


class ScaleTranslateNet(nn.Module):
    """The coupling's network: the scale and the translation of one half, from the other."""

    def __init__(self, in_channels: int, hidden: int = 16) -> None:
        super().__init__()
        last = nn.Conv2d(hidden, 2 * in_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Conv2d(in_channels, hidden, 3, padding=1), nn.ReLU(), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale, translate = self.net(x).chunk(2, 1)
        return torch.tanh(scale), translate


# prior model p(z)
prior = Normal(
    loc=torch.tensor(0.0),
    scale=torch.tensor(1.0),
    var=["z"],
    features_shape=[channels * height * height],
    name="p_{prior}",
)

# flow
flow_list: list[Flow] = [Squeeze()]
for i in range(depth):
    flow_list += [
        ActNorm2d(4 * channels),
        ChannelConv(4 * channels),
        AffineCoupling(
            4 * channels,
            mask_type="channel_wise",
            inverse_mask=bool(i % 2),
            scale_translate_net=ScaleTranslateNet(4 * channels),
        ),
    ]
flow_list.append(Flatten(in_size=(4 * channels, height // 2, height // 2)))
f = FlowList(flow_list)

# inverse transformed distribution (z -> f^-1 -> x)
p = InverseTransformedDistribution(prior=prior, flow=f, var=["x"], name="p")

model = ML(p, optimizer=torch.optim.Adam, optimizer_params={"lr": 1e-2}, clip_grad_norm=50.0)


def images(count: int = 200) -> Tensor:
    """Planes of one slope with a little noise, ``[N, 1, 4, 4]``."""
    draw = torch.Generator().manual_seed(0)
    slope = torch.randn(count, 1, 1, 1, generator=draw)
    ramp = torch.linspace(-1, 1, height).expand(height, height)
    return slope * ramp + 0.1 * torch.randn(count, channels, height, height, generator=draw)


def main(steps: int = 100) -> list[float]:
    """Train on made images; the losses."""
    x = images()
    return [model.train({"x": x}).item() for _ in range(steps)]


if __name__ == "__main__":
    torch.manual_seed(0)
    losses = main()
    print(p.prob_joint_factorized_and_text, model.loss_cls, sep="\n")
    print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
