r"""An objective's LaTeX as MathML, which browsers draw by themselves; long ones in lines, what is
inside brackets indented.

Knows what :meth:`pixyz.losses.Loss.__str__` writes; other commands stand as words, and nothing is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

TOKEN = re.compile(
    r"\\left\\?.|\\right\\?.|\\[A-Za-z]+|\d+(?:\.\d+)?(?:e[-+]?\d+)?|[A-Za-z]+|\|\||\S"
)
LONG = 24
"""Tokens of a term above which it is broken at its brackets."""
SIGNS = {
    "prod": "∏",
    "sum": "∑",
    "cdot": "·",
    "times": "×",
    "leq": "≤",
    "geq": "≥",
    "sim": "∼",
    "infty": "∞",
    "||": "‖",
    "mid": "|",
    "-": "−",
    "min": "min",
    "max": "max",
    "log": "log",
    "exp": "exp",
    "int": "∫",
    "to": "→",
    "in": "∈",
    "quad": " ",
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "eta": "η",
    "theta": "θ",
    "lambda": "λ",
    "mu": "μ",
    "pi": "π",
    "phi": "φ",
    "psi": "ψ",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "omega": "ω",
    "Sigma": "Σ",
    "Pi": "Π",
}
OVER, UNDER = {"bar": "¯", "hat": "^", "tilde": "~"}, {"underline": "_"}
LETTERS = {"E": "𝔼", "R": "ℝ"}
Tokens = Sequence[str]


def formula(text: str) -> str:
    r"""MathML of LaTeX, as lines in ``<div class="math">``.

    >>> formula(r"\mathbb{E}_{q} \left[x\right]").count("<math")
    1
    """
    return "\n".join(
        f'<div class="math" style="margin-left:{2 * depth}em">{_math(line)}</div>'
        for depth, line in lines(TOKEN.findall(text))
    )


def lines(tokens: Tokens, depth: int = 0) -> Iterator[tuple[int, Tokens]]:
    """Pieces of a formula with how far each is indented: its terms, long ones broken at their
    largest brackets.
    """
    for term in _terms(tokens):
        cut = _largest(term) if len(term) > LONG else None
        if cut is None:
            yield depth, term
            continue
        start, stop = cut
        yield depth, term[: start + 1]
        yield from lines(term[start + 1 : stop], depth + 1)
        yield depth, term[stop:]


def _terms(tokens: Tokens) -> Iterator[Tokens]:
    """What stands between plus and minus outside of all brackets, each with its sign."""
    start, inside = 0, 0
    for i, token in enumerate(tokens):
        inside += _opens(token)
        if inside == 0 and token in "+-" and i > start:
            yield tokens[start:i]
            start = i
    if start < len(tokens):
        yield tokens[start:]


def _largest(tokens: Tokens) -> tuple[int, int] | None:
    r"""Where the longest ``\left ... \right`` outside of all other brackets begins and ends."""
    inside, start, best = 0, 0, None
    for i, token in enumerate(tokens):
        if inside == 0 and token.startswith("\\left"):
            start = i
        inside += _opens(token)
        if (
            inside == 0
            and token.startswith("\\right")
            and (best is None or i - start > best[1] - best[0])
        ):
            best = start, i
    return best if best is not None and best[1] - best[0] > LONG / 2 else None


def _opens(token: str) -> int:
    return (
        1
        if token == "{" or token.startswith("\\left")
        else -1
        if token == "}" or token.startswith("\\right")
        else 0
    )


# ---------------------------------------------------------------- MathML


def _math(tokens: Tokens) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{_row(tokens)}</math>'


def _row(tokens: Tokens) -> str:
    found, i = [], 0
    while i < len(tokens):
        text, i = _scripted(tokens, i)
        found.append(text)
    return f"<mrow>{''.join(found)}</mrow>"


def _scripted(tokens: Tokens, i: int) -> tuple[str, int]:
    """One atom with what stands below and above it."""
    base, i = _atom(tokens, i)
    scripts: dict[str, str] = {}
    while i + 1 < len(tokens) and tokens[i] in ("_", "^") and tokens[i] not in scripts:
        scripts[tokens[i]], i = _atom(tokens, i + 1)
    if not scripts:
        return base, i
    tag = {"_": "msub", "^": "msup", "_^": "msubsup"}["".join(k for k in "_^" if k in scripts)]
    return f"<{tag}>{base}{''.join(scripts[k] for k in '_^' if k in scripts)}</{tag}>", i


def _atom(tokens: Tokens, i: int) -> tuple[str, int]:
    token = tokens[i]
    if token == "{":
        stop = _closing(tokens, i)
        return _row(tokens[i + 1 : stop]), stop + 1
    name = token.removeprefix("\\")
    if token.startswith(("\\left", "\\right")):
        sign = token.removeprefix("\\left").removeprefix("\\right").removeprefix("\\")
        return (
            f'<mo stretchy="false">{escape(sign)}</mo>' if sign != "." else "<mrow></mrow>"
        ), i + 1
    if token.startswith("\\") and i + 1 < len(tokens):
        if name in OVER or name in UNDER:
            inner, i = _atom(tokens, i + 1)
            tag, sign = ("mover", OVER[name]) if name in OVER else ("munder", UNDER[name])
            return f"<{tag}>{inner}<mo>{sign}</mo></{tag}>", i
        if name == "frac":
            above, i = _atom(tokens, i + 1)
            below, i = _atom(tokens, i)
            return f"<mfrac>{above}{below}</mfrac>", i
        if name.startswith("math") or name == "operatorname":
            stop = _closing(tokens, i + 1) if tokens[i + 1] == "{" else i + 1
            inner = "".join(tokens[i + 1 : stop + 1]).strip("{}")
            return f"<mi>{escape(LETTERS.get(inner, inner))}</mi>", stop + 1
    if token[0].isdigit():
        return f"<mn>{token}</mn>", i + 1
    sign = escape(SIGNS.get(name, name))
    if name[0].isalpha() and name not in ("prod", "sum", "int"):
        return f"<mi>{sign}</mi>", i + 1
    return f'<mo stretchy="false">{sign}</mo>', i + 1


def _closing(tokens: Tokens, i: int) -> int:
    """Where the brace that opens at ``i`` is closed; the last token if nowhere."""
    inside = 0
    for j in range(i, len(tokens)):
        inside += {"{": 1, "}": -1}.get(tokens[j], 0)
        if inside == 0:
            return j
    return len(tokens) - 1
