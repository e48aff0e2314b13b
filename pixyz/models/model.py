"""Model: trains the parameters of some distributions on an objective."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.series.recurrence import Recurrence
from pixyz.expression import Expression, Loss
from pixyz.losses.critic import AdversarialLoss
from pixyz.losses.optimizer import make_optimizer
from pixyz.models.optimizer_file import load_optimizer, save_optimizer
from pixyz.types import PixyzError, as_list, as_tensor_dict


class Model:
    r"""An objective, the distributions whose parameters it trains, and an optimiser.

    Args:
        loss: the objective.
        test_loss: the objective of :meth:`test`; ``loss`` if None.
        distributions: whose parameters are trained; :meth:`train` and :meth:`test` set the mode of
            these alone, and of networks that the objective itself has.
        optimizer: an optimiser class; Adam and AdamW run as one fused kernel where the device has
            it.
        optimizer_params: its arguments; ``{"fused": False}`` for the plain form.
        clip_grad_norm: clip the norm of all gradients together.
        clip_grad_value: clip each gradient.
        retain_graph: keep the autograd graph after :meth:`train`.
        scheduler: a class of ``torch.optim.lr_scheduler``, or a function of the optimiser; stepped
            after each step.
        scheduler_params: its arguments.
        amp: evaluate the objective under autocast: a dtype, or True for float16 on CUDA (with a
            GradScaler, which leaves out a step whose gradients overflow) and bfloat16 on the CPU.

    Raises:
        PixyzError: there is nothing to train.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=nn.Parameter(torch.zeros(2)), scale=1.0)
    >>> model = Model(
    ...     -p.log_prob().mean(),
    ...     distributions=[p],
    ...     optimizer=optim.SGD,
    ...     optimizer_params={"lr": 0.1},
    ...     scheduler=optim.lr_scheduler.ExponentialLR,
    ...     scheduler_params={"gamma": 0.5},
    ... )
    >>> model.train({"x": torch.zeros(4, 2)}), model.optimizer.param_groups[0]["lr"]
    (tensor(1.8379), 0.05)

    :math:`\theta \leftarrow \theta - \eta \nabla_\theta L`, or what the optimiser makes of the
    gradient.
    """

    def __init__(
        self,
        loss: Loss,
        test_loss: Loss | None = None,
        distributions: Sequence[Distribution] | Distribution = (),
        optimizer: type[optim.Optimizer] = optim.Adam,
        optimizer_params: Mapping[str, object] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        retain_graph: bool = False,
        scheduler: Callable[..., optim.lr_scheduler.LRScheduler] | None = None,
        scheduler_params: Mapping[str, object] | None = None,
        amp: bool | torch.dtype = False,
    ) -> None:
        self.distributions = nn.ModuleList(as_list(distributions))
        self.loss_cls: Loss
        self.test_loss_cls: Loss
        self.set_loss(loss, test_loss)
        parameters = list(
            {
                id(p): p for p in [*nn.Module.parameters(self.distributions), *_trained(loss)]
            }.values()
        )
        if not parameters:
            raise PixyzError(
                f"nothing to train in {loss.loss_text}: give distributions that have parameters"
            )
        self.optimizer = make_optimizer(optimizer, parameters, optimizer_params)
        self.scheduler = (
            None if scheduler is None else scheduler(self.optimizer, **dict(scheduler_params or {}))
        )
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.retain_graph = retain_graph
        cuda = parameters[0].device.type == "cuda"
        if isinstance(amp, bool):
            self.amp: torch.dtype | None = (
                None if not amp else torch.float16 if cuda else torch.bfloat16
            )
        else:
            self.amp = amp
        self.scaler = torch.amp.GradScaler() if cuda and self.amp is torch.float16 else None

    def set_loss(self, loss: Loss, test_loss: Loss | None = None) -> None:
        """Set the objective, and the one for tests."""
        self.loss_cls = loss
        self.test_loss_cls = loss if test_loss is None else test_loss

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the objective is evaluated:
        mixed precision where ``amp`` says so.
        """
        if self.amp is None:
            return nullcontext()
        return torch.autocast(self.parameters[0].device.type, self.amp)

    def train(self, train_x_dict: object = None, **kwargs: Any) -> Tensor:
        """One step of the optimiser; the loss, without its graph.

        Raises:
            PixyzError: the loss is not a single number, or not finite; nothing is changed then.
        """
        self._switch(self.loss_cls, True)
        self.optimizer.zero_grad()
        with self.autocast():
            loss = self.loss_cls.eval(self._values(train_x_dict), **kwargs)
        if loss.numel() != 1:
            raise PixyzError(
                f"the objective has the shape {list(loss.shape)}, expected one number; add .mean()"
            )
        if self.scaler is None:
            if not torch.isfinite(loss):
                raise PixyzError(
                    f"the objective is {loss.item()}; no parameter was changed. "
                    f"Look at the data and the step size"
                )
            loss.backward(retain_graph=self.retain_graph)
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward(retain_graph=self.retain_graph)
            self.scaler.unscale_(self.optimizer)
            self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss if self.retain_graph else loss.detach()

    def _switch(self, loss: Loss, training: bool) -> None:
        """Put what is trained into training or evaluation mode; another distribution of the
        objective, or a frozen network in it, stays as it is.
        """
        self.distributions.train(training)
        waiting: list[nn.Module] = [loss]
        while waiting:
            part = waiting.pop()
            if isinstance(part, (Expression, nn.ModuleList, nn.ModuleDict)):
                part.training = training
                waiting += nn.Module.children(part)
                if isinstance(part, AdversarialLoss):
                    part.d.train(training)
            elif not isinstance(part, (Distribution, Recurrence)):
                flags = [p.requires_grad for p in nn.Module.parameters(part)]
                if any(flags) or not flags:
                    part.train(training)

    def _clip(self) -> None:
        if self.clip_grad_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm)
        if self.clip_grad_value:
            nn.utils.clip_grad_value_(self.parameters, self.clip_grad_value)

    def test(self, test_x_dict: object = None, **kwargs: Any) -> Tensor:
        """The test objective in evaluation mode, without gradients."""
        self._switch(self.test_loss_cls, False)
        with torch.no_grad(), self.autocast():
            made: Tensor = self.test_loss_cls.eval(self._values(test_x_dict), **kwargs)
            return made

    def _values(self, x: object) -> dict[str, Any]:
        return as_tensor_dict(
            {} if x is None else x,
            () if isinstance(x, Mapping) else self.loss_cls.input_var,
            "the model",
        )

    # ---------------------------------------------------------------- saving

    def save(self, path: str | Path) -> None:
        """Write weights and the states of optimisers, scheduler and scaler to a folder, without
        pickle.

        The discriminators of adversarial losses and their optimisers are among them.
        """
        from safetensors.torch import save_file  # not needed until a model is saved

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            k: v.clone(memory_format=torch.contiguous_format) for k, v in self._weights().items()
        }
        save_file(weights, folder / "weights.safetensors")
        for name, optimizer in self._optimizers().items():
            save_optimizer(optimizer, folder, name)
        rest = {name: part.state_dict() for name, part in self._plain_parts().items()}
        if rest:
            (folder / "training.json").write_text(json.dumps(rest))

    def load(self, path: str | Path) -> None:
        """Read what :meth:`save` wrote, or the weights of a file that pixyz 0.3.3 wrote.

        Raises:
            PixyzError: the folder or a part of it is missing, or is of another model.
        """
        from safetensors.torch import load_file

        folder = Path(path)
        if folder.is_file():
            self._load_file(folder)
            return
        optimizers, parts = self._optimizers(), self._plain_parts()
        needed = [
            "weights.safetensors",
            *(f"{n}.{end}" for n in optimizers for end in ("safetensors", "json")),
        ]
        missing = [
            n
            for n in [*needed, *(["training.json"] if parts else [])]
            if not (folder / n).is_file()
        ]
        if missing:
            raise PixyzError(
                f"{folder} is no saved model: {missing} missing; give a folder that save() wrote"
            )
        weights, own = load_file(folder / "weights.safetensors"), self._weights()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in own.items()}:
            raise PixyzError(
                f"{folder} was saved from another model: its tensors are {sorted(weights)}, "
                f"here {sorted(own)}"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(weights[name])
        for name, optimizer in optimizers.items():
            load_optimizer(optimizer, folder, name)
        rest = json.loads((folder / "training.json").read_text()) if parts else {}
        for name, part in parts.items():
            part.load_state_dict(rest[name])

    def _load_file(self, path: Path) -> None:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or "distributions" not in found:
            raise PixyzError(
                f"{path} is no model that pixyz 0.3.3 saved: expected weights under 'distributions'"
            )
        self.distributions.load_state_dict(found["distributions"])

    def _optimizers(self) -> dict[str, optim.Optimizer]:
        critics = [m for m in nn.Module.modules(self.loss_cls) if isinstance(m, AdversarialLoss)]
        return {
            "optimizer": self.optimizer,
            **{f"critic_{i}": m.d_optimizer for i, m in enumerate(critics)},
        }

    def _plain_parts(self) -> dict[str, Any]:
        found = {"scheduler": self.scheduler, "scaler": self.scaler}
        return {name: part for name, part in found.items() if part is not None}

    def _weights(self) -> dict[str, Tensor]:
        named = [*self.distributions.state_dict(keep_vars=True).items()]
        named += [(f"loss.{i}", p) for i, p in enumerate(self.parameters)]
        for i, m in enumerate(
            m for m in nn.Module.modules(self.loss_cls) if isinstance(m, AdversarialLoss)
        ):
            named += [(f"critic.{i}.{k}", v) for k, v in m.d.state_dict(keep_vars=True).items()]
        # shared weights are kept once
        first = {id(tensor): name for name, tensor in reversed(named)}
        return {name: tensor.detach() for name, tensor in named if first[id(tensor)] == name}

    def __str__(self) -> str:
        texts = ", ".join(p.prob_text for p in self.distributions if isinstance(p, Distribution))
        networks = "".join(
            f"\n  {m}" for m in self.distributions if not isinstance(m, Distribution)
        )
        networks = f"Deterministic functions (for training):{networks}\n" if networks else ""
        return (
            f"Distributions (for training):\n  {texts}\n{networks}Loss "
            f"function:\n  {self.loss_cls.loss_text}\n"
            f"Optimizer:\n{textwrap.indent(str(self.optimizer), '  ')}"
        )


def _trained(loss: Loss) -> list[nn.Parameter]:
    """Parameters of the objective itself (a learned initial state),
    not of distributions it names.
    """
    held = {
        id(p)
        for m in nn.Module.modules(loss)
        if isinstance(m, Distribution)
        for p in nn.Module.parameters(m)
    }
    return [p for p in nn.Module.parameters(loss) if id(p) not in held]
