"""A small run, and an environment of a user's."""

TINY = [
    "steps=400",
    "prefill=300",
    "train_ratio=16",
    "eval_every=0",
    "eval_episodes=2",
    "log_every=2",
    "agent.batch=4",
    "agent.length=8",
    "agent.horizon=3",
    "env.time_limit=50",
    "threads=1",
]
ROBOT = """
import gymnasium
import numpy as np
from gymnasium import spaces


class Point(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(2, 0.1, np.float32), float(action[0]), False, self.count >= 50, {}

    def render(self):
        return np.full((32, 48, 3), self.count, np.uint8)


gymnasium.register("MyRobot/Point-v0", "my_robot:Point")
"""
