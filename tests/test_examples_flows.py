"""The flow examples run on a folder of a few images, each of one grey, learn from them, and write
what they found.
"""

import json
import runpy
from pathlib import Path

import pytest
import torch
from made_digits import write_digits

from worldmodels.data import digits

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


@pytest.mark.parametrize(("name", "epochs"), [("realnvp", 3), ("glow", 12)])
def test_example_runs(name, epochs, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    greys = {
        part: torch.randint(0, 256, (count, 1, 1), dtype=torch.uint8)
        for part, count in (("train", 96), ("t10k", 8))
    }
    files = {part: (grey.expand(-1, 28, 28), grey.flatten()) for part, grey in greys.items()}
    monkeypatch.setattr(digits, "CONTENT", write_digits(tmp_path, files))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    results = tmp_path / "results" / "examples.jsonl"
    found = main(
        [
            "--data",
            str(tmp_path),
            "--epochs",
            str(epochs),
            "--seed",
            "1",
            "--threads",
            "1",
            "--results",
            str(results),
        ]
    )
    line = json.loads(results.read_text())
    assert (
        line["example"] == name
        and line["seed"] == 1
        and line["images"] == 96
        and len(line["curve"]) == epochs
    )
    assert line["test_bits_per_dimension"] == found == line["curve"][-1]["test"]
    assert line["curve"][-1]["train"] < line["curve"][0]["train"]
    assert f"bits per dimension on the test set after {epochs} epochs" in capsys.readouterr().out
