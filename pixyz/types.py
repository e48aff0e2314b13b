"""Names that every part of the library shares: errors, type aliases, what is made of arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    TensorDict = Mapping[str, Tensor]

Values = Mapping[str, Any]
"""Values of variables by their names: tensors, numbers, flags."""
VarSpec = str | Sequence[str]
"""A variable name or several; ``"x"`` and ``["x"]`` mean the same."""


class PixyzError(ValueError):
    """Base of the library's errors: a value, name or shape that cannot be used as it was given."""


class VariableError(PixyzError):
    """A variable is missing, clashes with another one, or may not be called so."""


class ShapeError(PixyzError):
    """A tensor has a shape that the declared variables do not allow."""


def names(var: VarSpec | None, what: str = "var") -> list[str]:
    """A list of variable names from a name or several.

    Raises:
        VariableError: a name is not a string, is empty, is ``self``, or occurs twice.

    >>> names("x"), names(("x", "y"))
    (['x'], ['x', 'y'])
    """
    if var is None:
        return []
    found = [var] if isinstance(var, str) else list(var)
    for name in found:
        if not isinstance(name, str) or not name:
            raise VariableError(
                f'{what} must be names of variables (strings), got {name!r}; write {what}=["x"]'
            )
        if name == "self":
            raise VariableError(
                f"a variable in {what} may not be called 'self'; choose another name"
            )
    if len(set(found)) != len(found):
        raise VariableError(
            f"{what} names a variable twice: {found}; give each variable its own name"
        )
    return found


def as_list(a: Any) -> list[Any]:
    """A list as it is, a tuple as a list, anything else as a list of one.

    >>> as_list(2), as_list([1, 2]), as_list((1, 2)), as_list([])
    ([2], [1, 2], [1, 2], [])
    """
    return a if isinstance(a, list) else list(a) if isinstance(a, tuple) else [a]


def sample_counts(sample_shape: Sequence[int] | int) -> tuple[int, ...]:
    """How many samples of an expectation: the numbers above 1; nothing, 1 and ``(1,)`` mean one.

    Raises:
        PixyzError: a number below 1.

    >>> sample_counts(5), sample_counts((1, 3)), sample_counts(())
    ((5,), (3,), ())
    """
    shape = (
        (sample_shape,) if isinstance(sample_shape, int) else tuple(int(n) for n in sample_shape)
    )
    if any(n < 1 for n in shape):
        raise PixyzError(f"sample_shape must be positive numbers, got {shape}")
    return tuple(n for n in shape if n > 1)


def as_tensor_dict(
    x: object, input_var: Sequence[str], owner: str | Callable[[], str]
) -> dict[str, Any]:
    """A dict of variables from a mapping, a tensor (the first input variable) or a list (all of
    them, in order).

    Args:
        owner: who takes them, for errors; a function where the text takes time.
    """
    if type(x) is dict or isinstance(x, Mapping):
        arrays = [name for name, value in x.items() if type(value).__name__ == "ndarray"]
        if not arrays:
            return dict(x)
        what = f"{arrays} are numpy arrays; give tensors of the weights' type, torch.as_tensor(x)"
        raise VariableError(f"{_text(owner)}: {what}")
    if isinstance(x, (list, tuple)):
        if len(x) != len(input_var):
            raise VariableError(
                f"{_text(owner)} takes the variables {list(input_var)}, got a list of {len(x)}; "
                f"give a dict"
            )
        return dict(zip(input_var, x, strict=True))
    if hasattr(x, "shape"):
        if not input_var:
            raise VariableError(f"{_text(owner)} has no input variable, got a tensor; give a dict")
        return {input_var[0]: x}
    raise VariableError(
        f"{_text(owner)} expected a dict of variables, a tensor or a list, got {type(x).__name__}"
    )


def _text(owner: str | Callable[[], str]) -> str:
    return owner if isinstance(owner, str) else owner()
