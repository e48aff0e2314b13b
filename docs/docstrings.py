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
LINED = re.compile(r"([\w`](?:.*?[^\s.;:!?])??)(?: {2,}(?:-> +)?| -> +)(\S.*)")
"""A name, a gap, and what it is."""
COLUMNS = re.compile(r"^#|[^\s.;:!?] {2,}\S")
"""In what it is: a comment of a file, or a third column."""
CODE = re.compile(r"(^[ \t]*```.*?^[ \t]*```$|`[^`\n]*`|\$[^$]*\$)", re.M | re.S)


def markdown(text: str) -> str:
    r"""A docstring in Markdown.

    >>> markdown("The mean :math:`\\mu` of ``x``, see :class:`~pixyz.losses.Loss`.")
    'The mean $\\mu$ of `x`, see `Loss`.'
    """
    first, gap, rest = text.partition("\n\n")
    if not first.startswith((" ", ">>>", "Args:")):  # what lists of names show is the first line
        text = " ".join(first.split("\n")) + gap + rest
    text = "\n\n".join(_listed(part) for part in text.split("\n\n"))
    text = NAMES.sub(r"\1 ", text)
    text = DOCTEST.sub(_doctest, text)
    text = DISPLAY.sub(_display, text)
    text = INLINE.sub(lambda found: f"${' '.join(found[1].split())}$", text)
    text = ROLE.sub(_name, text)
    text = LITERAL.sub(r"`\1`", text)
    parts = CODE.split(text)  # brackets behind brackets are shapes, and no links
    parts[::2] = [re.sub(r"\](\s?)\[", r"]\1\\[", part) for part in parts[::2]]
    return "".join(parts)


def _listed(paragraph: str) -> str:
    """A list where a paragraph is lines of names, each with what it is in a column behind it.

    >>> print(
    ...     _listed("box       a box of numbers, from\\n          low to high\\nball, egg   round")
    ... )
    - `box`: a box of numbers, from low to high
    - `ball`, `egg`: round
    """
    lines = paragraph.strip("\n").split("\n")
    margin = len(lines[0]) - len(lines[0].lstrip())
    first = LINED.fullmatch(lines[0].strip())
    if margin not in (0, 4) or first is None or lines[0].lstrip().startswith(">>>"):
        return paragraph
    column, entries = first.start(2), list[tuple[str, str]]()
    for line in (line[margin:].rstrip() for line in lines):
        found = LINED.fullmatch(line)
        if line.startswith("  "):
            entries[-1] = entries[-1][0], f"{entries[-1][1]} {line.strip()}"
        elif found is not None:
            entries.append((found[1], found[2]))
        elif line[column - 1 : column] == " " and line[column:].strip():
            entries.append((line[:column].strip(), line[column:]))
        elif ": " in line:
            entries.append((line.partition(": ")[0], line.partition(": ")[2]))
        else:
            return paragraph
    if len(entries) < 2 or any(COLUMNS.search(what) for _, what in entries):
        return paragraph
    return "\n".join(f"- {_names(name)}: {' '.join(what.split())}" for name, what in entries)


def _names(text: str) -> str:
    """Names as code, words as they are."""
    if "(" in text:
        return f"`{text.replace('`', '')}`"
    return ", ".join(n if " " in n else f"`{n.strip('`')}`" for n in text.split(", "))


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
        """Called by griffe for every module, class, function and attribute within a package."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called by griffe for the package itself."""
        self.on_object(obj=pkg)
