"""A run's replay: what settings say, how the agent packs its state, what it says of surprise."""

import numpy as np
import pytest

from agents.build import build
from agents.config import load_config
from agents.errors import ConfigError, UsageError
from agents.run import Learner, Progress
from agents.run.replay import check_sizes, open_replay, rows_kept
from agents.settings import RunSettings
from agents.spaces import ActionSpec, Interface

SMALL = ["agent.batch=3", "agent.length=5", "agent.horizon=2", "agent.model.deter=16"]
VIEW = Interface({"x": (3,)}, {"x": np.dtype(np.float32)}, ActionSpec(2, True))


def made(*changes, config="dreamer_v3/fast"):
    settings = load_config(RunSettings, config, [*(SMALL if "dreamer" in config else []), *changes])
    return settings, build(settings.agent, VIEW)


def filled(settings, agent, tmp_path, rows=40):
    replay = open_replay(settings, agent, VIEW, 1, tmp_path)
    rng = np.random.default_rng(0)
    for n in range(rows):
        flags = {"is_first": n % 10 == 0, "is_last": n % 10 == 9, "is_terminal": False}
        kept = {k: np.zeros((1, *s), np.float32) for k, s in agent.stored.items()}
        replay.add(
            {
                "x": rng.normal(size=(1, 3)).astype(np.float32),
                "action": np.eye(2, dtype=np.float32)[[n % 2]],
                "reward": rng.normal(size=1).astype(np.float32),
                **{k: np.array([v]) for k, v in flags.items()},
                **kept,
            }
        )
    return replay


def test_surprise_is_what_a_frame_cost_and_lies_in_the_replay(tmp_path):
    settings, agent = made("replay.prioritized=1", "replay.online=false")
    with filled(settings, agent, tmp_path) as replay:
        learner, seen = Learner(agent, replay, Progress()), []
        learn = agent.learn

        def watch(batch):
            seen.append(learn(batch))
            return seen[-1]

        agent.learn = watch
        metrics = learner.update()
        priority = seen[0].priority
        assert priority.shape == (5, 3) and (priority >= 0).all()
        cost = sum(metrics[k] for k in ("rec", "rew", "con", "dyn", "rep"))
        assert priority.mean().item() == pytest.approx(cost, rel=1e-5)
        kept = replay.state_arrays()["priority"][0]
        changed = kept[kept != 1.0]
        assert np.isin(changed, priority.numpy()).all() and len(changed) > 5


OTHERS = {
    "sac/small": ["agent.batch=3", "agent.units=8"],
    "tdmpc/small": ["agent.batch=3", "agent.units=8", "agent.latent=8", "agent.encoder_units=8"],
}


@pytest.mark.parametrize("config", OTHERS)
def test_surprise_of_a_sequence_lies_at_its_first_row(config, tmp_path):
    changes = ["replay.prioritized=1", "replay.priority=1", "replay.online=false"]
    settings, agent = made(*OTHERS[config], *changes, config=config)
    with filled(settings, agent, tmp_path) as replay:
        learner, drawn, learned = Learner(agent, replay, Progress()), [], []
        sample, learn = replay.sample, agent.learn
        replay.sample = lambda *size: drawn.append(sample(*size)) or dict(drawn[-1])
        agent.learn = lambda batch: learned.append(learn(batch)) or learned[-1]
        assert learner.update()
        starts = drawn[0]["index"][0, :, 1]
        kept = replay.state_arrays()["priority"][0]
        for number in starts:
            again = learned[0].priority[0].numpy()[starts == number]
            assert kept[number] in again
        others = np.setdiff1d(np.arange(40), starts)
        assert (kept[others] == 1.0).all() and (kept[starts] != 1.0).all()
        chance = replay.chances(drawn[0]["index"])
        tail = agent.window.rows - 1
        total, begins = kept.clip(1e-6).sum(), 40 - tail
        wanted = (kept[starts].clip(1e-6) + kept[begins:].sum() / begins) / total
        np.testing.assert_allclose(chance, wanted, rtol=1e-5)


class Unranked:
    """An agent that says nothing of surprise."""

    def __init__(self, agent):
        self.stored, self.packed, self.window = agent.stored, agent.packed, agent.window


def test_a_replay_that_is_not_prioritised_has_no_column(tmp_path):
    settings, agent = made("replay.recent=0.5")
    with filled(settings, agent, tmp_path) as replay:
        assert Learner(agent, replay, Progress()).update()
        assert "priority" not in replay.spec.keys


def test_latents_are_packed(tmp_path):
    plain, half = (made(f"agent.latents={kind}") for kind in ("float32", "bfloat16"))
    with filled(*half, tmp_path) as replay:
        assert replay.spec.keys["stoch"] == ((8,), np.uint8)  # 8 choices of 8 classes
        assert replay.spec.keys["deter"] == ((16,), np.uint16)
        assert Learner(half[1], replay, Progress()).update()
        stoch = replay.sample(4, 3)["stoch"].reshape(3, 4, 8, 8)
        assert set(np.unique(stoch.sum(-1)).tolist()) <= {0.0, 1.0}
    more = ["capacity=1MB"]
    counts = [
        rows_kept(*made(f"agent.latents={kind}", *more), VIEW) for kind in ("float32", "bfloat16")
    ]
    assert counts == [10**6 // (12 + 8 + 4 + 3 + 64 + 8), 10**6 // (12 + 8 + 4 + 3 + 32 + 8)]
    assert plain[1].packed.keys() == {"stoch"}


def test_settings_that_make_no_sense():
    settings, agent = made("replay.prioritized=0.5", "steps=4000")
    check_sizes(settings, agent, VIEW)
    with pytest.raises(UsageError, match="dreamer_v3 does not; take"):
        check_sizes(settings, Unranked(agent), VIEW)
    settings, agent = made("capacity=1kB", "steps=4000")
    with pytest.raises(UsageError, match="give at least"):
        check_sizes(settings, agent, VIEW)
    for change, says in {
        "capacity=many": "such as 2GB",
        "capacity=0": "at least 1",
        "replay.recent=1.5": "at most 1",
    }.items():
        with pytest.raises(ConfigError, match=says):
            load_config(RunSettings, "dreamer_v3/fast", [change])
    with pytest.raises(ConfigError, match="at most 1 together"):
        load_config(RunSettings, "dreamer_v3/fast", ["replay.recent=0.6", "replay.prioritized=0.6"])
