"""One thread; and one file's doctests alone: its package is imported first, or pytest would make a
second module, and second classes, of it.
"""

import contextlib
import importlib
import os

# before torch is imported, and for the processes that tests start: on a busy machine threads wait
# for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

for name in ("pixyz.models", "worldmodels.data", "agents", "envs"):
    with contextlib.suppress(ImportError):  # agents and envs need more than torch
        importlib.import_module(name)
