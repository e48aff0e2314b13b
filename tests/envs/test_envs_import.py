"""Importing the package costs nothing, and reaches no higher layer."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import envs
from envs import extras

ROOT = Path(envs.__file__).parent


def run(code: str, **chosen: str) -> str:
    """The output of `code` in a fresh interpreter, where no renderer but the `chosen` is named."""
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
        timeout=60,
        check=True,
        env=clean | chosen,
    )
    return done.stdout.strip()


def test_import_loads_no_simulator_and_no_torch() -> None:
    heavy = "{'torch', 'gymnasium', 'mujoco', 'dm_control', 'pixyz', 'worldmodels', 'agents'}"
    assert run(f"import sys, envs; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_modules_import_only_what_this_layer_may() -> None:
    allowed = {"envs", "numpy", "gymnasium", "dm_control", "mujoco", "yaml"} | set(
        sys.stdlib_module_names
    )
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, path.name


def test_every_public_name_is_there() -> None:
    assert all(getattr(envs, name) is not None for name in envs.__all__)
    assert dir(envs) == sorted(envs.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = envs.nothing


def test_functions_are_never_hidden_by_submodules() -> None:
    code = (
        "import envs.vector, envs.adapted, envs; print(callable(envs.make), callable(envs.adapt))"
    )
    assert run(code) == "True True"


def test_a_missing_simulator_names_the_extra() -> None:
    code = (
        "import sys; sys.modules[{!r}] = None\nimport envs\n"
        "try: envs.make({!r})\nexcept envs.MissingExtra as error: print(isinstance(error, "
        "ValueError), error)"
    )
    for module, env_id in (
        ("gymnasium", "Pendulum-v1"),
        ("dm_control", "dm_control/cartpole-swingup"),
        ("mujoco", "dm_control/cartpole-swingup"),
        ("mujoco", "HalfCheetah-v5"),
    ):
        told = run(code.format(module, env_id))
        assert told.startswith("True") and repr(module) in told, told
        assert f"pip install {module.replace('_', '-')}" in told


def test_dm_control_says_in_which_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, told in (((3, 12), False), ((3, 13), True)):
        monkeypatch.setattr(extras.sys, "version_info", version)
        assert ("3.11 or 3.12" in str(extras.missing_extra("a task", "dm_control"))) == told
        assert "3.12" not in str(extras.missing_extra("a task", "mujoco"))


def test_robots_name_what_they_need() -> None:
    code = (
        "import sys; sys.modules[{!r}] = None\nimport envs\n"
        "try:\n    from envs.robot import SimulatedArm\n    SimulatedArm()\nexcept "
        "envs.MissingExtra as error: print(error)"
    )
    for module in ("gymnasium", "mujoco", "dm_control"):
        assert f"pip install {module.replace('_', '-')}" in run(code.format(module))


@pytest.mark.parametrize(
    "made",
    [
        "envs.make('dm_control/cartpole-swingup')",
        "envs.make('HalfCheetah-v5')",
        "SimulatedArm()",
    ],
)
def test_a_renderer_that_is_named_and_not_there_is_told(made: str, tmp_path: Path) -> None:
    package = tmp_path / "OpenGL"
    package.mkdir()
    text = "None has no eglQueryString"  # what PyOpenGL raises without a driver
    (package / "__init__.py").write_text(f"raise AttributeError({text!r})")
    told = run(
        f"import envs\nfrom envs.robot import SimulatedArm\n"
        f"try: {made}\nexcept envs.EnvError as error: print(error)",
        MUJOCO_GL="egl",
        PYTHONPATH=str(tmp_path),
    )
    assert f"MUJOCO_GL=egl does not draw here ({text}); unset it" in told, told
    assert told.count("\n") == 0
