"""SAC: the objective and its gradients are those of a form by hand; who gets which gradient; ends;
batch norm.
"""

import math

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
from torch.nn import functional as F

from agents.agent import Agent
from agents.check import check_agent
from agents.guard import NotFinite
from agents.sac import SAC, SACConfig
from agents.spaces import ActionSpec
from pixyz.types import PixyzError

BATCH, SIZE = 6, 5
NORMS = ["none", "layer", "batch"]


def agent_of(discrete=False, dtype=torch.float64, shapes=SHAPES, **more):
    torch.manual_seed(0)
    config = SACConfig(**{"units": 8, "batch": BATCH, "temperature": 0.3, **more})
    return nowhere_zero(SAC(shapes, ActionSpec(2, discrete), config), dtype)


# -------------------------------------------------------------------------------------------- by
# hand


def critic(w, name, norm, i, x, moments=None, met=None):
    """One critic. Batch norm is by ``moments``, or by the rows, whose moments are then noted in
    ``met``.
    """
    for layer in range(3):
        if layer:
            if norm == "layer":
                x = (x - x.mean(-1, keepdim=True)) / (
                    x.var(-1, correction=0, keepdim=True) + 1e-5
                ).sqrt()
            x = x.clamp(min=0)
        if norm == "batch":
            mean, square = (
                (x.mean(0), x.var(0, correction=0)) if moments is None else moments[i, layer]
            )
            if met is not None:
                # beside 0 and 1
                met[i, layer] = (
                    0.01 * mean.detach(),
                    0.99 + 0.01 * square.detach(),
                )
            at = f"{name}.net.norms.{layer}"
            x = (x - mean) / (square + 1e-3).sqrt() * w[f"{at}.gain"][i] + w[f"{at}.shift"][i]
        x = x @ w[f"{name}.net.weights.{layer}"][i] + w[f"{name}.net.biases.{layer}"][i]
    return x


def policy_output(w, s):
    for layer in (0, 2):
        s = (s @ w[f"policy.net.{layer}.weight"].T + w[f"policy.net.{layer}.bias"]).clamp(min=0)
    return s @ w["policy.net.4.weight"].T + w["policy.net.4.bias"]


def drawn(w, s, noise):
    """An action and its log-density;
    for choices their probabilities and the mean log-probability.
    """
    out = policy_output(w, s)
    if noise is None:
        log = F.log_softmax(out, -1)
        return log.exp(), (log.exp() * log).sum(-1)
    loc, raw = out.split(2, -1)
    scale = torch.exp(-5 + 3.5 * (torch.tanh(raw) + 1))
    u = loc + scale * noise
    log_normal = -0.5 * noise**2 - scale.log() - 0.5 * math.log(2 * math.pi)
    return torch.tanh(u), (log_normal - torch.log(1 - torch.tanh(u) ** 2)).sum(-1)


def by_hand(agent, batch, noise, discrete, norm):
    w, c = dict(agent.named_parameters()), agent.config
    fixed = {k: v.detach() for k, v in w.items()}
    s, s_next = (torch.cat([batch["orient"][t], batch["velocity"][t]], -1) for t in (0, 1))
    moments = {}

    def values(weights, name, s, a, old=None):
        if discrete:
            each = torch.stack([critic(weights, name, norm, i, s, old, moments) for i in range(2)])
            return (each * a).sum(-1), (each.amin(0) * a).sum(-1)
        q = torch.stack(
            [
                critic(weights, name, norm, i, torch.cat([s, a], -1), old, moments)[:, 0]
                for i in range(2)
            ]
        )
        return q, q.amin(0)

    alpha = w["temperature.log_alpha"].exp()
    a_next, log_next = drawn(w, s_next, noise[0])
    if norm == "batch":
        q, least = values(
            w, "critics", torch.cat([s, s_next]), torch.cat([batch["action"][0], a_next.detach()])
        )
        q, q_next = q[:, :BATCH], least[BATCH:]
    else:
        q = values(w, "critics", s, batch["action"][0])[0]
        q_next = values(w, "slow_critics", s_next, a_next)[1]
    cont, on = 1.0 - batch["is_terminal"][1].double(), 1.0 - batch["is_first"][1].double()
    y = (batch["reward"][1] + c.discount * cont * (q_next - alpha * log_next)).detach()
    losses = {"critic": (0.5 * (y - q) ** 2).sum(0) + math.log(2 * math.pi)}
    a, log_pi = drawn(w, s, noise[1])
    losses["policy"] = alpha.detach() * log_pi - values(fixed, "critics", s, a, dict(moments))[1]
    held = c.target_share * math.log(2) if discrete else -2.0
    losses["temperature"] = -alpha * (log_pi + held).detach()
    return (on * losses["critic"]).mean() + losses["policy"].mean() + losses[
        "temperature"
    ].mean(), losses


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("discrete", [False, True])
def test_the_objective_and_its_gradients_are_those_by_hand(discrete, norm):
    agent, batch = agent_of(discrete, norm=norm), recorded(2, BATCH, discrete)
    value, found = evaluated(agent, batch)
    torch.manual_seed(7)
    noise = [None if discrete else torch.randn(BATCH, 2, dtype=torch.float64) for _ in range(2)]
    wanted, losses = by_hand(agent, batch, noise, discrete, norm)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-11)
    for name, loss in losses.items():
        assert torch.allclose(found[name], loss, rtol=1e-10), name
    assert_same(gradients(agent, value), gradients(agent, wanted))


def test_it_prints_as_one_expression():
    text = str(agent_of().objective)
    assert (
        r"w \left(- \log Q(y|q)\right)" in text
        and r"\bar{y}(y|reward,cont,q_{next},l_{next},\alpha)" in text
    )
    assert r"detach \left(\alpha \right) \log \pi(a_{\pi}|s_{bar}) - q_{bar}" in text


# --------------------------------------------------------------------------------------------
# gradients, ends


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("discrete", [False, True])
def test_each_term_moves_only_what_it_should(discrete, norm):
    shapes = {"camera": (16, 16, 3), **SHAPES}
    agent, batch = agent_of(discrete, shapes=shapes, norm=norm), recorded(2, BATCH, discrete)
    batch["camera"] = torch.rand(
        2, BATCH, 16, 16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    _, found = evaluated(agent, batch)
    assert moved(agent, found["critic"].mean()) == {"critics", "observation"}
    assert moved(agent, found["policy"].mean()) == {"policy"}
    assert moved(agent, found["temperature"].mean()) == {"temperature"}


@pytest.mark.parametrize("flag", ["is_terminal", "is_last"])
def test_a_termination_cuts_the_bootstrap_and_a_cut_does_not(flag):
    agent, batch = agent_of(), recorded(2, BATCH, ends=False)
    batch[flag][1] = True
    other = {**batch, "orient": batch["orient"].clone()}
    other["orient"][1] += 1.0
    same = torch.allclose(
        evaluated(agent, batch)[1]["critic"], evaluated(agent, other)[1]["critic"]
    )
    assert same == (flag == "is_terminal")


def test_nothing_is_learned_across_the_border_of_two_episodes():
    agent, batch = agent_of(), recorded(2, BATCH, ends=False)
    batch["is_first"][1] = True
    found = gradients(agent, evaluated(agent, batch)[0])
    assert all(g.abs().max() == 0 for n, g in found.items() if n.startswith("critics"))


def test_the_temperature_falls_where_the_policy_is_more_random_than_it_shall_be():
    for entropy, sign in ((-50.0, 1), (50.0, -1)):
        agent = agent_of(dtype=torch.float32, target_entropy=entropy)
        before = agent.temperature.log_alpha.item()
        agent.learn(recorded(2, BATCH, dtype=torch.float32))
        assert sign * (agent.temperature.log_alpha.item() - before) < 0


def test_probabilities_give_the_expectation_over_choices():
    agent = agent_of(True)
    batch = recorded(2, BATCH, True)
    _, found = evaluated(agent, batch)
    s = agent.observation(**{k: batch[k][0] for k in SHAPES})["s"]
    log, alpha = F.log_softmax(agent.policy.net(s), -1), agent.temperature.log_alpha.exp()
    each = [agent.critics(s, torch.eye(2, dtype=s.dtype)[[k] * BATCH])["q_min"] for k in range(2)]
    wanted = sum(log[:, k].exp() * (alpha * log[:, k] - each[k]) for k in range(2))
    assert torch.allclose(found["policy"], wanted)


# -------------------------------------------------------------------------------------------- batch
# norm


def test_batch_norm_takes_in_each_update_once_and_acting_reads_it():
    agent = agent_of(dtype=torch.float32, norm="batch")
    norm, batch = agent.critics.net.norms[0], recorded(2, BATCH, dtype=torch.float32)
    agent.learn(batch)
    rows = torch.cat([batch["orient"], batch["velocity"]], -1).flatten(0, 1)
    for _ in range(2):
        assert torch.allclose(norm.mean[0, 0, :SIZE], 0.01 * rows.mean(0), atol=1e-6)
        agent.critics(rows, torch.zeros(2 * BATCH, 2))  # reads them, and takes nothing in
    before = [b.clone() for b in agent.critics.buffers()]
    with pytest.raises(NotFinite):
        agent.learn({**batch, "reward": batch["reward"] * torch.nan})
    assert all(torch.equal(a, b) for a, b in zip(before, agent.critics.buffers(), strict=True))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("discrete", [False, True])
def test_a_transition_surprises_by_its_error(discrete, norm):
    """By hand: the mean of the critics' |y - Q|, none between two episodes."""
    agent = agent_of(discrete, norm=norm, discount=0.9)
    batch = recorded(2, BATCH, discrete, ends=False)
    batch["is_first"][1, 2] = batch["is_terminal"][1, 3] = True
    torch.manual_seed(7)
    _, found = agent.losses(batch)
    torch.manual_seed(7)
    priority = agent.learn(batch).priority
    assert priority.shape == (1, BATCH) and not priority.requires_grad
    assert priority[0, 2] == 0.0 and (priority[0, [0, 1, 3, 4, 5]] > 0.0).all()
    assert priority[0, 3].item() == pytest.approx(
        (batch["reward"][1, 3] - found["q"][3]).abs().mean().item()
    )  # after a termination nothing comes
    squares = (found["y"] - found["q"]).square().sum(-1)
    assert torch.allclose(0.5 * squares + math.log(2 * math.pi), found["critic"])


# -------------------------------------------------------------------------------------------- the
# contract


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
@pytest.mark.parametrize("shapes", KINDS.values(), ids=KINDS)
def test_it_keeps_the_contract(shapes, discrete, norm):
    agent = agent_of(discrete, torch.float32, shapes, norm=norm)
    assert isinstance(agent, Agent)
    check_agent(agent, interface_of(shapes, discrete))


def test_settings_that_make_no_sense_are_refused():
    for more in ({"min_log_std": 3.0}, {"temperature": 0.0}, {"batch": 0}):
        with pytest.raises(ValueError, match=next(iter(more))):
            SACConfig(**more)
    for shapes in ({}, {"action": (3,)}, {"x": (2, 3)}, {"x_next": (3,)}, {"s": (3,)}):
        with pytest.raises(PixyzError):
            SAC(shapes, ActionSpec(2))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_names_of_the_objective_are_refused_and_others_learn(norm):
    for name in ("s", "a", "l", "y", "q", "q_slow", "q_least", "alpha", "w", "s_bar", "q_min"):
        with pytest.raises(PixyzError, match=rf"may not be called \['{name}'\].*'{name}_'"):
            agent_of(shapes={name: (3,)}, norm=norm)
    for name in ("b", "pi", "slow", "mu", "a_"):
        batch = recorded(2, BATCH)
        agent = agent_of(shapes={name: (3,)}, norm=norm)
        agent.learn({name: batch.pop("orient"), **batch})
