"""Small faults in ``agents``, for ``mutations.py``: those of a reading by hand, and others of their kinds."""

from __future__ import annotations

from mutations import Fault

V3, RETURNS, LAPROP = "agents/dreamer/v3.py", "agents/dreamer/returns.py", "agents/dreamer/optimizer.py"
RANGE, CONFIG, BUFFER = "agents/dreamer/normalize.py", "agents/dreamer/config.py", "agents/replay/buffer.py"
SPACES = ("agents/spaces.py", "agents/interface.py")
NUMBERS, DEFAULTS = "tests/agents/test_reference_dreamer.py", "tests/agents/test_published_defaults.py"
ACTING, ROOMS, PARTS = "tests/agents/test_acting.py", "tests/agents/test_spaces.py", "tests/agents/test_parts.py"

FAULTS = [
    Fault(
        "A1", "the continuation's target is cut at truncation, too", V3,
        'x["is_terminal"].to(', 'x["is_last"].to(', (NUMBERS,),
    ),
    Fault(
        "A2", "recorded returns do not bootstrap at truncation", RETURNS,
        "live = (1.0 - is_terminal.to(", "live = (1.0 - is_last.to(", (NUMBERS, PARTS),
    ),
    Fault(
        "A3", "the slow critic stays and the critic moves", V3,
        "list(self.slow_value.parameters()), list(self.value.parameters())",
        "list(self.value.parameters()), list(self.slow_value.parameters())", (NUMBERS,),
    ),
    Fault(
        "A3b", "the slow critic moves by 1 - rate", V3,
        "self.config.slow_rate)", "1.0 - self.config.slow_rate)", (NUMBERS,),
    ),
    Fault(
        "A4", "the advantage has no baseline", RETURNS,
        '((ret - v[:-1]) / self.scale(ret))', '(ret / self.scale(ret))', (NUMBERS,),
    ),
    Fault(
        "A5", "the evaluated action is a draw", V3,
        '"_acting" if explore else "_greedy"', '"_acting" if explore else "_acting"', (ACTING,),
    ),
    Fault(
        "A6", "the explored action is the mean", V3,
        '"_acting" if explore else "_greedy"', '"_greedy" if explore else "_greedy"', (ACTING,),
    ),
    Fault("A7", "after a random prefill action the agent's state keeps the policy's action", pending=True),
    Fault("A8", "updates become due by 1 a step of all environments, and not by their number", pending=True),
    Fault("A9", "refreshed latents are written back one row too early", pending=True),
    Fault("A9b", "refreshed latents are not written back at all", pending=True),
    Fault("A10", "the episode that was running is not closed at a resume", pending=True),
    Fault("A11", "an evaluation counts the last episode of each environment, not the first", pending=True),
    Fault("A12", "an evaluation runs on the seeds of training", pending=True),
    Fault("A13", "steps are counted without the action repeat", pending=True),
    Fault(
        "A14", "the entropy is punished", V3,
        "+ c.entropy * Entropy(acting)", "- c.entropy * Entropy(acting)", (NUMBERS,),
    ),
    Fault("A15", "the optimizer's state is not restored at a resume", pending=True),
    Fault(
        "A16", "lambda-returns read the value of the state they begin in", RETURNS,
        "(1.0 - mix) * value[1:])", "(1.0 - mix) * value[:-1])", (NUMBERS, PARTS),
    ),
    Fault(
        "A17", "the optimizer clips to a tenth of the weights' size", LAPROP,
        'group["clip"] * size.clamp', '0.1 * group["clip"] * size.clamp', (NUMBERS,),
    ),
    Fault(
        "A18", "the rate is that of the update before while it warms up", LAPROP,
        'k / group["warmup"] if', '(k - 1) / group["warmup"] if', (NUMBERS,),
    ),
    Fault(
        "A19", "the range of returns is its upper percentile", RANGE,
        "(self.bounds[1] - self.bounds[0])", "self.bounds[1]", (NUMBERS, PARTS),
    ),
    Fault(
        "A20", "the critic on recorded sequences also learns at the last step of an episode", RETURNS,
        "weight = on[:-1].squeeze(-1)", "weight = torch.ones_like(on[:-1]).squeeze(-1)", (NUMBERS, PARTS),
    ),
    Fault(
        "A21", "the discount's horizon is ten times as long", CONFIG,
        "discount_horizon: float = 333.0", "discount_horizon: float = 3330.0", (DEFAULTS,),
    ),
    Fault("A22", "updates become due during the random prefill, too", pending=True),
    Fault(
        "A23", "prefill actions are a tenth as large", SPACES,
        "rng.uniform(-1.0, 1.0, (", "rng.uniform(-0.1, 0.1, (", (ROOMS,),
    ),
    Fault(
        "A24", "choices begin at 0 wherever their space does", SPACES,
        ' + int(getattr(envs.single_action_space, "start", 0))', "", (ROOMS,),
    ),
    Fault(
        "A25", "the newest window is never sampled", BUFFER,
        "np.maximum(written - oldest - length + 1, 0)", "np.maximum(written - oldest - length, 0)",
        ("tests/agents/test_replay.py",),
    ),
    Fault("A26", "lambda is 0.9", CONFIG, "lam: float = 0.95", "lam: float = 0.9", (DEFAULTS,)),
    Fault("R1", "open-loop forecasts read actions that are not scaled", pending=True),
    Fault("R2", "the report is made with the last weights, not with the best", pending=True),
    # of the same kinds, found worth a try on the way
    Fault(
        "A28", "a reset keeps numbers that are not finite", V3,
        "torch.where(first, nothing, v)", "v * ~first", (ACTING,),
    ),
    Fault(
        "A29", "the slow critic's answer moves the world model", V3,
        'Mean(slow, "v_slow_seen").detach()', 'Mean(slow, "v_slow_seen")', (NUMBERS,),
    ),
    Fault(
        "A30", "the policy is scored in the state after its action", V3,
        'self.policy.at(action="action_prev", deter="deter_prev", stoch="stoch_prev")\n        w, adv',
        'self.policy.at(action="action_prev", deter="deter_next", stoch="stoch_next")\n        w, adv', (NUMBERS,),
    ),
    Fault(
        "A31", "no regulariser towards the slow critic on recorded sequences", V3,
        '+ c.slow_regularizer * LogProb(value.at(ret="v_slow_seen"))',
        '+ 0 * LogProb(value.at(ret="v_slow_seen"))', (NUMBERS,),
    ),
    Fault(
        "A32", "the stored state is that of the row after", V3,
        '"deter_prev": batch["deter"][0], "stoch_prev": batch["stoch"][0], "action_prev": batch["action"][0]',
        '"deter_prev": batch["deter"][0], "stoch_prev": batch["stoch"][0], "action_prev": batch["action"][1]', (NUMBERS,),
    ),
    Fault(
        "A33", "momentum of gradients that are not scaled yet", LAPROP,
        "torch._foreach_lerp_(momenta, torch._foreach_div(grads, scales), 1.0",
        "torch._foreach_lerp_(momenta, grads, 1.0", (NUMBERS,),
    ),
    Fault(
        "A34", "percentiles 10 and 90", RANGE,
        "low: float = 0.05, high: float = 0.95", "low: float = 0.10, high: float = 0.90", (NUMBERS, DEFAULTS),
    ),
    Fault(
        "A35", "weights leave out the continuation of the start", RETURNS,
        "live.cumprod(0).squeeze(-1) / self.discount", "(live.cumprod(0) / live[:1]).squeeze(-1)", (NUMBERS,),
    ),
]
