"""A fresh interpreter that runs `module.main(*arguments)`; no copy of this process, no pickle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_START = """
import json, sys
from importlib import import_module
sys.path[:], module, told = json.loads(sys.argv[1])
import_module(module).main(*told)
"""
_QUIET = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def start_python(module: str, arguments: Sequence[Any], **options: Any) -> subprocess.Popen[bytes]:
    """Start it, with one thread for linear algebra unless the environment says otherwise.

    `arguments` are plain data, `options` those of `subprocess.Popen`. Standard input is empty
    unless they say otherwise.
    """
    told = json.dumps([sys.path, module, list(arguments)])
    return subprocess.Popen(
        [sys.executable, "-c", _START, told],
        **{"stdin": subprocess.DEVNULL, "env": {**_QUIET, **os.environ}, **options},
    )
