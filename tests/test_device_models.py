"""World models on a device that is not the CPU (:mod:`test_device`)."""

import pytest
from test_device import KNOWN, MODELS, run


@pytest.mark.skipif(not KNOWN, reason="this torch has no backends written in Python")
def test_on_a_made_up_device() -> None:
    run(MODELS)
