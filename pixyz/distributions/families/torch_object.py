"""The torch distribution of a family: a fresh one from parameters, or one that is kept where a
script asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.core.base import Distribution
from pixyz.types import PixyzError


class TorchObject(Distribution):
    r"""A distribution with a counterpart in torch.distributions, :math:`p(x; \theta)` with
    :math:`\theta` from its inputs.

    Samples and densities keep no torch object.  ``set_dist``, ``dist`` and ``get_sample`` are
    0.3.3's: the object is kept from one ``set_dist`` to the next, and is left out of copies and
    pickles.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", "z", loc="z", scale=1.0)
    >>> p.torch_dist({"z": torch.zeros(2, 3)})
    Normal(loc: torch.Size([2, 3]), scale: torch.Size([2, 3]))
    >>> p.set_dist({"z": torch.zeros(2, 3)})
    >>> p.dist.mean.shape, p.get_sample()["x"].shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    distribution_torch_class: ClassVar[Any] = None
    """The class in torch.distributions."""

    def torch_dist(self, x_dict: Any = None) -> td.Distribution:
        """The torch distribution at given values of ``cond_var``: a fresh object."""
        return self.as_torch(**self.get_params(x_dict))

    def as_torch(self, **params: Tensor) -> td.Distribution:
        """The torch distribution with these parameters."""
        if self.distribution_torch_class is None:
            raise NotImplementedError(
                f"{self.distribution_name} has no counterpart in torch.distributions"
            )
        return self.distribution_torch_class(**params)  # type: ignore[no-any-return]

    def set_dist(self, x_dict: Any = None, batch_n: int | None = None, **kwargs: Any) -> None:
        """Keep the torch distribution at given values of ``cond_var`` as :attr:`dist`.

        Args:
            x_dict: the values.
            batch_n: the size of the batch, for a distribution without one in its inputs.
        """
        found = self.torch_dist(x_dict)
        if batch_n is not None and found.batch_shape[:1] != (batch_n,):
            if found.batch_shape[:1] != (1,):
                raise PixyzError(
                    f"batch_n={batch_n}, "
                    f"but the parameters of {self.prob_text} have {list(found.batch_shape)}"
                )
            found = found.expand(torch.Size([batch_n, *found.batch_shape[1:]]))
        self.__dict__["_dist"] = found

    @property
    def dist(self) -> td.Distribution:
        """The torch distribution of the last :meth:`set_dist`."""
        found = self.__dict__.get("_dist")
        if found is None:
            raise PixyzError(
                f"{self.prob_text} keeps no torch distribution: call set_dist(x) first, "
                f"or use torch_dist(x)"
            )
        return found  # type: ignore[no-any-return]

    def get_sample(
        self, reparam: bool = False, sample_shape: Sequence[int] = torch.Size()
    ) -> dict[str, Tensor]:
        """A draw from :attr:`dist`."""
        draw = self.dist.rsample if reparam and self.dist.has_rsample else self.dist.sample
        return {self.var[0]: draw(torch.Size(sample_shape))}

    def __getstate__(self) -> Mapping[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_dist"}
