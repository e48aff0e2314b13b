"""How public classes are written: a docstring with equation, shapes, source and an example;
annotated signatures; no mutable default; files of one idea.
"""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from torch import nn

from pixyz.models import Model

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [
    "pixyz.plan",
    "pixyz.distributions",
    "pixyz.losses",
    "pixyz.flows",
    "pixyz.layers",
    "pixyz.models",
    "pixyz.expression",
    "pixyz.utils",
    "worldmodels",
    "worldmodels.data",
    "agents.replay",
    "agents.pretrain",
    "agents.dreamer",
    "agents.planet",
    "agents.planning",
    "agents.sac",
    "agents.tdmpc",
    "envs",
    "envs.robot",
]
FOLDERS = ("pixyz", "worldmodels", "agents", "envs", "benchmarks", "docs", "tests")
LONGEST = {"pixyz": 350, "tests": 650, "benchmarks": 550}
"""Lines of a file; 450 in other folders. Lists of cases, a line each, are longer than programs."""


def sources():
    """Every Python file, but for what was installed from elsewhere."""
    for top in FOLDERS:
        for path in sorted((ROOT / top).rglob("*.py")):
            if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
                yield path.relative_to(ROOT)


SOURCES = list(sources())


def public():
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        own = [getattr(module, name) for name in module.__all__]
        found.update(
            {o: None for o in own if inspect.isclass(o) and o.__module__.split(".")[0] in FOLDERS}
        )
    return sorted(found, key=lambda c: (c.__module__, c.__name__))


PUBLIC = public()
FORMULAS = [c for c in PUBLIC if issubclass(c, (nn.Module, Model))]


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda c: c.__name__)
def test_every_public_class_has_its_own_docstring_and_example(cls):
    text = vars(cls).get("__doc__") or ""
    assert len(text.split("\n")[0]) > 1 and not text.startswith(f"{cls.__name__}("), (
        "a docstring of its own"
    )
    assert ">>>" in text, "a doctest"


@pytest.mark.parametrize("cls", FORMULAS, ids=lambda c: c.__name__)
def test_what_computes_says_its_equation_shapes_and_source(cls):
    """In its docstring, or in that of its file where several classes share them."""
    text = f"{cls.__doc__}\n{inspect.getmodule(cls).__doc__}"
    assert ":math:" in text or ".. math::" in text or re.search(r"``[^`]*[|=(][^`]*``", text), (
        "an equation"
    )
    assert re.search(r"``\[[^`]+\]``|shape|\[\w", text), "shapes"
    assert re.search(r"\b(18|19|20)\d\d\b|torch|zuko", text), (
        "a source: who wrote the formula down, or whose function it is"
    )


def test_the_examples_are_run():
    """pytest collects the doctests of every package with public classes."""
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "--doctest-modules" in settings
    folders = re.search(r"testpaths = (\[.*\])", settings).group(1)
    assert {p.split(".")[0] for p in PACKAGES} <= set(ast.literal_eval(folders))


def functions(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{path}:{node.lineno} {node.name}", node


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] != "tests"], ids=str)
def test_signatures_are_annotated(path):
    for where, node in functions(path):
        given = [
            *node.args.posonlyargs,
            *node.args.args,
            *node.args.kwonlyargs,
            node.args.vararg,
            node.args.kwarg,
        ]
        bare = [
            a.arg
            for a in given
            if a is not None and a.annotation is None and a.arg not in ("self", "cls")
        ]
        assert not bare, f"{where}: {bare} not annotated"
        assert node.returns is not None, f"{where}: result not annotated"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_defaults_are_immutable(path):
    for where, node in functions(path):
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            made = isinstance(default, ast.Call) and getattr(default.func, "id", "") in (
                "list",
                "dict",
                "set",
            )
            assert not made and not isinstance(default, (ast.List, ast.Dict, ast.Set)), (
                f"{where}: mutable default"
            )


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_file_is_long(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST.get(path.parts[0], 450)
