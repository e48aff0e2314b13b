"""What pages claim is what the benchmarks' lines say; no number stands there without one."""

import re
from collections.abc import Iterator
from pathlib import Path

import claims
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/learning.md", "docs/agents.md", "docs/performance.md"]
NOT_OURS = {"docs/learning.md": ["published: 6.93 to 7.03 and 6.39 to 6.61"]}
"""What others published."""
VERSIONS = re.compile(r"0\.3\.3|Python 3\.\d+|torch 2\.\d+")


def words(text: str) -> str:
    return " ".join(text.split())


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda c: f"{c.page}-{c.lines}")
def test_a_page_says_what_was_measured(claim: claims.Claim) -> None:
    assert words(claim.words()) in words(page(claim.page))
    assert (ROOT / claim.script).is_file()


@pytest.mark.parametrize("name", claims.GENERATED)
def test_a_table_has_its_script(name: str) -> None:
    for mark, (script, lines) in claims.GENERATED[name].items():
        assert f"<!-- {mark} -->" in page(name)
        assert (ROOT / script).is_file() and (ROOT / f"benchmarks/results/{lines}.jsonl").is_file()


def unclaimed(name: str) -> Iterator[str]:
    """Decimal numbers outside of code, generated tables, links, claims and what others say."""
    text = page(name)
    for mark in claims.GENERATED.get(name, {}):
        text = re.sub(rf"<!-- {mark} -->.*?<!-- end -->", "", text, flags=re.S)
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->", " ", text, flags=re.S)
    text = words(VERSIONS.sub(" ", text))
    known = [c.words() for c in claims.CLAIMS if c.page == name] + NOT_OURS.get(name, [])
    for said in sorted(known, key=len, reverse=True):
        text = text.replace(words(VERSIONS.sub(" ", re.sub(r"`[^`\n]*`", " ", said))), " ")
    yield from (text[max(0, m.start() - 40) : m.end() + 10] for m in re.finditer(r"\d\.\d", text))


@pytest.mark.parametrize("name", PAGES)
def test_no_number_stands_alone(name: str) -> None:
    assert list(unclaimed(name)) == []


def test_the_page_of_claims_is_the_newest() -> None:
    assert page("docs/claims.md") == claims.page()


def test_a_number_that_moves_is_seen() -> None:
    claim = next(c for c in claims.CLAIMS if c.lines == "jsb")
    lines = [{**line, "test_bound": line["test_bound"] + 0.1} for line in claim.read()]
    assert words(claim.says(lines)) not in words(page(claim.page))
    with pytest.raises(LookupError, match="no line of"):
        claims.Claim("README.md", "x", "jsb", str, {"seed": 99}).read()
