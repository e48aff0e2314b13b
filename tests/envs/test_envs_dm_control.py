"""The adapter of dm_control: alignment with dm_control itself, and no OpenGL unless pixels are
asked.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import envs
from envs.dm_control import DMControl, load_suite


def run(code: str) -> subprocess.CompletedProcess[str]:
    """`code` in a fresh interpreter, without a choice of renderer."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    root = Path(envs.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=100,
        env=clean,
    )


def test_values_are_those_of_dm_control() -> None:
    raw = load_suite(False).load("reacher", "easy", task_kwargs={"random": 5})
    env = envs.make("dm_control/reacher-easy", seed=5)
    draw = np.random.default_rng(0)
    raw.task.random.seed(5)
    expected, (observation, _) = raw.reset(), env.reset()
    for _ in range(20):
        assert observation.keys() == expected.observation.keys()
        for key, value in expected.observation.items():
            assert np.array_equal(observation[key], np.asarray(value, np.float32).reshape(-1))
        action = draw.uniform(-1, 1, 2).astype(np.float32)
        expected = raw.step(action.astype(np.float64))
        observation, reward, *_ = env.step(action)
        assert reward == expected.reward


def test_the_end_of_the_time_limit_truncates() -> None:
    env = envs.make("dm_control/cartpole-swingup", action_repeat=50, seed=0)
    env.reset()
    ends = [env.step([0.0])[2:4] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)], "1000 steps, truncated"


def test_a_discount_of_zero_terminates() -> None:
    env = DMControl("cartpole", "swingup", seed=0)
    env._env.task.get_termination = lambda physics: 0.0 if env._count == 2 else None
    env.reset()
    assert [env.step(np.zeros(1))[2:4] for _ in range(3)] == [
        (False, False),
        (False, False),
        (True, False),
    ]


def test_actuators_without_limits_take_actions_as_they_are() -> None:
    env = envs.make("dm_control/lqr-lqr_2_1", seed=0)
    env.reset()
    env.step([0.25])
    assert env.unwrapped._env.physics.control() == [0.25]


def test_scalars_and_matrices_become_one_dimensional() -> None:
    env = envs.make("dm_control/stacker-stack_2", seed=0)
    observation, _ = env.reset()
    assert all(value.ndim == 1 and value.dtype == np.float32 for value in observation.values())
    assert env.observation_space.contains(observation)
    assert envs.make("dm_control/walker-walk-v0").observation_space["height"].shape == (1,)


def test_no_opengl_without_pixels() -> None:
    done = run(
        "import sys, os, numpy as np, envs\n"
        "with envs.make_vector('dm_control/cartpole-swingup', 2, seed=0) as vector:\n"
        "    vector.reset()\n"
        "    for _ in range(5): vector.step(np.zeros((2, 1)))\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'OpenGL', 'glfw', 'pygame', 'torch'}), "
        "'MUJOCO_GL' in os.environ)\n"
        "try: envs.make('dm_control/cartpole-swingup', pixels=True)\n"
        "except envs.EnvError as error: print(error)\n"
        "try: envs.make('dm_control/quadruped-escape').reset()\n"
        "except envs.EnvError as error: print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.strip().splitlines()
    assert first == "[] False"
    assert "MUJOCO_GL" in second, "pixels after an import without OpenGL are explained"
    assert "MUJOCO_GL" in third, "and so is the one task that always draws"


def test_pixels() -> None:
    code = (
        "import numpy as np, envs\n"
        "env = envs.make('dm_control/cartpole-swingup', pixels=True, size=(32, 48), "
        "action_repeat=2, seed=0)\n"
        "envs.check_env(env, steps=3)\n"
        "image = env.reset()[0]['image']\n"
        "print(image.shape, image.dtype, image.std() > 0)\n"
    )
    done = run(code)
    if done.returncode != 0 and "GL" in done.stderr:
        pytest.skip("no OpenGL on this machine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("(32, 48, 3) uint8 True")
