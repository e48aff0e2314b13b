"""How public classes are written: a docstring with the equation and an example, annotated signatures, no mutable default,
files of one idea."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["pixyz.distributions", "pixyz.losses", "pixyz.flows", "pixyz.layers", "pixyz.models", "pixyz.expression"]
SOURCES = [p.relative_to(ROOT) for top in ("pixyz", "worldmodels", "agents", "envs") for p in sorted((ROOT / top).rglob("*.py"))]
BASES = {"Module", "Structured", "object", "Expression", "Loss", "Distribution", "Flow"}  # they show no subclass
LONGEST = 450


def public():
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        found.update({o: None for n in module.__all__ if inspect.isclass(o := getattr(module, n))})
    return sorted(found, key=lambda c: (c.__module__, c.__name__))


def texts(cls):
    """Its own docstring, and those of the bases that it narrows (``AddLoss`` is shown by ``LossOperator``)."""
    return [cls.__doc__ or "", *(b.__doc__ or "" for b in cls.__mro__[1:] if b.__name__ not in BASES)]


@pytest.mark.parametrize("cls", public(), ids=lambda c: c.__name__)
def test_every_public_class_says_its_equation_and_shows_an_example(cls):
    assert cls.__doc__, "a docstring"
    assert any(">>>" in text for text in texts(cls)), "a doctest"
    assert any(":math:" in text or ".. math::" in text for text in texts(cls)), "an equation"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_signatures_are_annotated_and_defaults_immutable(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        where = f"{path}:{node.lineno} {node.name}"
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        bare = [a.arg for a in given if a is not None and a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare, f"{where}: {bare} not annotated"
        assert node.returns is not None, f"{where}: result not annotated"
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            assert not isinstance(default, (ast.List, ast.Dict, ast.Set)), f"{where}: mutable default"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_file_is_long(path):
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST
