"""Everything on a device that is not the CPU: the files of ``tests/device``, each in a process of
its own.

Torch knows of a made-up device (``tests/made_up_device.py``) for the whole process, and what other
tests did before would be in its way: ``python -m pytest tests/device/device_models.py`` runs one of
them.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.utils.backend_registration

ROOT = Path(__file__).resolve().parent.parent
KNOWN = hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")
MODELS = ROOT / "tests" / "device" / "device_models.py"
"""The longest, in a test file of its own, since files are what processes share out."""
FILES = sorted(set(MODELS.parent.glob("device_*.py")) - {MODELS})


@pytest.mark.skipif(not KNOWN, reason="this torch has no backends written in Python")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_a_made_up_device(path: Path) -> None:
    run(path)


def run(path: Path) -> None:
    """Run a file's tests, and fail with what they say."""
    command = [sys.executable, "-m", "pytest", "--tb=short", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
