"""A newcomer's task: a family of one's own, finite, that a marginal sums over."""

import math

import torch
from torch import Tensor

from pixyz.distributions import Normal, ParametricDistribution, all_states, check_family


class Vote(ParametricDistribution):
    """-1, 0 or 1, each feature by itself: the first and the last with ``share`` / 2 each."""

    params_keys = ("share",)
    noise = staticmethod(lambda shape, like: torch.rand(tuple(shape), dtype=like.dtype))
    noise_shape = ("share",)
    pathwise = False

    @staticmethod
    def draw(noise: Tensor, share: Tensor) -> Tensor:
        return (noise > 1 - share / 2).to(share) - (noise < share / 2).to(share)

    @staticmethod
    def log_density(x: Tensor, share: Tensor) -> Tensor:
        inside = torch.where(x == 0, 1 - share, share / 2).log()
        return torch.where((x == 0) | (x.abs() == 1), inside, -math.inf)

    def states(self) -> Tensor:
        return all_states(torch.tensor([-1.0, 0.0, 1.0]), self.features_shape)


def test_it_is_what_it_says_and_is_summed_out() -> None:
    assert {"shapes", "states", "gradients"} <= set(check_family(Vote, share=0.4))
    z = Vote("z", share=torch.tensor([0.4]))
    p = (Normal("x", "z", loc="z", scale=0.5) * z).marginalize_var("z")
    x = torch.linspace(-2.0, 2.0, 5).unsqueeze(-1)
    parts = [torch.distributions.Normal(v, 0.5).log_prob(x).exp() for v in (-1.0, 0.0, 1.0)]
    expected = 0.2 * parts[0] + 0.6 * parts[1] + 0.2 * parts[2]
    torch.testing.assert_close(p.get_log_prob({"x": x}).exp(), expected.squeeze(-1))
