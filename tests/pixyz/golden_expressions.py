"""Expressions that pixyz 0.3.3 and this library build from the same source; ``golden_033.json``
holds what 0.3.3 gives.

``benchmarks/golden_033.py`` runs these files on 0.3.3 and records inputs, value, gradients (of all
weights and all floating inputs) and printed text; ``test_golden.py`` runs them here and compares.
The expressions are in ``golden_distributions``, ``golden_losses``, ``golden_series``,
``golden_flows`` and ``golden_models``; each import adds its own to the table.
"""

import golden_distributions  # noqa: F401
import golden_flows  # noqa: F401
import golden_losses  # noqa: F401
import golden_models  # noqa: F401
import golden_series  # noqa: F401
from golden_parts import CASES, B, evaluate

__all__ = ["CASES", "B", "evaluate"]
