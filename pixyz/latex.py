"""Text of formulas: names of variables as LaTeX, expressions as sympy trees that stay as they were
written.

sympy is imported when a formula is first printed; names that it would leave alone need none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy


# compiled when a name is first printed, not when the library is imported
_PARTS = r"([A-Za-z]+)(?:_([A-Za-z]+|[0-9]+)|([0-9]+))?"
_SYMBOLS = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|lamda|mu|nu|xi|omicron|pi|rho|sigma|tau|upsilon|phi|chi|khi|"
    "psi|omega|digamma|varepsilon|varkappa|varphi|varpi|varrho|varsigma|vartheta|aleph|beth|daleth|gimel|ell|eth|hbar|hslash|"
    "mho|wp"
)
_ACCENTED = (
    ".*(mathring|dot|check|breve|acute|grave|tilde|hat|bar|vec|prime|prm|bold|bm|cal|scr|frak|norm|"
    "avg|abs|mag)"
)


def _is_plain(word: str) -> bool:
    """Whether sympy would print ``word`` as it is; in doubt, no."""
    low = word.lower()
    return len(low) == 1 or not (re.fullmatch(_SYMBOLS, low) or re.fullmatch(_ACCENTED, low))


def leaf(text: str) -> sympy.Symbol:
    """A symbol that prints as ``text``."""
    import sympy

    return sympy.Symbol(text)


@functools.lru_cache(4096)
def latex_name(name: str) -> str:
    """``p1`` -> ``p_{1}``, ``alpha`` -> ``\\alpha``, by sympy's rules; LaTeX is left as it is.

    >>> latex_name("p1")
    'p_{1}'
    """
    if not name or any(c in name for c in "\\{}^ "):
        return name
    found = re.fullmatch(_PARTS, name)
    if found and all([_is_plain(part) for part in found.groups("") if part.isalpha()]):
        word, below, number = found.groups("")
        return f"{word}_{{{below or number}}}" if below or number else word
    import sympy

    return str(sympy.latex(sympy.Symbol(name)))


def add(*terms: sympy.Expr) -> sympy.Expr:
    """A sum whose terms stay in the order written; nothing cancels."""
    import sympy

    flat: list[sympy.Expr] = []
    for term in terms:
        flat += list(term.args) if isinstance(term, sympy.Add) else [term]
    return sympy.Add(*flat, evaluate=False)


def negative(term: sympy.Expr) -> sympy.Expr:
    """``-term``; of a number, the number of the other sign."""
    import sympy

    if (term.is_Number and not term.is_zero) or (term.is_number and term.is_negative):
        return -term

    return sympy.Mul(sympy.Integer(-1), bracketed(term, negative=True), evaluate=False)


def product(*factors: sympy.Expr) -> sympy.Expr:
    """A product: numbers first, the factors in the order written, negative ones in brackets."""
    import sympy

    flat: list[sympy.Expr] = []
    for factor in factors:
        keep = isinstance(factor, sympy.Mul) and not factor.args[0].is_number
        flat += list(factor.args) if keep else [factor]
    flat.sort(key=lambda f: not f.is_number)
    # sympy leaves brackets out where there is a fraction
    flat[1:] = [f if f.is_number else bracketed(f, negative=True) for f in flat[1:]]
    return sympy.Mul(*flat, evaluate=False)


def quotient(top: sympy.Expr, bottom: sympy.Expr) -> sympy.Expr:
    """``top / bottom``."""
    import sympy

    if top == 1:
        return sympy.Pow(bottom, sympy.Integer(-1), evaluate=False)
    return sympy.Mul(top, sympy.Pow(bottom, sympy.Integer(-1), evaluate=False), evaluate=False)


def bracketed(term: sympy.Expr, *, negative: bool = False) -> sympy.Expr:
    """A sum in brackets, or, if ``negative``, what begins with a minus; anything else as it is."""
    wrong = _begins_with_minus(term) if negative else term.is_Add
    return leaf(rf"\left({text(term)}\right)") if wrong else term


def whole(term: sympy.Expr) -> sympy.Expr:
    """A term to which something is appended: in brackets if it is a sum or begins with a minus."""
    return bracketed(bracketed(term), negative=True)


def _begins_with_minus(term: sympy.Expr) -> bool:
    while term.is_Mul:
        term = term.args[0]
    return bool(term.is_number and term.is_negative)


def number(value: float | int) -> sympy.Expr:
    """A number as it was written."""
    import sympy

    return (
        sympy.Integer(value)
        if isinstance(value, int)
        else sympy.Float(value, 15)
        if value % 1
        else sympy.Float(value)
    )


def text(expression: sympy.Expr) -> str:
    """The LaTeX of an expression, terms in the order written."""
    import sympy

    return str(sympy.latex(expression, order="none"))


def conditional(name: str, var: Sequence[str], cond_var: Sequence[str]) -> str:
    """``p(x,z|y)``."""
    return _conditional(name, tuple(var), tuple(cond_var))


@functools.lru_cache(4096)
def _conditional(name: str, var: tuple[str, ...], cond_var: tuple[str, ...]) -> str:
    inside = ",".join(map(latex_name, var))
    if cond_var:
        inside += "|" + ",".join(map(latex_name, cond_var))
    return f"{latex_name(name)}({inside})"
