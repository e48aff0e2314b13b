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
FILES = sorted((ROOT / "tests" / "device").glob("device_*.py"))


@pytest.mark.skipif(not KNOWN, reason="this torch has no backends written in Python")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_a_made_up_device(path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--tb=short", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
