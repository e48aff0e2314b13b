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
    """A random walk of `length` steps; an action of -0.9 or less, or `at_reset` or `at_load` at t =
    2, does `wrong`.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, wrong="raise", length=4, at_reset=False, at_load=False):
        self.wrong, self.length, self.at_reset, self.at_load = wrong, length, at_reset, at_load

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
        if self.wrong == "quit":
            sys.exit("no licence")
        while self.wrong == "hang":
            time.sleep(9)
        while self.wrong == "spin":
            pass

    def save_state(self):
        return {"t": self.t, "generator": self.np_random.bit_generator.state}

    def load_state(self, state):
        if self.at_load and state["t"] == 2:
            self.misbehave()
        self.t = state["t"]
        self.np_random.bit_generator.state = state["generator"]


class Pictures(Unruly):
    """Observes the newest picture of a film that grows, and is a large state."""

    observation_space = spaces.Box(0, 255, (200, 200, 3), np.uint8)

    def observe(self):
        self.film = self.np_random.integers(0, 256, (20, 200, 200, 3)).astype(np.uint8)
        return self.film[self.t]

    def save_state(self):
        return {**super().save_state(), "film": self.film}

    def load_state(self, state):
        super().load_state(state)
        self.film = state["film"]


class Loaded(Unruly):
    """Its observation tells which heavy packages its process has loaded."""

    def observe(self):
        return np.array(
            [sum(name in sys.modules for name in ("torch", "pixyz", "agents")), 0.0], np.float32
        )
