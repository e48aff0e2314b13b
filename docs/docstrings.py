"""Docstrings as the site shows them: the roles of reStructuredText become Markdown.

An extension of griffe, which reads the sources for mkdocstrings (``mkdocs.yml``).
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

DISPLAY = re.compile(r"^([ \t]*)\.\. math::[ \t]*\n((?:[ \t]*\n|\1[ \t]+\S.*(?:\n|\Z))+)", re.M)
INLINE = re.compile(r":math:`([^`]+)`", re.S)
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(~?)([^`]+)`")
LITERAL = re.compile(r"(?<!`)``([^`]+)``(?!`)")
DOCTEST = re.compile(r"^([ \t]*)>>> .*\n?(?:\1\S.*(?:\n|\Z))*", re.M)
NAMES = re.compile(r"^([ \t]+\w+(?:, \w+)*,)\n[ \t]+(?=\w+(?:, \w+)*:)", re.M)
CODE = re.compile(r"(^[ \t]*```.*?^[ \t]*```$|`[^`\n]*`|\$[^$]*\$)", re.M | re.S)


def markdown(text: str) -> str:
    r"""A docstring in Markdown.

    >>> markdown("The mean :math:`\\mu` of ``x``, see :class:`~pixyz.losses.Loss`.")
    'The mean $\\mu$ of `x`, see `Loss`.'
    """
    first, gap, rest = text.partition("\n\n")
    if not first.startswith((" ", ">>>", "Args:")):  # what lists of names show is the first line
        text = " ".join(first.split("\n")) + gap + rest
    text = NAMES.sub(r"\1 ", text)
    text = DOCTEST.sub(_doctest, text)
    text = DISPLAY.sub(_display, text)
    text = INLINE.sub(lambda found: f"${' '.join(found[1].split())}$", text)
    text = ROLE.sub(_name, text)
    text = LITERAL.sub(r"`\1`", text)
    parts = CODE.split(text)  # brackets behind brackets are shapes, and no links
    parts[::2] = [re.sub(r"\](\s?)\[", r"]\1\\[", part) for part in parts[::2]]
    return "".join(parts)


def _doctest(found: re.Match[str]) -> str:
    """An example as a block of code."""
    indent, lines = found[1], found[0].rstrip("\n")
    return f"{indent}```pycon\n{lines}\n{indent}```\n"


def _display(found: re.Match[str]) -> str:
    """Paragraphs of a ``math`` directive; each is a line of its own, as in Sphinx."""
    inner = textwrap.dedent(found[2]).strip("\n")
    indent = found[1]
    parts = [part.strip() for part in re.split(r"\n[ \t]*\n", inner) if part.strip()]
    return "".join(f"{indent}$$\n{textwrap.indent(part, indent)}\n{indent}$$\n\n" for part in parts)


def _name(found: re.Match[str]) -> str:
    name = found[2].split(" <")[0]
    return f"`{name.rpartition('.')[2] if found[1] else name}`"


class Docstrings(griffe.Extension):
    """Rewrites each docstring once, when its object has been read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
