"""What people get wrong: each is one line that names the cure, and stands on its page."""

import re

import pytest

pytest.importorskip("yaml")
pytest.importorskip("gymnasium")
import mistakes

PAGE = mistakes.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", mistakes.MISTAKES, ids=lambda m: re.sub(r"\W+", "-", m.what))
def test_one_line_names_the_cure(mistake, tmp_path):
    said = mistakes.told(mistake, tmp_path)
    assert "\n" not in said and re.search(mistake.cure, said), said
    assert f"| {mistake.what} | {mistakes.cell(said)[:60]}" in PAGE, "run tests/mistakes.py"
    assert not list(tmp_path.glob("runs/*")), "nothing is left behind that is in the way"


def test_there_are_forty():
    assert len({mistake.what for mistake in mistakes.MISTAKES}) >= 40


def test_what_passes_in_silence_is_seen(tmp_path):
    with pytest.raises(AssertionError, match="nothing was said"):
        mistakes.told(mistakes.Mistake("nothing", lambda _: None, ""), tmp_path)
    with pytest.raises(AssertionError, match="raw"):
        mistakes.told(mistakes.Mistake("raw", lambda _: [][1:] + {}, ""), tmp_path)
