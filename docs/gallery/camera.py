"""Truth, prediction and difference of a robot finger seen by a camera: an RSSM in open loop.

    python docs/gallery/camera.py

Records 80 episodes of dm_control's finger, which moves and hits a spinner, under smooth random
torques; lets ``pixyz pretrain`` learn from them, and takes the moving picture of its report: ten
frames are read, forty predicted from the torques alone, in an episode of the test part.  Some
minutes of a core.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from learned import command, errors, pretrained

import envs
from worldmodels.data import Episode, Episodes, make_episode

SETTINGS = [
    "split=episode", "predicts=value", "model.latent=gaussian", "model.vectors=gaussian",
    "model.deter=128", "model.hidden=64", "model.units=64", "model.groups=16", "model.depth=2",
    "model.free_nats=3", "batch=8", "length=12", "lr=2e-3", "warmup=50", "eval_every=500",
    "seen=10", "horizon=40", "stride=25", "draws=4", "checkpoint_minutes=5",
]  # fmt: skip


def record(episodes: int, rows: int, seed: int = 0) -> Episodes:
    """Pictures of 32 x 32 and torques, 25 a second; torques are a slow random walk in [-1, 1]."""
    draw = np.random.default_rng(seed)
    env = envs.make(
        "dm_control/finger-spin-v0", seed=seed, action_repeat=2,
        pixels=True, size=[32, 32], camera=0, quality="fast",
    )  # fmt: skip
    return Episodes([_episode(env, f"{i:03d}", rows, draw) for i in range(episodes)], 25.0)


def _episode(env: envs.Adapted, name: str, rows: int, draw: np.random.Generator) -> Episode:
    seen, _ = env.reset()
    pictures, torques, torque = [], [], np.zeros(2)
    for _ in range(rows):
        torque = np.clip(0.9 * torque + 0.4 * draw.standard_normal(2), -1, 1)
        pictures.append(seen["image"])
        torques.append(torque.astype(np.float32))
        seen, *_ = env.step(torques[-1])
    return make_episode(name, {"camera": np.stack(pictures)}, action=np.stack(torques))


def main(out: Path, episodes: int, updates: int, work: Path) -> dict[str, float]:
    """Record, learn, and put the picture there; root mean square errors of a pixel."""
    run = pretrained(work, lambda: record(episodes, 100), SETTINGS, updates)
    shutil.copy(run / "forecast.gif", out)
    return errors(run, (1, 5, 40))


if __name__ == "__main__":
    command(main, "camera", __doc__, 80, 1200)
