"""``pixyz list``: what is said beside a name is whole, and plain."""

import pytest

from agents.cli import main


@pytest.mark.parametrize("what", ["agents", "models"])
def test_what_is_listed_is_whole_sentences_without_markup(what, capsys):
    assert main(["list", what]) == 0
    for line in capsys.readouterr().out.splitlines():
        name, _, said = line.partition("  ")
        assert said.strip(), name
        assert "`" not in said and said.count("(") == said.count(")"), line
        assert said.split()[-1] not in ("in", "of", "et", "a", "the"), line
