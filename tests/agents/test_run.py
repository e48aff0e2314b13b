"""The loop, with a scripted environment and a scripted agent: what is stored, learned, written
back, counted, evaluated.
"""

import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
import torch
from scripted import Corridor, Counting, CountingConfig, Plain, Slow

from agents.agent import Agent
from agents.check import check_agent
from agents.cli import main
from agents.config import load_config
from agents.logger import read_metrics
from agents.replay import ReplayBuffer
from agents.run import Driver, Judge, Learner, Online, Progress, Run, Stop, Trainer, train
from agents.run.parts import Generators
from agents.sac import SAC, SACConfig
from agents.settings import EnvSettings, RunSettings
from agents.spaces import ActionSpec, Interface
from envs import EnvError, VectorEnv, adapt, make_vector


def parts(count=3, repeat=2, length=4, capacity=300, **options):
    envs = VectorEnv(
        [lambda i=i: adapt(Corridor(length, 100 * i), action_repeat=repeat) for i in range(count)],
        seed=0,
    )
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig(**options))
    interface = Interface.of(envs)
    replay = ReplayBuffer(interface.spec(agent.stored), capacity, count, seed=0)
    return envs, agent, replay, Driver(envs, agent, replay, seed=0)


def rows_of(replay, stream, until):
    index = np.stack([np.full(until, stream), np.arange(until)], -1)
    return replay._rings.read(np.array([stream]), index[:, None, 1])


def test_what_is_stored():
    """Observation and action of one time beside each other, reward and flags with what they arrived
    with.
    """
    _, _, replay, driver = parts(count=1, repeat=1, length=2)
    for _ in range(7):
        driver.step()
    found = {k: v[:, 0] for k, v in rows_of(replay, 0, 7).items()}
    # an episode: first row, one in between, last row, whose action nobody takes
    assert found["observation"][:, :2].tolist() == [
        [0, 0],
        [0, 1],
        [0, 2],
        [1, 0],
        [1, 1],
        [1, 2],
        [2, 0],
    ]
    # the action that led there
    assert found["observation"][:, 2].tolist() == [
        0,
        0.5,
        0.5,
        0,
        0.5,
        0.5,
        0,
    ]
    assert found["action"][:, 0].tolist() == [0.5] * 7
    assert found["reward"].tolist() == [0, 0.5, 0.5, 0, 0.5, 0.5, 0]
    assert found["is_first"].tolist() == [True, False, False, True, False, False, True]
    assert found["is_last"].tolist() == [False, False, True, False, False, True, False]
    # the second is cut short
    assert found["is_terminal"].tolist() == [
        False,
        False,
        True,
        False,
        False,
        False,
        False,
    ]
    # the memory after the row's observation
    assert found["count"][:, 0].tolist() == [
        1,
        2,
        3,
        1,
        2,
        3,
        1,
    ]


def test_random_actions_are_held_and_go_on_where_they_were():
    def held(upto):
        envs, agent, replay, _ = parts(count=2, repeat=1)
        driver = Driver(envs, agent, replay, seed=3, hold=3)
        for _ in range(upto):
            driver.step(random=True)
        return driver, replay

    _, replay = held(8)
    found = rows_of(replay, 1, 8)["action"][:, 0, 0]
    assert (found[:3] == found[0]).all() and (found[3:6] == found[3]).all()
    assert found[6] == found[7] and len(set(found.tolist())) == 3
    stopped, _ = held(4)
    _, agent, fresh, _ = parts(count=2, repeat=1)
    again = Driver(stopped.envs, agent, fresh, hold=3)
    again.load_state(stopped.state())
    for _ in range(4):
        again.step(random=True)
    assert rows_of(fresh, 1, 4)["action"][:, 0, 0].tolist() == found[4:].tolist()


def test_an_agent_without_memory_is_not_asked_while_actions_are_random(monkeypatch):
    envs, _, _, _ = parts(count=2)
    agent = SAC({"observation": (3,)}, ActionSpec(1), SACConfig(units=8))
    replay = ReplayBuffer(Interface.of(envs).spec(agent.stored), 300, 2, seed=0)
    driver, act, asked = Driver(envs, agent, replay, seed=0), agent.act, []
    monkeypatch.setattr(agent, "act", lambda *a, **k: asked.append(1) or act(*a, **k))
    driver.step(random=True)
    assert not asked
    driver.step()
    monkeypatch.setattr(SAC, "memoryless", False)
    driver.step(random=True)
    assert len(asked) == 2


def test_counts_at_action_repeat_2_with_3_environments():
    _, agent, replay, driver = parts()
    schedule = Online(steps=60, prefill=24, per_action=0.5)
    progress = train(agent, driver, replay, schedule).progress
    # a call is 3 actions and 6 frames, but none where it begins an episode (4 frames: every third
    # call), so after calls 1, 2, ...: 6, 12, 12, 18, 24, 24, 30, 36, 36, 42, 48, 48, 54, 60 frames;
    # from the 5th on each makes 1.5 updates due
    assert (progress.steps, progress.actions, replay.written) == (60, 10 * 3, 14 * 3)
    assert progress.updates == agent.updates == 15 and progress.credit == 0.0
    # 4 frames of 0.5, the repeats summed
    assert [r for _, r in progress.returns[-3:]] == pytest.approx([2.0] * 3)


def test_random_actions_may_make_updates_due_at_their_end():
    _, _, replay, driver = parts()
    schedule = Online(steps=60, prefill=24, per_action=0.5, prefill_updates=True)
    made = []
    progress = Progress()
    while (what := schedule.next(progress, saved=0, ready=True)) in ("act", "update"):
        made.append((what, progress.steps))
        if what == "act":
            moved = driver.step(random=schedule.random(progress))
            schedule.acted(progress, moved.frames, moved.actions)
        else:
            progress.credit -= 1
    updates = [steps for what, steps in made if what == "update"]
    # at 24 frames are the 5th call and the 6th, which begins an episode: 18 actions, 9 updates
    assert len(updates) == 21 and updates[:10] == [24] * 9 + [30] and replay.written == 42


def test_random_actions_are_told_to_the_agent():
    _, agent, replay, driver = parts(count=2, repeat=1)
    driver.step(random=True)
    done = rows_of(replay, 0, 1)["action"][0, 0], rows_of(replay, 1, 1)["action"][0, 0]
    assert np.array_equal(agent.told[0].numpy(), np.stack(done)) and not np.allclose(done, 0.5)
    assert torch.equal(driver.state()["memory"]["action"], agent.told[0])
    driver.step()
    assert len(agent.told) == 1 and driver.state()["memory"]["action"].tolist() == [[0.5], [0.5]]


def test_what_was_sent_is_stored():
    """An environment may say what it did in place of the action, as a robot's safety layer does."""
    envs, agent, replay, driver = parts(count=1, repeat=1)
    step = envs.step
    envs.step = lambda action: {**step(action), "action": np.array([[0.125]], np.float32)}
    driver.step()
    assert rows_of(replay, 0, 1)["action"].item() == 0.125 and agent.told[-1].item() == 0.125


def test_when_it_learns_and_what_is_written_back_where():
    _, agent, replay, driver = parts(count=1, repeat=1, length=50, batch=1)
    progress = Progress()
    learner = Learner(agent, replay, progress)
    for made in range(1, 6):
        driver.step()
        assert learner.ready == (made >= 4)  # three rows, and one before them
    learner.update()
    batch = agent.batches[0]
    assert batch["observation"].shape == (4, 1, 3) and batch["count"].shape == (4, 1, 1)
    first = int(batch["observation"][0, 0, 1])
    stored = rows_of(replay, 0, 5)["count"][:, 0, 0].tolist()
    expected = [float(i + 1) for i in range(5)]
    expected[first + 1 : first + 4] = [100.0] * 3  # not the row before the sequence
    assert stored == expected and progress.updates == 1


def test_the_best_action_is_evaluated_and_the_other_one_explores():
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    judge = Judge(EnvSettings("Corridor-v0", action_repeat=2), episodes=2, seed=0)
    assert judge.actor(agent) == pytest.approx([-1.0, -1.0])  # 4 frames of -0.25
    assert judge.actor(agent, explore=True) == pytest.approx([2.0, 2.0])


def test_an_evaluation_takes_the_first_episode_of_each_environment(monkeypatch):
    lengths = iter([9, 2, 9, 2])
    monkeypatch.setattr(
        Corridor, "__init__", lambda self, init=Corridor.__init__: init(self, next(lengths))
    )
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    assert Judge(EnvSettings("Corridor-v0"), 2, 0).actor(agent) == pytest.approx(
        [-0.25 * 9, -0.25 * 2]
    )


def test_an_evaluation_does_not_train_on_its_seeds_nor_move_the_generators():
    seeds = []

    class Seeing(Counting):
        def act(self, obs, state, *, explore=False):
            torch.rand(3)
            return super().act(obs, state, explore=explore)

    reset = Corridor.reset

    def note(self, *, seed=None, options=None):
        seeds.append(seed)
        return reset(self, seed=seed, options=options)

    agent = Seeing({}, ActionSpec(1), CountingConfig())
    Corridor.reset = note
    try:
        VectorEnv([Corridor] * 2, seed=3).reset()
        before = Generators().state()
        Judge(EnvSettings("Corridor-v0"), 2, 3).actor(agent)
    finally:
        Corridor.reset = reset
    assert len({s for s in seeds if s is not None}) == 4
    assert all(
        torch.equal(a, b)
        for a, b in zip(before["torch"], Generators().state()["torch"], strict=True)
    )


def test_an_episode_that_never_ends_is_cut():
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    with pytest.warns(UserWarning, match="2 of 2 episodes had not ended after 3 actions"):
        assert Judge(EnvSettings("Corridor-v0"), 2, 0, limit=3).actor(agent) == pytest.approx(
            [-0.75, -0.75]
        )


def test_a_stop_is_heard_between_steps():
    _, agent, replay, driver = parts()
    run = Run({})
    seen = []

    def watch(run, metrics):
        seen.append(run.progress.updates)
        run.stop.ask("SIGTERM")

    train(agent, driver, replay, Online(steps=600, prefill=6, per_action=2.0), run=run, watch=watch)
    # what was due is still due
    assert seen == [1] and run.stop.code == 143 and run.progress.credit >= 1


def test_what_takes_a_while_is_told_when_it_begins(tmp_path):
    small = ["steps=40", "prefill=30", "agent.length=4", "agent.batch=2"]
    small += ["eval_episodes=2", "env.time_limit=10"]
    told = []
    settings = load_config(RunSettings, "dreamer_v3/pendulum", small)
    trainer = Trainer(settings, phase=lambda text, step: told.append((step, text)))
    with trainer.begin(tmp_path / "run"):
        trainer.train()
    assert told == [
        (0, "a random policy, 2 episodes"),
        (0, "random actions until step 30"),
        (40, "an evaluation, 2 episodes"),
    ]


def test_the_order_of_things():
    """Updates that are due come before an evaluation, and that before a checkpoint."""
    plan, p = (
        Online(steps=10, prefill=2, per_action=1.0, evaluate=4, save=4),
        Progress(steps=4, credit=1.0),
    )
    assert plan.next(p, saved=0, ready=True) == "update"
    assert plan.next(p, saved=0, ready=False) == "evaluate"
    p.credit, p.judged = 0.5, 4
    assert plan.next(p, saved=0, ready=True) == "save"
    assert plan.next(p, saved=4, ready=True) == "act"
    p.steps = 10
    assert plan.next(p, saved=8, ready=True) == "evaluate"
    p.judged = 10
    assert plan.next(p, saved=10, ready=True) == "done"


def test_an_environment_that_begins_anew_has_its_episode_cut_short():
    envs, _, replay, driver = parts(count=2, repeat=1, length=9)
    for _ in range(3):
        driver.step()
    step = envs.step

    def fails(action):  # environment 1 was replaced: a first row after one that was not last
        rows = step(action)
        rows["is_first"][1], rows["observation"][1, 1] = True, 0
        return rows

    envs.step = fails
    driver.step()
    envs.step = step
    driver.step()
    assert rows_of(replay, 0, 5)["is_last"][:, 0].tolist() == [False] * 5
    assert rows_of(replay, 1, 5)["is_last"][:, 0].tolist() == [False, False, False, True, False]
    assert rows_of(replay, 1, 5)["is_terminal"].sum() == 0  # the value is bootstrapped there
    assert rows_of(replay, 1, 5)["is_first"][:, 0].tolist() == [True, False, False, False, True]


def apart(env_id, count=2, workers=1):
    """Parts whose environments live in a process of their own."""
    envs = make_vector(f"scripted:{env_id}", count, seed=0, workers=workers)
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    interface = Interface.of(envs)
    replay = ReplayBuffer(interface.spec(agent.stored), 300, count, seed=0)
    return envs, agent, replay, Driver(envs, agent, replay, seed=0)


def test_environments_step_while_the_agent_learns():
    envs, agent, replay, driver = apart("Slow", count=1)
    learned, learn = [], agent.learn

    def timed(batch):
        time.sleep(Slow.WAIT / 2)
        learned.append(time.monotonic() % Slow.TURN)
        return learn(batch)

    agent.learn = timed
    with envs:
        train(agent, driver, replay, Online(steps=20, prefill=8, per_action=1.0))
    rows = rows_of(replay, 0, 20)
    steps = [
        (float(began), float(seen[2]))
        for began, seen, first in zip(
            rows["reward"][:, 0], rows["observation"][:, 0], rows["is_first"][:, 0], strict=True
        )
        if not first
    ]
    within = [any(began < t < ended for began, ended in steps) for t in learned]
    assert len(learned) == 16 and sum(within) >= 8  # no step begins an episode, and takes time


@pytest.mark.parametrize("env_id", ["Corridor", "Fails"])
@pytest.mark.filterwarnings("ignore:environment . failed")
def test_it_makes_no_difference_where_environments_step(env_id):
    found = []
    for workers in (0, 1, 2):
        envs, agent, replay, driver = apart(env_id, workers=workers)
        with envs:
            run = train(agent, driver, replay, Online(steps=40, prefill=8, per_action=1.0))
        assert driver.apart == (workers > 0) and not driver.stepping
        found.append((rows_of(replay, 0, 18), rows_of(replay, 1, 18), agent.batches, run.progress))
    for other in found[1:]:
        for one, two in zip(found[0][:2], other[:2], strict=True):
            assert all(np.array_equal(one[k], two[k]) for k in one)
        for one, two in zip(found[0][2], other[2], strict=True):
            # that a row was the last before a failure is known once the step is over
            keys = one.keys() - ({"is_last"} if env_id == "Fails" else set())
            assert all(torch.equal(one[k], two[k]) for k in keys)
        counts = [(x[3].steps, x[3].actions, x[3].updates, x[3].returns) for x in (found[0], other)]
        assert counts[0] == counts[1]


def test_a_stop_waits_for_environments_that_are_at_work():
    envs, agent, replay, driver = apart("Corridor")
    run = Run({"driver": driver})

    def watch(run, metrics):
        if driver.stepping:
            run.stop.ask("SIGTERM")

    with envs:
        train(agent, driver, replay, Online(60, 4, 1.0), run=run, watch=watch)
    assert run.stop.code == 143 and run.progress.updates == 1 and not driver.stepping
    assert run.progress.actions == run.progress.steps == 8  # frames of the step are counted


def test_what_is_saved_while_environments_are_at_work_goes_on():
    """As after an error of an update: the step is neither lost nor counted twice."""
    states, rows = [], []
    for cut in (False, True):
        envs, _, replay, driver = apart("Corridor")
        with envs:
            for _ in range(3):
                driver.step()
            driver.begin()
            if cut:
                state, arrays, kept = driver.state(), replay.state_arrays(), replay.state()
                envs, _, replay, driver = apart("Corridor")
                replay.load_arrays(arrays)
                replay.load_state(kept)
                driver.load_state(state)
            assert driver.stepping
            moved = driver.end()
            assert (moved.frames, moved.actions, len(moved.episodes)) == (2, 0, 2)
            driver.step()
            states.append(driver.state()["last"].tolist())
            rows.append(rows_of(replay, 1, 5))
            envs.close()
    assert states[0] == states[1]
    assert all(np.array_equal(rows[0][k], rows[1][k]) for k in rows[0])


def test_an_error_of_environments_at_work_is_told_once_it_counts():
    envs, _, _, driver = apart("Corridor")
    with envs:
        for _ in range(2):
            driver.step()
        driver.begin()
        envs.finish = lambda: (_ for _ in ()).throw(EnvError("broken"))
        assert driver.state()["envs"] is None  # what can be saved is saved
        with pytest.raises(EnvError, match="broken"):
            driver.end()


@pytest.mark.parametrize("make", [Counting, Plain])
def test_agents_of_a_test_file_keep_the_contract(make):
    agent = make({"observation": (3,)}, ActionSpec(1), make.Config())
    assert isinstance(agent, Agent)
    if make is Plain:
        check_agent(agent, Interface.of(VectorEnv([Corridor])))


@pytest.mark.parametrize("kind", ["scripted:Plain", "scripted:Counting"])
def test_an_agent_of_ones_own_by_the_command(kind, tmp_path, capsys):
    run = tmp_path / "run"
    config = tmp_path / "own.yaml"
    config.write_text(f"agent: {{kind: '{kind}'}}\nenv: {{id: Corridor-v0, num_envs: 2}}\n")
    small = [
        "steps=200",
        "prefill=20",
        "train_ratio=4",
        "eval_every=100",
        "eval_episodes=2",
        "log_every=5",
    ]
    assert main(["train", str(config), *small, "--run", str(run)]) == 0
    assert "learned policy" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert main(["resume", str(run), "steps=300"]) == 0
    lines = read_metrics(run / "metrics.jsonl")
    assert lines[-1]["step"] == 300 and {x["kind"] for x in lines} == {"train", "eval", "episode"}
    assert load_config(RunSettings, str(run / "config.yaml")).agent.kind == kind


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dreamer_v4", "nearest: dreamer_v3"),
        ("nowhere:Agent", "cannot import nowhere"),
        ("scripted:Nobody", "has no Nobody"),
        ("scripted:Corridor", "expected a class with Config"),
    ],
)
def test_an_unknown_agent_is_one_line(kind, message, capsys):
    assert main(["train", "dreamer_v3/pendulum", f"agent.kind={kind}"]) == 2
    assert message in capsys.readouterr().err


def test_signals_are_given_back():
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked == "SIGTERM" and stop.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    with Stop():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_loops_name_no_agent():
    """What an agent is called, and what its state is called, is nowhere in the loops."""
    from pathlib import Path

    import agents.run
    from agents.build import KINDS

    words = {*KINDS, "dreamer", "rssm", "deter", "stoch", "latent"}
    for file in [
        *Path(agents.run.__file__).parent.glob("*.py"),
        Path(agents.run.__file__).parent.parent / "agent.py",
    ]:
        code = "\n".join(
            line
            for line in file.read_text().lower().splitlines()
            if ">>>" not in line and "..." not in line
        )
        assert not [w for w in words if w in code], file.name


def test_observations_outside_of_their_bounds_are_told(tmp_path, monkeypatch):
    from agents.run import Trainer

    narrow = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    init = Corridor.__init__

    def narrowed(self, length=4, offset=0):
        init(self, length, offset)
        self.observation_space = narrow

    monkeypatch.setattr(Corridor, "__init__", narrowed)
    small = [
        "agent.kind=scripted:Plain",
        "env.id=Corridor-v0",
        "steps=40",
        "prefill=10",
        "train_ratio=4",
        "eval_episodes=1",
    ]
    settings = load_config(RunSettings, {}, small)
    with (
        Trainer(settings).begin(tmp_path / "run") as trainer,
        pytest.warns(UserWarning, match="outside of the bounds"),
    ):
        trainer.train()
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["out_of_bounds/observation"] > 0


def test_a_second_process_on_a_run_is_one_line(tmp_path, capsys):
    from agents.rundir import lock

    run = tmp_path / "run"
    config = tmp_path / "own.yaml"
    config.write_text("agent: {kind: 'scripted:Plain'}\nenv: {id: Corridor-v0}\n")
    assert (
        main(
            [
                "train",
                str(config),
                "steps=60",
                "prefill=10",
                "train_ratio=4",
                "eval_every=0",
                "--run",
                str(run),
            ]
        )
        == 0
    )
    before = (run / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    with lock(run):
        assert main(["resume", str(run), "steps=90"]) == 2
    text = capsys.readouterr().err.strip()
    assert "is in use by" in text and "\n" not in text
    assert (run / "metrics.jsonl").read_bytes() == before


def test_processes_that_a_run_has_begun_count():
    """Their processor time, when they have ended."""
    run = Run({})
    with run.working():
        work = "import time\nwhile time.process_time() < 0.3: pass"
        subprocess.run([sys.executable, "-c", work], check=True)
    assert run.progress.cpu_seconds >= 0.25
