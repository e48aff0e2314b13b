"""The VAE and the Deep Markov Model of the benchmarks in Pyro: model and guide, as its examples
write them.

Probabilities from the networks, ``Trace_ELBO``, ``pyro.optim.Adam``.  The DMM is the example's
without masks, annealing and padding, which saves Pyro work; one learned start serves model and
guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import by_hand
import pyro
import torch
from pyro import distributions as dist
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor


def clear() -> None:
    """Forget the parameters of earlier programs, which Pyro keeps by name for the whole process."""
    pyro.clear_param_store()


class VAE:
    def __init__(self, net: by_hand.VAE, logits: bool = False) -> None:
        # Pyro keeps parameters by name, for all programs
        self.net, self.logits, self.name = (
            net,
            logits,
            f"vae{id(net)}",
        )

    def model(self, x: Tensor) -> None:
        pyro.module(self.name + "_decoder", self.net.decoder)
        z_dim = self.net.decoder.fc1.in_features
        with pyro.plate("data", x.shape[0]):
            zeros, ones = (
                torch.zeros(x.shape[0], z_dim, dtype=x.dtype),
                torch.ones(x.shape[0], z_dim, dtype=x.dtype),
            )
            z = pyro.sample("latent", dist.Normal(zeros, ones).to_event(1))
            pyro.sample("obs", observed(self.net.decoder(z), self.logits), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module(self.name + "_encoder", self.net.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.net.encoder(x)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


class DMM:
    def __init__(self, net: by_hand.DMM, logits: bool = False) -> None:
        self.net, self.logits, self.name = net, logits, f"dmm{id(net)}"

    def model(self, x: Tensor) -> None:
        pyro.module(self.name, self.net)
        z = self.net.start(x)
        with pyro.plate("sequences", x.shape[1]):
            for t in pyro.markov(range(len(x))):
                z = pyro.sample(f"z_{t}", dist.Normal(*self.net.transition(z)).to_event(1))
                pyro.sample(f"x_{t}", observed(self.net.emitter(z), self.logits), obs=x[t])

    def guide(self, x: Tensor) -> None:
        pyro.module(self.name, self.net)
        h, z = self.net.context(x), self.net.start(x)
        with pyro.plate("sequences", x.shape[1]):
            for t in pyro.markov(range(len(x))):
                z = pyro.sample(f"z_{t}", dist.Normal(*self.net.combiner(z, h[t])).to_event(1))


def observed(out: Tensor, logits: bool) -> Any:
    """The Bernoulli of a network's result, ``[B, X]``."""
    return (dist.Bernoulli(logits=out) if logits else dist.Bernoulli(torch.sigmoid(out))).to_event(
        1
    )


class Training:
    """A Pyro program and its optimiser.

    Args:
        program: with ``model`` and ``guide``.
        validate: as shipped, or with validation off in Pyro and torch.
    """

    def __init__(
        self,
        program: VAE | DMM,
        x: Tensor,
        validate: bool,
        optimizer: Mapping[str, Any] | None = None,
    ) -> None:
        self.x, self.validate = x, validate
        adam = pyro.optim.Adam({"lr": 1e-4, **(optimizer or {})})
        self.svi = SVI(program.model, program.guide, adam, loss=Trace_ELBO())

    def step(self) -> None:
        """Loss, gradients, update."""
        pyro.enable_validation(self.validate)
        torch.distributions.Distribution.set_default_validate_args(self.validate)
        self.svi.step(self.x)

    def value(self, seed: int) -> float:
        """Minus the bound, mean over sequences."""
        torch.manual_seed(seed)
        return self.svi.evaluate_loss(self.x) / (
            self.x.shape[0] if self.x.ndim == 2 else self.x.shape[1]
        )
