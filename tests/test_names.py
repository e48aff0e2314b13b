"""Recordings and environments name observations by one rule, written twice: neither may import the
other.
"""

from __future__ import annotations

import pytest
from torch import nn

from envs.names import AGENTS, ENDINGS, RESERVED, safe_name
from worldmodels.data import names
from worldmodels.data.names import variable

PLAIN = [
    "x",
    "position",
    "joint.position",
    "observation.images.front",
    "a/b",
    "left arm",
    "größe",
    "0",
    "9 lives",
    "_x",
    "__",
    "",
    ".",
    "class",
    "lambda",
    "match",
    "None",
    "Observation",
    "velocity",
    "mask_",
    "mask_obs",
    "previous",
    "x_prev_",
    "T",
    "q1",
    "ﬁ",
]
OF_AGENTS = AGENTS | {"frames"}
WORDS = sorted((RESERVED | {*names.TAKEN} | {*dir(nn.ParameterDict())}) - OF_AGENTS)


ENDED = [f"q{e}" for e in sorted({*ENDINGS, *names.ENDINGS})]


@pytest.mark.parametrize("name", [*PLAIN, *ENDED, *ENDINGS])
def test_a_recording_and_an_environment_call_an_observation_the_same(name: str) -> None:
    assert variable(name) == safe_name([name])
    assert variable(variable(name)) == variable(name)


def test_the_reserved_words_are_the_same() -> None:
    assert {n: variable(n) for n in WORDS} == {n: safe_name([n]) for n in WORDS}
    assert all(variable(n) != n for n in WORDS) and all(variable(n) == n for n in OF_AGENTS)
    assert names.ENDINGS == ENDINGS
