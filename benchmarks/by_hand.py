"""The VAE and the Deep Markov Model of the benchmarks in plain PyTorch, in the best form and in the
form one types first.

Layers and the order in which weights are drawn are those of ``declared.py``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Encoder(nn.Module):
    def __init__(self, x_dim: int, h_dim: int, z_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(x_dim, h_dim)
        self.fc21 = nn.Linear(h_dim, z_dim)
        self.fc22 = nn.Linear(h_dim, z_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the log of the standard deviation."""
        h = F.softplus(self.fc1(x))
        return self.fc21(h), self.fc22(h)


class Decoder(nn.Module):
    def __init__(self, x_dim: int, h_dim: int, z_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(z_dim, h_dim)
        self.fc21 = nn.Linear(h_dim, x_dim)

    def forward(self, z: Tensor) -> Tensor:
        """Logits."""
        return self.fc21(F.softplus(self.fc1(z)))


class VAE(nn.Module):
    """The mean over the batch of minus the evidence lower bound."""

    def __init__(self, x_dim: int, h_dim: int, z_dim: int) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(x_dim, h_dim, z_dim), Decoder(x_dim, h_dim, z_dim)

    def forward(self, x: Tensor) -> Tensor:
        """The KL by its formula (equation 7), log-likelihood from logits."""
        loc, log_scale = self.encoder(x)
        scale = log_scale.exp()
        z = torch.addcmul(loc, scale, torch.randn_like(loc))
        kl = 0.5 * (loc * loc + scale * scale - 1) - log_scale
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (nll + kl.sum()) / len(x)

    def probs(self, x: Tensor) -> Tensor:
        """The same from probabilities."""
        loc, log_scale = self.encoder(x)
        scale = log_scale.exp()
        z = torch.addcmul(loc, scale, torch.randn_like(loc))
        kl = 0.5 * (loc * loc + scale * scale - 1) - log_scale
        nll = F.binary_cross_entropy(torch.sigmoid(self.decoder(z)), x, reduction="sum")
        return (nll + kl.sum()) / len(x)

    def monte_carlo(self, x: Tensor) -> Tensor:
        """``log q - log p`` at the draw (equation 8); log q by its noise."""
        loc, log_scale = self.encoder(x)
        noise = torch.randn_like(loc)
        z = torch.addcmul(loc, log_scale.exp(), noise)
        kl = 0.5 * (z * z - noise * noise) - log_scale
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (nll + kl.sum()) / len(x)


class Context(nn.Module):
    def __init__(self, x_dim: int, rnn_dim: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(x_dim, rnn_dim, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.flip(0))[0].flip(0)


class Combiner(nn.Module):
    def __init__(self, z_dim: int, rnn_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(z_dim, rnn_dim)
        self.fc_loc = nn.Linear(rnn_dim, z_dim)
        self.fc_scale = nn.Linear(rnn_dim, z_dim)

    def forward(self, z_prev: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        both = 0.5 * (torch.tanh(self.fc(z_prev)) + h)
        return self.fc_loc(both), F.softplus(self.fc_scale(both))


class Transition(nn.Module):
    def __init__(self, z_dim: int, transition_dim: int) -> None:
        super().__init__()
        self.gate1, self.gate2 = nn.Linear(z_dim, transition_dim), nn.Linear(transition_dim, z_dim)
        self.mean1, self.mean2 = nn.Linear(z_dim, transition_dim), nn.Linear(transition_dim, z_dim)
        self.fc_scale, self.fc_loc = nn.Linear(z_dim, z_dim), nn.Linear(z_dim, z_dim)

    def forward(self, z_prev: Tensor) -> tuple[Tensor, Tensor]:
        gate = torch.sigmoid(self.gate2(torch.relu(self.gate1(z_prev))))
        mean = self.mean2(torch.relu(self.mean1(z_prev)))
        loc = (1 - gate) * self.fc_loc(z_prev) + gate * mean
        return loc, F.softplus(self.fc_scale(torch.relu(mean)))


class Emitter(nn.Module):
    def __init__(self, x_dim: int, z_dim: int, emission_dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(z_dim, emission_dim), nn.Linear(emission_dim, emission_dim)
        self.fc3 = nn.Linear(emission_dim, x_dim)

    def forward(self, z: Tensor) -> Tensor:
        """Logits."""
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(z)))))


class DMM(nn.Module):
    """The mean over the batch of minus the evidence lower bound of a series ``[T, B, X]``."""

    def __init__(
        self, x_dim: int, z_dim: int, emission_dim: int, transition_dim: int, rnn_dim: int
    ) -> None:
        super().__init__()
        self.context, self.combiner = Context(x_dim, rnn_dim), Combiner(z_dim, rnn_dim)
        self.transition, self.emitter = (
            Transition(z_dim, transition_dim),
            Emitter(x_dim, z_dim, emission_dim),
        )
        self.z_0 = nn.Parameter(torch.zeros(z_dim))

    def start(self, x: Tensor) -> Tensor:
        return self.z_0.expand(x.shape[1], -1)

    def naive(self, x: Tensor) -> Tensor:
        """Everything in the loop, the series read by ``h[t]``: the equation as one types it."""
        h, z, total = self.context(x), self.start(x), torch.zeros((), dtype=x.dtype)
        for t in range(len(x)):
            loc, scale = self.combiner(z, h[t])
            prior_loc, prior_scale = self.transition(z)
            z = torch.addcmul(loc, scale, torch.randn_like(loc))
            nll = F.binary_cross_entropy_with_logits(self.emitter(z), x[t], reduction="sum")
            total = total + nll + normal_kl(loc, scale, prior_loc, prior_scale).sum()
        return total / x.shape[1]

    def filtered(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Means, scales, noise, draws and the draws before, ``[T, B, Z]``: only what depends on the
        draw before loops.
        """
        h, z = self.context(x), self.start(x)
        noise = torch.randn(*x.shape[:2], z.shape[-1], dtype=x.dtype)
        before, locs, scales, draws = [], [], [], []
        for h_t, noise_t in zip(h.unbind(0), noise.unbind(0), strict=True):
            before.append(z)
            loc, scale = self.combiner(z, h_t)
            z = torch.addcmul(loc, scale, noise_t)
            locs.append(loc)
            scales.append(scale)
            draws.append(z)
        return (
            torch.stack(locs),
            torch.stack(scales),
            noise,
            torch.stack(draws),
            torch.stack(before),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The loop is split: the transition, the emitter and the KL run once, on all rows."""
        loc, scale, _, z, before = self.filtered(x)
        prior_loc, prior_scale = self.transition(before.flatten(0, 1))
        kl = normal_kl(loc.flatten(0, 1), scale.flatten(0, 1), prior_loc, prior_scale)
        nll = F.binary_cross_entropy_with_logits(
            self.emitter(z.flatten(0, 1)), x.flatten(0, 1), reduction="sum"
        )
        return (nll + kl.sum()) / x.shape[1]

    def monte_carlo(self, x: Tensor) -> Tensor:
        """The same with ``log q - log p`` at the draw in the place of the KL."""
        _, scale, noise, z, before = self.filtered(x)
        prior_loc, prior_scale = self.transition(before.flatten(0, 1))
        u = (z.flatten(0, 1) - prior_loc) / prior_scale
        kl = (
            0.5 * (u * u).sum()
            - 0.5 * (noise * noise).sum()
            + prior_scale.log().sum()
            - scale.log().sum()
        )
        nll = F.binary_cross_entropy_with_logits(
            self.emitter(z.flatten(0, 1)), x.flatten(0, 1), reduction="sum"
        )
        return (nll + kl) / x.shape[1]


def normal_kl(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """KL of two normals, element by element."""
    ratio, shift = q_scale / p_scale, (q_loc - p_loc) / p_scale
    return 0.5 * (ratio * ratio + shift * shift - 1) - ratio.log()
