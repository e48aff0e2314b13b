"""The site's first page is the README, its page of changes the changelog: written once.

A hook of mkdocs (``mkdocs.yml``).  Links of pages to files outside of ``docs`` become plain text,
since the site does not hold these files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
COPIES = {"index.md": "README.md", "changes.md": "CHANGELOG.md"}
BOOST = {
    "tutorials": 2.0,
    "reference": 0.3,
    "claims.md": 0.3,
    "changes.md": 0.3,
    "decisions.md": 0.3,
}
"""How much a word counts for the search in a folder, or on a page; 1 elsewhere."""
LINK = re.compile(r"(?<!\!)\[([^\]]+)\]\((?!https?://|#|mailto:)([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs when it has found the pages."""
    for name, source in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=_inside(text, "")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    page.meta["search"] = {"boost": BOOST.get(page.file.src_uri.split("/")[0], 1.0)}
    return _inside(markdown, str(Path(page.file.src_uri).parent))


def _inside(text: str, folder: str) -> str:
    """The text, whose links to files that are no part of the site are their words."""

    def words(found: re.Match[str]) -> str:
        target = found[2].split("#")[0]
        if target in ("../README.md", "README.md", "../CHANGELOG.md", "CHANGELOG.md"):
            page = "index.md" if "README" in target else "changes.md"
            return f"[{found[1]}]({page})"
        place = (ROOT / "docs" / folder / target).resolve()
        outside = ROOT / "docs" not in place.parents or place.suffix == ".py"
        return found[1] if outside and target not in COPIES else found[0]

    return LINK.sub(words, text)
