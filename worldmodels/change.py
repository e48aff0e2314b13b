r"""Predicting what changes: a frame's vectors as the last ones, a share of their last change, and
what the state adds.

.. math::
    x_t \sim \mathcal{N}(x_{t-1} + g\,(x_{t-1} - x_{t-2}) + c\,\mu(h_t, s_t),\; (c\,\sigma)^2)

in standard units; :math:`g` and :math:`c` of each feature are the regression of a change on the one
before and the deviation of what it leaves, on the training data
(:func:`worldmodels.open_loop.changes`).  :math:`\mu` is 0 at the start, so that one step ahead such
a model begins where persistence (or that line) is, however fast the log was sampled.  A first frame
has no last one: it has a mean and a deviation of its own.  A second one has no line: instead of
:math:`c` it has the deviation of whole changes, :math:`c / \sqrt{1 - g^2}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic
from worldmodels.decoder import STATE, Reconstruction, symlog
from worldmodels.networks import linear
from worldmodels.scaling import Scaling, scalings

PREVIOUS = ("now_prev", "before_prev")


class Now(Deterministic):
    """``now [..., D + 1]``: the vectors of a frame in standard units side by side, and a 1 that
    says that there was one.

    Args:
        scaling: key -> :class:`worldmodels.scaling.Scaling`.
    """

    def __init__(self, scaling: nn.ModuleDict) -> None:
        size = 1 + sum(len(s.loc) for s in scaling.values())  # type: ignore[arg-type,misc]
        super().__init__("now", list(scaling), name="u", features_shape=[size])
        self.__dict__["scaling"] = scaling  # held by the encoder

    def forward(self, **obs: Tensor) -> dict[str, Tensor]:
        parts = [scaling(obs[key]) for key, scaling in self.__dict__["scaling"].items()]
        return {"now": torch.cat([*parts, torch.ones_like(parts[0][..., :1])], -1)}


def unforeseen(gain: Tensor, left: Tensor) -> Tensor:
    """The deviation of a change that no change before it tells of: that of an AR(1) of ``gain``
    whose noise is ``left``.

    >>> unforeseen(torch.tensor([0.0, 0.6, 1.0]), torch.tensor([0.1, 0.4, 0.01]))
    tensor([0.1000, 0.5000, 1.0000])
    """
    return torch.maximum(left, (left / (1 - gain.square()).clamp(min=1e-6).sqrt()).clamp(max=1.0))


def moved(x: Tensor, now_prev: Tensor, steps: nn.ModuleDict) -> Tensor:
    """How far ``x [..., D]`` is from the frame before, in deviations of changes; 0 where there was
    none.
    """
    scale = torch.cat([s.scale for s in steps.values()])  # type: ignore[misc]
    return symlog(now_prev[..., -1:] * (x - now_prev[..., :-1]) / scale)


class Changes(nn.Module):
    r"""Series as what they change, for models of a vector that cannot read the last frames (DMM,
    VRNN, TD-VAE).

    .. math:: y_t = (x_t - x_{t-1} - g\,(x_{t-1} - x_{t-2})) / c

    and :math:`y_0 = x_0` in a first frame, :math:`y_1 = (x_1 - x_0) \sqrt{1 - g^2} / c` in a
    second: a flow over time, whose log-determinant is the same for every series of a length.  A
    model of ``y`` that predicts 0 is the line through the last frames.

    Args:
        size: the number of features.

    >>> changes = Changes(1)
    >>> changes.steps.set([0.5], [0.1])
    >>> x = torch.tensor([1.0, 1.2, 1.4, 1.4]).reshape(4, 1, 1)
    >>> y = changes(x)
    >>> y.flatten(), changes.inverse(y[2:], x[:2]).flatten()
    (tensor([ 1.0000,  1.7321,  1.0000, -1.0000]), tensor([1.4000, 1.4000]))
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.steps = Scaling(size)
        """``loc`` is ``g``, ``scale`` is ``c``."""

    def forward(self, x: Tensor, is_first: Tensor | None = None) -> Tensor:
        """``y [T, B, D]``.

        Args:
            x: in standard units, ``[T, B, D]``; the first row is a first frame.
            is_first: where else an episode begins, ``[T, B]``.
        """
        first = (
            torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            if is_first is None
            else is_first.bool().clone()
        )
        first[0] = True
        second = torch.cat([first[:1], first[:-1]]).unsqueeze(-1)
        step = x - torch.cat([x[:1], x[:-1]])
        before = torch.where(second | first.unsqueeze(-1), 0.0, torch.cat([step[:1], step[:-1]]))
        scale = torch.where(second, self.unforeseen, self.steps.scale)
        return torch.where(first.unsqueeze(-1), x, (step - self.steps.loc * before) / scale)

    def inverse(self, y: Tensor, last: Tensor) -> Tensor:
        """``x [T, B, D]`` of the frames after ``last``, the one or two before them, ``[1 or 2, B,
        D]``.
        """
        now = last[-1]
        step = last[-1] - last[0]
        scale = self.steps.scale if len(last) > 1 else self.unforeseen
        found = []
        for row in y:
            step, scale = self.steps.loc * step + scale * row, self.steps.scale
            now = now + step
            found.append(now)
        return torch.stack(found) if found else y

    @property
    def unforeseen(self) -> Tensor:
        """The deviation of a second frame, ``[D]``."""
        return unforeseen(self.steps.loc, self.steps.scale)

    def log_det(self, frames: Tensor) -> Tensor:
        """What a series' log-density of ``x`` is above that of ``y``, for series of so many
        ``frames``.
        """
        later = (frames - 2).clamp(min=0) * self.steps.scale.log().sum()
        return -later - (frames > 1) * self.unforeseen.log().sum()


class Before(Deterministic):
    """``before``: what ``now`` was a frame ago."""

    def __init__(self, size: int) -> None:
        super().__init__("before", ["now_prev"], name="d", features_shape=[size])

    def forward(self, now_prev: Tensor) -> dict[str, Tensor]:
        return {"before": now_prev}


class ChangeReconstruction(Reconstruction):
    """:class:`worldmodels.decoder.Reconstruction` that predicts what vectors change from the last
    frames on; images as there.

    It reads ``now_prev`` and ``before_prev`` too: what :class:`Now` made of the last frame and of
    the one before it.

    Args:
        shapes, size, units, layers, depth, strided: as there.
        steps: a :class:`worldmodels.scaling.Scaling` of each vector, whose ``loc`` is the share
            ``g`` of the last change, and whose ``scale`` is the deviation ``c`` of what that
            leaves; 0 and 1 if None.

    >>> p = ChangeReconstruction({"x": (4,)}, size=8, units=16, layers=1, depth=8)
    >>> given = {
    ...     "deter": torch.zeros(2, 5),
    ...     "stoch": torch.zeros(2, 3),
    ...     "before_prev": torch.zeros(2, 5),
    ... }
    >>> p.sample({**given, "now_prev": torch.tensor([[1.0, 2.0, 3.0, 4.0, 1.0]]).expand(2, -1)})[
    ...     "x"
    ... ][0].detach()
    tensor([1., 2., 3., 4.])
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        size: int,
        units: int,
        layers: int,
        depth: int,
        steps: nn.ModuleDict | None = None,
        strided: bool = False,
    ) -> None:
        given = (*STATE, *PREVIOUS)
        super().__init__(shapes, size, units, layers, depth, "gaussian", given, strided)
        self.changes = nn.ModuleDict(
            {k: linear(units, shapes[k][0], outscale=0.0) for k in self.vectors}
        )
        self.change_scale = nn.ParameterDict(
            {k: nn.Parameter(torch.zeros(shapes[k][0])) for k in self.vectors}
        )
        self.steps = scalings(shapes) if steps is None else steps

    def forward(  # type: ignore[override]
        self, deter: Tensor, stoch: Tensor, now_prev: Tensor, before_prev: Tensor
    ) -> dict[str, Tensor]:
        """The mean of each variable, and ``KEY_log_scale`` of vectors."""
        assert self.scaling is not None and self.log_scale is not None and self.mlp is not None
        found = {k: self.cnn[k](deter, stoch) for k in self.images}
        hidden = self.mlp(deter, stoch)
        seen = now_prev[..., -1:] != 0
        start = 0
        for k in self.vectors:
            steps, scaling = self.steps[k], self.scaling[k]
            assert isinstance(steps, Scaling) and isinstance(scaling, Scaling)
            stop = start + len(steps.loc)
            now, before = now_prev[..., start:stop], before_prev[..., start:stop]
            start = stop
            line = before_prev[..., -1:] != 0
            scale = torch.where(line, steps.scale, unforeseen(steps.loc, steps.scale))
            loc = (
                now
                + steps.loc * before_prev[..., -1:] * (now - before)
                + scale * self.changes[k](hidden)
            )
            log_scale = self.change_scale[k] + scale.log()
            found[k] = scaling.inverse(torch.where(seen, loc, self.heads[k](hidden)))
            found[f"{k}_log_scale"] = (
                torch.where(seen, log_scale, self.log_scale[k]) + scaling.scale.log()
            )
        return found
