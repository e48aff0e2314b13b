"""What a page tells to type can be typed: each command is read by the command's own parser, its
config by the loader of configs; Python is compiled, and what it imports is there.

Nothing is trained. Pages whose blocks are run: ``tests/test_tutorials.py``.
"""

import ast
import importlib
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("yaml")
pytest.importorskip("gymnasium")
from agents import runs
from agents.cli import read
from agents.config import config_names, kind_of, load_config
from agents.pretrain.command import CHANGEABLE
from agents.pretrain.settings import KINDS
from agents.settings import RunSettings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.M | re.S)
OURS = ("agents", "envs", "pixyz", "worldmodels")


def blocks(page, *kinds):
    """The blocks of a page that are of such a kind."""
    return [text for kind, text in BLOCK.findall(page) if kind in kinds]


def commands(page):
    """The arguments of each ``pixyz`` in a block of a shell, or by itself in the text."""
    lines = [
        line
        for text in blocks(page, "bash", "sh", "shell")
        for line in re.sub(r"\\\n", " ", text).split("\n")
    ]
    found = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in found if words[:1] == ["pixyz"]]


def typed(words):
    """Read a command as it is read when it is typed, and its config.

    Raises:
        SystemExit: there is no such command or option.
        ConfigError: there is no such config or setting.
    """
    given = read(words)
    changes = [t for t in getattr(given, "overrides", []) if not re.match(r"agent\.kind=\w+:", t)]
    if words[0] == "pretrain":
        shipped = given.config or f"pretrain/{given.model}"
        load_config(KINDS[kind_of(shipped)], shipped, [f"data={given.data}", *changes])
    elif hasattr(given, "config"):
        load_config(RunSettings, given.config, changes)
    elif words[0] == "resume":
        known = {*runs.CHANGEABLE, *CHANGEABLE}
        assert {text.partition("=")[0] for text in changes} <= known, words
    return given


def imported(text, own):
    """Import what a piece of Python imports; names of a page's own files are left out.

    Raises:
        ImportError: a module of this library, or a name in it, is not there.
    """
    for node in ast.walk(ast.parse(text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        for name in names:
            if name.split(".")[0] in OURS:
                module = importlib.import_module(name)
                for each in node.names if isinstance(node, ast.ImportFrom) else ():
                    if not hasattr(module, each.name):
                        importlib.import_module(f"{name}.{each.name}")
            elif name.split(".")[0] not in own:
                assert find_spec(name.split(".")[0]) or name.split(".")[0] in OTHERS, name


OTHERS = {"h5py", "lerobot", "matplotlib", "pyro", "tensordict", "torchrl", "zuko"}
"""Packages of others, which need not be installed."""


def own_files(page):
    """The modules that a page has the reader write."""
    return {Path(name).stem for name in re.findall(r"\b(\w+\.py)\b", page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_a_page_says_can_be_typed(page):
    text = page.read_text(encoding="utf-8")
    for words in commands(text):
        typed(words)
    for code in blocks(text, "python"):
        compile(code, page.name, "exec", dont_inherit=True)
        imported(code, own_files(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_command_in_the_text_is_one(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    found = re.findall(r"`pixyz ([a-z]\w*)([^`]*)`", text)
    for name in {name for name, _ in found}:
        with pytest.raises(SystemExit) as ended:
            read([name, "--help"])
        assert ended.value.code == 0, name
    configs = {m[1] for _, rest in found if (m := re.match(r" ((?!runs/)[a-z]\w*/\w+)", rest))}
    assert configs <= set(config_names())


@pytest.mark.parametrize(
    "line",
    [
        "train tdmpc/walker_wlk",
        "pretrian rssm --data my_logs",
        "pretrain rsm --data my_logs",
        "train tdmpc/small stepz=5",
        "train tdmpc/small --runn a",
        "robot learn dreamer_v3/fst --robot my_arm:Arm --limits limits.yaml --task my_arm:Reach",
        "pretrain rssm --data my_logs model.detter=3",
        "resume runs/a agent.batch=3",
    ],
)
def test_what_cannot_be_typed_is_seen(line, capsys):
    (words,) = commands(f"```bash\npixyz {line}  # a word on it\n```\n")
    with pytest.raises((SystemExit, ValueError, AssertionError)):
        typed(words)


@pytest.mark.parametrize("line", ["from pixyz.losses import ELBOO", "import agents.nothing"])
def test_an_import_that_is_not_there_is_seen(line):
    with pytest.raises(ImportError):
        imported(line, set())
