"""One file's doctests alone: its package is imported first, or pytest would make a second module, and second classes, of it."""

import contextlib
import importlib

for name in ("pixyz.models", "worldmodels.data", "agents", "envs"):
    with contextlib.suppress(ImportError):  # agents and envs need more than torch
        importlib.import_module(name)
