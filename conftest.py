"""One thread; and one file's doctests alone: its package is imported first, or pytest would make a
second module, and second classes, of it.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator

import pytest

# before torch is imported, and for the processes that tests start: on a busy machine threads wait
# for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

for name in ("pixyz.models", "worldmodels.data", "agents", "envs"):
    with contextlib.suppress(ImportError):  # agents and envs need more than torch
        importlib.import_module(name)


@pytest.fixture(autouse=True)
def _no_renderer_stays_chosen() -> Iterator[None]:
    """A test that leaves one chosen would choose for the processes of those after it."""
    names = ("MUJOCO_GL", "SDL_VIDEODRIVER")
    before = [os.environ.get(name) for name in names]
    yield
    assert [os.environ.get(name) for name in names] == before
