"""Truth, prediction and difference of a running robot: an RSSM of joint angles in open loop.

    python docs/gallery/robot.py

Records 200 episodes of dm_control's cheetah (posture and velocities, no pictures) under torques
that swing at random; lets ``pixyz pretrain`` learn from them; then reads ten frames of episodes
that were not recorded and predicts 1.2 seconds from the torques alone, as the mean of eight draws.
What is predicted is put back into the simulator and drawn: the height, the angles, and the way
along the ground, which is the sum of the predicted speed.  Some minutes of a core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from learned import command, errors, pretrained
from numpy.typing import NDArray

import agents
import envs
from agents.video import rendering
from worldmodels.data import Episode, Episodes, make_episode, pad

TASK, RATE, READ, AHEAD = "dm_control/cheetah-run-v0", 25.0, 10, 30
SHOWN, SIZE, COLOURS = 3, (150, 216), 48
SETTINGS = [
    "split=episode", "predicts=change", "model.groups=32", "model.min_scale=0.02", "batch=32",
    "length=32", "lr=2e-3", "warmup=100", "eval_every=500", "patience=1", f"seen={READ}",
    f"horizon={AHEAD}", "stride=20", "draws=8", "checkpoint_minutes=10",
]  # fmt: skip
Series = dict[str, NDArray[Any]]
Array = NDArray[Any]


def torques(rows: int, joints: int, draw: np.random.Generator) -> Array:
    """Each joint swings with one frequency and its own phase and size, and wanders a little."""
    time = np.arange(rows)[:, None] / RATE
    swing, size = draw.uniform(0.5, 2.5), draw.uniform(0.2, 1.0, joints)
    found = size * np.sin(2 * np.pi * (swing * time + draw.uniform(0, 1, joints)))
    wandering = np.zeros(joints)
    for row in found:
        wandering = 0.9 * wandering + 0.15 * draw.standard_normal(joints)
        row += wandering
    return np.clip(found, -1, 1).astype(np.float32)


def record(episodes: int, rows: int, seed: int) -> Episodes:
    """Position, velocity and torques, 25 a second."""
    draw = np.random.default_rng(seed)
    env = envs.make(TASK, seed=seed, action_repeat=4)
    return Episodes([_episode(env, f"{i:03d}", rows, draw) for i in range(episodes)], RATE)


def _episode(env: envs.Adapted, name: str, rows: int, draw: np.random.Generator) -> Episode:
    seen, _ = env.reset()
    given, kept = torques(rows, env.action_space.shape[0], draw), list[Series]()
    for torque in given:
        kept.append({k: np.array(v) for k, v in seen.items()})
        seen, *_ = env.step(torque)
    return make_episode(name, {k: np.stack([r[k] for r in kept]) for k in kept[0]}, action=given)


def predicted(run: Path, episode: Episode) -> Series:
    """The episode as far as it is read, and then what the model says."""
    model = agents.load_model(run)
    batch = pad([episode])
    seen = {k: v[:READ] for k, v in batch.items() if k != "mask"}
    with torch.no_grad():
        ahead = model.forecast(seen, batch["action"][READ - 1 : -1], len(episode) - READ, 8)
    return {k: np.concatenate([episode[k][:READ], v[:, 0].numpy()]) for k, v in ahead.items()}


def postures(series: Series) -> Array:
    """``qpos``: the way along the ground, height, pitch, and six joint angles."""
    speed = series["velocity"][:, 0]
    way = np.cumsum(np.concatenate([[0.0], (speed[1:] + speed[:-1]) / 2])) / RATE
    return np.concatenate([way[:, None], series["position"]], -1)


def drawn(physics: Any, camera: Any, posture: Array, along: float) -> Array:
    """A picture of a posture, from beside the place ``along`` the ground."""
    with physics.reset_context():
        physics.data.qpos[:] = posture
    camera.set_pose([along, 0.0, 0.45], 3.0, 90.0, -8.0)
    return np.asarray(camera.render(), np.int16)


def pictures(truth: Array, guess: Array) -> list[Any]:
    """Frames of truth, prediction and difference side by side, with a line of text."""
    from dm_control import mujoco, suite
    from PIL import Image, ImageDraw, ImageFont

    physics = suite.load("cheetah", "run").physics
    camera = mujoco.MovableCamera(physics, *SIZE)
    frames, font = [], ImageFont.load_default(13)
    for t, (true, said) in enumerate(zip(truth, guess, strict=True)):
        one, two = (drawn(physics, camera, posture, true[0]) for posture in (true, said))
        gap = np.repeat(np.abs(two - one).max(-1, keepdims=True), 3, -1)
        row = Image.fromarray(np.concatenate([one, two, gap], 1).astype(np.uint8))
        frame = Image.new("RGB", (row.width, row.height + 20), "white")
        frame.paste(row, (0, 20))
        draw, ahead = ImageDraw.Draw(frame), (t - READ + 1) / RATE
        when = "read" if t < READ else f"predicted, {ahead:.2f} s ahead"
        texts = ("truth", when, "difference")
        for i, (text, colour) in enumerate(zip(texts, ("black", "#1a6fb4", "black"), strict=True)):
            draw.text((SIZE[1] * i + 6, 2), text, colour, font)
        frames.append(frame)
    return frames


def write(path: Path, frames: list[Any]) -> None:
    """A moving picture in few colours, as fast as the robot."""
    from PIL import Image

    whole = Image.new("RGB", (frames[0].width, frames[0].height * 4))
    for i, t in enumerate(np.linspace(0, len(frames) - 1, 4).astype(int)):
        whole.paste(frames[t], (0, i * frames[0].height))
    palette = whole.quantize(COLOURS)
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    few[0].save(
        path, save_all=True, append_images=few[1:], duration=round(1000 / RATE), loop=0,
        optimize=True,
    )  # fmt: skip


def main(out: Path, episodes: int, updates: int, work: Path) -> dict[str, float]:
    """Record, learn, draw; root mean square errors in standard deviations of the log."""
    with rendering(TASK):  # dm_control is imported in it
        run = pretrained(work, lambda: record(episodes, 100, 0), SETTINGS, updates)
        frames = []
        for episode in record(SHOWN, READ + AHEAD, 1):
            truth = {k: np.asarray(episode[k]) for k in ("position", "velocity")}
            frames += pictures(postures(truth), postures(predicted(run, episode)))
    write(out, frames)
    return errors(run, (1, 10, AHEAD))


if __name__ == "__main__":
    command(main, "robot", __doc__, 200, 4000)
