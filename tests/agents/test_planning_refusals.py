"""What a plan does where returns are no numbers, and what scores, proposals and settings are
refused."""

import math

import pytest
import torch

from agents.build import build
from agents.config import load_config
from agents.guard import NotFinite
from agents.planning import CEM, ICEM, MPPI, PathScorer, RandomShooting
from agents.settings import RunSettings
from agents.spaces import ActionSpec, Interface
from pixyz.distributions.families.one_hot import SEARCHED, one_hot_sample
from pixyz.types import PixyzError

BOX, CHOICE = ActionSpec(2), ActionSpec(4, discrete=True)
KINDS = {
    "shooting": (RandomShooting, {}),
    "cem": (CEM, {"elites": 8, "rounds": 3}),
    "icem": (ICEM, {"elites": 8, "rounds": 3}),
    "mppi": (MPPI, {"elites": 8, "rounds": 3, "temperature": 5.0}),
}


def solver_of(kind, action=BOX, horizon=3, candidates=64, **more):
    cls, settings = KINDS[kind]
    return cls(action, horizon=horizon, candidates=candidates, **{**settings, **more})


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def near_half(actions):
    return -(actions - 0.5).square().sum((0, 2))


# --------------------------------------------------------------------------------------------
# returns that are no numbers


@pytest.mark.parametrize("action", [BOX, CHOICE], ids=["box", "choice"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_environment_without_a_return_has_no_plan(kind, action, bad):
    def score(actions):
        found = near_half(actions).clone()
        found[1::2] = bad  # the second environment's
        return found

    solver = solver_of(kind, action)
    plan, state = solver.solve(score, solver.init(2), generator=seeded())
    best = plan.best()
    assert best[0].isfinite().all() and best[1].isnan().any()
    assert state["plan"][0].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_infinite_return_is_no_good_news(kind):
    def score(actions):
        found = near_half(actions).clone()
        found[0] = math.inf
        return found

    solver = solver_of(kind, candidates=512)
    plan, state = solver.solve(score, solver.init(1), generator=seeded())
    assert (plan.best() - 0.5).abs().max() < 0.5 and state["plan"].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_constraint_that_nothing_meets_leaves_a_plan(kind):
    solver = solver_of(kind)
    plan, state = solver.solve(
        lambda actions: actions.new_full((actions.shape[1],), -math.inf),
        solver.init(2),
        generator=seeded(),
    )
    assert plan.best().isfinite().all() and state["plan"].isfinite().all()


@pytest.mark.parametrize(("classes", "rows"), [(4, 3), (20, 3), (20, SEARCHED + 3)])
def test_a_draw_from_probabilities_that_are_none_is_none(classes, rows):
    probs = torch.rand(rows, classes, generator=seeded())
    probs[1, -1] = math.nan
    drawn = one_hot_sample(torch.rand(rows, 1, generator=seeded(1)), probs)
    assert drawn[1].isnan().any()
    rest = torch.cat([drawn[:1], drawn[2:]])
    assert torch.equal(rest.sum(-1), torch.ones(rows - 1)) and ((rest == 0) | (rest == 1)).all()


def agent_of(name, *changes):
    interface = Interface({"x": (3,)}, {"x": "float32"}, ActionSpec(3, discrete=True))
    return build(load_config(RunSettings, name, list(changes)).agent, interface)


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize(
    "name", ["sac/small", "tdmpc/small", "dreamer_v3/fast", "dreamer_v2/small", "planet/small"]
)
def test_choices_do_not_hide_what_is_not_finite(name, explore):
    agent = agent_of(name)
    obs = {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}
    agent.act(obs, agent.initial(2), explore=explore)
    with torch.no_grad():
        for p in agent.parameters():
            p.fill_(math.nan)
    with pytest.raises(NotFinite, match="the action"):
        agent.act(obs, agent.initial(2), explore=explore)


@pytest.mark.parametrize("name", ["sac/small", "dreamer_v3/fast", "planet/small"])
def test_rows_that_would_broadcast_are_refused(name):
    agent = agent_of(name)
    obs = {"x": torch.zeros(2, 3), "is_first": torch.ones(1, dtype=torch.bool)}
    with pytest.raises(PixyzError, match="expected 1 rows, those of is_first, got"):
        agent.act(obs, agent.initial(1))
    if agent.initial(1):
        obs["is_first"] = torch.zeros(2, dtype=torch.bool)
        with pytest.raises(PixyzError, match=r"the first state is that of initial\(2\)"):
            agent.act(obs, agent.initial(1))


# --------------------------------------------------------------------------------------------
# shapes


def imagine(state, actions):
    return {"x": torch.cat([state["x"][None], state["x"][None] + actions.cumsum(0)])}


def reward(path, actions):
    return -path["x"][1:].square().sum(-1)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"reward": lambda p, a: -p["x"].square().sum(-1)}, r"reward: expected \[2, 64\], got \[3"),
        ({"reward": lambda p, a: reward(p, a).mean(-1, keepdim=True)}, r"reward: .* got \[2, 1\]"),
        ({"reward": lambda p, a: reward(p, a)[..., None]}, r"reward: .* got \[2, 64, 1\]"),
        ({"constraints": [lambda p, a: a[0].square().sum(-1)]}, r"constraint: .* got \[64\]"),
        ({"live": lambda p, a: p["x"][1:]}, r"live: expected \[2, 64\], got \[2, 64, 2\]"),
        ({"value": lambda s: s["x"][:, :1]}, r"value: expected \[64\], got \[64, 1\]"),
    ],
)
def test_a_score_of_another_shape_is_refused(parts, text):
    scorer = PathScorer(imagine, **{"reward": reward, **parts})
    solver = solver_of("mppi", horizon=2)
    with pytest.raises(ValueError, match=text):
        solver.solve(scorer.at({"x": torch.zeros(1, 2)}), solver.init(1), generator=seeded())


def test_a_cost_may_be_a_truth_value():
    scorer = PathScorer(imagine, reward, constraints=[lambda p, a: a[..., 0] > 0.1], discount=1.0)
    actions = torch.tensor([[[0.0, 0.0], [0.5, 0.0]]])
    assert scorer.at({"x": torch.zeros(1, 2)})(actions).tolist() == [0.0, -1.25]


@pytest.mark.parametrize(("rows", "states"), [(2, 4), (2, 1), (2, 3)])
def test_states_are_as_many_as_environments(rows, states):
    solver = solver_of("mppi", horizon=2)
    score = PathScorer(imagine, reward).at({"x": torch.zeros(states, 2)})
    with pytest.raises(ValueError, match=f"expected paths from {rows} states, .* got {states}"):
        solver.solve(score, solver.init(rows), generator=seeded())


def test_paths_are_a_multiple_of_states():
    score = PathScorer(imagine, reward).at({"x": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="N a multiple of 3"):
        score(torch.zeros(2, 4, 2))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"first": torch.tensor([True])}, r"first: expected truth values \[2\]"),
        ({"first": torch.zeros(2)}, r"first: expected truth values \[2\], .* got torch.float32"),
        ({"proposals": torch.zeros(3, 64, 2, 2)}, "P below 64"),
        ({"proposals": torch.zeros(3, 4, 1, 2)}, r"proposals: expected \[3, P, 2, 2\]"),
        ({"proposals": torch.zeros(3, 2, 2)}, r"proposals: expected \[3, P, 2, 2\]"),
    ],
)
def test_what_a_plan_is_given_has_the_states_rows(given, text):
    solver = solver_of("mppi")
    with pytest.raises(ValueError, match=text):
        solver.solve(near_half, solver.init(2), generator=seeded(), **given)


def test_returns_are_one_a_path():
    solver = solver_of("cem")
    with pytest.raises(ValueError, match=r"score: expected returns \[128\]"):
        solver.solve(lambda a: near_half(a)[:, None], solver.init(2), generator=seeded())


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (ICEM, {"momentum": 2.0}),
        (ICEM, {"kept": -1.0}),
        (ICEM, {"decay": 0.0}),
        (MPPI, {"temperature": -1.0}),
        (MPPI, {"min_std": 3.0, "max_std": 1.0}),
        (CEM, {"std": math.nan}),
        (CEM, {"unimix": 2.0}),
    ],
)
def test_settings_out_of_their_range_are_refused(cls, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        cls(BOX, **settings)


# --------------------------------------------------------------------------------------------
# what a round holds


def test_a_proposal_is_one_candidate_of_each_round():
    solver = solver_of("icem", ActionSpec(1), rounds=6, kept=0.5)
    plan, state = solver.solve(
        near_half, solver.init(1), proposals=torch.full((3, 1, 1, 1), 0.5), generator=seeded()
    )
    assert int((plan.tried.actions == 0.5).all(0).all(-1).sum()) == 1
    kept = state["elites"][0, :, :, 0]
    assert len(torch.unique(kept, dim=0)) == len(kept) == 4


def test_shooting_tries_the_last_plan_of_choices():
    goals = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0]), 4).float()
    solver = RandomShooting(CHOICE, horizon=8, candidates=4)
    last = {"plan": goals[:8][None]}

    def score(actions):
        return (actions * goals[1:][:, None]).sum((0, 2))

    plan, _ = solver.solve(score, last, generator=seeded())
    assert plan.tried.returns.max() >= 7
    steps = {tuple(solver.solve(score, last, generator=seeded(i))[0].mean[-1, 0].tolist())
             for i in range(30)}  # fmt: skip
    assert len(steps) > 1, "of the last step nothing is known: it is drawn"


@pytest.mark.parametrize("name", ["planet/small", "dreamer_v3/fast"])
def test_a_plan_in_a_latent_state_follows_its_generator(name):
    more = ["agent.candidates=32", "agent.elites=8"] if name.startswith("dreamer") else []
    agent = agent_of(name, *more)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=seeded(p.numel())))
    obs = {"x": torch.ones(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}
    planner = agent.planner if name.startswith("planet") else agent.actor
    before = torch.get_rng_state()
    means = [planner.plan(obs, planner.initial(2), seeded())[0].mean for _ in range(2)]
    assert torch.equal(*means) and torch.equal(before, torch.get_rng_state())
