"""What people get wrong: each is one line that names the cure, and stands on its page."""

import re

import pytest

pytest.importorskip("yaml")
pytest.importorskip("gymnasium")
import mistakes

PAGE = mistakes.PAGE.read_text(encoding="utf-8")


def plain(text):
    """Without apostrophes: Python 3.13 writes a list of choices without them."""
    return text.replace("'", "")


ROWS = plain(PAGE).split("\n")


@pytest.mark.parametrize("mistake", mistakes.MISTAKES, ids=lambda m: re.sub(r"\W+", "-", m.what))
def test_one_line_names_the_cure(mistake, tmp_path):
    said = mistakes.told(mistake, tmp_path)
    assert "\n" not in said and re.search(mistake.cure, said), said
    row = f"| {mistake.what} | {mistakes.cell(said)} |"
    assert plain(row) in ROWS, f"run tests/mistakes.py: {row}"
    assert not list(tmp_path.glob("runs/*")), "nothing is left behind that is in the way"


def test_there_are_forty_and_the_page_has_no_others():
    assert len({mistake.what for mistake in mistakes.MISTAKES}) >= 40
    assert PAGE.startswith(mistakes.HEAD)
    assert len(PAGE.removeprefix(mistakes.HEAD).splitlines()) == len(mistakes.MISTAKES)


def test_what_passes_in_silence_is_seen(tmp_path):
    with pytest.raises(AssertionError, match="nothing was said"):
        mistakes.told(mistakes.Mistake("nothing", lambda _: None, ""), tmp_path)
    with pytest.raises(AssertionError, match="raw"):
        mistakes.told(mistakes.Mistake("raw", lambda _: [][1:] + {}, ""), tmp_path)
