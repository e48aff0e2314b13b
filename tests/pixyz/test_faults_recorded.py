"""Each of the 26 listed faults of 0.3.3 has a test, and 0.3.3 fails every one of them.

``benchmarks/faults_033.py`` ran the tests on 0.3.3 and recorded how they fail in
``faults_033.json``.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FILES = ["test_faults_distributions.py", "test_faults_losses.py"]
TRIVIAL = [  # what a test would fail with if it were not written for 0.3.3's names
    "ImportError",
    "ModuleNotFoundError",
    "NameError",
    "__init__() got an unexpected keyword",
    "SyntaxError",
    "class requires following parameters",
    "can only concatenate",
    "conflicted variables",
]


def record() -> dict[str, Any]:
    return json.loads((HERE / "faults_033.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def names() -> set[str]:
    """The tests in the files."""
    trees = [ast.parse((HERE / name).read_text(encoding="utf-8")) for name in FILES]
    found = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in found if name.startswith("test_")}


def test_every_fault_has_a_test_that_says_its_number() -> None:
    numbers = {
        int(found.group(1)) for name in names() if (found := re.match(r"test_b(\d+)_", name))
    }
    assert numbers == set(range(1, 27)) and all(re.match(r"test_b\d+_", name) for name in names())


def test_the_record_is_of_these_tests() -> None:
    found = record()
    assert found.pop("versions")["pixyz"] == "0.3.3"
    assert {name.split("[")[0] for name in found} == names(), "run benchmarks/faults_033.py"


@pytest.mark.parametrize("name", sorted(set(record()) - {"versions"}))
def test_0_3_3_fails_for_the_fault(name: str) -> None:
    case = record()[name]
    assert case["outcome"] == "failed"
    assert not any(word in case["error"] for word in TRIVIAL), case["error"]
