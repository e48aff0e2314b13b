"""Images of any size and range: scaled by area, a depth camera as 8 bits, cheap rendering of
dm_control as a word.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs
from envs.images import resized

DRAW = np.random.default_rng(0)


class Camera(gymnasium.Env):
    """Shows one picture."""

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, space, value) -> None:
        self.observation_space, self.value = space, value

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.value, {}

    def step(self, action):
        return self.value, 0.0, False, False, {}


class Small(Camera):
    """A camera of 20 x 24 pixels, as module:Class."""

    def __init__(self) -> None:
        super().__init__(spaces.Box(0, 255, (20, 24, 3), np.uint8), PICTURE)


PICTURE = DRAW.integers(0, 256, (20, 24, 3)).astype(np.uint8)


# ---------------------------------------------------------------- another size


def by_hand(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean over each area, pixel by pixel, on a grid that both sizes divide."""
    height, width, _ = image.shape
    fine = image.astype(float).repeat(size[0], 0).repeat(size[1], 1)
    blocks = fine.reshape(size[0], height, size[1], width, -1)
    return blocks.mean((1, 3))


@pytest.mark.parametrize("size", [(10, 12), (16, 16), (7, 5), (40, 48), (33, 21), (1, 1), (20, 8)])
def test_each_pixel_is_the_mean_of_its_area(size: tuple[int, int]) -> None:
    found = resized(PICTURE, size)
    assert found.dtype == np.uint8 and found.shape == (*size, 3)
    assert np.abs(found - by_hand(PICTURE, size)).max() <= 0.5 + 1e-4
    many = resized(np.stack([PICTURE, PICTURE[::-1]]), size)
    assert np.array_equal(many[0], found)


def test_a_flat_picture_stays_flat_and_the_same_size_is_the_same() -> None:
    flat = np.full((84, 84, 1), 201, np.uint8)
    assert (resized(flat, (64, 64)) == 201).all() and (resized(flat, (128, 96)) == 201).all()
    assert resized(flat, (84, 84)) is flat


@pytest.mark.parametrize("form", ["last", "first", "grey", "stack", "floats"])
def test_images_of_every_form_are_scaled(form: str) -> None:
    grey = PICTURE[..., 0]
    value, expected, top = {
        "last": (PICTURE, PICTURE, 255),
        "first": (PICTURE.transpose(2, 0, 1), PICTURE, 255),
        "grey": (grey, grey[..., None], 255),
        "stack": (
            np.stack([PICTURE, PICTURE[::-1]]),
            np.concatenate([PICTURE, PICTURE[::-1]], -1),
            255,
        ),
        "floats": ((PICTURE / 255).astype(np.float32), PICTURE, 1),
    }[form]
    box = spaces.Box(0, top, value.shape, value.dtype.type)
    space = spaces.Dict(cam=box, arm=spaces.Box(-1.0, 1.0, (3,), np.float32))
    env = envs.adapt(
        Camera(space, {"cam": value, "arm": np.ones(3, np.float32)}), image_size=(16, 16)
    )
    observation, _ = env.reset()
    assert env.observation_space["cam"] == spaces.Box(
        0, 255, (16, 16, expected.shape[-1]), np.uint8
    )
    assert np.array_equal(observation["cam"], resized(expected, (16, 16)))
    assert observation["arm"].tolist() == [1, 1, 1], "a vector is left alone"
    envs.check_env(env, steps=3)
    guard = envs.ObservationGuard(space, (16, 16))
    batch = {"cam": np.stack([value] * 2), "arm": np.ones((2, 3), np.float32)}
    assert np.array_equal(guard.many(batch, 2)["cam"][1], observation["cam"])


def test_the_word_in_a_vector_and_wrong_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_camera", sys.modules[__name__])
    vector = envs.make_vector("my_camera:Small", 2, image_size=[16, 32])
    assert vector.reset()["observation"].shape == (2, 16, 32, 3)
    for wrong in (64, (64,), (0, 64), ("a", 64), "64x64"):
        with pytest.raises(envs.EnvError, match=r"image_size: expected"):
            envs.make("Pendulum-v1", image_size=wrong)
    env = envs.make("Pendulum-v1", image_size=(64, 64))
    assert env.reset()[0]["observation"].shape == (3,)
    with pytest.raises(envs.EnvError, match="adapted before"):
        envs.adapt(env, image_size=(32, 32))


# ---------------------------------------------------------------- floats in a range


@pytest.mark.parametrize("shape", [(32, 40), (32, 40, 1), (1, 32, 40)])
def test_a_depth_camera(shape: tuple[int, ...]) -> None:
    depth = DRAW.uniform(0.5, 4.5, shape).astype(np.float32)
    with pytest.warns(
        UserWarning, match=r"floats in \[0.5, 4.5\] become images of 8 bits, in steps of 0.016"
    ):
        env = envs.adapt(Camera(spaces.Box(0.5, 4.5, shape, np.float32), depth))
    image = env.reset()[0]["observation"]
    assert image.shape == (32, 40, 1) and image.dtype == np.uint8
    back = 0.5 + image.reshape(shape) / 255 * 4
    assert np.abs(back - depth).max() <= 4 / 255 / 2 + 1e-6
    far = Camera(env.env.observation_space, depth + 1)
    with pytest.warns(UserWarning, match="8 bits"):
        far = envs.adapt(far)
    with pytest.raises(envs.ObservationError, match=r"pixels in \[0.5, 4.5\], as declared"):
        far.reset()


def test_matrices_stay_matrices() -> None:
    """Small ones, and those without one finite range, are no images."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for box in (
            spaces.Box(0.0, 1.0, (20, 20), np.float32),
            spaces.Box(-np.inf, np.inf, (64, 64), np.float32),
            spaces.Box(np.zeros((64, 64), np.float32), np.eye(64, dtype=np.float32)),
            spaces.Box(0.0, 1.0, (64, 3), np.float32),
        ):
            assert envs.ObservationGuard(box).space["observation"].dtype == np.float32


# ---------------------------------------------------------------- dm_control


def test_cheap_rendering_is_a_word() -> None:
    code = (
        "import envs\n"
        "found = []\n"
        "for quality in ('full', 'fast'):\n"
        "    env = envs.make('dm_control/cartpole-swingup', pixels=True, quality=quality, "
        "seed=0)\n"
        "    model = env.unwrapped._env.physics.model\n"
        "    image = env.reset()[0]['image'].astype(float)\n"
        "    found.append(image)\n"
        "    print(model.light_castshadow.any(), model.vis.quality.offsamples > 0, "
        "image.std() > 5)\n"
        "print(0 < abs(found[0] - found[1]).mean() < 20)\n"
        "try: envs.make('dm_control/cartpole-swingup', quality='cheap')\n"
        "except envs.EnvError as error: print(error)\n"
    )
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    root = Path(envs.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=200,
        env=clean,
    )
    if done.returncode and "OpenGL" in done.stderr:
        pytest.skip("no OpenGL on this machine")
    lines = done.stdout.strip().split("\n")
    assert lines == [
        "True True True",
        "False False True",
        "True",
        "quality: expected 'full' or 'fast', got 'cheap'; choose one of them",
    ], done.stderr
