"""``pixyz save``: what a run learned, as config.json and model.safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.pretrained import save_pretrained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "folder", type=Path, help="an empty or new folder; agents.from_pretrained(FOLDER) loads it"
    )
    parser.set_defaults(command=save)


def save(given: argparse.Namespace) -> int:
    """Write the folder."""
    print(
        f"{save_pretrained(given.run, given.folder)}: load it with "
        f"agents.from_pretrained({str(given.folder)!r})"
    )
    return 0
