"""The VAE and the Deep Markov Model of the benchmarks, declared: this file runs on pixyz 0.3.3 as
it does here.

Architectures are those of Pyro's examples (the paper's Section 6): a VAE with one hidden layer of
softplus units, and the DMM's gated transition, combiner, emitter and backward RNN.  Weights are
drawn in the order of ``by_hand.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Deterministic, Normal
from pixyz.losses import ELBO, IterativeLoss, KullbackLeibler, LogProb
from pixyz.losses import Expectation as E


class Encoder(Normal):
    def __init__(self, x_dim: int, h_dim: int, z_dim: int, log_scale: bool) -> None:
        super().__init__(var=["z"], cond_var=["x"], name="q")
        self.fc1 = nn.Linear(x_dim, h_dim)
        self.fc21 = nn.Linear(h_dim, z_dim)
        self.fc22 = nn.Linear(h_dim, z_dim)
        self.as_log_scale = log_scale

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.softplus(self.fc1(x))
        loc, log_scale = self.fc21(h), self.fc22(h)
        return (
            {"loc": loc, "log_scale": log_scale}
            if self.as_log_scale
            else {"loc": loc, "scale": torch.exp(log_scale)}
        )


class Decoder(Bernoulli):
    def __init__(self, x_dim: int, h_dim: int, z_dim: int, logits: bool) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc1 = nn.Linear(z_dim, h_dim)
        self.fc21 = nn.Linear(h_dim, x_dim)
        self.as_logits = logits

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        out = self.fc21(F.softplus(self.fc1(z)))
        return {"logits": out} if self.as_logits else {"probs": torch.sigmoid(out)}


class VAE:
    """``-E_q[log p(x|z)] + KL[q(z|x) || p(z)]`` (equation 7), or by Monte Carlo (equation 8).

    0.3.3 knows ``probs`` and ``scale`` only.
    """

    def __init__(
        self,
        x_dim: int,
        h_dim: int,
        z_dim: int,
        batch: int,
        analytic: bool = True,
        logits: bool = False,
        log_scale: bool = False,
    ) -> None:
        q, p = Encoder(x_dim, h_dim, z_dim, log_scale), Decoder(x_dim, h_dim, z_dim, logits)
        prior = Normal(
            loc=torch.tensor(0.0),
            scale=torch.tensor(1.0),
            var=["z"],
            features_shape=[z_dim],
            name="p_{prior}",
        )
        self.modules = nn.ModuleList([q, p, prior])
        self.objective = (
            (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()
            if analytic
            else (-ELBO(p * prior, q)).mean()
        )
        self.x = made_data(batch, x_dim)

    def inputs(self) -> dict[str, Tensor]:
        """A tensor object of its own for each step: 0.3.3's memo would hand out the last step's
        values else.
        """
        return {"x": self.x.detach()}


class Context(Deterministic):
    """What the series has in store: a backward RNN."""

    def __init__(self, x_dim: int, rnn_dim: int) -> None:
        super().__init__(var=["h"], cond_var=["x"], name="f")
        self.rnn = nn.RNN(x_dim, rnn_dim, nonlinearity="relu")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"h": self.rnn(x.flip(0))[0].flip(0)}


class Combiner(Normal):
    def __init__(self, z_dim: int, rnn_dim: int) -> None:
        super().__init__(var=["z"], cond_var=["z_prev", "h"], name="q")
        self.fc = nn.Linear(z_dim, rnn_dim)
        self.fc_loc = nn.Linear(rnn_dim, z_dim)
        self.fc_scale = nn.Linear(rnn_dim, z_dim)

    def forward(self, z_prev: Tensor, h: Tensor) -> dict[str, Tensor]:
        both = 0.5 * (torch.tanh(self.fc(z_prev)) + h)
        return {"loc": self.fc_loc(both), "scale": F.softplus(self.fc_scale(both))}


class Transition(Normal):
    def __init__(self, z_dim: int, transition_dim: int) -> None:
        super().__init__(var=["z"], cond_var=["z_prev"], name="p_t")
        self.gate1, self.gate2 = nn.Linear(z_dim, transition_dim), nn.Linear(transition_dim, z_dim)
        self.mean1, self.mean2 = nn.Linear(z_dim, transition_dim), nn.Linear(transition_dim, z_dim)
        self.fc_scale, self.fc_loc = nn.Linear(z_dim, z_dim), nn.Linear(z_dim, z_dim)

    def forward(self, z_prev: Tensor) -> dict[str, Tensor]:
        gate = torch.sigmoid(self.gate2(torch.relu(self.gate1(z_prev))))
        mean = self.mean2(torch.relu(self.mean1(z_prev)))
        loc = (1 - gate) * self.fc_loc(z_prev) + gate * mean
        return {"loc": loc, "scale": F.softplus(self.fc_scale(torch.relu(mean)))}


class Emitter(Bernoulli):
    def __init__(self, x_dim: int, z_dim: int, emission_dim: int, logits: bool) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p_e")
        self.fc1, self.fc2 = nn.Linear(z_dim, emission_dim), nn.Linear(emission_dim, emission_dim)
        self.fc3 = nn.Linear(emission_dim, x_dim)
        self.as_logits = logits

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        out = self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(z)))))
        return {"logits": out} if self.as_logits else {"probs": torch.sigmoid(out)}


class DMM:
    """Figure 9's objective with IterativeLoss: the sum over steps of ``KL[q || p_t] - E_q[log
    p_e(x|z)]``.
    """

    def __init__(
        self,
        x_dim: int,
        z_dim: int,
        emission_dim: int,
        transition_dim: int,
        rnn_dim: int,
        batch: int,
        steps: int,
        analytic: bool = True,
        logits: bool = False,
        **options: Any,
    ) -> None:
        f, q = Context(x_dim, rnn_dim), Combiner(z_dim, rnn_dim)
        t, e = Transition(z_dim, transition_dim), Emitter(x_dim, z_dim, emission_dim, logits)
        self.modules = nn.ModuleList([f, q, t, e])
        self.z_0 = nn.Parameter(torch.zeros(z_dim))
        self.modules.register_parameter("z_0", self.z_0)
        step = KullbackLeibler(q, t) - E(q, LogProb(e)) if analytic else -ELBO(e * t, q)
        series = IterativeLoss(
            step, max_iter=steps, series_var=["x", "h"], update_value={"z": "z_prev"}, **options
        )
        self.objective = E(f, series).mean()
        self.x, self.batch = made_data(steps, batch, x_dim), batch

    def inputs(self) -> dict[str, Tensor]:
        """The series and the learned first latent; tensor objects of their own for each step."""
        return {"x": self.x.detach(), "z_prev": self.z_0.expand(self.batch, -1)}


MODELS = {"vae": VAE, "dmm": DMM}


def made_data(*shape: int) -> Tensor:
    """Zeros and ones, the same in every process."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.3).to(
        torch.get_default_dtype()
    )


class Training:
    """A declared model and its optimiser.

    Args:
        model: a key of ``MODELS``.
        settings: its arguments.
        optimizer: arguments of Adam.
    """

    def __init__(
        self, model: str, settings: Mapping[str, Any], optimizer: Mapping[str, Any] | None = None
    ) -> None:
        torch.manual_seed(0)
        self.model = MODELS[model](**settings)
        self.adam = torch.optim.Adam(self.model.modules.parameters(), lr=1e-4, **(optimizer or {}))

    def step(self) -> None:
        """Loss, gradients, update."""
        self.adam.zero_grad(set_to_none=True)
        self.model.objective.eval(self.model.inputs()).backward()
        self.adam.step()

    def value(self, seed: int) -> tuple[float, list[float]]:
        """The loss and the sums of all gradients at one seed, to compare contenders."""
        torch.manual_seed(seed)
        parameters = list(self.model.modules.parameters())
        loss = self.model.objective.eval(self.model.inputs())
        return loss.item(), [g.sum().item() for g in torch.autograd.grad(loss, parameters)]
