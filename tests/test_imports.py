"""Imports point downward, and ``import pixyz`` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pixyz", "worldmodels", "agents", "envs", "benchmarks", "tests")
LAYERS = [
    "pixyz.types",
    "pixyz.latex",
    "pixyz.debugging",
    "pixyz.plan",
    "pixyz.expression",
    "pixyz.layers",
    "pixyz.flows",
    "pixyz.distributions",
    "pixyz.losses",
    "pixyz.models",
]
ALLOWED = {
    "pixyz": {"pixyz"},
    "worldmodels": {"pixyz", "worldmodels"},
    "agents": {"pixyz", "worldmodels", "agents", "envs"},
    "envs": {"envs"},
}


def modules():
    for package in ALLOWED:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT)


def imported(path):
    tree = ast.parse((ROOT / path).read_text())
    typing_only = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for n in ast.walk(block)
    }
    inside = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, (ast.FunctionDef, ast.Lambda))
        for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module, id(node) in inside
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside


@pytest.mark.parametrize("path", list(modules()), ids=str)
def test_imports_point_downward(path):
    package = path.parts[0]
    own = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    for name, lazy in imported(path):
        top = name.split(".")[0]
        if top in PACKAGES:
            assert top in ALLOWED[package], f"{path} imports {name}"
            assert not lazy, f"{path} imports {name} inside a function"
        if package == "envs":
            assert top != "torch", f"{path} imports torch"
        if package == "pixyz" and top == "pixyz" and own != "pixyz" and not lazy:
            level = [i for i, layer in enumerate(LAYERS) if (name + ".").startswith(layer + ".")]
            mine = [i for i, layer in enumerate(LAYERS) if (own + ".").startswith(layer + ".")]
            if level and mine:
                assert level[0] <= mine[0] or {level[0], mine[0]} <= {0, 1, 2}, (
                    f"{path} imports {name}"
                )


def test_import_pixyz_is_light():
    code = (
        "import torch, time, sys; t = time.process_time(); import pixyz, pixyz.distributions, "
        "pixyz.losses, pixyz.models;"
        "print(time.process_time() - t); print([m for m in ('gymnasium', 'mujoco', 'dm_control', "
        "'wandb', 'matplotlib',"
        "'networkx', 'sympy', 'yaml', 'rich') if m in sys.modules and m not in before])"
    )
    code = "import sys, torch; before = set(sys.modules);" + code
    seconds = []
    while len(seconds) < 3 and min(seconds, default=1.0) >= 0.5:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        out = done.stdout.split("\n")
        assert out[1] == "[]"
        seconds.append(float(out[0]))
    assert min(seconds) < 0.5


def test_import_pixyz_alone_loads_no_plan():
    """It gives errors, ``debug`` and the door of wings; what is used is imported where it is."""
    code = "import sys, pixyz; print([m for m in sys.modules if m.startswith('pixyz.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    rooms = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in modules()}
    loaded = {m for m in ast.literal_eval(done.stdout) if m in rooms}
    assert {m for m in loaded if not m.startswith("pixyz.compat")} == {
        "pixyz.debugging",
        "pixyz.types",
        "pixyz.wings",
    }
