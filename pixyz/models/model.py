"""Model: trains the parameters of some distributions on an objective."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from pixyz.distributions.base import Distribution
from pixyz.expression import Loss
from pixyz.types import PixyzError, as_tensor_dict


class Model:
    """An objective, the distributions whose parameters it trains, and an optimiser.

    Args:
        loss: the objective.
        test_loss: the objective of :meth:`test`; ``loss`` if None.
        distributions: whose parameters are trained.
        optimizer: an optimiser class.
        optimizer_params: its arguments.
        clip_grad_norm: clip the norm of all gradients together.
        clip_grad_value: clip each gradient.
        retain_graph: keep the autograd graph after :meth:`train`.

    Raises:
        PixyzError: there is nothing to train.
    """

    def __init__(
        self, loss: Loss, test_loss: Loss | None = None, distributions: Sequence[Distribution] = (),
        optimizer: type[optim.Optimizer] = optim.Adam, optimizer_params: Mapping[str, Any] | None = None,
        clip_grad_norm: float | None = None, clip_grad_value: float | None = None, retain_graph: bool = False,
    ) -> None:
        self.distributions = nn.ModuleList(distributions)
        self.loss_cls: Loss
        self.test_loss_cls: Loss
        self.set_loss(loss, test_loss)
        parameters = list({id(p): p for p in [*self.distributions.parameters(), *_trained(loss)]}.values())
        if not parameters:
            raise PixyzError(f"nothing to train in {loss.loss_text}: give distributions that have parameters")
        self.optimizer = optimizer(parameters, **dict(optimizer_params or {}))
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.retain_graph = retain_graph

    def set_loss(self, loss: Loss, test_loss: Loss | None = None) -> None:
        """Set the objective, and the one for tests."""
        self.loss_cls = loss
        self.test_loss_cls = loss if test_loss is None else test_loss

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def train(self, train_x_dict: Any = None, **kwargs: Any) -> Tensor:
        """One step of the optimiser; the loss, without its graph.

        Raises:
            PixyzError: the loss is not a single number, or not finite; nothing is changed then.
        """
        self.distributions.train()
        self.loss_cls.train()
        self.optimizer.zero_grad()
        loss = self.loss_cls.eval(self._values(train_x_dict), **kwargs)
        if loss.numel() != 1:
            raise PixyzError(f"the objective has the shape {list(loss.shape)}, expected one number; add .mean()")
        if not torch.isfinite(loss):
            raise PixyzError(f"the objective is {loss.item()}; no parameter was changed. Look at the data and the step size")
        loss.backward(retain_graph=self.retain_graph)
        if self.clip_grad_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm)
        if self.clip_grad_value:
            nn.utils.clip_grad_value_(self.parameters, self.clip_grad_value)
        self.optimizer.step()
        return loss if self.retain_graph else loss.detach()

    def test(self, test_x_dict: Any = None, **kwargs: Any) -> Tensor:
        """The test objective in evaluation mode, without gradients."""
        self.distributions.eval()
        nn.Module.eval(self.test_loss_cls)
        with torch.no_grad():
            return self.test_loss_cls.eval(self._values(test_x_dict), **kwargs)  # type: ignore[no-any-return]

    def _values(self, x: Any) -> dict[str, Any]:
        return as_tensor_dict({} if x is None else x, () if isinstance(x, Mapping) else self.loss_cls.input_var, "the model")

    def save(self, path: str | Path) -> None:
        """Write weights and the optimiser's state to a folder, without pickle."""
        from safetensors.torch import save_file

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.optimizer.state_dict()
        tensors = {f"{i}.{k}": v for i, s in state["state"].items() for k, v in s.items() if isinstance(v, Tensor)}
        plain = {str(i): {k: v for k, v in s.items() if not isinstance(v, Tensor)} for i, s in state["state"].items()}
        weights = {k: v.clone(memory_format=torch.contiguous_format) for k, v in self._weights().items()}
        save_file(weights, folder / "weights.safetensors")
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "optimizer.safetensors")
        (folder / "optimizer.json").write_text(json.dumps({"groups": state["param_groups"], "plain": plain}))

    def load(self, path: str | Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            PixyzError: the folder or a part of it is missing, or is of another model.
        """
        from safetensors.torch import load_file

        folder = Path(path)
        missing = [n for n in ("weights.safetensors", "optimizer.safetensors", "optimizer.json") if not (folder / n).is_file()]
        if missing:
            raise PixyzError(f"{folder} is no saved model: {missing} missing")
        weights, own = load_file(folder / "weights.safetensors"), self._weights()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in own.items()}:
            raise PixyzError(f"{folder} was saved from another model: its tensors are {sorted(weights)}, here {sorted(own)}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(weights[name])
        meta = json.loads((folder / "optimizer.json").read_text())
        state: dict[int, dict[str, Any]] = {int(i): dict(s) for i, s in meta["plain"].items()}
        for key, tensor in load_file(folder / "optimizer.safetensors").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": meta["groups"]})

    def _weights(self) -> dict[str, Tensor]:
        named = [*self.distributions.state_dict(keep_vars=True).items()]
        named += [(f"loss.{i}", p) for i, p in enumerate(self.parameters)]
        first = {id(tensor): name for name, tensor in reversed(named)}  # shared weights are kept once
        return {name: tensor.detach() for name, tensor in named if first[id(tensor)] == name}

    def __str__(self) -> str:
        texts = ", ".join(p.prob_text for p in self.distributions)  # type: ignore[misc]
        return (
            f"Distributions (for training):\n  {texts}\nLoss function:\n  {self.loss_cls.loss_text}\n"
            f"Optimizer:\n{textwrap.indent(str(self.optimizer), '  ')}"
        )


def _trained(loss: Loss) -> list[nn.Parameter]:
    """Parameters of the objective itself (a learned initial state), not of distributions it names."""
    held = {id(p) for m in loss.modules() if isinstance(m, Distribution) for p in m.parameters()}
    return [p for p in loss.parameters() if id(p) not in held]
