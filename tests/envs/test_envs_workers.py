"""Environments in processes: the same rows as here, and what fails costs its own episode only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import envs

HERE = Path(__file__).parent
ID = "unruly_envs:Unruly"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def walk(n: int, steps: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.uniform(-0.8, 0.8, (n, 1)).astype(np.float32) for _ in range(steps)]


def same(one: dict, two: dict, rows: slice = slice(None)) -> bool:
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype and one[key][rows].tobytes() == two[key][rows].tobytes()
        for key in one
    )


def pids(vector: envs.VectorEnv) -> list[int]:
    return [host._process.pid for host in vector._pool._hosts]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("env_id", "workers", "options"),
    [
        ("Pendulum-v1", 2, {"time_limit": 20, "action_repeat": 3}),
        ("CartPole-v1", 3, {}),
        ("dm_control/reacher-easy", 1, {"time_limit": 20}),
        (ID, 5, {"length": 3}),
    ],
)
def test_the_rows_are_those_of_this_process(env_id: str, workers: int, options: dict) -> None:
    here = envs.make_vector(env_id, 3, seed=4, **options)
    with envs.make_vector(env_id, 3, seed=4, workers=workers, **options) as there:
        assert there.single_observation_space == here.single_observation_space
        assert (
            there.single_action_space == here.single_action_space
            and there.time_limit == here.time_limit
        )
        assert same(here.reset(), there.reset())
        for action in walk(3, 60):
            action = (
                (action[:, 0] > 0).astype(int)
                if env_id == "CartPole-v1"
                else np.tile(action, here._actions.space.shape)
            )
            assert same(here.step(action), there.step(action))
        assert here.pop_episodes() == there.pop_episodes() != []
        state = there.state()
        with pytest.raises(envs.ActionError, match="environment 1"):
            there.step([action[0], 7 if action.ndim == 1 else action[0] * np.nan, action[0]])
        ahead = [here.step(action), here.step(action)]
        other = envs.make_vector(env_id, 3, seed=4, **options)
        for vector in (other, there):  # from workers to here, and back in time
            vector.load_state(state)
            assert (
                vector.exact
                and same(ahead[0], vector.step(action))
                and same(ahead[1], vector.step(action))
            )


@pytest.mark.parametrize("kind", ["kill", "stop", "raise", "exit", "crash", "hang", "spin"])
def test_ten_failures_cost_ten_episodes(kind: str) -> None:
    """Of environment 1. Environment 0 goes on as if it were alone."""
    wrong = kind if kind not in ("kill", "stop") else "raise"
    timeout = 0.4 if kind in ("stop", "hang", "spin") else 30.0
    alone = envs.make_vector(ID, 1, seed=0)
    with envs.make_vector(ID, 2, seed=0, workers=2, wrong=wrong, step_timeout=timeout) as vector:
        vector._pool._hosts[
            0
        ]._step_timeout = 30.0  # the machine may be busy: only the second is hurried
        rows, expected = vector.reset(), alone.reset()
        firsts: set[bytes] = {rows["observation"][1].tobytes()}
        for _ in range(10):
            for action in walk(2, 6):
                rows, expected = vector.step(action), alone.step(action[:1])
                assert same(rows, expected, slice(0, 1))
            while rows["is_last"][1]:
                rows, expected = vector.step(action), alone.step(action[:1])
            pid = pids(vector)[1]
            if kind in ("kill", "stop"):
                os.kill(pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
            else:
                action = np.array([[0.3], [-1.0]], np.float32)
            rows, expected = vector.step(action), alone.step(action[:1])
            assert same(rows, expected, slice(0, 1)), "the other loses no step"
            assert rows["is_first"][1] and rows["observation"][1, 0] == 0
            firsts.add(rows["observation"][1].tobytes())
            assert alive(pid) == (kind == "raise"), "a process that fails is ended"
            [failure] = vector.pop_failures()
            assert failure.env == 1 and failure.attempt == 1
            told = {
                "kill": "SIGKILL",
                "stop": "did not answer within 0.4 s",
                "raise": "RuntimeError: the arm left its table",
                "exit": "exit code 3",
                "crash": "SIGSEGV",
                "hang": "in misbehave",
                "spin": "in misbehave",
            }
            assert told[kind] in failure.text
            if kind not in ("kill", "stop", "raise"):
                assert "on the way out" in failure.text and (
                    "in misbehave" in failure.text or kind == "exit"
                )
        assert len(firsts) == 11, "each life has a seed of its own"
        last = pids(vector)
    assert not any(map(alive, last))


def test_three_strikes_end_it_with_the_traceback() -> None:
    for wrong, told in (("raise", "the arm left its table"), ("exit", "exit code 3")):
        vector = envs.make_vector(ID, 2, seed=0, workers=1, wrong=wrong)
        vector.reset()
        bad = np.array([[0.0], [-1.0]])
        vector.step(bad), vector.step(bad)
        with pytest.raises(
            envs.EnvFailure, match=f"environment 1, step: .*{told}.*failure 3"
        ) as caught:
            vector.step(bad)
        assert caught.value.env == 1 and ("on the way out" in caught.value.trace) == (
            wrong == "exit"
        )
        assert [failure.attempt for failure in vector.pop_failures()] == [1, 2, 3]
        assert vector.reset()["is_first"].all(), "and a reset starts again"
        vector.close()
    with pytest.raises(envs.EnvFailure, match=r"environment 0, reset: .*failure 2"):
        envs.make_vector(ID, 1, workers=1, at_reset=True, wrong="exit", strikes=2).reset()


def test_neighbours_in_a_lost_process_start_anew_but_finished_episodes_stay() -> None:
    with envs.make_vector(ID, 3, seed=0, workers=1, wrong="exit", length=3) as vector:
        vector.reset()
        rows = vector.step(np.array([[0.0], [-1.0], [0.0]]))
        assert rows["is_first"].all() and len(vector.pop_failures()) == 1
        vector.step(np.zeros((3, 1))), vector.step(np.zeros((3, 1)))
        rows = vector.step(np.array([[0.5], [0.0], [-1.0]]))
        assert rows["is_last"].tolist() == [True, True, False] and rows["is_first"].tolist() == [
            False,
            False,
            True,
        ]
        assert [episode.ret for episode in vector.pop_episodes()] == [0.5, 0.0]
        state = vector.state()
        one = vector.step(np.zeros((3, 1)))
        assert one["is_first"].tolist() == [True, True, False]
        other = envs.make_vector(ID, 3, seed=0, wrong="exit", length=3)
        other.load_state(state)
        assert other.exact and same(one, other.step(np.zeros((3, 1))))


def test_a_process_lost_while_it_loads_or_saves() -> None:
    with envs.make_vector(ID, 3, seed=0, workers=2, wrong="exit", length=9, at_load=True) as vector:
        vector.reset()
        vector.step(np.zeros((3, 1)))
        ones = vector.state()
        vector.step(np.array([[0.1], [0.2], [0.3]]))
        # the second, which shares a process with the first, is at t = 2
        ones["envs"][1] = vector.state()["envs"][1]
        rows = vector.load_state(ones)
        assert vector.restarted == (0, 1) and not vector.exact
        assert rows["is_first"].tolist() == [True, True, False]
        assert "load_state: its process ended with exit code 3" in vector.pop_failures()[0].text
        assert vector.step(np.zeros((3, 1)))["observation"][:, 0].tolist() == [1, 1, 2]
        os.kill(pids(vector)[1], signal.SIGKILL)
        state = vector.state()
        assert state["envs"][2] is None and state["envs"][0] is not None
        assert vector.step(np.zeros((3, 1)))["is_first"].tolist() == [False, False, True]


def test_signals_to_the_group_are_for_the_parent() -> None:
    with envs.make_vector(ID, 1, seed=0, workers=1, length=99) as vector:
        vector.reset()
        [pid] = pids(vector)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, name)
            assert not vector.step(np.zeros((1, 1)))["is_first"][0]
        assert pids(vector) == [pid] and vector.pop_failures() == []


def test_a_closed_vector_stays_closed() -> None:
    for workers in (0, 1):
        vector = envs.make_vector(ID, 1, workers=workers)
        vector.reset()
        vector.close()
        for name, given in (("state", ()), ("step", ([[0.0]],)), ("reset", ())):
            with pytest.raises(envs.EnvError, match="closed; make it anew"):
                getattr(vector, name)(*given)


def test_exit_in_an_environment_is_a_failure() -> None:
    for workers in (0, 1):
        with envs.make_vector(ID, 1, workers=workers, wrong="quit") as vector:
            vector.reset()
            assert vector.step([[-1.0]])["is_first"].all()
            assert "SystemExit" in vector.pop_failures()[0].text


def test_large_rows_and_states() -> None:
    here = envs.make_vector("unruly_envs:Pictures", 3, seed=0)
    with envs.make_vector("unruly_envs:Pictures", 3, seed=0, workers=2) as there:
        assert same(here.reset(), there.reset())
        for action in walk(3, 5):
            assert same(here.step(action), there.step(action))
        state = there.state()
        assert state["envs"][0]["layers"][0]["state"]["film"].nbytes > 1 << 20
        ahead = here.step(action)
        there.load_state(state)
        assert same(ahead, there.step(action))


def test_what_cannot_be_sent_or_made_is_refused() -> None:
    with pytest.raises(
        envs.EnvError, match=r"workers: .*options that are plain data.*wrong: expected.*object"
    ):
        envs.make_vector(ID, 1, workers=1, wrong=object())
    with pytest.raises(envs.EnvError, match=r"workers: expected ids.*module:Class"):
        envs.VectorEnv([lambda: envs.make("Pendulum-v1")], workers=1)
    with pytest.raises(envs.UnknownEnv, match="nearest: Pendulum-v1"):
        envs.make_vector("Pendulm-v1", 2, workers=2)
    with pytest.raises(envs.EnvError, match="expected options that it takes"):
        envs.make_vector(ID, 1, workers=1, strat=1)


def test_a_worker_loads_no_torch() -> None:
    with envs.make_vector("unruly_envs:Loaded", 1, workers=1) as vector:
        assert vector.reset()["observation"][0, 0] == 0


@pytest.mark.parametrize("kind", ["idle", "stopped", "spinning"])
def test_close_returns_and_nothing_is_left(kind: str) -> None:
    vector = envs.make_vector(ID, 2, seed=0, workers=2, wrong="spin", step_timeout=60.0)
    vector.reset()
    left = pids(vector)
    if kind == "stopped":
        os.kill(left[0], signal.SIGSTOP)
    if kind == "spinning":
        vector._pool._hosts[0].begin({0: ("step", np.array([-1.0], np.float32))})
        time.sleep(0.2)
    began = time.monotonic()
    vector.close()
    vector.close()
    assert time.monotonic() - began < 8 and not any(map(alive, left))


@pytest.mark.parametrize("kind", ["idle", "stopped", "spinning"])
def test_workers_die_with_their_parent(kind: str) -> None:
    code = (
        "import os, signal, time, numpy as np, envs\n"
        f"vector = envs.make_vector({ID!r}, 2, seed=0, workers=2, wrong='spin')\n"
        "vector.reset()\n"
        "hosts = vector._pool._hosts\n"
        f"if {kind!r} == 'spinning': hosts[0].begin({{0: ('step', np.array([-1.0]))}}); "
        f"time.sleep(0.2)\n"
        f"if {kind!r} == 'stopped': os.kill(hosts[0]._process.pid, signal.SIGSTOP)\n"
        "print(*(host._process.pid for host in hosts), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(HERE), str(Path(envs.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == -signal.SIGKILL
    left = [int(pid) for pid in done.stdout.split()]
    until = time.monotonic() + 10
    while any(map(alive, left)) and time.monotonic() < until:
        time.sleep(0.1)
    assert len(left) == 2 and not any(map(alive, left))
