"""Solvers: a problem with a known optimum, rows that do not see each other, generators, warm
starts, budgets; path scores.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.planning import CEM, ICEM, MPPI, PathScorer, RandomShooting
from agents.planning import plan as parts
from agents.planning.icem import coloured
from agents.planning.plan import Plan, Tried
from agents.spaces import ActionSpec

STEPS, ROWS, SIZE = 3, 4, 2
BOX, CHOICE = ActionSpec(SIZE), ActionSpec(4, discrete=True)
SOLVERS = {
    "shooting": RandomShooting(BOX, STEPS, candidates=20_000),
    "cem": CEM(BOX, STEPS, candidates=200, rounds=12, elites=20),
    "icem": ICEM(BOX, STEPS, candidates=200, rounds=12, elites=20, beta=0.5),
    "mppi": MPPI(BOX, STEPS, candidates=200, rounds=12, elites=20, temperature=3.0, min_std=0.01),
}
GOALS = torch.linspace(-0.8, 0.8, STEPS * ROWS * SIZE).reshape(STEPS, ROWS, SIZE)


def quadratic(goals):
    """Minus the squared distance to a row's own goal, over the path: the goal is the optimum, its
    return is 0.
    """
    rows = goals.shape[1]
    return lambda a: (
        -(a.unflatten(1, (-1, rows)) - goals.unsqueeze(1)).square().sum((0, 3)).flatten()
    )


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_optimum_of_a_known_problem_is_found(name):
    solver = SOLVERS[name]
    plan, _ = solver.solve(quadratic(GOALS), solver.init(ROWS), generator=seeded())
    assert (plan.mean - GOALS).abs().max() < (0.5 if name == "shooting" else 0.06)
    assert torch.equal(plan.best(), plan.mean[0]) and plan.rounds == solver.rounds


def test_shooting_takes_the_best_of_its_candidates():
    solver = RandomShooting(BOX, STEPS, candidates=50)
    plan, _ = solver.solve(quadratic(GOALS), solver.init(ROWS), generator=seeded())
    best = plan.tried.returns.argmax(0)
    assert all(torch.equal(plan.mean[:, b], plan.tried.actions[:, best[b], b]) for b in range(ROWS))


@pytest.mark.parametrize("name", SOLVERS)
def test_a_plan_of_several_environments_is_each_ones_own(name, monkeypatch):
    """With the noise of its own row, each gets the plan that it would get alone."""
    solver = (
        replace(SOLVERS[name], candidates=60, rounds=3)
        if name != "shooting"
        else replace(SOLVERS[name], candidates=60)
    )
    drawn, at = [], [0]
    random = {n: getattr(torch, n) for n in ("rand", "randn")}

    def noise(kind, row):
        def draw(*shape, **more):
            if row is None:
                drawn.append(random[kind](*shape, **more))
                return drawn[-1].clone()
            at[0] += 1
            whole = drawn[at[0] - 1]
            axis = next(
                i for i, (a, b) in enumerate(zip(whole.shape, shape)) if (a, b) == (ROWS, 1)
            )
            return whole.narrow(axis, row, 1).clone()

        return draw

    def solved(goals, row):
        at[0] = 0
        for kind in random:
            monkeypatch.setattr(torch, kind, noise(kind, row))
        state = solver.init(goals.shape[1])
        first, state = solver.solve(quadratic(goals), state)
        second, state = solver.solve(quadratic(goals), state)
        return first.mean, second.mean, state

    whole = solved(GOALS, None)
    for row in range(ROWS):
        alone = solved(GOALS[:, row : row + 1], row)
        assert all(
            torch.allclose(w[:, row : row + 1], a, atol=1e-6) for w, a in zip(whole[:2], alone[:2])
        )
        assert all(
            torch.allclose(v[row : row + 1], alone[2][k], atol=1e-6) for k, v in whole[2].items()
        )


@pytest.mark.parametrize("name", SOLVERS)
def test_one_generator_gives_one_plan(name):
    solver = SOLVERS[name]
    plans = [
        solver.solve(quadratic(GOALS), solver.init(ROWS), generator=seeded(s))[0] for s in (1, 1, 2)
    ]
    assert torch.equal(plans[0].mean, plans[1].mean) and not torch.equal(
        plans[0].mean, plans[2].mean
    )
    torch.manual_seed(0)
    before = torch.get_rng_state()
    solver.solve(quadratic(GOALS), solver.init(ROWS), generator=seeded())
    assert torch.equal(torch.get_rng_state(), before), "torch's own generator is left alone"


@pytest.mark.parametrize("name", SOLVERS)
def test_a_state_is_handed_in_and_not_changed(name):
    solver = SOLVERS[name]
    _, state = solver.solve(quadratic(GOALS), solver.init(ROWS), generator=seeded())
    kept = {k: v.clone() for k, v in state.items()}
    solver.solve(quadratic(GOALS), state, generator=seeded())
    assert all(torch.equal(v, kept[k]) for k, v in state.items())
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in solver.init(ROWS).items()
    }


def test_the_next_plan_starts_from_the_last_one_a_step_on():
    solver = MPPI(BOX, STEPS, candidates=8, elites=4)
    plan = torch.arange(ROWS * STEPS * SIZE, dtype=torch.float32).reshape(ROWS, STEPS, SIZE) / 100
    found, _ = solver.solve(quadratic(GOALS), {"plan": plan}, seconds=0.0)
    assert found.rounds == 0
    assert torch.equal(
        found.mean, torch.cat([plan[:, 1:], torch.zeros(ROWS, 1, SIZE)], 1).movedim(1, 0)
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_warm_start_is_better_than_none_with_few_candidates(name):
    solver = replace(SOLVERS[name], candidates=40, rounds=1)
    # the same at each step: a shifted plan is right, but for its last step
    goals = GOALS[:1].expand(STEPS, ROWS, SIZE)
    score = quadratic(goals)
    state = {k: v.clone() for k, v in solver.init(ROWS).items()}
    for k, v in state.items():
        state[k] = (
            goals.movedim(1, 0).reshape(ROWS, *[1] * (v.ndim - 3), STEPS, SIZE).expand_as(v).clone()
        )
    small = (
        {"std": 0.1}
        if isinstance(solver, CEM)
        else {"max_std": 0.1}
        if isinstance(solver, MPPI)
        else {}
    )
    solver = replace(solver, **small)
    warm, _ = solver.solve(score, state, generator=seeded())
    cold, _ = solver.solve(score, solver.init(ROWS), generator=seeded())
    error = [(p.mean[0] - goals[0]).square().sum() for p in (warm, cold)]
    assert error[0] < error[1]


@pytest.mark.parametrize("name", SOLVERS)
def test_where_an_episode_begins_the_last_plan_does_not_count(name):
    solver = SOLVERS[name]
    spoiled = {k: torch.full_like(v, torch.nan) for k, v in solver.init(ROWS).items()}
    first = torch.ones(ROWS, dtype=torch.bool)
    plans = [
        solver.solve(quadratic(GOALS), s, first=first, generator=seeded())[0]
        for s in (spoiled, solver.init(ROWS))
    ]
    assert torch.equal(plans[0].mean, plans[1].mean)
    _, kept = solver.solve(quadratic(GOALS), solver.init(ROWS), generator=seeded())
    first[1:] = False
    cleared = solver.cleared(kept, first)
    for k, fresh in solver.init(ROWS).items():
        assert torch.equal(cleared[k][0], fresh[0]) and torch.equal(cleared[k][1:], kept[k][1:])


@pytest.mark.parametrize("name", SOLVERS)
def test_a_budget_of_time_ends_the_rounds(name):
    solver = replace(SOLVERS[name], rounds=50, candidates=40)
    score = quadratic(GOALS)

    def slow(actions):
        time.sleep(0.02)
        return score(actions)

    plan, _ = solver.solve(slow, solver.init(ROWS), generator=seeded(), seconds=0.05)
    assert 1 <= plan.rounds < 10


@pytest.mark.parametrize("name", SOLVERS)
def test_without_a_round_the_policy_acts(name):
    proposals = torch.rand(STEPS, 5, ROWS, SIZE, generator=seeded())
    solver = SOLVERS[name]
    plan, state = solver.solve(None, solver.init(ROWS), proposals=proposals, seconds=0.0)
    assert plan.rounds == 0 and plan.tried is None
    assert torch.equal(plan.best(), proposals[0, 0]) and torch.equal(plan.draw(), plan.best())
    assert state.keys() == solver.init(ROWS).keys()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_proposal_of_a_policy_counts(name):
    solver = replace(SOLVERS[name], candidates=30, rounds=2)
    far = torch.full((STEPS, ROWS, SIZE), 0.777)
    sharp = lambda a: (a == 0.777).all(-1).all(0).float()  # noqa: E731  nobody finds it by chance
    proposals = torch.cat([torch.zeros(STEPS, 3, ROWS, SIZE), far.unsqueeze(1)], 1)
    plan, _ = solver.solve(sharp, solver.init(ROWS), proposals=proposals, generator=seeded())
    assert (plan.tried.returns == 1).sum(0).min() >= 1
    if name == "shooting":
        assert torch.equal(plan.mean, far)


def test_proposals_are_scored_once():
    seen = []

    def score(actions):
        seen.append(actions.shape[1])
        return -actions.square().sum((0, 2))

    MPPI(BOX, STEPS, candidates=30, rounds=3, elites=4).solve(
        score, {"plan": torch.zeros(1, STEPS, SIZE)}, proposals=torch.zeros(STEPS, 10, 1, SIZE)
    )
    assert seen == [30, 20, 20]


@pytest.mark.parametrize("name", SOLVERS)
def test_choices_are_found(name):
    settings = {"candidates": 200} if name == "shooting" else {"candidates": 100, "rounds": 6}
    solver = replace(SOLVERS[name], action=CHOICE, **settings)
    wanted = torch.tensor([[0, 3], [1, 1], [2, 0]])  # [H, B]
    goals = torch.nn.functional.one_hot(wanted, 4).float()
    plan, state = solver.solve(quadratic(goals), solver.init(2), generator=seeded())
    assert torch.equal(plan.best(), goals[0])
    assert torch.equal(plan.mean.argmax(-1), wanted)
    assert torch.allclose(plan.mean.sum(-1), torch.ones(STEPS, 2), atol=1e-5)
    action = plan.draw(seeded())
    assert torch.equal(action.sum(-1), torch.ones(2)) and torch.equal(
        action.amax(-1), torch.ones(2)
    )
    again, _ = solver.solve(quadratic(goals), state, generator=seeded())
    assert again.best().shape == (2, 4)


def test_a_candidate_without_a_return_is_never_an_elite():
    score = quadratic(GOALS)

    def odd(actions):
        found = score(actions)
        found[: 50 * ROWS] = torch.nan
        return found

    for solver in SOLVERS.values():
        plan, _ = solver.solve(odd, solver.init(ROWS), generator=seeded())
        assert plan.mean.isfinite().all() and (plan.mean - GOALS).abs().max() < 0.6


def test_mppi_weighs_elites_by_their_returns():
    solver = MPPI(ActionSpec(1), horizon=1, candidates=3, elites=2, temperature=2.0, min_std=0.0)
    tried = parts.Tried(
        torch.tensor([0.1, 0.5, -0.9]).reshape(1, 3, 1, 1), torch.tensor([[1.0], [2.0], [0.0]])
    )
    guess = solver.fit(solver.begin(torch.zeros(1, 1, 1)), tried)
    share = 1 / (1 + torch.tensor(-2.0).exp())
    mean = share * 0.5 + (1 - share) * 0.1
    std = (share * (0.5 - mean) ** 2 + (1 - share) * (0.1 - mean) ** 2).sqrt()
    assert torch.allclose(guess.mean.squeeze(), mean) and torch.allclose(guess.std.squeeze(), std)


@pytest.mark.parametrize("steps", [5, 8])
def test_coloured_noise_has_variance_one_and_belongs_together(steps):
    like = torch.zeros((), dtype=torch.float64)
    noise = coloured(steps, (20_000,), 2.0, seeded(), like)
    assert torch.allclose(noise.square().mean(), torch.ones((), dtype=torch.float64), atol=0.03)
    white = coloured(steps, (20_000,), 0.0, seeded(), like)
    near = [(x[1:] * x[:-1]).mean() for x in (noise, white)]
    assert near[0] > near[1] + 0.3


def test_numbers_that_make_no_sense_are_refused():
    for more in ({"horizon": 0}, {"candidates": 0}, {"rounds": 0}, {"elites": 0}, {"elites": 600}):
        with pytest.raises(ValueError, match=next(iter(more))):
            MPPI(BOX, **more)


# --------------------------------------------------------------------------------------------
# scores of paths


def imagine(state, actions):
    return {"x": torch.cat([state["x"][None], state["x"] + actions.cumsum(0)])}


def test_a_path_is_worth_its_rewards_its_costs_and_the_value_at_its_end():
    g = seeded()
    actions, start = torch.randn(STEPS, 6, 1, generator=g), torch.randn(2, 1, generator=g)
    live = torch.rand(STEPS, 6, generator=g)
    scorer = PathScorer(
        imagine,
        reward=lambda path, a: path["x"][1:, :, 0] + a[..., 0],
        value=lambda s: 7.0 * s["x"][:, 0],
        live=lambda path, a: live,
        discount=0.9,
        constraints=[lambda path, a: a[..., 0].abs()],
    )
    found = scorer.at({"x": start})(actions)
    for n in range(6):
        x, alive, total = start[n % 2, 0], 1.0, 0.0
        for t in range(STEPS):
            x = x + actions[t, n, 0]
            total = total + 0.9**t * alive * (x + actions[t, n, 0] - actions[t, n, 0].abs())
            alive = alive * live[t, n]
        assert torch.allclose(found[n], total + 0.9**STEPS * alive * 7.0 * x, atol=1e-5)


def test_without_ends_and_values_a_path_is_worth_its_rewards():
    actions = torch.ones(STEPS, 2, 1)
    scorer = PathScorer(imagine, reward=lambda path, a: a[..., 0], discount=0.5)
    assert torch.allclose(scorer.at({"x": torch.zeros(1, 1)})(actions), torch.tensor(1.75))


def test_a_solver_on_a_path_scorer_goes_where_the_reward_is():
    scorer = PathScorer(
        imagine, reward=lambda path, a: -(path["x"][1:, :, 0] - 0.5).abs(), discount=1.0
    )
    solver = replace(SOLVERS["mppi"], action=ActionSpec(1))
    plan, _ = solver.solve(
        scorer.at({"x": torch.tensor([[0.0], [1.0]])}), solver.init(2), generator=seeded()
    )
    assert torch.allclose(plan.best(), torch.tensor([[0.5], [-0.5]]), atol=0.1)


def test_an_elite_is_drawn_with_the_weights_of_its_return():
    actions = torch.tensor([0.1, 0.2, 0.3, 0.9]).view(1, 4, 1, 1).expand(2, 4, 3000, 1)
    returns = torch.tensor([1.0, 2.0, 3.0, -5.0]).unsqueeze(1).expand(4, 3000)
    plan = Plan(torch.zeros(2, 3000, 1), torch.zeros(2, 3000, 1), 1, Tried(actions, returns), False)
    drawn = plan.elite(3, 0.5, seeded()).squeeze(1)
    weights = np.exp(0.5 * np.array([1.0, 2.0, 3.0]))
    shares = [(drawn == a).double().mean().item() for a in (0.1, 0.2, 0.3)]
    assert shares == pytest.approx(weights / weights.sum(), abs=0.03)
    assert torch.equal(plan.draw(seeded(), around=drawn.unsqueeze(1)).squeeze(1), drawn)
    untried = Plan(plan.mean, plan.std, 0, None, False)
    assert torch.equal(untried.elite(3, 0.5), plan.mean[0])
