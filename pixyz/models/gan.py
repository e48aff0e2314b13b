"""GAN: a generator against a discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, optim

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.made.data import EmpiricalDistribution
from pixyz.losses.adversarial import AdversarialJensenShannon
from pixyz.models.model import Model


class GAN(Model):
    r"""A generative adversarial network (Goodfellow et al. 2014):
    :math:`D_{JS}^{Adv}[p_{data}(x)||p(x)]`.

    Args:
        p: the generator, mostly a marginal ``(p(x|z) * p(z)).marginalize_var("z")``.
        discriminator: ``d(t|x)``, with values in (0, 1), or their logits.
        optimizer, optimizer_params: of the generator.
        d_optimizer, d_optimizer_params: of the discriminator.
        logits: the discriminator returns logits, which keep a gradient where its values would be 0
            or 1.
        clip_grad_norm, clip_grad_value, settings: see :class:`Model`.

    >>> from torch import nn
    >>> import torch
    >>> from pixyz.distributions import Deterministic, Normal
    >>> class Generator(Deterministic):
    ...     def __init__(self):
    ...         super().__init__("x", "z", name="p")
    ...         self.net = nn.Linear(2, 2)
    ...
    ...     def forward(self, z):
    ...         return {"x": self.net(z)}
    >>> class Discriminator(Deterministic):
    ...     def __init__(self):
    ...         super().__init__("t", "x", name="d")
    ...         self.net = nn.Linear(2, 1)
    ...
    ...     def forward(self, x):
    ...         return {"t": torch.sigmoid(self.net(x))}
    >>> prior = Normal("z", loc=0.0, scale=1.0, features_shape=[2])
    >>> p = (Generator() * prior).marginalize_var("z")
    >>> model = GAN(p, Discriminator())
    >>> print(model.loss_cls)
    mean(D_{JS}^{Adv} \left[p_{data}(x)||p(x) \right])
    """

    loss_cls: AdversarialJensenShannon

    def __init__(
        self,
        p: Distribution,
        discriminator: Distribution,
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        d_optimizer: type[optim.Optimizer] = optim.Adam,
        d_optimizer_params: Mapping[str, object] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        *,
        logits: bool = False,
        **settings: Any,
    ) -> None:
        loss = AdversarialJensenShannon(
            EmpiricalDistribution(p.var),
            p,
            discriminator,
            d_optimizer,
            d_optimizer_params,
            logits=logits,
        )
        super().__init__(
            loss,
            distributions=[p],
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **settings,
        )

    def train(  # type: ignore[override]
        self, train_x_dict: object = None, adversarial_loss: bool = True, **kwargs: object
    ) -> Tensor | tuple[Tensor, Tensor]:
        """One step of the discriminator, then one of the generator.

        Args:
            train_x_dict: the data.
            adversarial_loss: train the discriminator too.

        Returns:
            The generator's loss; with ``adversarial_loss`` also the discriminator's.
        """
        values = self._values(train_x_dict)
        if not adversarial_loss:
            return super().train(values, **kwargs)
        with self.autocast():
            d_loss = self.loss_cls.loss_train(values, **kwargs)
        return super().train(values, **kwargs), d_loss

    def test(  # type: ignore[override]
        self, test_x_dict: object = None, adversarial_loss: bool = True, **kwargs: object
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The generator's loss without gradients; with ``adversarial_loss`` also the
        discriminator's.
        """
        values = self._values(test_x_dict)
        loss = super().test(values, **kwargs)
        return (loss, self.loss_cls.loss_test(values, **kwargs)) if adversarial_loss else loss
