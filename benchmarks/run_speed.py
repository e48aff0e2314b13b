"""Take all times of Tables 1 and 2 and of growth, one after the other, in about 25 minutes on one
core.

The machine should do nothing else meanwhile.  Lines are appended to
``benchmarks/results/{vae,dmm,scaling}.jsonl``; ``draw_speed.py`` makes the picture and the tables
from the last line of each size.

    python benchmarks/run_speed.py
    python benchmarks/run_speed.py --rounds 1 --out /tmp/speed    # does it run at all?
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="the folder of results")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    for name in ("vae", "dmm", "scaling"):
        began = time.monotonic()
        command = [sys.executable, str(HERE / f"{name}.py"), "--rounds", str(given.rounds)]
        command += ["--out", str(given.out / f"{name}.jsonl")]
        if name == "vae" and given.no_compile:
            command.append("--no-compile")
        subprocess.run(command, check=True, env=env)
        print(f"{name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
