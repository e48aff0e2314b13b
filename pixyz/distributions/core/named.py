"""Named: the variables of a distribution, its letter, and how it prints."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.types import VariableError


class Named:
    """Variables and text.  :class:`pixyz.distributions.Distribution` sets what is read here."""

    _var: list[str]
    _cond_var: list[str]
    _name: str
    _features_shape: torch.Size
    _buffers: dict[str, Tensor | None]
    _parameters: dict[str, nn.Parameter | None]

    @property
    def var(self) -> list[str]:
        """The variables that it is a density of."""
        return list(self._var)

    @property
    def cond_var(self) -> list[str]:
        """The variables that it depends on."""
        return list(self._cond_var)

    @property
    def input_var(self) -> list[str]:
        """The variables that must be given to draw a sample."""
        return self.cond_var

    @property
    def name(self) -> str:
        """The letter in formulas."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        if not isinstance(name, str):
            raise VariableError(f"a distribution's name is a string, got {name!r}")
        self._name = name

    @property
    def features_shape(self) -> torch.Size:
        """The shape of one sample, where it is declared."""
        return self._features_shape

    @property
    def distribution_name(self) -> str:
        """The name of the family."""
        return ""

    @property
    def prob_text(self) -> str:
        """``p(x|z)``."""
        held = self.__dict__  # one read: each is noted while a plan is written
        return latex.conditional(held["_name"], held["_var"], held["_cond_var"])

    @property
    def prob_factorized_text(self) -> str:
        """The product of factors, as it is drawn from right to left."""
        return self.prob_text

    @property
    def prob_joint_factorized_and_text(self) -> str:
        """``p(x,z) = p(x|z)p(z)``, or just ``p(x)`` where both sides are the same."""
        if self.prob_factorized_text == self.prob_text:
            return self.prob_text
        return f"{self.prob_text} = {self.prob_factorized_text}"

    def __str__(self) -> str:
        body = "\n".join("  " + line for line in self._describe().split("\n"))
        head = f"Distribution:\n  {self.prob_joint_factorized_and_text}"
        return f"{head}\nNetwork architecture:\n{body}"

    def _describe(self) -> str:
        raise NotImplementedError

    def _describe_factor(self) -> str:
        return f"{self.prob_joint_factorized_and_text}:\n{self._describe()}"

    def extra_repr(self) -> str:
        letter, family = latex.latex_name(self.name), self.distribution_name
        variables = f"var={self.var}, cond_var={self.cond_var}, input_var={self.input_var}"
        parts = [
            f"name={letter}, distribution_name={family},",
            f"{variables}, features_shape={self.features_shape}",
        ]
        held = [*self._buffers.items(), *self._parameters.items()]
        parts += [f"({n}): {b.shape}" for n, b in held if b is not None]
        return "\n".join(parts)
