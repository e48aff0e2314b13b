"""PlaNet, Dreamer V1 and V2: loss and gradients are those by hand and of the loop form; who gets
which; target critic; acting.
"""

from dataclasses import replace

import hand_family
import pytest
import torch
from agent_parts import (
    KINDS,
    SHAPES,
    assert_same,
    evaluated,
    gradients,
    interface_of,
    moved,
    nowhere_zero,
    recorded,
)

from agents.agent import Agent
from agents.check import check_agent
from agents.dreamer import (
    DreamerV1,
    DreamerV1Config,
    DreamerV2,
    DreamerV2Config,
    DreamerV3,
    DreamerV3Config,
)
from agents.dreamer.optimizer import ClippedAdam
from agents.dreamer.returns import Curious
from agents.planet import PlaNet, PlaNetConfig
from agents.spaces import ActionSpec

STEPS, BATCH = 6, 3
SIZES = {
    "deter": 8,
    "hidden": 6,
    "groups": 3,
    "classes": 3,
    "units": 6,
    "depth": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "prior_layers": 1,
    "posterior_layers": 1,
    "reward_layers": 1,
    "continue_layers": 1,
}
BEHAVIOUR = {
    "units": 6,
    "actor_layers": 1,
    "critic_layers": 1,
    "horizon": 4,
    "batch": BATCH,
    "length": STEPS,
}
PLAN = {"horizon": 4, "candidates": 16, "elites": 4, "rounds": 2, "batch": BATCH, "length": STEPS}
AGENTS = {
    "planet": (PlaNet, PlaNetConfig, PLAN, hand_family.planet),
    "v1": (DreamerV1, DreamerV1Config, BEHAVIOUR, hand_family.dreamer_v1),
    "v2": (DreamerV2, DreamerV2Config, BEHAVIOUR, hand_family.dreamer_v2),
}


def agent_of(
    name, discrete=False, dtype=torch.float64, shapes=SHAPES, fission=True, model=None, **more
):
    torch.manual_seed(0)
    cls, config, own, _ = AGENTS[name]
    model = replace(config().model, **SIZES, **(model or {}))
    return nowhere_zero(
        cls(shapes, ActionSpec(2, discrete), config(model, **{**own, **more}), fission=fission),
        dtype,
    )


def window(agent, dtype=torch.float64, ends=True):
    return recorded(
        agent.window.rows, BATCH, agent.action.discrete, dtype, ends=ends, stored=agent.stored
    )


CASES = {
    "planet": ("planet", {}),
    "planet, free nats": ("planet", {"model": {"free_nats": 0.3}, "stored_latents": True}),
    "v1": ("v1", {"model": {"free_nats": 0.0}}),
    "v1, free nats": ("v1", {"stored_latents": True}),
    "v1, choices": ("v1", {"discrete": True, "model": {"free_nats": 0.0}}),
    "v1, categorical": ("v1", {"model": {"latent": "categorical", "unimix": 0.0}}),
    "v2": ("v2", {"model": {"free_nats": 0.0}}),
    "v2, mixed": ("v2", {"reinforce": 0.4, "stored_latents": True}),
    "v2, choices": ("v2", {"discrete": True, "model": {"free_nats": 0.1}}),
    "v2, choices mixed": ("v2", {"discrete": True, "reinforce": 0.9}),
    "v2, gaussian": ("v2", {"model": {"latent": "gaussian"}}),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_by_hand_and_of_loops(case):
    name, more = CASES[case]
    agent, loop = agent_of(name, **more), agent_of(name, **more, fission=False)
    batch = window(agent)
    value, found = evaluated(agent, batch)
    split = gradients(agent, value)
    torch.manual_seed(7)
    wanted, terms = AGENTS[name][3](agent, agent.prepare(batch))
    assert value.item() == pytest.approx(wanted.item(), rel=1e-11)
    assert terms.keys() == set(agent.names)
    for term, expected in terms.items():
        assert found[term].mean().item() == pytest.approx(expected.item(), rel=1e-10), term
    assert_same(split, gradients(agent, wanted))
    assert_same(split, gradients(loop, evaluated(loop, batch)[0]))
    trained = {n for n, p in agent.named_parameters() if p.requires_grad}
    assert split.keys() <= trained
    if name != "planet":
        assert {n for n in split if not n.startswith("model")} == {
            n for n in trained if not n.startswith("model")
        }


@pytest.mark.parametrize("case", ["v1", "v1, choices", "v2", "v2, mixed", "v2, choices"])
def test_each_term_moves_only_what_it_should(case):
    name, more = CASES[case]
    agent = agent_of(name, **more)
    _, found = evaluated(agent, window(agent))
    assert moved(agent, found["policy"].mean()) == {"policy"}
    assert moved(agent, found["value"].mean()) == {"value"}
    for term in set(agent.names) - {"policy", "value"}:
        assert moved(agent, found[term].mean()) <= {"model"}


@pytest.mark.parametrize("case", ["v1", "v1, choices", "v2", "v2, mixed", "v2, choices"])
def test_networks_are_asked_once_for_each_state_of_a_dream(case):
    """Not for each pair of a state and an action of it: the same losses, several times the cost."""
    name, more = CASES[case]
    agent = agent_of(name, **more)
    batch, rows = window(agent), {"policy": [], "value": []}
    evaluated(agent, batch)  # a first run tries networks on few rows
    for part, seen in rows.items():
        net = getattr(agent, part).net
        net.register_forward_hook(lambda *call, seen=seen: seen.append(len(call[-1])))
    evaluated(agent, batch)
    states = BEHAVIOUR["horizon"] * STEPS * BATCH
    assert max(rows["policy"]) <= states and sum(rows["policy"]) <= 2 * states
    assert set(rows["value"]) == {states + STEPS * BATCH}


def test_they_print_as_the_papers_sums():
    texts = {name: str(agent_of(name).objective) for name in AGENTS}
    kl = r"D_{KL} \left[q(stoch|deter,embed)||p(stoch|deter) \right]"
    assert rf"max \left(3, {kl}\right)" in texts["planet"]
    assert rf"max \left(3, mean \left({kl} \right)\right)" in texts["v1"]
    dyn, rep = kl.replace("[q", r"[\bar{q}"), kl.replace("||p", r"||\bar{p}")
    assert all(
        rf"max \left(1, mean \left({each} \right)\right)" in texts["v2"] for each in (dyn, rep)
    )
    assert (
        r"mean \left(- w_{\pi} gain \right) + mean \left(- w \log "
        r"v(ret|deter_{bar},stoch_{bar}) \right)" in texts["v1"]
    )
    dream = (
        r"\prod_{t=1}^{4} "
        r"\underline{p}(stoch_{next}|deter_{next})\underline{f}(deter_{next}|deter_{prev},stoch_{prev},"
    )
    dream += "action_{prev})"
    assert (
        dream + r"\pi(action_{prev}|deter_{prev},stoch_{prev})" in texts["v1"]
        and dream in texts["v2"]
    )
    assert "gain + 0.0001 H" in texts["v2"] and "adv" in str(agent_of("v2", True).objective)


@pytest.mark.parametrize("name", AGENTS)
def test_the_first_evaluation_has_the_gradient_of_later_ones(name):
    """Bit for bit: a run that was stopped begins with one."""
    agent = agent_of(name, dtype=torch.float32)
    batch = window(agent, torch.float32)
    first, later = (gradients(agent, evaluated(agent, batch)[0]) for _ in range(2))
    assert all(torch.equal(g, later[n]) for n, g in first.items())


def test_the_target_critic_is_copied_now_and_then():
    agent = agent_of("v2", dtype=torch.float32, slow_every=3)
    batch = window(agent, torch.float32)
    equal = []
    for _ in range(6):
        agent.learn(batch)
        pairs = zip(agent.value.parameters(), agent.slow_value.parameters(), strict=True)
        equal.append(all(torch.equal(a, b) for a, b in pairs))
    assert equal == [False, False, True] * 2
    twin = agent_of("v2", dtype=torch.float32, slow_every=3)
    twin.load_state(agent.state())
    assert twin.optimizer.updates == 6


def test_each_group_is_clipped_by_its_own_norm():
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    optimizer = ClippedAdam(
        [{"params": weights[:2], "lr": 0.1}, {"params": weights[2:], "lr": 0.2}], eps=1.0, clip=1.0
    )
    grads = [torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]), torch.tensor([0.0, 0.5])]
    for w, g in zip(weights, grads, strict=True):
        w.grad = g.clone()
    optimizer.step()
    clipped = [grads[0] / 5, grads[1] / 5, grads[2]]
    for w, g, lr in zip(weights, clipped, (0.1, 0.1, 0.2), strict=True):
        assert torch.allclose(w, -lr * g / (g.abs() + 1.0))


# --------------------------------------------------------------------------------------------
# acting


def planning_dreamer(discrete=False, dtype=torch.float32, shapes=SHAPES):
    torch.manual_seed(0)
    sizes = {**SIZES, "blocks": 2, "bins": 11}
    config = DreamerV3Config(
        replace(DreamerV3Config().model, **sizes),
        **BEHAVIOUR,
        bins=11,
        candidates=12,
        plan_horizon=3,
        elites=4,
        proposals=3,
    )
    return nowhere_zero(DreamerV3(shapes, ActionSpec(2, discrete), config), dtype, 0.05)


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_a_dreamer_that_plans_keeps_the_contract(discrete):
    agent = planning_dreamer(discrete)
    check_agent(agent, interface_of(SHAPES, discrete))
    assert "2.net.0.0.weight" in agent.acting.state_dict()


def test_a_dreamers_plan_ends_with_its_value():
    agent = planning_dreamer(dtype=torch.float64)
    start = {"deter": torch.randn(5, SIZES["deter"]).double(), "stoch": torch.eye(9)[:5].double()}
    actions = torch.tanh(torch.randn(3, 5, 2)).double()
    planner = agent.actor
    torch.manual_seed(1)
    found = planner.scorer.returns(start, actions)
    torch.manual_seed(1)
    path = planner.scorer.imagine(start, actions)
    r, c = path["r"][..., 0], path["c"][..., 0]
    assert torch.allclose(
        c[0], torch.sigmoid(agent.model.cont.net(path["deter"][1], path["stoch"][1]))[:, 0]
    )
    v = agent.value.sample_mean({k: path[k][-1] for k in ("deter", "stoch")})[:, 0]
    assert torch.allclose(found, r[0] + c[0] * (r[1] + c[1] * (r[2] + c[2] * v)))


@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_a_curious_dreamer_is_paid_for_what_its_model_is_unsure_of(weight, monkeypatch):
    torch.manual_seed(0)
    sizes = replace(DreamerV3Config().model, **SIZES, blocks=2, bins=11)
    config = DreamerV3Config(
        sizes, **BEHAVIOUR, bins=11, curiosity=weight, members=3, replay_value=0.0
    )
    agent = nowhere_zero(DreamerV3(SHAPES, ActionSpec(2), config), torch.float32, 0.05)
    check_agent(agent, interface_of(SHAPES, False))
    assert {"ensemble", "policy"} <= agent.learn(window(agent, torch.float32)).metrics.keys()
    met = {}

    def spied(forward, name):
        def call(*given, **named):
            values = [*given, *named.values()]
            # a plan's first run tries networks on a few rows, too
            if len(values[0]) >= len(met.get(name, [()])[0]):
                met[name] = values
            return forward(*given, **named)

        return call

    monkeypatch.setattr(Curious, "forward", staticmethod(spied(Curious(weight).forward, "curious")))
    monkeypatch.setattr(agent.imagined, "forward", spied(agent.imagined.forward, "imagined"))
    monkeypatch.setattr(agent.ensemble, "spread", spied(agent.ensemble.spread, "spread"))
    agent.objective.eval(agent.prepare(window(agent, torch.float32)))
    (task, u), r = met["curious"], met["imagined"][0]
    deter, stoch, action = (x.unflatten(0, (len(u), -1)) for x in met["spread"])
    assert torch.allclose(r[0], (1 - weight) * task[0]) and torch.allclose(
        r[1:], (1 - weight) * task[1:] + weight * u
    )
    for t in range(len(u)):
        assert torch.allclose(
            u[t, :, 0],
            agent.ensemble.net(deter[t], stoch[t], action[t]).std(1, correction=0).mean(-1),
        )
    for t in range(len(u) - 1):  # of the step that leads to a state
        assert torch.allclose(
            agent.model.dynamics.core(deter[t], stoch[t], action[t]), deter[t + 1], atol=1e-5
        )
    with pytest.raises(ValueError, match="replay_value"):
        DreamerV3Config(curiosity=0.5)


def test_proposals_are_paths_of_the_policy():
    agent = planning_dreamer()
    plan, _ = agent.actor.plan(observed(2), agent.initial(2))
    assert plan.tried.actions.shape[1] == 12 and plan.tried.actions.abs().max() <= 1
    assert agent.actor._propose(
        {k: agent.initial(2)[k] for k in ("deter", "stoch")}, None
    ).shape == (3, 3, 2, 2)


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
@pytest.mark.parametrize("shapes", KINDS.values(), ids=KINDS)
def test_it_keeps_the_contract(name, shapes, discrete):
    agent = agent_of(name, discrete, torch.float32, shapes, stored_latents=discrete)
    assert isinstance(agent, Agent)
    check_agent(agent, interface_of(shapes, discrete))


def observed(rows, dtype=torch.float32):
    g = torch.Generator().manual_seed(1)
    return {k: torch.randn(rows, *s, generator=g, dtype=dtype) for k, s in SHAPES.items()} | {
        "is_first": torch.zeros(rows, dtype=torch.bool)
    }


def test_exploration_adds_noise_that_the_model_is_told_of():
    agent = agent_of("planet", dtype=torch.float32)
    obs, state = observed(400), agent.initial(400)
    torch.manual_seed(4)
    best, _ = agent.act(obs, state)
    torch.manual_seed(4)
    explored, remembered = agent.act(obs, state, explore=True)
    gap = (explored - best)[(best.abs() < 0.1) & (explored.abs() < 1)]
    assert gap.std().item() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(remembered["action"], explored) and explored.abs().max() <= 1
    agent = agent_of("v1", True, torch.float32, noise=1.0)
    action, _ = agent.act(observed(2000), agent.initial(2000), explore=True)
    assert action.mean(0)[0].item() == pytest.approx(0.5, abs=0.05)


def test_a_plan_of_planet_is_scored_as_the_model_says():
    agent = agent_of("planet", discount=0.9)
    obs = observed(1, torch.float64)
    torch.manual_seed(2)
    plan, state = agent.planner.plan(obs, agent.initial(1))
    actions = plan.tried.actions[:, :, 0]
    start = {k: state[k].expand(actions.shape[1], -1) for k in ("deter", "stoch")}
    agent.model.prior.min_scale = 0.0
    with torch.no_grad():  # a latent without chance: every path is one
        for p in agent.model.prior.net[-1].parameters():
            p[SIZES["groups"] :] = -50.0 if p.ndim == 1 else 0.0
        path = agent.planner.scorer.imagine(start, actions)
        found = agent.planner.scorer.at(start)(actions)
        h, s, total, live = start["deter"], start["stoch"], 0.0, 1.0
        for t, a in enumerate(actions):
            h = agent.model.dynamics.core(h, s, a)
            s = agent.model.prior.net(h)[:, : SIZES["groups"]]
            total = total + 0.9**t * live * agent.model.reward.net(h, s)[:, 0]
            live = live * torch.sigmoid(agent.model.cont.net(h, s))[:, 0] / 0.9
    assert torch.allclose(path["deter"][-1], h) and torch.allclose(found, total)
