"""The examples on MNIST run on a folder of a few made digits, learn from them, and write what they
found.
"""

import importlib.util
import json
import sys
from pathlib import Path

import examples
import pytest
import torch
from made_digits import write_digits

from worldmodels.data import digits as digits_of_mnist

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "examples" / "mnist"
SHARED = ("common", "networks", "summary")
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)
SHORT = {
    "vae": ["--samples", "5", "--estimated", "4"],
    "m2": ["--labels", "20"],
    "factor_vae": ["--steps", "5"],
}
# their losses rise: with the critic, with beta
FALLS = {
    "gan": "test_mmd",
    "factor_vae": "test_reconstruction",
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Four files as MNIST's: ten blocks of pixels, one a label."""
    folder, draw = tmp_path_factory.mktemp("mnist"), torch.Generator().manual_seed(0)
    shapes = torch.rand(10, 784, generator=draw) < 0.3
    files = {}
    for part, count in (("train", 300), ("t10k", 40)):
        labels = torch.arange(count) % 10
        noise = torch.rand(count, 784, generator=draw) < 0.02
        files[part] = (((shapes[labels] ^ noise) * 255).view(-1, 28, 28), labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits_of_mnist, "CONTENT", write_digits(folder, files))
        yield folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_and_learns(name, digits, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = tmp_path / "results.jsonl"
    found = module.main(
        [
            "--data",
            str(digits),
            "--epochs",
            "2",
            "--seed",
            "1",
            "--threads",
            "1",
            "--results",
            str(results),
            *SHORT.get(name, []),
        ]
    )
    line = json.loads(results.read_text())
    assert line == json.loads(json.dumps(found))
    assert (
        line["example"].startswith(name)
        and line["seed"] == 1
        and line["images"] == 300
        and len(line["curve"]) == 2
    )
    assert {
        k: line[k] for k in line["curve"][-1] if k in line and k != "cpu_minutes"
    }.items() <= line["curve"][-1].items()
    figure = FALLS.get(name, "train")
    assert line["curve"][-1][figure] < line["curve"][0][figure]
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) < 140
    for shared in SHARED:
        sys.modules.pop(shared, None)


def test_readme_shows_the_table_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("summary", FOLDER / "summary.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for shared in SHARED:
        sys.modules.pop(shared, None)
    assert module.table() in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


def test_a_command_stands_behind_every_row_of_the_table():
    results = Path(examples.HERE) / "results" / "examples.jsonl"
    rows = {
        json.loads(line)["example"] for line in results.read_text(encoding="utf-8").splitlines()
    }
    assert rows == {name.removesuffix(" in 15 epochs") for name in examples.RUNS}
    assert all((examples.EXAMPLES / script).is_file() for script, *_ in examples.RUNS.values())
