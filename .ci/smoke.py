"""The learning smoke: DreamerV3 on Pendulum-v1 for 3,000 steps must beat the random policy by 500.

Compares the mean of the last five training episodes with the mean return of the random policy.
"""

import sys
import tempfile
from pathlib import Path

from agents.cli import main
from agents.logger import read_metrics

with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "run"
    code = main(["train", "dreamer_v3/pendulum", "steps=3000", "eval_every=0", "--run", str(run)])
    lines = read_metrics(run / "metrics.jsonl")
    if code or not (run / "curve.png").exists():
        sys.exit("the run did not end well")
random = next(x["random_return"] for x in lines if "random_return" in x)
returns = [x["return"] for x in lines if x["kind"] == "episode"]
learned = sum(returns[-5:]) / 5
print(f"last five episodes {learned:.0f}, random policy {random:.0f}")
if learned < random + 500:
    sys.exit("it did not learn")
