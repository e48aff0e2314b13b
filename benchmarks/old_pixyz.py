"""pixyz 0.3.3 as a contender: it has our import name, so it lives in a process of its own.

``environment()`` installs it from PyPI, without its dependencies, into a folder that only the child
process sees; torch, sympy and networkx are this interpreter's.  A stub stands for IPython, of which
0.3.3 imports ``Math``.

    old = OldPixyz(cache=20)
    contender = old.contender("vae", {"x_dim": 784, ...})
    contender.run(10)          # CPU seconds of ten training steps
    old.close()
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".environments" / "pixyz-0.3.3"
STUB = "class Math:\n    def __init__(self, data=None):\n        self.data = data\n"


def environment() -> Path:
    """The folder that holds pixyz 0.3.3; made at the first call."""
    if not (FOLDER / "pixyz").is_dir():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(FOLDER),
            "pixyz==0.3.3",
        ]
        subprocess.run(command, check=True)
    stub = FOLDER / "IPython"
    stub.mkdir(exist_ok=True)
    (stub / "__init__.py").touch()
    (stub / "display.py").write_text(STUB, encoding="utf-8")
    return FOLDER


def variables() -> dict[str, str]:
    """The child's environment variables."""
    return {
        **os.environ,
        "PYTHONPATH": str(environment()),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


def run_under_old(record: Callable[[], None], script: str) -> None:
    """Run ``record`` in a process that sees 0.3.3 in the place of this library: ``script``, whose
    it is, is started again there.

    The hash seed is fixed: the order of some of 0.3.3's text depends on it.
    """
    if "--child" in sys.argv:
        record()
    else:
        subprocess.run(
            [sys.executable, script, "--child"],
            check=True,
            env={**variables(), "PYTHONHASHSEED": "0"},
        )


class OldPixyz:
    """A child process that runs pixyz 0.3.3.

    Args:
        cache: how many parameters its memo keeps (20 as shipped; 0: no memo).
    """

    def __init__(self, cache: int = 20) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "old_child.py"), str(cache)],
            env=variables(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for the answer.

        Raises:
            RuntimeError: the child failed; its traceback is on stderr.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"pixyz 0.3.3 failed at {request}")
        return json.loads(answer)

    def contender(
        self,
        model: str,
        settings: Mapping[str, Any],
        validate: bool = True,
        optimizer: Mapping[str, Any] | None = None,
    ) -> OldTraining:
        """A declared model of ``declared.py`` in training."""
        number = self.ask(
            do="make",
            model=model,
            settings=dict(settings),
            validate=validate,
            optimizer=dict(optimizer or {}),
        )
        return OldTraining(self, number)

    def forget(self) -> None:
        """Free all models."""
        self.ask(do="forget")

    def close(self) -> None:
        """End the child."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


class OldTraining:
    """A training in the child."""

    def __init__(self, old: OldPixyz, number: int) -> None:
        self.old, self.number = old, number

    def run(self, times: int) -> float:
        """So many training steps; their CPU seconds."""
        return float(self.old.ask(do="run", number=self.number, times=times))

    def value(self, seed: int) -> tuple[float, list[float]]:
        """Loss and the sums of all gradients at one seed."""
        loss, sums = self.old.ask(do="value", number=self.number, seed=seed)
        return loss, sums
