"""Record what pixyz 0.3.3 gives for the expressions of ``tests/pixyz/golden_expressions.py``.

It runs in a process that sees 0.3.3 in the place of this library (``old_pixyz.py``).  An expression
that 0.3.3 cannot compute is recorded with its error.  The hash seed is fixed: the order of some of
its text depends on it.

    python benchmarks/golden_033.py        # writes tests/pixyz/golden_033.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from old_pixyz import run_under_old

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "pixyz"
RESULT = FOLDER / "golden_033.json"


def plain(value: Any) -> Any:
    """Tensors as nested lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def record() -> None:
    """In the process of 0.3.3: evaluate all and write."""
    from importlib import metadata

    import torch

    sys.path.append(str(FOLDER))
    from golden_expressions import CASES, evaluate

    lines = []
    for name in CASES:
        torch.distributions.Distribution.set_default_validate_args(False)
        try:
            found = evaluate(name)
            case: dict[str, Any] = {
                "inputs": {k: plain(v) for k, v in found["inputs"].items()},
                "value": plain(found["value"]),
                "gradients": [plain(g) for g in found["gradients"]],
                "text": found["text"],
            }
        except Exception as error:
            case = {"error": f"{type(error).__name__}: {error}"}
            print(name, case["error"], file=sys.stderr)
        lines.append(f"{json.dumps(name)}: {json.dumps(case)}")
    about = {"pixyz": metadata.version("pixyz"), "torch": torch.__version__}
    RESULT.write_text(
        '{"versions": ' + json.dumps(about) + ",\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8"
    )
    print(f"{len(lines)} expressions")


if __name__ == "__main__":
    run_under_old(record, __file__)
