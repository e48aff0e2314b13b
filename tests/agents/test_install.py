"""What is installed: the settings that ship, no import names that are not ours, one line where a
folder hides a package.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pixyz
from agents.config import CONFIGS, config_names
from agents.shadow import Hidden, check_neighbours

ROOT = Path(__file__).resolve().parents[2]
OURS = ("agents", "envs", "pixyz", "worldmodels")


def setting(text, name):
    return re.findall(r'"([^"]+)"', re.search(rf"^{name} = \[(.*?)\]", text, re.S | re.M).group(1))


def test_every_package_is_installed():
    text = (ROOT / "pyproject.toml").read_text()
    folders = [
        path.parent.relative_to(ROOT) for top in OURS for path in (ROOT / top).rglob("__init__.py")
    ]
    there = {folder.as_posix().replace("/", ".") for folder in folders}
    assert set(setting(text, "packages")) == there | {"agents.configs"}
    assert f'version = "{pixyz.__version__}"' in text


def run(arguments, folder, *places):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_wheel_has_the_settings_and_runs_from_an_empty_folder(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    source, site, empty = (tmp_path / name for name in ("source", "site", "empty"))
    for name in (*OURS, "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "pixyz_command.py"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        tops = {name.split("/")[0] for name in file.namelist() if "dist-info" not in name}
    assert tops == {*OURS, "pixyz_command.py"}
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True
    )
    empty.mkdir()
    done = run([str(site / "bin" / "pixyz"), "show", "dreamer_v3/pendulum"], empty, site)
    assert done.returncode == 0 and "id: Pendulum-v1" in done.stdout, done.stderr
    assert not list(empty.iterdir())
    where = run(
        ["-c", "import agents.config as c; print(c.CONFIGS, *c.config_names())"], empty, site
    ).stdout.split()
    assert where == [str(site / "agents" / "configs"), *config_names()]


def test_an_sdist_has_what_its_readme_and_its_tests_read(tmp_path):
    """And its wheel is built without a warning of packages that are absent."""
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".environments")
    for name in (*OURS, "configs", "containers", "docs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, source)
    shutil.copy(ROOT / "LICENSE", source)
    code = "from setuptools import build_meta as b; b.build_sdist('..'); b.build_wheel('../wheel')"
    done = run(["-c", code], source)
    assert done.returncode == 0, done.stderr
    assert "is absent from" not in done.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        there = {name.partition("/")[2] for name in file.getnames()}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s:]+)\)", text)}
    asked = {*re.findall(r"-c (\S+)", text), *links, "CHANGELOG.md", "tests/mistakes.py"}
    asked |= {f"configs/{name}.yaml" for name in config_names()} | {"conftest.py", "mkdocs.yml"}
    assert {"constraints.txt", "docs/runs.md"} < asked and sorted(asked - there) == []
    tests = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("*.py")}
    assert tests <= there and not [name for name in there if name.endswith(".pyc")]
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        held = set(file.namelist())
    assert {f"agents/configs/{name}.yaml" for name in config_names()} < held
    assert "pixyz/py.typed" in held and not [name for name in held if name.startswith("docs/")]


def test_the_sources_run_where_they_lie():
    assert CONFIGS == ROOT / "configs" and "pretrain/rssm" in config_names()


@pytest.mark.parametrize("name", OURS)
def test_a_folder_that_hides_a_package_is_named_in_one_line(name, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    code = "import sys, pixyz_command; sys.exit(pixyz_command.main())"
    done = run(["-c", code, "show", "dreamer_v3/pendulum"], tmp_path, tmp_path, ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"{tmp_path / name} hides the package {name}" in done.stderr


def test_a_script_beside_such_a_folder_is_told_too(tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    (tmp_path / "mine.py").write_text("from agents import Trainer\n")
    done = run(["mine.py"], tmp_path, ROOT)
    assert (
        done.stderr.strip().split("\n")[-1].startswith("agents.shadow.Hidden: ")
        and "rename it" in done.stderr
    )


def test_a_package_that_is_not_there_hides_nothing(tmp_path):
    check_neighbours()
    check_neighbours(["json"])  # no folder of ours
    (tmp_path / "json").mkdir()
    with pytest.raises(Hidden, match="hides the package json"):
        check_neighbours(["json"], tmp_path)
