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


def test_where_the_user_chose_no_renderer_none_is_to_be_unset(tmp_path: Path) -> None:
    package = tmp_path / "OpenGL"
    package.mkdir()
    (package / "__init__.py").write_text("raise AttributeError('no driver')")
    told = run(
        "import os\nfor k in ('DISPLAY', 'WAYLAND_DISPLAY'): os.environ.pop(k, None)\n"
        "from functools import partial\n"
        "from agents.environments import make_env\n"
        "from agents.errors import UsageError\n"
        "from agents.settings import EnvSettings\n"
        "from agents.video import drawn, rendering\n"
        "s = EnvSettings('dm_control/cartpole-swingup')\n"
        "try:\n"
        "    with rendering(s.id): drawn(s, partial(make_env, s, 0))\n"
        "except UsageError as error: print(error, sorted(k for k in os.environ if '_GL' in k))",
        PYTHONPATH=str(tmp_path),
        PIXYZ_GL="",  # what an earlier test found
    )
    assert "nothing draws here (egl: no driver); on Debian" in told, told
    assert "unset" not in told and told.count("apt-get") == 1 and told.endswith("[]"), told
