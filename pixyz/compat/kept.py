"""``set_dist``, ``dist`` and ``get_sample`` of pixyz 0.3.3: a torch distribution that is kept.

It is kept from one ``set_dist`` to the next, beside the distribution, so that copies and pickles
have none.

>>> import torch
>>> from pixyz.distributions import Normal
>>> p = Normal("x", "z", loc="z", scale=1.0)
>>> p.set_dist({"z": torch.zeros(2, 3)})
>>> p.dist.mean.shape, p.get_sample()["x"].shape
(torch.Size([2, 3]), torch.Size([2, 3]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.types import PixyzError

_kept: WeakKeyDictionary[ParametricDistribution, td.Distribution] = WeakKeyDictionary()


def set_dist(
    self: ParametricDistribution,
    x_dict: Mapping[str, Tensor] | None = None,
    batch_n: int | None = None,
    **kwargs: object,
) -> None:
    """Keep the torch distribution at given values of ``cond_var`` as ``dist``.

    Args:
        x_dict: the values.
        batch_n: the size of the batch, for a distribution without one in its inputs.
    """
    found = self.torch_dist(x_dict)
    if batch_n is not None and found.batch_shape[:1] != (batch_n,):
        if found.batch_shape[:1] != (1,):
            has = f"the parameters of {self.prob_text} have {list(found.batch_shape)}"
            raise PixyzError(f"batch_n={batch_n}, but {has}")
        found = found.expand(torch.Size([batch_n, *found.batch_shape[1:]]))
    _kept[self] = found


def dist(self: ParametricDistribution) -> td.Distribution:
    """The torch distribution of the last ``set_dist``."""
    found = _kept.get(self)
    if found is None:
        what = "keeps no torch distribution: call set_dist(x) first, or use torch_dist(x)"
        raise PixyzError(f"{self.prob_text} {what}")
    return found


def get_sample(
    self: ParametricDistribution, reparam: bool = False, sample_shape: Sequence[int] = torch.Size()
) -> dict[str, Tensor]:
    """A draw from ``dist``."""
    kept = dist(self)
    draw = kept.rsample if reparam and kept.has_rsample else kept.sample
    return {self.var[0]: draw(torch.Size(sample_shape))}


for name, value in {"set_dist": set_dist, "dist": property(dist), "get_sample": get_sample}.items():
    setattr(ParametricDistribution, name, value)
