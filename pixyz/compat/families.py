"""A family as it was written for pixyz 0.3.3: properties ``params_keys``,
``distribution_torch_class``.

Its parameters have the shape of a sample.  The properties are read once, without an object's
attributes.
"""

from __future__ import annotations

import inspect
from typing import Any

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.hooks import on_subclass
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.torch_formula import ask_torch, shape_only


def read_old_family(cls: type[Distribution]) -> None:
    """Give a class that names its torch class the formulas of that."""
    if "distribution_torch_class" not in vars(cls) or not issubclass(cls, ParametricDistribution):
        return
    blank = cls.__new__(cls)
    family = _constant(blank, "distribution_torch_class")
    keys = tuple(_constant(blank, "params_keys"))
    cls.distribution_torch_class, cls.params_keys = family, keys
    cls.noise, cls.noise_shape = staticmethod(shape_only), keys
    ask_torch(cls, family, keys)


def _constant(blank: ParametricDistribution, name: str) -> Any:
    found = inspect.getattr_static(type(blank), name)
    return found.__get__(blank) if isinstance(found, property) else getattr(blank, name)


on_subclass(read_old_family)
