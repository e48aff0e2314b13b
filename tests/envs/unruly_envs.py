"""Environments that do what they should not, when the action tells them to."""

import ctypes
import os
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces

WRONG = ("raise", "exit", "crash", "hang", "spin")


class Unruly(gymnasium.Env):
    """A random walk of `length` steps; an action of -0.9 or less, or `at_reset`, does `wrong`."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, wrong="raise", length=4, at_reset=False, pid=False):
        self.wrong, self.length, self.at_reset, self.pid = wrong, length, at_reset, pid

    def observe(self):
        return np.array([self.t, self.np_random.normal()], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        if self.at_reset:
            self.misbehave()
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        if action[0] <= -0.9:
            self.misbehave()
        return self.observe(), float(action[0]), False, self.t >= self.length, {}

    def misbehave(self):
        print("on the way out", file=sys.stderr, flush=True)
        if self.wrong == "raise":
            raise RuntimeError("the arm left its table")
        if self.wrong == "exit":
            os._exit(3)
        if self.wrong == "crash":
            ctypes.string_at(0)
        while self.wrong == "hang":
            time.sleep(9)
        while self.wrong == "spin":
            pass

    def save_state(self):
        return {"t": self.t, "generator": self.np_random.bit_generator.state}

    def load_state(self, state):
        self.t = state["t"]
        self.np_random.bit_generator.state = state["generator"]


class Loaded(Unruly):
    """Its observation tells which heavy packages its process has loaded."""

    def observe(self):
        return np.array([sum(name in sys.modules for name in ("torch", "pixyz", "agents")), 0.0], np.float32)
