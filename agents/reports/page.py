"""One HTML file with everything in it: no script, no font, no link to anything outside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from agents.errors import UsageError

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem;
  margin: 0 auto; padding: 1rem; color: #1b1b1b; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; display: block; margin: .5rem 0; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; border-bottom: 1px solid #999; white-space: normal; vertical-align: bottom; }
td:first-child { white-space: normal; min-width: 8rem; }
td { border-bottom: 1px solid #eee; }
pre { background: #f5f5f5; padding: .6rem .8rem; overflow-x: auto; font-size: .85rem; }
.note { color: #555; font-size: .9rem; }
.math { white-space: nowrap; line-height: 1.9; }
dl { display: flex; flex-wrap: wrap; gap: .8rem 2rem; margin: 0; }
dt { color: #555; font-size: .85rem; }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
"""
KINDS = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg"}


class Page:
    """A page that grows section by section.

    >>> page = Page("A run")
    >>> page.section("Numbers", table(["", "mean"], [["learned", "9.0"]]))
    >>> page.html().count("<h2>")
    1
    """

    def __init__(self, title: str, note: str = "") -> None:
        self.title, self.parts = title, [f"<h1>{escape(title)}</h1>"]
        if note:
            self.parts.append(f'<p class="note">{escape(note)}</p>')

    def section(self, title: str, *parts: str) -> None:
        """Add a section; nothing if all its parts are empty."""
        if any(parts):
            self.parts += [f"<h2>{escape(title)}</h2>", *parts]

    def html(self) -> str:
        """The file's text."""
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width, '
            'initial-scale=1">'
        )
        body = "\n".join(self.parts)
        return (
            f"<!doctype html>\n<html "
            f'lang="en"><head>{head}<title>{escape(self.title)}</title><style>{STYLE}</style></head>\n'
            f"<body>\n{body}\n</body></html>\n"
        )

    def write(self, path: Path) -> Path:
        """Write it.

        Raises:
            UsageError: the file cannot be written.
        """
        try:
            path.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
        return path


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; the first column is text."""

    def line(tag: str, cells: Sequence[Any]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(str(c))}</{tag}>' for c in cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>{line("th", head)}{body}</table></div>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """A few numbers with their names."""
    body = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)
    return f"<dl>{body}</dl>"


def code(text: str) -> str:
    """Lines as they are."""
    return f"<pre>{escape(text)}</pre>"


def note(text: str) -> str:
    """A remark."""
    return f'<p class="note">{escape(text)}</p>'


def picture(path: Path, what: str) -> str:
    """A picture's file inside of the page; nothing if it is not there."""
    if not path.is_file() or path.suffix not in KINDS:
        return ""
    return _image(path.read_bytes(), KINDS[path.suffix], what)


def drawn(figure: Any, what: str) -> str:
    """A figure of matplotlib inside of the page."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return _image(file.getvalue(), KINDS[".png"], what)


def _image(content: bytes, kind: str, what: str) -> str:
    return (
        f'<img alt="{escape(what)}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
    )
