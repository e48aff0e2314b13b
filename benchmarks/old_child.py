"""The child process of ``old_pixyz.py``: JSON requests come on stdin, answers go to stdout, a line
each.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

import pixyz.utils  # 0.3.3, from the child's own folder

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind it: agents.process


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    # before its distributions are imported: they read it then
    pixyz.utils.set_cache_maxsize(int(sys.argv[1]))
    from declared import Training

    from agents.process import prepare_process

    prepare_process(1)
    made: list[tuple[Training, bool]] = []

    def answer(request: dict[str, Any]) -> Any:
        if request["do"] == "make":
            made.append(
                (
                    Training(request["model"], request["settings"], request["optimizer"]),
                    request["validate"],
                )
            )
            return len(made) - 1
        if request["do"] == "forget":
            made.clear()
            return None
        training, validate = made[request["number"]]
        torch.distributions.Distribution.set_default_validate_args(validate)
        if request["do"] == "value":
            return training.value(request["seed"])
        began = time.process_time()
        for _ in range(request["times"]):
            training.step()
        return time.process_time() - began

    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
