"""Small functions on dicts of variables and on formulas: the names of pixyz 0.3.3's ``utils``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from pixyz import latex
from pixyz.types import PixyzError, as_list

F = TypeVar("F", bound=Callable[..., object])
V = TypeVar("V")

_settings: dict[str, float] = {"epsilon": 1e-07, "cache_maxsize": 20}

__all__ = [
    "FrozenSampleDict",
    "Latex",
    "cache_maxsize",
    "convert_latex_name",
    "delete_dict_values",
    "detach_dict",
    "epsilon",
    "get_dict_values",
    "lru_cache_for_sample_dict",
    "print_latex",
    "replace_dict_keys",
    "replace_dict_keys_split",
    "set_cache_maxsize",
    "set_epsilon",
    "sum_samples",
    "tolist",
]


def set_epsilon(eps: float) -> None:
    """Set what :func:`epsilon` returns, for code that reads it; the library's own formulas need no
    such constant.
    """
    _settings["epsilon"] = eps


def epsilon() -> float:
    """A small number, 1e-7 if it was not set."""
    return _settings["epsilon"]


def set_cache_maxsize(cache_maxsize: int) -> None:
    """Does nothing but be remembered: no value is kept between evaluations, so there is no cache to
    size.

    What several terms of an objective share is computed once in each evaluation;
    ``loss.share(False)`` turns that off.
    """
    _settings["cache_maxsize"] = cache_maxsize


def cache_maxsize() -> int:
    """What :func:`set_cache_maxsize` was given, 20 before that; it has no effect."""
    return int(_settings["cache_maxsize"])


def get_dict_values(
    dicts: Mapping[str, V], keys: Sequence[str], return_dict: bool = False
) -> list[V] | dict[str, V]:
    """The values of those ``keys`` that are there, as a list or a dict.

    >>> get_dict_values({"a": 1, "b": 2, "c": 3}, ["b"])
    [2]
    >>> get_dict_values({"a": 1, "b": 2, "c": 3}, ["b", "d"], True)
    {'b': 2}
    """
    found = {key: dicts[key] for key in _keys(keys) if key in dicts}
    return found if return_dict else list(found.values())


def delete_dict_values(dicts: Mapping[str, V], keys: Sequence[str]) -> dict[str, V]:
    """The dict without ``keys``.

    >>> delete_dict_values({"a": 1, "b": 2, "c": 3}, ["b", "d"])
    {'a': 1, 'c': 3}
    """
    gone = _keys(keys)
    return {key: value for key, value in dicts.items() if key not in gone}


def _keys(keys: Sequence[str]) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys)


def detach_dict(dicts: Mapping[str, V]) -> dict[str, V | Tensor]:
    """The same tensors without gradient; other values as they are."""
    return {
        key: value.detach() if isinstance(value, Tensor) else value for key, value in dicts.items()
    }


def replace_dict_keys(dicts: Mapping[str, V], replace_list_dict: Mapping[str, str]) -> dict[str, V]:
    """The dict with other names for some keys, all renamed at once: a new name wins over a key that
    is there already.

    >>> replace_dict_keys({"a": 1, "b": 2, "c": 3}, {"a": "x", "b": "y"})
    {'x': 1, 'y': 2, 'c': 3}
    >>> replace_dict_keys({"a": 1, "b": 2}, {"a": "b", "b": "a"})
    {'b': 1, 'a': 2}
    """
    renamed, rest = replace_dict_keys_split(dicts, replace_list_dict)
    both = {replace_list_dict.get(key, key): None for key in dicts}
    return {key: renamed[key] if key in renamed else rest[key] for key in both}


def replace_dict_keys_split(
    dicts: Mapping[str, V], replace_list_dict: Mapping[str, str]
) -> tuple[dict[str, V], dict[str, V]]:
    """The renamed values, and the rest.

    >>> replace_dict_keys_split({"a": 0, "b": 1}, {"a": "loc"})
    ({'loc': 0}, {'b': 1})
    """
    renamed = {
        replace_list_dict[key]: value for key, value in dicts.items() if key in replace_list_dict
    }
    return renamed, {key: value for key, value in dicts.items() if key not in replace_list_dict}


class FrozenSampleDict:
    """A dict of variables that can be a key: equal where the names are equal and the tensors are
    the same objects.

    >>> import torch
    >>> x = torch.zeros(2)
    >>> (
    ...     FrozenSampleDict({"x": x}) == FrozenSampleDict({"x": x}),
    ...     FrozenSampleDict({"x": x}) == FrozenSampleDict({"y": x}),
    ... )
    (True, False)
    """

    def __init__(self, dict_: Mapping[str, object]) -> None:
        self.dict = dict_

    def _identities(self) -> frozenset[tuple[str, object]]:
        return frozenset(
            (key, id(v) if isinstance(v, Tensor) else v) for key, v in self.dict.items()
        )

    def __hash__(self) -> int:
        return hash(self._identities())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenSampleDict) and self._identities() == other._identities()


def lru_cache_for_sample_dict(maxsize: int | None = 0) -> Callable[[F], F]:
    """A decorator that changes nothing: a plan computes shared parameters once, and no result
    outlives an evaluation.

    Args:
        maxsize: of no account.
    """

    def same(function: F) -> F:
        return function

    return same


tolist = as_list


def sum_samples(samples: Tensor, sum_dims: Sequence[int] | None = None) -> Tensor:
    """Sum over ``sum_dims``; over all but the first dimension if None, over none if empty.

    >>> import torch
    >>> sum_samples(torch.ones(2, 3, 4)).shape, sum_samples(torch.ones(2, 3, 4), [-1]).shape
    (torch.Size([2]), torch.Size([2, 3]))
    """
    dims = tuple(range(1, samples.ndim)) if sum_dims is None else tuple(int(d) for d in sum_dims)
    return samples.sum(dims) if dims else samples


class Latex:
    """A formula that a notebook shows; ``data`` is its text.

    >>> Latex("p(x|z)").data
    'p(x|z)'
    """

    def __init__(self, data: str) -> None:
        self.data = data

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.data}$"

    def __str__(self) -> str:
        return self.data

    __repr__ = __str__


def print_latex(obj: object) -> Latex:
    """The formula of a distribution, a graph, an objective or a model.

    >>> from pixyz.distributions import Normal
    >>> print_latex(Normal("x", "z1", loc="z1", scale=1.0) * Normal("z1", loc=0.0, scale=1.0))
    p(x,z_{1}) = p(x|z_{1})p(z_{1})
    """
    for attribute in ("prob_joint_factorized_and_text", "loss_text"):
        if hasattr(obj, attribute):
            return Latex(getattr(obj, attribute))
    if hasattr(obj, "loss_cls"):
        return Latex(obj.loss_cls.loss_text)
    raise PixyzError(
        f"print_latex shows a distribution, a graph, a loss or a model, got {type(obj).__name__}"
    )


def convert_latex_name(name: str) -> str:
    """``p1`` -> ``p_{1}``.

    >>> convert_latex_name("p1")
    'p_{1}'
    """
    return latex.latex_name(name)
