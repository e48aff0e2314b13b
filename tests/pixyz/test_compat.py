"""Old module paths of pixyz 0.3.3: when they work (their names and signatures:
``test_signatures.py``).
"""

import subprocess
import sys
from pathlib import Path

import pytest


def test_old_paths_work_before_anything_else_is_imported() -> None:
    code = (
        "from pixyz.losses.losses import Loss; "
        "from pixyz.distributions.distributions import DistGraph;"
        "import pixyz.losses.adversarial_loss as a; import pixyz.flows.flows, "
        "pixyz.layers.norm_util, pixyz.autoregressions;"
        "import pixyz.losses; assert pixyz.losses.losses.Loss is Loss is pixyz.losses.Loss;"
        "from pixyz.losses.pdf import *; assert LogProb is pixyz.losses.LogProb"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_name_that_was_never_there() -> None:
    with pytest.raises(ImportError, match="Nothing"):
        from pixyz.losses.losses import Nothing  # type: ignore[attr-defined]  # noqa: F401
