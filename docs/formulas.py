"""Formulas of the site as MathML, which browsers draw by themselves, without a script.

A hook of mkdocs (``mkdocs.yml``), behind ``pymdownx.arithmatex``.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[]\n?(?P<text>.*?)\n?\\[)\]]</(?P=tag)>', re.S
)
UNKNOWN = {
    r"\bigl": r"\left",
    r"\bigr": r"\right",
    r"\,\|\,": r"\,\Vert\,",
    r"\|": r"\Vert ",
    "||": r"\Vert ",
}
"""What the converter does not know, or draws too small."""
SPACE = re.compile(r"(\\(?:log|exp|sum|max|min)) (?=[A-Za-z0-9\\])")


def mathml(text: str, block: bool) -> str:
    """MathML of LaTeX.

    >>> mathml("x_t", block=False).count("<msub>")
    1
    """
    for name, instead in UNKNOWN.items():
        text = text.replace(name, instead)
    text = SPACE.sub(r"\1\\, ", text)
    return str(convert(text, display="block" if block else "inline"))


def on_page_content(content: str, **_: Any) -> str:
    """What mkdocs calls with each page's HTML."""
    return FORMULA.sub(
        lambda found: mathml(html.unescape(found["text"]), found["tag"] == "div"), content
    )
