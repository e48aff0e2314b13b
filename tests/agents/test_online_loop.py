"""The loop in two halves: the replay of an actor and a learner is that of training in one process;
both over sockets, too.
"""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scripted import Corridor, Counting, CountingConfig

from agents.cli import main
from agents.config import load_config
from agents.errors import UsageError
from agents.online import (
    Acting,
    ActorSide,
    Arrivals,
    Beat,
    LearnerLink,
    LearnerSide,
    LostLearnerError,
    Meeting,
    Newest,
    Pace,
    Panel,
    Publisher,
    Receiving,
    Record,
    RecordError,
    Reporting,
    RowLog,
    Sending,
    Streaming,
    Weights,
)
from agents.online.actor import within
from agents.online.learning import LearnerRun
from agents.online.pair import Pair
from agents.online.panel import parts
from agents.replay import ReplayBuffer
from agents.run import Driver, Online, Run, Stop, train
from agents.run.progress import Progress
from agents.settings import RunSettings
from agents.spaces import Interface
from agents.tdmpc.config import TDMPCConfig
from envs import VectorEnv, adapt
from envs.robot.clock import SteppedClock, Ticker

STEPS, PREFILL, PER_ACTION = 60, 12, 0.25


def vector():
    return VectorEnv([lambda: adapt(Corridor())], seed=0)


def agent_for(interface):
    torch.manual_seed(0)
    return Counting(interface.shapes, interface.action, CountingConfig())


def replay_for(interface, agent):
    return ReplayBuffer(interface.spec(agent.stored), 200, 1, stored=list(agent.stored))


class Halves:
    """Actor and learner in one process and one thread: while the learner waits, the actor makes
    some ticks.
    """

    def __init__(self, folder, ticks=3, hz=20.0):
        self.clock, self.envs = SteppedClock(), vector()
        interface = Interface.of(self.envs)
        self.acts, self.learns = agent_for(interface), agent_for(interface)
        self.log, weights = RowLog(folder), Weights(self.acts.acting)
        self.sending = Sending(self.log, 0, {}, weights.check, Pace(again=0.2, ask=0.1))
        self.beat = Beat()
        self.reporting = Reporting(
            Driver(self.envs, self.acts, Newest()),
            self.log,
            self.sending,
            weights,
            beat=self.beat,
            ticker=Ticker(hz, self.clock),
            clock=self.clock.now,
        )
        self.receiving = Receiving(1, lambda about: None)
        self.replay = replay_for(interface, self.learns)
        self.arrivals = Arrivals(self.receiving, self.replay, self.live)
        self.publisher = Publisher(
            self.receiving, Weights(self.learns.acting).take, 0.0, self.clock.now
        )
        self.acting, self.progress, self.ticks = Acting(STEPS, PREFILL), Progress(), ticks
        self.publisher.offer(0)

    def talk(self):
        for frame in self.sending.due(self.clock.now()):
            for answer in self.receiving.received(frame, self.clock.now()):
                self.sending.received(answer, self.clock.now())

    def live(self):
        """What the actor does while the learner waits."""
        self.talk()
        self.talk()
        for _ in range(self.ticks):
            if self.acting.next(self.progress, 0, False) == "act":
                moved = self.reporting.step(random=self.acting.random(self.progress))
                self.acting.acted(self.progress, moved.frames, moved.actions)
        self.clock.sleep_until(self.clock.now() + 0.3)
        self.talk()

    def learn(self, owed=1e4):
        schedule = Streaming(
            STEPS, PREFILL, PER_ACTION, waiting=lambda: self.receiving.waiting, owed=owed
        )
        return train(
            self.learns,
            self.arrivals,
            self.replay,
            schedule,
            run=Run({}),
            log_every=0,
            watch=lambda run, metrics: self.publisher.offer(run.progress.updates),
        )


@pytest.fixture
def halves(tmp_path):
    found = Halves(tmp_path / "log")
    yield found
    found.log.close()


def rows_of(replay):
    found = replay.state_arrays()
    # the agent's own is refreshed by updates
    return {k: v for k, v in found.items() if k not in ("counters", "count")}


def test_the_replay_is_that_of_training_in_one_process(halves):
    run = halves.learn()
    envs = vector()
    interface = Interface.of(envs)
    agent = agent_for(interface)
    replay = replay_for(interface, agent)
    whole = train(
        agent,
        Driver(envs, agent, replay),
        replay,
        Online(STEPS, PREFILL, PER_ACTION),
        run=Run({}),
        log_every=0,
    )
    assert (
        run.progress.steps == whole.progress.steps == STEPS
        and run.progress.updates == whole.progress.updates > 10
    )
    assert run.progress.actions == whole.progress.actions == STEPS  # none begins an episode
    returns = [[ret for _, ret in each.progress.returns] for each in (run, whole)]
    assert returns[0] == returns[1] and len(returns[0]) == STEPS // 4
    mine, theirs = rows_of(halves.replay), rows_of(replay)
    assert mine.keys() == theirs.keys()
    for key in mine:
        assert np.array_equal(mine[key], theirs[key]), key
    assert halves.arrivals.counts == {"taken": len(replay)}


def test_the_actor_acts_with_the_newest_policy_and_says_which(halves):
    with torch.no_grad():
        halves.learns.acting.weight.fill_(3.5)
    halves.publisher.offer(7)
    halves.live()
    halves.live()
    assert halves.reporting.version == 7 and torch.equal(
        halves.acts.acting.weight, halves.learns.acting.weight
    )
    records = [Record.read(data) for data in halves.log.read(1, 99)]
    assert [r.version for r in records] == [-1] * 6  # prefill: random actions, of no policy
    halves.learn()
    assert [Record.read(d).version for d in halves.log.read(halves.log.next - 2, 9)] == [
        halves.reporting.version
    ] * 2
    assert (
        7 < halves.reporting.version == halves.arrivals.version + 0 or halves.arrivals.version >= 7
    )


def test_a_learner_that_is_silent_costs_no_tick_and_no_row(halves):
    halves.live()
    halves.talk = lambda: None  # nothing goes through any more
    before = halves.clock.now()
    for _ in range(30):
        moved = halves.reporting.step()
        halves.acting.acted(halves.progress, moved.frames, moved.actions)
    assert halves.clock.now() - before == pytest.approx(30 / 20.0, abs=0.06)
    assert halves.sending.behind >= 30
    del halves.talk
    halves.learn()
    assert halves.sending.behind == 0 and halves.arrivals.counts["left out"] == 0


def test_an_actor_may_act_alone_for_so_long(halves):
    halves.live()
    halves.reporting.alone = 2.0
    halves.talk = lambda: None
    made = halves.log.next

    def acts():
        for _ in range(100):
            halves.reporting.step()

    with pytest.raises(LostLearnerError, match="silent for 2 s"):
        acts()
    assert halves.log.next - made == pytest.approx(2.0 * 20, abs=8)


def test_updates_that_are_due_have_a_limit(halves):
    halves.ticks = 2 * STEPS  # all rows come at once
    run = halves.learn(owed=3.0)
    assert run.progress.updates == 3
    assert run.progress.updates <= PER_ACTION * run.progress.actions


def test_a_learner_that_cannot_keep_up_saves_all_the_same():
    plan = Streaming(100, 0, per_action=50.0, save=10, waiting=lambda: 0)
    progress, done = Progress(), []
    for _ in range(30):
        plan.acted(progress, frames=1, actions=1)
        for _ in range(3):  # it makes three updates in the time of an action, and fifty are due
            done.append(plan.next(progress, saved=10 * done.count("save"), ready=True))
    assert done.count("save") == 3 and done.count("update") == len(done) - 3


def test_an_actor_that_begins_again_goes_on_counting_and_its_episode_is_cut(tmp_path):
    one = Halves(tmp_path / "log", ticks=6)
    one.live()
    one.log.close()  # as a kill leaves it: each record is one write
    two = Halves(tmp_path / "log", ticks=6)
    assert two.reporting.steps == one.reporting.steps == 5  # the sixth row is that of the reset
    two.progress.steps = two.reporting.steps
    two.learn()
    rows = rows_of(two.replay)
    assert rows["is_first"][0][:8].tolist() == [True, False, False, False, False, True, True, False]
    # the last one was cut short
    assert rows["is_last"][0][:6].tolist() == [
        False,
        False,
        False,
        False,
        True,
        True,
    ]
    two.log.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: {k: v for k, v in row.items() if k != "reward"},
        lambda row: {**row, "observation": np.full(3, np.nan, "f4")},
        lambda row: {**row, "observation": np.zeros(4, "f4")},
        lambda row: {**row, "is_first": np.str_("x")},
        lambda row: {},
    ],
)
def test_a_row_that_does_not_fit_is_left_out_with_the_rest_of_its_episode(halves, spoil):
    append = halves.log.append

    def spoiled(data):
        record = Record.read(data)
        if halves.log.next == 7:  # the second row of the second episode
            try:
                data = Record(**{**vars(record), "row": spoil(dict(record.row))}).data()
            except ValueError:
                data = b"{}"
        return append(data)

    halves.log.append = spoiled
    run = halves.learn()
    assert halves.arrivals.counts["left out"] == 4 and run.progress.steps < STEPS + 1
    rows = rows_of(halves.replay)
    first, last = rows["is_first"][0], rows["is_last"][0]
    assert first[:8].tolist() == [True, False, False, False, False, True, True, False]
    assert last[:7].tolist() == [False] * 4 + [True, True, False]


def test_what_is_no_record_is_refused():
    record = Record({"x": np.zeros(2)}, 1, 1, 5, [(1.5, 4, 4)], 3, {"held": True}).data()
    assert vars(Record.read(record))["episodes"] == [(1.5, 4, 4)]
    for bad in (
        b"",
        record[:-1],
        b"{}",
        record.replace(b'"frames": 1', b'"frames":-1'),
        record.replace(b"version", b"versiom"),
    ):
        with pytest.raises(RecordError):
            Record.read(bad)


def test_a_planner_gets_half_of_a_tick_where_nobody_gave_it_time():
    assert within(TDMPCConfig(), 20.0).seconds == 0.025
    assert within(TDMPCConfig(seconds=0.01), 20.0).seconds == 0.01
    assert within(TDMPCConfig(), 0.0).seconds == 0.0
    assert within(CountingConfig(), 20.0) == CountingConfig()


def test_the_panel_says_first_what_matters(halves):
    halves.live()
    text = ", ".join(
        parts(
            halves.reporting,
            5,
            [1.0, 2.0],
            {"range": 3, "held too long": 1, "stale observation": 2},
        )
    )
    assert text.startswith("1 stops, 20.0 Hz, late 0.0/0.0 ms, return 1.5, random actions")
    assert "3 clamped, 2 held" in text
    halves.clock.sleep_until(halves.clock.now() + 9.0)
    assert "learner silent for 9 s" in ", ".join(parts(halves.reporting, 5, [], {}))


# -------------------------------------------------------------------- from settings, over sockets

SMALL = [
    "agent.kind=scripted:Counting",
    "steps=60",
    "prefill=12",
    "train_ratio=2",
    "capacity=200",
    "checkpoint_every=20",
    "log_every=5",
]


class Learning(threading.Thread):
    """A learner in a thread, as the command has it in a process."""

    def __init__(self, run, address, settings):
        super().__init__(daemon=True)
        self.folder, self.settings, self.meeting = run, settings, Meeting()
        self.receiving = Receiving(settings.env.num_envs, self.meeting.check)
        self.link = LearnerLink(self.receiving, address)
        self.start()

    def run(self):
        declared = self.meeting.wait(Stop())
        with (
            self.link,
            LearnerSide(
                self.settings,
                declared,
                self.receiving,
                self.meeting,
                seconds=0.0,
                arrived=self.link.arrived,
            ) as self.side,
        ):
            side = self.side
            side.begin(self.folder)
            self.found = side.train()
            self.rows = side.replay.state_arrays()
            side.say_goodbye()


def test_both_from_settings_over_sockets(tmp_path):
    pytest.importorskip("zmq")
    settings = load_config(RunSettings, {}, SMALL)
    learning = Learning(tmp_path / "run", "tcp://127.0.0.1:0", settings)
    said = []
    panel = Panel("actor", open(os.devnull, "w"), every=0.0)  # noqa: SIM115
    make = lambda: adapt(Corridor())  # noqa: E731
    with ActorSide(settings, make, tmp_path / "log", learning.link.address, panel=panel) as side:
        assert side.meet(said.append) and said[-1] == "the learner is being built"
        side.act()
        learning.join(20.0)
        assert (
            side.run.progress.steps == 60
            and side.sending.behind == 0
            and side.reporting.version >= 0
        )
        time.sleep(0.1)
        assert side.sending.safe == side.log.next - 1  # all of it is in the last checkpoint
    assert learning.found.progress.steps == 60 and learning.found.progress.updates > 5
    assert (tmp_path / "run" / "interface.json").is_file()
    records = [Record.read(d) for d in RowLog(tmp_path / "log").read(1, 999)]
    assert np.array_equal(learning.rows["observation"][0], [r.row["observation"] for r in records])


def test_actors_keep_what_only_the_newest_checkpoint_has(tmp_path):
    """It may turn out to be damaged: then the learner goes back to the one before."""
    told = []
    arrivals = SimpleNamespace(logs={0: ("log", 20)}, receiving=SimpleNamespace(kept=told.append))
    run = LearnerRun(arrivals, {}, tmp_path)
    for number in (20, 90, 130):
        arrivals.logs = {0: ("log", number)}
        run.progress.steps = number
        run.save()
    assert told == [{}, {0: ("log", 20)}, {0: ("log", 90)}]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_an_actor_that_is_refused_for_good_ends(tmp_path):
    pytest.importorskip("zmq")
    settings = load_config(RunSettings, {}, SMALL)
    make = lambda: adapt(Corridor())  # noqa: E731
    with ActorSide(settings, make, tmp_path / "log", "tcp://127.0.0.1:9") as side:
        side.sending.hopeless, side.sending.refused = True, "row 21 is needed"
        with pytest.raises(UsageError, match="refuses this actor: row 21 is needed"):
            side.act()


def test_an_actor_with_another_agent_is_refused_in_one_line(tmp_path):
    pytest.importorskip("zmq")
    learning = Learning(tmp_path / "run", "tcp://127.0.0.1:0", load_config(RunSettings, {}, SMALL))
    other = load_config(RunSettings, "dreamer_v3/fast", [])
    for settings in (load_config(RunSettings, {}, SMALL), other):
        with ActorSide(
            settings,
            lambda: adapt(Corridor()),
            tmp_path / settings.agent.kind,
            learning.link.address,
        ) as side:
            if settings is other:
                time.sleep(0.1)
                learning.receiving.peers[0].heard = -1e9  # the one before has gone
                with pytest.raises(UsageError, match="its weights is not the learner's"):
                    side.meet()
            else:
                assert side.meet()
    learning.side.run.stop.ask()
    learning.join(20.0)
    assert not learning.is_alive()


def test_a_learner_that_is_killed_begins_again_and_nothing_is_lost(tmp_path, monkeypatch):
    """The learner in a process of its own, SIGKILL in the middle: its replay at the end is the
    actor's log.
    """
    pytest.importorskip("zmq")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent))
    changes = [*SMALL, "steps=300", "checkpoint_every=40", "capacity=600"]
    settings, run = load_config(RunSettings, {}, changes), tmp_path / "run"
    (tmp_path / "config.yaml").write_text("{}")
    killed = []

    def look():
        pair.look()
        done = (run / "checkpoints").exists() and any(
            (run / "checkpoints").glob("checkpoint-0000000[4-9]*")
        )
        if done and not killed:
            killed.append(pair.process.pid)
            pair.process.kill()

    with (
        Pair([str(tmp_path / "config.yaml"), *changes, "--run", str(run)], run) as pair,
        ActorSide(
            settings,
            lambda: adapt(Corridor()),
            tmp_path / "log",
            pair.address,
            hz=100.0,
            look=look,
        ) as side,
    ):
        side.log.keep = True
        assert side.meet()
        side.act()
        assert pair.wait() == 0 and side.sending.behind == 0
    assert killed and pair.process.pid not in killed
    with RowLog(tmp_path / "log") as log:
        records = [Record.read(data) for data in log.read(1, 999, 1 << 30)]
    spec = {k: (np.asarray(v).shape, np.asarray(v).dtype) for k, v in records[0].row.items()}
    with ReplayBuffer(spec, 600, 1, directory=run / "replay", stored=["count"]) as replay:
        rows = rows_of(replay)
    for key in ("observation", "action", "reward", "is_first", "is_terminal"):
        assert np.array_equal(rows[key][0], [r.row[key] for r in records]), key


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("actor dreamer_v3/fast --robot my:Arm", "no robot moves without"),
        ("actor dreamer_v3/fast --limits a.yaml", "go with --robot"),
        (
            "check --robot envs.robot.simulated:SimulatedArm --limits a.yaml",
            "a robot without limits is not moved",
        ),
        (
            "learner dreamer_v3/fast --bind nowhere --run {tmp}/run",
            "cannot use the address nowhere",
        ),
        (
            "learner dreamer_v3/fast --bind tcp://127.0.0.1:0 --run {tmp}/run --from {tmp}",
            "no run folder",
        ),
        ("learner dreamer_v3/fsat", "nearest: dreamer_v3/fast"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, capsys, given, said):
    assert main(["robot", *given.format(tmp=tmp_path).split()]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error and not list(tmp_path.iterdir())
