"""LaProp with adaptive gradient clipping; Adam that clips each group of weights by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def by_group(
    optimizer: torch.optim.Optimizer, closure: object, norms: Sequence[Tensor] | None
) -> Iterator[tuple[dict[str, Any], list[Tensor], list[Tensor] | None]]:
    """Each group of weights, those that have a gradient, and the norms of these gradients where
    they are known.

    Raises:
        ValueError: a closure was given.
    """
    if closure is not None:
        name = type(optimizer).__name__
        raise ValueError(f"{name} takes no closure: call backward() before step()")
    known = None if norms is None else list(norms)
    for group in optimizer.param_groups:
        params = [p for p in group["params"] if p.grad is not None]
        yield group, params, None if known is None else [known.pop(0) for _ in params]


class LaProp(torch.optim.Optimizer):
    r"""Momentum over RMS-scaled gradients, after each tensor's gradient was clipped to its weights'
    size.

    .. math::
        g &\leftarrow g \min(1, c \max(10^{-3}, |\theta|) / |g|) \\
        n &\leftarrow \beta_2 n + (1 - \beta_2) g^2, \quad
        m \leftarrow \beta_1 m + (1 - \beta_1) g / (\sqrt{n / (1 - \beta_2^k)} + \epsilon) \\
        \theta &\leftarrow \theta - \eta \min(1, k / k_{warm}) m / (1 - \beta_1^k)

    (LaProp: Ziyin et al. 2020; clipping: Brock et al. 2021; together as in DreamerV3, 2024.)

    Args:
        params: the weights.
        lr: eta.
        beta1, beta2, eps: as above.
        clip: c; 0 does not clip.
        warmup: updates over which the rate rises from 0.
        halving: updates in which the rate halves; 0 keeps it (as published).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 4e-5,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-20,
        clip: float = 0.3,
        warmup: int = 1000,
        halving: int = 0,
    ) -> None:
        if (
            lr <= 0
            or not 0 <= beta1 < 1
            or not 0 <= beta2 < 1
            or clip < 0
            or warmup < 0
            or halving < 0
        ):
            raise ValueError(
                f"expected lr > 0, betas in [0, 1), no negative number, "
                f"got {lr=} {beta1=} {beta2=} {clip=}"
            )
        rates = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "clip": clip,
            "warmup": warmup,
            "halving": halving,
        }
        super().__init__(params, rates)

    takes_norms = True

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Any] | None = None, norms: Sequence[Tensor] | None = None
    ) -> Any:
        """One update from the gradients.

        Args:
            norms: of each gradient, in the order of the parameters that have one, where they are
                known already.
        """
        for group, params, own in by_group(self, closure, norms):
            if params:
                self._update(group, params, own)
        return None

    def _update(
        self, group: dict[str, Any], params: list[Tensor], norms: list[Tensor] | None
    ) -> None:
        for p in params:
            state = self.state[p]
            if not state:
                state["square"], state["momentum"] = torch.zeros_like(p), torch.zeros_like(p)
        group["updates"] = k = group.get("updates", 0) + 1
        grads: list[Tensor] | tuple[Tensor, ...] = [p.grad for p in params if p.grad is not None]
        squares = [self.state[p]["square"] for p in params]
        momenta = [self.state[p]["momentum"] for p in params]
        if group["clip"]:
            found = torch._foreach_norm(grads) if norms is None else norms
            size, norm = torch.stack(torch._foreach_norm(params)), torch.stack(list(found))
            factor = (group["clip"] * size.clamp(min=1e-3) / norm.clamp(min=1e-30)).clamp(max=1.0)
            grads = torch._foreach_mul(grads, list(factor.unbind()))
        torch._foreach_mul_(squares, group["beta2"])
        torch._foreach_addcmul_(squares, grads, grads, 1.0 - group["beta2"])
        # g / (sqrt(n / c^2) + eps) = c g / (sqrt(n) + c eps)
        c = (1.0 - group["beta2"] ** k) ** 0.5
        scales = torch._foreach_sqrt(squares)
        torch._foreach_add_(scales, c * group["eps"])
        torch._foreach_mul_(momenta, group["beta1"])
        torch._foreach_addcdiv_(momenta, grads, scales, c * (1.0 - group["beta1"]))
        rate = group["lr"] * min(1.0, k / group["warmup"] if group["warmup"] else 1.0)
        rate *= 0.5 ** (k / group["halving"]) if group["halving"] else 1.0
        torch._foreach_add_(params, momenta, alpha=-rate / (1.0 - group["beta1"] ** k))


class ClippedAdam(torch.optim.AdamW):
    r"""Adam for groups of weights with rates of their own, as if each had an optimizer: the
    gradient of a group is clipped to a norm, :math:`g \leftarrow g \min(1, c / |g|)` (Kingma and Ba
    2015; decay: Loshchilov and Hutter 2019).

    Args:
        groups: ``{"params": ..., "lr": ...}`` each.
        eps, weight_decay: of Adam.
        clip: c.
    """

    takes_norms = True

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float = 100.0,
    ) -> None:
        super().__init__(groups, eps=eps, weight_decay=weight_decay, fused=True)
        for group in self.param_groups:
            group["clip"], group["updates"] = clip, 0

    @property
    def updates(self) -> int:
        """How many were made."""
        return int(self.param_groups[0]["updates"])

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Any] | None = None, norms: Sequence[Tensor] | None = None
    ) -> Any:
        """One update from the gradients.

        Args:
            norms: of each gradient, in the order of the parameters that have one, where they are
                known already.
        """
        for group, params, own in by_group(self, closure, norms):
            grads = [p.grad for p in params if p.grad is not None]
            group["updates"] += 1
            if grads:
                own = own or [*torch._foreach_norm(grads)]
                total = torch.stack(list(own)).norm()
                torch._foreach_mul_(grads, (group["clip"] / total.clamp(min=1e-30)).clamp(max=1.0))
        return super().step()
