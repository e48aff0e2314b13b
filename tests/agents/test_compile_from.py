"""Updates and plans that are compiled before a certain update: equal seeds give equal numbers,
resumed or not.
"""

import copy
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from test_compiling import Process
from test_tdmpc import agent_of, recorded

from agents import compiling
from agents.compiling import Beside, compile_update, described
from agents.errors import UsageError
from agents.guard import NotFinite
from agents.tdmpc import TDMPC, TDMPCConfig
from agents.tdmpc.networks import linear, side_by_side

AT = 4
FORMS = [
    (linear, [(5, 3), (4, 3), (4,)]),
    (linear, [(2, 5, 3), (4, 3), (4,)]),
    (side_by_side, [(2, 5, 3), (2, 3, 4), (2, 1, 4)]),
]
OBS = {
    "orient": torch.full((1, 3), 0.5),
    "velocity": torch.full((1, 2), -0.5),
    "is_first": torch.zeros(1, dtype=torch.bool),
}


class Child:
    """A child that has ended when it is waited for."""

    def __init__(self, code=0):
        self.code, self.ended, self.waits = code, False, 0

    def poll(self):
        return self.code if self.ended else None

    def wait(self):
        self.ended, self.waits = True, self.waits + 1


@pytest.fixture
def seen(monkeypatch):
    """What is asked for: the child's beginnings, compiled objectives, compiled choices."""
    found = SimpleNamespace(child=Child(), begun=[], objectives=[], choices=[])

    def begin(self, batch):
        found.begun.append((dict(self.obs), dict(self.flags)))
        return found.child

    def choice(choose):
        def fast(*given):
            found.choices.append(given[2])
            action, state = choose(*given)
            return 0.5 * action, state  # to be told from what is not compiled

        return fast

    monkeypatch.setattr(Beside, "_begin", begin)
    monkeypatch.setattr(compiling, "compiled_choice", choice)
    loss = type(agent_of().objective)
    compile_ = loss.compile

    def compile_first(self, chunk, **options):
        if chunk:
            found.objectives.append((chunk, options))
        return compile_(self, chunk, **options, backend="eager" if chunk else "inductor")

    monkeypatch.setattr(loss, "compile", compile_first)
    return found


def step(agent, batch, seed, explore=True):
    """A plan and an update."""
    torch.manual_seed(seed)
    action, _ = agent.act(OBS, agent.initial(1), explore=explore)
    return action, agent.learn(batch).metrics


def made(at=AT, **more):
    return agent_of(dtype=torch.float32, compile_from=at, **more)


def test_it_switches_over_before_that_update(seen):
    """Until then all is as it is without, to the bit; what is compiled computes the same."""
    agent, plain, batch = made(), made(0), recorded(dtype=torch.float32)
    for update in range(AT + 2):
        torch.manual_seed(update)
        action, _ = agent.act(OBS, agent.initial(1), explore=True)
        after = torch.get_rng_state()
        torch.manual_seed(update)
        expected, _ = plain.act(OBS, plain.initial(1), explore=True)
        assert torch.equal(torch.get_rng_state(), after)
        late = update > AT  # the action comes before the update that switches over
        assert torch.allclose(action, 0.5 * expected if late else expected, atol=1e-5)
        assert torch.equal(action, expected) == (not late)
        torch.manual_seed(update)
        metrics = agent.learn(batch).metrics
        after = torch.get_rng_state()
        torch.manual_seed(update)
        expected = plain.learn(batch).metrics
        assert torch.equal(torch.get_rng_state(), after)
        assert metrics == pytest.approx(expected, rel=1e-4)
        assert update >= AT or metrics == expected
        assert len(seen.begun) == (update >= AT // 2)
        assert seen.child.waits == (update >= AT) == len(seen.objectives)
    assert seen.objectives == [(agent.config.horizon, {"whole": True})]
    assert seen.begun == [(described(OBS), {"cont.met": True})]


def test_the_best_action_and_a_loaded_policy_are_not_compiled(seen):
    agent, batch = made(1), recorded(dtype=torch.float32)
    for seed in range(2):
        step(agent, batch, seed)
    agent.act(OBS, agent.initial(1))
    assert not seen.choices
    agent.eval()
    agent.act(OBS, agent.initial(1), explore=True)
    assert not seen.choices
    agent.train()
    agent.act(OBS, agent.initial(1), explore=True)
    assert seen.choices == [True] * (compiling.RUNS + 1)


def test_another_program_is_compiled_for_itself(seen):
    """Plans that look at terminations, once one was met."""
    agent, batch = made(1), recorded(dtype=torch.float32, ends=False)
    for seed in range(3):
        step(agent, batch, seed)
    assert set(agent.switch._choices) == {False}
    agent.cont.met.fill_(True)
    step(agent, batch, 3)
    assert set(agent.switch._choices) == {False, True}


@pytest.mark.parametrize("stop", [1, AT // 2, AT, AT + 1, AT + 2])
def test_a_resumed_run_equals_a_straight_one(seen, stop):
    batch, straight = recorded(dtype=torch.float32), made()
    expected = [step(straight, batch, seed) for seed in range(AT + 4)]
    first = made()
    for seed in range(stop):
        step(first, batch, seed)
    seen.child = Child()
    again = made()
    again.load_state(copy.deepcopy(first.state()))
    for seed in range(stop, AT + 4):
        action, metrics = step(again, batch, seed)
        assert torch.equal(action, expected[seed][0]) and metrics == expected[seed][1]
    one, two = straight.state(), again.state()
    assert one["switch"] == two["switch"]
    assert one["switch"] == {"updates": AT + 4, "on": True, "obs": described(OBS)}
    asked = 1 + (stop > AT // 2) + (stop <= AT)  # the straight one, the first, the second
    assert seen.begun == [(described(OBS), {"cont.met": True})] * asked
    assert all(torch.equal(v, two["weights"][k]) for k, v in one["weights"].items())


def test_a_child_that_fails_leaves_all_as_it_is(seen, monkeypatch):
    monkeypatch.setattr(Beside, "_last_line", lambda self: "no memory")
    seen.child.code = 1
    agent, plain, batch = made(), made(0), recorded(dtype=torch.float32)
    for seed in range(AT):
        step(agent, batch, seed), step(plain, batch, seed)
    with pytest.warns(UserWarning, match="ended with 1: no memory; training goes on without comp"):
        assert step(agent, batch, AT)[1] == step(plain, batch, AT)[1]
    again = made()
    again.load_state(agent.state())
    for one in (agent, again):  # and no more is said
        assert step(one, batch, 9)[1] == step(plain, batch, 9)[1]
        plain.load_state({k: v for k, v in agent.state().items() if k != "switch"})
        again.load_state(agent.state())
    assert not seen.objectives and not seen.choices and seen.child.waits == 1


def test_an_update_that_is_refused_does_not_count():
    agent, batch = made(9), recorded(dtype=torch.float32)
    agent.learn(batch)
    with pytest.raises(NotFinite):
        agent.learn({**batch, "reward": torch.full_like(batch["reward"], torch.nan)})
    assert agent.switch.updates == 1


def test_what_is_saved_without_compiling_is_as_before():
    agent, asked = made(0), made()
    assert set(agent.state()) == {"weights", "optimizer"}
    asked.load_state(agent.state())  # a run that goes on with compiling
    assert asked.switch.state() == {"updates": 0, "on": False, "obs": {}}


def test_an_earlier_state_is_not_compiled(seen):
    """Nor is one without a word of it."""
    batch = recorded(dtype=torch.float32)
    agent, plain = made(2), made(0)
    early = copy.deepcopy(agent.state())
    for seed in range(4):
        step(agent, batch, seed)
    assert agent.switch.on and len(seen.objectives) == 1
    for state in (early, {k: v for k, v in early.items() if k != "switch"}):
        seen.choices.clear()
        for one in (agent, plain):
            one.load_state(copy.deepcopy(state))
        for seed in range(2):
            action, metrics = step(agent, batch, seed)
            expected = step(plain, batch, seed)
            assert torch.equal(action, expected[0]) and metrics == expected[1]
        assert agent.switch.updates == 2 and not agent.switch.on and not seen.choices


def test_a_copy_compiles_for_itself(seen):
    agent, batch = made(1), recorded(dtype=torch.float32)
    for seed in range(3):
        step(agent, batch, seed)
    other = copy.deepcopy(agent)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.3)
    torch.manual_seed(0)
    kept, _ = agent.act(OBS, agent.initial(1), explore=True)
    torch.manual_seed(0)
    assert not torch.equal(kept, other.act(OBS, other.initial(1), explore=True)[0])
    assert other.switch.state() == agent.switch.state() and len(seen.choices) > 4


@pytest.mark.parametrize("at", [1, AT])
def test_what_a_child_does(at, monkeypatch):
    """The same work in this process: losses and plans of the agent that is described."""
    given, losses, plans = [], [], []
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    monkeypatch.setattr(
        "agents.compiling.start_python",
        lambda module, arguments, **options: given.extend(arguments) or Process(),
    )
    agent, batch = made(at), recorded(dtype=torch.float32)
    for seed in range(at // 2 + 1):
        step(agent, batch, seed)
    [task] = given
    evaluate, plan = TDMPC.losses, TDMPC._act
    monkeypatch.setattr(TDMPC, "losses", lambda self, x: losses.append(x) or evaluate(self, x))
    monkeypatch.setattr(TDMPC, "_act", lambda self, *a: plans.append(a) or plan(self, *a))
    monkeypatch.setattr(
        Beside, "begin", lambda self, batch: pytest.fail("a child has no child of its own")
    )
    compile_update(task)
    shapes = {k: v.shape for k, v in batch.items()}
    assert [{k: v.shape for k, v in x.items()} for x in losses] == [shapes] * compiling.RUNS
    assert len(plans) == 1 + compiling.RUNS + 1  # plainly, to compile, to act
    assert {k: v.shape for k, v in plans[0][0].items()} == {k: v.shape for k, v in OBS.items()}
    assert (plans[0][2].live is not None) == (at > 1)  # terminations were met before it began


@pytest.mark.parametrize(("form", "shapes"), FORMS)
def test_what_is_written_in_another_way_for_a_compiler(form, shapes):
    """The same values and gradients."""
    torch._dynamo.reset()
    g = torch.Generator().manual_seed(0)
    given = [torch.randn(*s, generator=g, dtype=torch.float64).requires_grad_() for s in shapes]
    found = []
    for run in (form, torch.compile(form, backend="eager", fullgraph=True)):
        value = run(*given)
        weight = torch.linspace(-1.0, 1.0, value.numel(), dtype=value.dtype).view_as(value)
        found.append([value, *torch.autograd.grad((weight * value).sum(), given)])
    torch.testing.assert_close(found[1], found[0])


def test_several_processes_that_learn_are_refused(monkeypatch):
    monkeypatch.setattr("agents.compiling.ranks.active", lambda: True)
    monkeypatch.setattr("agents.compiling.ranks.count", lambda: 2)
    with pytest.raises(UsageError, match="compile_from=4: expected one process that learns, got 2"):
        made()
    made(0)


def test_a_child_ends_with_its_run_and_by_no_signal():
    """Ctrl+C goes to all processes of a terminal: what is compiled must not depend on it."""
    code = (
        "import agents.compiling as c; c.compile_update = lambda task: print('!', flush=True) or "
    )
    code += "__import__('time').sleep(60); c.main({})"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline()
    for name in ("SIGINT", "SIGTERM"):
        child.send_signal(getattr(signal, name))
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=1)
    child.stdin.close()
    assert child.wait(timeout=30) == 0


def test_a_limit_of_time_is_refused():
    with pytest.raises(ValueError, match=r"seconds must be 0 with compile_from.*got 0.01 and 8"):
        TDMPCConfig(seconds=0.01, compile_from=8)
