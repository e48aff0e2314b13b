"""TD-MPC: the objective is its loop form and an independent one in numpy; who gets which gradient;
ends; how it acts.
"""

import math

import numpy as np
import pytest
import torch

from agents.agent import Agent
from agents.check import check_agent
from agents.guard import NotFinite
from agents.planning import Plan
from agents.spaces import ActionSpec, Interface
from agents.tdmpc import TDMPC, TDMPCConfig
from pixyz.types import PixyzError

SHAPES = {"orient": (3,), "velocity": (2,)}
BATCH, HORIZON = 4, 3


def config(**more):
    sizes = {
        "latent": 12,
        "group": 4,
        "units": 10,
        "encoder_units": 9,
        "critics": 2,
        "bins": 13,
        "limit": 6.0,
        "batch": BATCH,
        "candidates": 24,
        "proposals": 4,
        "rounds": 2,
        "elites": 6,
        "depth": 2,
        "min_log_std": -3.0,
        "max_log_std": 1.0,
    }
    return TDMPCConfig(**{**sizes, **more})


def agent_of(discrete=False, fission=True, shapes=SHAPES, dtype=torch.float64, **more):
    """An agent in which no weight is zero."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)  # constants too: sqrt(D / 2) is rounded where it is kept
    try:
        agent = TDMPC(shapes, ActionSpec(2, discrete), config(**more), fission=fission)
    finally:
        torch.set_default_dtype(torch.float32)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return agent


def recorded(discrete=False, dtype=torch.float64, ends=True, n_step=1):
    g = torch.Generator().manual_seed(3)
    steps = HORIZON + n_step
    action = torch.tanh(torch.randn(steps, BATCH, 2, generator=g, dtype=dtype))
    if discrete:
        action = torch.nn.functional.one_hot(action.argmax(-1), 2).to(dtype)
    batch = {
        "orient": torch.randn(steps, BATCH, 3, generator=g, dtype=dtype),
        "action": action,
        "velocity": 3 * torch.randn(steps, BATCH, 2, generator=g, dtype=dtype),
        "reward": 2 * torch.randn(steps, BATCH, generator=g, dtype=dtype),
    }
    batch |= {
        k: torch.zeros(steps, BATCH, dtype=torch.bool)
        for k in ("is_first", "is_last", "is_terminal")
    }
    # the first sequence ends for good, the second is cut short, the third begins anew in between
    if ends:
        batch["is_last"][2, :2] = True
        batch["is_terminal"][2, 0] = True
        batch["is_first"][3, :2] = True
        batch["is_first"][0, 2] = batch["is_first"][2, 2] = True
    return batch


def evaluated(agent, batch, seed=7):
    torch.manual_seed(seed)
    agent.zero_grad(set_to_none=True)
    return agent.objective.eval(agent.prepare(batch), return_dict=True, return_all=False)


# -------------------------------------------------------------------------------------------- in
# numpy, by hand


def lin(x, w, b):
    return x @ w.T + b


def norm(x, gain=1.0, shift=0.0):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gain + shift


def silu(x):
    return x / (1 + np.exp(-x))


def soft(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))


def symexp(x):
    return np.sign(x) * np.expm1(np.abs(x))


class ByHand:
    """The networks in numpy, from the weights by name."""

    def __init__(self, agent):
        self.w = {k: v.detach().numpy() for k, v in agent.state_dict().items()}
        self.c = agent.config
        self.bins = np.linspace(-6, 6, 13)

    def net(self, name, x):
        w = self.w
        for i in range(9):
            if f"{name}.net.hidden.{i}.weight" in w:
                at = f"{name}.net.hidden.{i}"
                x = silu(
                    norm(
                        lin(x, w[f"{at}.weight"], w[f"{at}.bias"]),
                        w[f"{at}.gain"],
                        w[f"{at}.shift"],
                    )
                )
        return lin(x, w[f"{name}.net.last.weight"], w[f"{name}.net.last.bias"])

    def latent(self, name, x):
        x = norm(
            self.net(name, x), self.w[f"{name}.net.norm.weight"], self.w[f"{name}.net.norm.bias"]
        )
        return soft(x.reshape(*x.shape[:-1], -1, self.c.group)).reshape(x.shape)

    def critic(self, name, i, x):
        w = self.w
        for layer in range(2):
            x = x @ w[f"{name}.net.weights.{layer}"][i] + w[f"{name}.net.biases.{layer}"][i]
            x = silu(norm(x, w[f"{name}.net.gains.{layer}"][i], w[f"{name}.net.shifts.{layer}"][i]))
        return x @ w[f"{name}.net.weights.2"][i] + w[f"{name}.net.biases.2"][i]

    def mean(self, logits):
        return symexp(soft(logits) @ self.bins)

    def cross_entropy(self, logits, x):
        place = np.clip(symlog(x) + 6, 0, 12)
        low = np.minimum(np.floor(place).astype(int), 11)
        share = place - low
        log = np.log(soft(logits))
        at = np.arange(len(low))
        return -((1 - share) * log[at, low] + share * log[at, low + 1])

    def draw(self, z, noise):
        loc, raw = np.split(self.net("policy", z), 2, -1)
        log_std = -3 + 2 * (np.tanh(raw) + 1)
        u = loc + np.exp(log_std) * noise
        log_normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        return np.tanh(u), (log_normal - np.log(1 - np.tanh(u) ** 2)).sum(-1)


def ahead(x, t, b, n_step, discount):
    """The rewards after step t, the bootstrap's discount and row, one sequence at a time."""
    total, factor = x["reward"][t + 1, b], discount
    row = t + 1
    while row < t + n_step and not x["is_terminal"][row, b] and not x["is_first"][row + 1, b]:
        row += 1
        total += factor * x["reward"][row, b]
        factor *= discount
    return total, 0.0 if x["is_terminal"][row, b] else factor, row


@pytest.mark.parametrize(("n_step", "pessimism"), [(1, 1.0), (3, 0.0), (3, 0.25)])
def test_the_objective_is_that_of_the_paper_in_numpy(n_step, pessimism):
    agent, batch = agent_of(n_step=n_step, pessimism=pessimism), recorded(n_step=n_step)
    torch.manual_seed(7)
    noise = [
        torch.randn(n * BATCH, 2, dtype=torch.float64).numpy().reshape(n, BATCH, 2)
        for n in (HORIZON, HORIZON + 1)
    ]
    hand, c = ByHand(agent), agent.config
    x = {k: v.numpy() for k, v in batch.items()}
    seen = symlog(np.concatenate([x["orient"], x["velocity"]], -1))
    z = hand.latent("encoder", seen[0])
    states, on = [z], np.ones(BATCH)
    total = dict.fromkeys(("consistency", "reward_loss", "value", "cont_loss"), 0.0)
    loss, weights = 0.0, [np.ones(BATCH)]
    for t in range(HORIZON):
        za = np.concatenate([z, x["action"][t]], -1)
        following = hand.latent("encoder", seen[t + 1])
        after = hand.latent("dynamics", za)
        cont = 1.0 - x["is_terminal"][t + 1]
        on = on * (1.0 - x["is_first"][t + 1])
        rewards, factors, rows = map(
            np.array, zip(*[ahead(x, t, b, n_step, c.discount) for b in range(BATCH)])
        )
        later = hand.latent("encoder", seen[rows, np.arange(BATCH)])
        chosen = np.concatenate([later, hand.draw(later, noise[0][t])[0]], -1)
        both = [hand.mean(hand.critic("slow_critics", i, chosen)) for i in range(2)]
        q = pessimism * np.minimum(*both) + (1.0 - pessimism) * np.mean(both, 0)
        y = rewards + factors * q
        logit = hand.net("cont", after)[:, 0]
        terms = {
            "consistency": ((following - after) ** 2).mean(-1)
            + 0.5 * c.latent * (math.log(2 * math.pi) + math.log(c.latent / 2)),
            "reward_loss": hand.cross_entropy(hand.net("reward", za), x["reward"][t + 1]),
            "value": sum(hand.cross_entropy(hand.critic("critics", i, za), y) for i in range(2)),
            "cont_loss": -(
                cont * -np.log1p(np.exp(-logit)) + (1 - cont) * -np.log1p(np.exp(logit))
            ),
        }
        total = {k: total[k] + terms[k].mean() / HORIZON for k in total}
        each = (
            20 * terms["consistency"]
            + 0.1 * terms["reward_loss"]
            + 0.1 * terms["value"] / 2
            + 0.1 * terms["cont_loss"]
        )
        loss += (0.5**t * on * each).mean() / HORIZON
        z = after
        states.append(z)
        weights.append(0.5 ** (t + 1) * on)
    actions = [hand.draw(s, n) for s, n in zip(states, noise[1])]
    values = [
        np.mean(
            [hand.mean(hand.critic("critics", i, np.concatenate([s, a], -1))) for i in range(2)], 0
        )
        for s, (a, _) in zip(states, actions)
    ]
    low, high = (0.01 * np.quantile(values[0], p) for p in (0.05, 0.95))
    scale = max(1.0, high - low)
    policy = -np.mean(
        [w * (v / scale - 1e-4 * log) for w, v, (_, log) in zip(weights, values, actions)]
    )
    value, found = evaluated(agent, batch)
    for name, expected in {**total, "policy": policy}.items():
        assert found[name].mean().item() == pytest.approx(expected, rel=1e-9), name
    assert value.item() == pytest.approx(loss + policy, rel=1e-10)


def test_it_prints_as_one_expression():
    text = str(agent_of().objective)
    for part in (
        r"\log p(e|z_{next})",
        r"\log p_{r}(reward|z,action)",
        r"\log Q(y|z,action)",
        r"\log p_{c}(cont|z_{next})",
    ):
        assert part in text
    assert r"\bar{y}(y|reward_{n},discount_{n},q_{e})" in text and r"\bar{\underline{Q}}" in text


@pytest.mark.parametrize(("discrete", "n_step"), [(False, 1), (True, 1), (False, 3)])
def test_it_equals_its_loop_form(discrete, n_step):
    found = []
    for fission in (True, False):
        agent = agent_of(discrete, fission, n_step=n_step)
        value, _ = evaluated(agent, recorded(discrete, n_step=n_step))
        value.backward()
        found.append(
            (value.item(), {n: p.grad for n, p in agent.named_parameters() if p.grad is not None})
        )
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert found[0][1].keys() == found[1][1].keys()
    assert all(torch.allclose(g, found[1][1][n], atol=1e-12) for n, g in found[0][1].items())


# --------------------------------------------------------------------------------------------
# gradients


def moved(agent, loss):
    agent.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {
        n.split(".")[0]
        for n, p in agent.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }


@pytest.mark.parametrize("discrete", [False, True])
def test_each_term_moves_only_what_it_should(discrete):
    agent = agent_of(discrete)
    _, found = evaluated(agent, recorded(discrete))
    assert moved(agent, found["policy"].mean()) == {"policy"}
    model = {"encoder", "dynamics"}
    assert moved(agent, found["consistency"].mean()) == model
    assert moved(agent, found["reward_loss"].mean()) == {*model, "reward"}
    assert moved(agent, found["value"].mean()) == {*model, "critics"}
    assert moved(agent, found["cont_loss"].mean()) == {*model, "cont"}
    assert not any(p.requires_grad for p in agent.slow_critics.parameters())


def test_what_is_predicted_gets_no_gradient():
    """The encoder is moved through the first observation alone."""
    agent, batch = agent_of(), recorded(ends=False)
    x = {
        k: v.clone().requires_grad_() if v.is_floating_point() else v
        for k, v in agent.prepare(batch).items()
    }
    torch.manual_seed(7)
    agent.objective.eval(x).backward()
    for key in SHAPES:
        assert x[key].grad.abs().max() > 0
        assert x[f"{key}_next"].grad is None or x[f"{key}_next"].grad.abs().max() == 0


# -------------------------------------------------------------------------------------------- ends
# of episodes


def value_part(agent, batch):
    return evaluated(agent, batch)[1]["value"]


def test_a_termination_cuts_the_bootstrap_and_a_cut_does_not():
    agent = agent_of()
    batch = recorded(ends=False)
    spoil = {k: v.clone() for k, v in batch.items()}
    for key in SHAPES:
        spoil[key][3] += 1.0  # what the last step's bootstrap sees
    for flag, same in (("is_terminal", True), ("is_last", False)):
        for b in (batch, spoil):
            for name in ("is_last", "is_terminal"):
                b[name] = torch.zeros(HORIZON + 1, BATCH, dtype=torch.bool)
            b["is_last"][3] = True
            b[flag][3] = True
        equal = torch.allclose(value_part(agent, batch)[-1], value_part(agent, spoil)[-1])
        assert equal == same, flag


def test_a_truncated_step_bootstraps_as_any_other():
    agent, batch = agent_of(), recorded(ends=False)
    before = value_part(agent, batch)
    batch["is_last"][2] = True
    assert torch.equal(before, value_part(agent, batch))


def test_nothing_is_learned_across_the_border_of_two_episodes():
    agent, batch = agent_of(), recorded(ends=False)
    batch["is_first"][2] = True
    other = {k: v.clone() for k, v in batch.items()}
    for key in (*SHAPES, "reward", "action"):
        other[key][2:] = other[key][2:].flip(1)
    found = []
    for b in (batch, other):
        _, values = evaluated(agent, b)
        names = ("consistency", "reward_loss", "value", "cont_loss")
        agent.zero_grad(set_to_none=True)
        evaluated(agent, b)[0].backward()
        found.append(
            [
                {n: values[n][:1] for n in names},
                {n: p.grad for n, p in agent.named_parameters() if p.grad is not None},
            ]
        )
    assert all(torch.equal(v, found[1][0][n]) for n, v in found[0][0].items())
    for n, g in found[0][1].items():
        if not n.startswith("policy"):
            assert torch.allclose(g, found[1][1][n], atol=1e-14), n


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_sequence_surprises_by_what_it_costs_the_critics(n_step):
    agent, batch = agent_of(n_step=n_step), recorded(n_step=n_step, ends=False)
    batch["is_first"][1, 0] = batch["is_first"][2, 1] = True
    _, found = evaluated(agent, batch)
    torch.manual_seed(7)
    priority = agent.learn(batch).priority
    assert priority.shape == (1, BATCH) and not priority.requires_grad
    cost = found["value"].detach() * torch.tensor([[1.0], [0.5], [0.25]])
    assert priority[0, 0] == 0.0  # begins with an episode's last row
    assert priority[0, 1].item() == pytest.approx(cost[0, 1].item() / HORIZON)
    assert torch.allclose(priority[0, 2:], cost[:, 2:].mean(0))


def test_more_critics_are_taken_two_at_a_time():
    target = agent_of(critics=5).target
    q = torch.arange(5.0).reshape(1, 5, 1).expand(2, 5, 1)
    torch.manual_seed(0)
    found = [
        target(reward_n=torch.zeros(2, 1), discount_n=torch.full((2, 1), 0.99), q_e=q)["y"]
        for _ in range(100)
    ]
    assert all(y.shape == (2, 5, 1) for y in found)
    # the largest is never the smaller one
    assert {round(y[0, 0, 0].item() / 0.99, 4) for y in found} == {
        0.0,
        1.0,
        2.0,
        3.0,
    }


# -------------------------------------------------------------------------------------------- the
# contract


def interface_of(shapes, discrete):
    kinds = {k: np.dtype(np.uint8 if len(s) == 3 else np.float32) for k, s in shapes.items()}
    return Interface(shapes, kinds, ActionSpec(2, discrete))


@pytest.mark.parametrize(
    "shapes", [SHAPES, {"camera": (16, 16, 3), "orient": (3,)}], ids=["vectors", "images"]
)
@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
@pytest.mark.parametrize("critics", [2, 5])
def test_it_keeps_the_contract(shapes, discrete, critics):
    agent = agent_of(discrete, shapes=shapes, dtype=torch.float32, critics=critics)
    assert isinstance(agent, Agent)
    check_agent(agent, interface_of(shapes, discrete))


def test_settings_that_make_no_sense_are_refused():
    bad = [
        {"latent": 10, "group": 4},
        {"bins": 12},
        {"proposals": 24},
        {"elites": 30},
        {"discount": 0.0},
        {"batch": 0},
    ]
    for more in [*bad, {"seconds": -1.0}]:
        with pytest.raises(ValueError, match=next(iter(more))):
            config(**more)
    for shapes in ({}, {"action": (3,)}, {"x": (2, 3)}, {"x_next": (3,)}):
        with pytest.raises(PixyzError):
            TDMPC(shapes, ActionSpec(2), config())


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (
            {"x": (3,), "action": (3,), "x_next": (3,)},
            r"^action, x_next: expected .*; rename them$",
        ),
        ({"x": (3,), "map": (2, 3)}, r"got \{'map': \(2, 3\)\}; leave out"),
        ({}, r"got none"),
    ],
)
def test_the_wrong_observations_are_named(shapes, said):
    with pytest.raises(PixyzError, match=said):
        TDMPC(shapes, ActionSpec(2), config())


# --------------------------------------------------------------------------------------------
# acting


def observed(rows=3, first=False):
    g = torch.Generator().manual_seed(1)
    obs = {k: torch.randn(rows, *s, generator=g) for k, s in SHAPES.items()}
    return {**obs, "is_first": torch.full((rows,), first)}


def test_the_best_action_is_the_mean_of_the_plan_and_an_explored_one_is_drawn():
    agent = agent_of(dtype=torch.float32)
    obs, state = observed(), agent.initial(3)
    plan, new = agent.plan(obs, state, torch.Generator().manual_seed(4))
    torch.manual_seed(4)
    action, remembered = agent.act(obs, state)
    assert torch.equal(action, plan.mean[0]) and torch.equal(remembered["plan"], new["plan"])
    torch.manual_seed(4)
    explored, _ = agent.act(obs, state, explore=True)
    assert not torch.equal(explored, action)
    assert ((explored - action).abs() <= 6 * plan.std[0]).all()


def test_a_plan_is_scored_as_the_model_says():
    agent = agent_of()
    agent.cont.met.fill_(True)
    obs = {k: v.double() if v.is_floating_point() else v for k, v in observed(1).items()}
    plan, _ = agent.plan(obs, agent.initial(1))
    actions, returns = plan.tried
    with torch.no_grad():
        z = agent.encoder(**{k: obs[k] for k in SHAPES})["z"].expand(actions.shape[1], -1)
        total, live = 0.0, 1.0
        for t in range(HORIZON):
            a = actions[t, :, 0]
            total = (
                total
                + agent.config.discount**t
                * live
                * agent.reward.sample_mean({"z": z, "action": a})[:, 0]
            )
            z = agent.dynamics(z, a)["z_next"]
            live = live * agent.cont.sample_mean({"z_next": z})[:, 0]
        a = torch.tanh(agent.policy(z)["loc"])
        q = agent.critics.sample_mean({"z": z, "action": a})[:, :, 0].mean(1)
    assert torch.allclose(returns[:, 0], total + agent.config.discount**HORIZON * live * q)


def test_ends_count_in_a_plan_once_one_was_met():
    agent = agent_of(dtype=torch.float32)
    batch = recorded(dtype=torch.float32, ends=False)
    agent.learn(batch)
    assert not agent.cont.met
    batch["is_terminal"][2, 0] = True
    agent.learn(batch)
    assert agent.cont.met and "cont.met" in agent.state()["weights"]


def test_numbers_that_are_not_finite_are_refused():
    agent = agent_of(dtype=torch.float32)
    obs = observed()
    obs["orient"][1, 0] = torch.nan
    with pytest.raises(NotFinite, match="orient"):
        agent.act(obs, agent.initial(3))


def test_without_time_the_policy_acts():
    agent = agent_of(dtype=torch.float32, seconds=1e-9)
    obs = observed()
    torch.manual_seed(0)
    action, _ = agent.act(obs, agent.initial(3))
    torch.manual_seed(0)
    with torch.no_grad():
        z = agent.encoder(**{k: obs[k] for k in SHAPES})["z"]
        assert torch.allclose(action, agent.policy.propose(z.repeat(4, 1))[:3], atol=1e-6)


def test_a_floor_of_the_deviation_of_actions_that_explore():
    plan = Plan(torch.zeros(1, 4000, 1), torch.full((1, 4000, 1), 0.01), 1, None, False)
    g = torch.Generator().manual_seed(0)
    assert plan.draw(g).std() == pytest.approx(0.01, rel=0.1)
    assert plan.draw(g, least=0.2).std() == pytest.approx(0.2, rel=0.1)
    obs = {k: torch.zeros(200, *s, dtype=torch.float64) for k, s in SHAPES.items()}
    obs["is_first"] = torch.ones(200, dtype=torch.bool)
    spread = []
    for floor in (0.0, 0.5):
        agent = agent_of(explore_std=floor, max_std=0.05)
        torch.manual_seed(1)
        spread.append(agent.act(obs, agent.initial(200), explore=True)[0].std(0).mean())
    assert spread[1] > 0.3 > spread[0]


def test_exploring_is_around_an_elite_and_not_between_them(monkeypatch):
    obs = {k: torch.zeros(2, *s, dtype=torch.float64) for k, s in SHAPES.items()}
    obs["is_first"] = torch.ones(2, dtype=torch.bool)
    monkeypatch.setattr(Plan, "elite", lambda plan, *args: torch.full_like(plan.mean[0], 0.7))
    for around, expected in ((True, 0.7), (False, None)):
        agent = agent_of(around_elite=around, max_std=1e-6, min_std=1e-7)
        action = agent.act(obs, agent.initial(2), explore=True)[0]
        assert bool((action - 0.7).abs().max() < 1e-4) is (expected is not None)
        assert bool((agent.act(obs, agent.initial(2))[0] - 0.7).abs().max() > 1e-2)
