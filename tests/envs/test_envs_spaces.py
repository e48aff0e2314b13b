"""Every name and every space has a form in the contract, or is refused in one line."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from torch import nn

import envs
from envs.names import NETWORKS, safe_name

SMALL = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Shows(gymnasium.Env):
    """Observes what it is given; keeps the actions it gets."""

    def __init__(self, observation_space, action_space=SMALL, value=None) -> None:
        self.observation_space, self.action_space, self.value = (
            observation_space,
            action_space,
            value,
        )
        self.actions = []

    def observe(self):
        return self.observation_space.sample() if self.value is None else self.value

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observe(), {"frames": "a picture"}

    def step(self, action):
        self.actions.append(action)
        return self.observe(), 0.0, False, False, {"frames": 2003}


def shown(space: spaces.Space, value: object) -> dict[str, np.ndarray]:
    env = envs.adapt(Shows(space, value=value))
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    return observation


NAMES = {
    "mask": "mask_",
    "beta": "beta_",
    "keys": "keys_",
    "type": "type_",
    "forward": "forward_",
    "values": "values_",
    "self": "self_",
    "joint.position": "joint_position",
    "observation.images.front": "observation_images_front",
    "reward": "reward_",
    "is_first": "is_first_",
    "action": "action_",
    "deter": "deter_",
    "index": "index_",
    "class": "class_",
    "q_prev": "q_prev_",
    "left arm": "left_arm",
    "a/b": "a_b",
    "0": "observation_0",
    "_x": "observation_x",
    "training": "training_",
    "größe": "gr__e",
    "x": "x",
    "position": "position",
    "Observation": "Observation",
}


@pytest.mark.parametrize("declared", NAMES)
def test_names(declared: str) -> None:
    expected = NAMES[declared]
    vector = envs.VectorEnv([lambda: Shows(spaces.Dict({declared: SMALL}))] * 2)
    rows = vector.reset()
    assert set(vector.single_observation_space) == {expected} and rows[expected].shape == (2, 2)
    assert vector.step(np.zeros((2, 2)))[expected].shape == (2, 2)
    assert nn.ModuleDict({expected: nn.Identity()})[expected] is not None, (
        "a network can have the name"
    )


def test_the_names_of_networks_are_those_of_torch() -> None:
    names = {
        name
        for kind in (nn.Module(), nn.ModuleDict())
        for name in dir(kind)
        if not name.startswith("_")
    }
    assert names <= NETWORKS
    assert all(safe_name([name]) == f"{name}_" for name in names)


def test_names_that_would_be_one_are_refused() -> None:
    for one, two in (("a.b", "a_b"), ("mask", "mask_"), ("a b", "a/b")):
        with pytest.raises(envs.SpaceError, match=f"'{one}' and '{two}'|'{two}' and '{one}'"):
            envs.adapt(Shows(spaces.Dict({one: SMALL, two: SMALL})))


def test_an_environment_s_own_frames_are_not_counted() -> None:
    vector = envs.VectorEnv([lambda: envs.adapt(Shows(SMALL), action_repeat=3)])
    vector.reset()
    assert [int(vector.step(np.zeros((1, 2)))["frames"][0]) for _ in range(2)] == [3, 3]
    env = envs.adapt(Shows(SMALL), action_repeat=2)
    assert env.reset()[1]["frames"] == "a picture"
    info = env.step(np.zeros(2))[4]
    assert info["frames"] == 2003 and info["envs.frames"] == 2


PIXELS = np.random.default_rng(0).integers(0, 256, (16, 12, 3)).astype(np.uint8)  # [H, W, C]
GREY = PIXELS[..., 0]
STACK = np.stack([PIXELS, PIXELS[::-1]])  # [S, H, W, C]
BYTES = {
    "[H, W, C]": (PIXELS, PIXELS),
    "channels first": (PIXELS.transpose(2, 0, 1), PIXELS),
    "grey": (GREY, GREY[..., None]),
    "grey with a channel first": (GREY[None], GREY[..., None]),
    "a stack of greys": (np.stack([GREY] * 10), np.stack([GREY] * 10, -1)),
    "a stack of greys, last": (np.stack([GREY] * 10, -1), np.stack([GREY] * 10, -1)),
    "a stack of pictures": (STACK, np.concatenate(list(STACK), -1)),
    "a stack, channels first": (STACK.transpose(0, 3, 1, 2), np.concatenate(list(STACK), -1)),
}


@pytest.mark.parametrize("kind", BYTES)
def test_pictures_in_every_order_of_axes(kind: str) -> None:
    value, expected = BYTES[kind]
    as_bytes = spaces.Box(0, 255, value.shape, np.uint8)
    for space, given in ((as_bytes, value), (spaces.Dict(cam=as_bytes), {"cam": value})):
        [got] = shown(space, given).values()
        assert got.dtype == np.uint8 and np.array_equal(got, expected) and got.flags.c_contiguous
    if value.ndim > 2:
        for top in (1.0, 255.0):
            [got] = shown(
                spaces.Box(0.0, top, value.shape, np.float32),
                (value / 255 * top).astype(np.float32),
            ).values()
            assert got.dtype == np.uint8 and np.array_equal(got, expected)
    many = envs.ObservationGuard(as_bytes).many(np.stack([value, value]), 2)["observation"]
    assert np.array_equal(many, np.stack([expected, expected]))


def test_pixels_that_are_not_what_they_are_declared_to_be() -> None:
    space = spaces.Box(0.0, 1.0, (16, 12, 3), np.float32)
    with pytest.raises(envs.ObservationError, match=r"pixels in \[0, 1\], as declared.*255"):
        shown(space, PIXELS.astype(np.float32))
    with pytest.raises(envs.NotFinite, match="got nan"):
        shown(space, np.full((16, 12, 3), np.nan, np.float32))
    with pytest.raises(
        envs.ObservationError, match=r"expected shape \(3, 16, 12\), got \(16, 12, 3\)"
    ):
        shown(spaces.Box(0, 255, (3, 16, 12), np.uint8), PIXELS)
    for bounds in ((-np.inf, np.inf), (0.0, np.inf), (-np.inf, 1.0)):
        with pytest.raises(
            envs.SpaceError, match=r"expected pixels, since its shape is.*FlattenObservation"
        ):
            envs.adapt(Shows(spaces.Box(*bounds, (3, 64, 64), np.float32)))
    for shape in ((32, 32, 32), (9, 64, 64, 9)):
        with pytest.raises(envs.SpaceError, match="channels cannot be told; transpose"):
            envs.adapt(Shows(spaces.Box(0, 255, shape, np.uint8)))
    vector = shown(
        spaces.Box(-np.inf, np.inf, (2, 3, 4), np.float32),
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    )
    assert vector["observation"].tolist() == list(range(24)), "three small dimensions are a vector"


def test_observations_that_are_no_boxes() -> None:
    assert shown(spaces.Discrete(3, start=5), 6)["observation"].tolist() == [0, 1, 0]
    assert shown(spaces.Discrete(3), np.int64(0))["observation"].tolist() == [1, 0, 0]
    assert shown(spaces.MultiDiscrete([2, 3]), np.array([1, 2]))["observation"].tolist() == [
        0,
        1,
        0,
        0,
        1,
    ]
    assert shown(spaces.MultiDiscrete([[2], [2]]), np.array([[1], [0]]))[
        "observation"
    ].tolist() == [
        0,
        1,
        1,
        0,
    ]
    assert shown(spaces.MultiBinary((2, 2)), np.array([[1, 0], [0, 1]], np.int8))[
        "observation"
    ].tolist() == [
        1,
        0,
        0,
        1,
    ]
    got = shown(spaces.Tuple([spaces.Discrete(2), SMALL]), (1, np.ones(2, np.float32)))
    assert {key: value.tolist() for key, value in got.items()} == {
        "observation_0": [0, 1],
        "observation_1": [1, 1],
    }
    nested = spaces.Dict(
        arm=spaces.Dict(left=SMALL, on=spaces.MultiBinary(1)), pair=spaces.Tuple([SMALL])
    )
    got = shown(
        nested,
        {
            "arm": {"left": np.zeros(2, np.float32), "on": np.ones(1, np.int8)},
            "pair": (np.ones(2, np.float32),),
        },
    )
    assert {key: value.tolist() for key, value in got.items()} == {
        "arm_left": [0, 0],
        "arm_on": [1],
        "pair_0": [1, 1],
    }
    for space, wrong, told in (
        (spaces.Discrete(3), 3, r"classes from \[0\], \[3\] of them, got 3"),
        (spaces.Discrete(3), 0.5, "dtype"),
        (spaces.Tuple([SMALL, SMALL]), (np.zeros(2),), "a tuple of 2"),
        (nested, {"arm": {"left": 0}, "pair": ()}, r"the keys \['left', 'on'\], got \['left'\]"),
    ):
        with pytest.raises(envs.ObservationError, match=told):
            shown(space, wrong)


def test_whole_numbers_that_the_declared_type_has_not_are_refused() -> None:
    """They would be others in it: 300 is 44 in a byte."""
    picture, wide = spaces.Box(0, 255, PIXELS.shape, np.uint8), PIXELS.astype(np.uint16)
    assert np.array_equal(shown(picture, wide)["observation"], PIXELS)
    wide[1, 2, 0] = 300
    small = spaces.Box(-9, 9, (2,), np.int8)
    assert shown(small, np.array([-3, 9], np.int64))["observation"].tolist() == [-3, 9]
    switches = spaces.MultiBinary(2)
    assert shown(switches, np.array([True, False]))["observation"].tolist() == [1, 0]
    for space, wrong, told in (
        (picture, wide, r"from 0 to 255, as declared, got 300 at index \[1, 2, 0\]"),
        (small, np.array([1, -200], np.int64), r"from -128 to 127, .* got -200 at index \[1\]"),
        (switches, np.array([1, 5], np.int8), r"from 0 to 1, as declared, got 5 at index \[1\]"),
    ):
        with pytest.raises(envs.ObservationError, match=told):
            shown(space, wrong)
        with pytest.raises(envs.ObservationError, match=f"environment 0, .*{told}"):
            envs.ObservationGuard(space).many(wrong[None], 1)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_are_refused_and_numpy_says_nothing() -> None:
    free = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    with pytest.raises(envs.NotFinite, match=r"got inf at index \[0\]"):
        shown(free, np.array([1e39, 0.0]))
    with pytest.raises(envs.ObservationError, match="expected pixels"):
        shown(spaces.Box(0.0, 1.0, PIXELS.shape, np.float64), np.full(PIXELS.shape, 1e308))
    assert envs.ActionGuard(SMALL).one(np.array([1e39, -1e39])).tolist() == [1, -1]


def test_observations_that_are_no_boxes_in_gymnasium_s_vectors() -> None:
    space = spaces.Dict(a=spaces.Tuple([spaces.Discrete(3), SMALL]), b=spaces.MultiBinary(2))
    raw = gymnasium.vector.SyncVectorEnv([lambda: Shows(space)] * 2)
    rows = envs.from_gymnasium_vector(raw, seed=0).reset()
    assert (
        rows["a_0"].shape == (2, 3)
        and (rows["a_0"].sum(-1) == 1).all()
        and rows["b"].shape == (2, 2)
    )


def test_combined_actions() -> None:
    inner = Shows(SMALL, spaces.MultiDiscrete([2, 3]))
    env = envs.adapt(inner)
    env.reset()
    assert env.action_space == spaces.Discrete(6)
    for action in range(6):
        env.step(action)
    assert [a.tolist() for a in inner.actions] == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert all(inner.action_space.contains(action) for action in inner.actions)
    inner = Shows(SMALL, spaces.MultiBinary(2))
    vector = envs.VectorEnv([lambda: inner])
    vector.reset()
    for action in range(4):
        vector.step([action])
    assert [a.tolist() for a in inner.actions] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    with pytest.raises(envs.ActionError, match=r"an integer in \[0, 4\)"):
        vector.step([4])
    inner = Shows(SMALL, spaces.MultiDiscrete([2, 2], start=[5, 7]))
    raw = gymnasium.vector.SyncVectorEnv([lambda: inner])
    vector = envs.from_gymnasium_vector(raw)
    vector.reset()
    vector.step([3])
    assert inner.actions[0].tolist() == [6, 8]
