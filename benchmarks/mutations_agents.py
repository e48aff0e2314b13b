"""Small faults in ``agents``, for ``mutations.py``: those of a reading by hand, and others of their
kinds.
"""

from __future__ import annotations

from mutations import Fault

V3 = "agents/dreamer/v3.py"
RETURNS = "agents/dreamer/returns.py"
LATENT_AGENT = "agents/dreamer/latent_agent.py"
LAPROP = "agents/dreamer/optimizer.py"
RANGE = "agents/dreamer/normalize.py"
CONFIG = "agents/dreamer/config.py"
LATENT = "agents/latent.py"
SPACES = "agents/spaces.py"
DRIVER = "agents/run/driver.py"
LEARNER = "agents/run/learner.py"
SCHEDULE = "agents/run/schedule.py"
JUDGE = "agents/run/evaluate.py"

TARGETS = "agents/tdmpc/targets.py"


def seen_by(*names: str) -> tuple[str, ...]:
    """Files of tests in ``tests/agents``."""
    return tuple(f"tests/agents/test_{name}.py" for name in names)


FAULTS = [
    Fault(
        "A1",
        "the continuation's target is cut at truncation, too",
        LATENT_AGENT,
        old='x["is_terminal"].to(',
        new='x["is_last"].to(',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A2",
        "recorded returns do not bootstrap at truncation",
        RETURNS,
        old="live = (1.0 - is_terminal.to(",
        new="live = (1.0 - is_last.to(",
        tests=seen_by("reference_dreamer", "parts"),
    ),
    Fault(
        "A3",
        "the slow critic stays and the critic moves",
        V3,
        old="follow(self.slow_value, self.value, self.config.slow_rate)",
        new="follow(self.value, self.slow_value, self.config.slow_rate)",
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A3b",
        "the slow critic moves by 1 - rate",
        V3,
        old="follow(self.slow_value, self.value, self.config.slow_rate)",
        new="follow(self.slow_value, self.value, 1.0 - self.config.slow_rate)",
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A4",
        "the advantage has no baseline",
        RETURNS,
        old="((ret - v[:-1]) / self.scale(ret))",
        new="(ret / self.scale(ret))",
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A5",
        "the evaluated action is a draw",
        LATENT,
        old="self.exploring if explore else self.greedy",
        new="self.exploring if explore else self.exploring",
        tests=seen_by("acting"),
    ),
    Fault(
        "A6",
        "the explored action is the mean",
        LATENT,
        old="self.exploring if explore else self.greedy",
        new="self.greedy if explore else self.greedy",
        tests=seen_by("acting"),
    ),
    Fault(
        "A7",
        "after a random prefill action the agent's state keeps the policy's action",
        DRIVER,
        old="self._random()\n            memory = self._told(memory, chosen)\n",
        new="self._random()\n",
        tests=seen_by("run"),
    ),
    Fault(
        "A8",
        "updates become due by 1 a step of all environments, and not by their number",
        SCHEDULE,
        old="progress.credit += actions * self.per_action",
        new="progress.credit += self.per_action",
        tests=seen_by("run"),
    ),
    Fault(
        "A9",
        "refreshed latents are written back one row too early",
        LEARNER,
        old="index[-w.length :]",
        new="index[-w.length - 1 : -1]",
        tests=seen_by("run"),
    ),
    Fault(
        "A9b",
        "refreshed latents are not written back at all",
        LEARNER,
        old="if learned.stored:",
        new="if not learned.stored:",
        tests=seen_by("run"),
    ),
    Fault(
        "A10",
        "the episode that was running is not closed at a resume",
        DRIVER,
        old='self._cut(self._rows["is_first"] & ~last)',
        new="pass",
        tests=seen_by("what_is_read"),
    ),
    Fault(
        "A11",
        "an evaluation counts more than the first episode of each environment (short ones win)",
        JUDGE,
        old='np.where(running, rows["reward"].astype(np.float64), 0.0)',
        new='rows["reward"].astype(np.float64)',
        tests=seen_by("run"),
    ),
    Fault(
        "A12",
        "an evaluation runs on the seeds of training",
        JUDGE,
        old="EVAL_SEED + self.seed",
        new="self.seed",
        tests=seen_by("run"),
    ),
    Fault(
        "A13",
        "steps are counted without the action repeat",
        DRIVER,
        old='int(following["frames"].sum()), int(ended.sum())',
        new="self.count, int(ended.sum())",
        tests=seen_by("run"),
    ),
    Fault(
        "A14",
        "the entropy is punished",
        V3,
        old="+ c.entropy * Entropy(acting)",
        new="- c.entropy * Entropy(acting)",
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A15",
        "the optimizer's state is not restored at a resume",
        "agents/torch_agent.py",
        old="            optimizer.load_state_dict(state[name])\n",
        new="            pass\n",
        tests=seen_by("what_is_read"),
    ),
    Fault(
        "A16",
        "lambda-returns read the value of the state they begin in",
        RETURNS,
        old="(1.0 - mix) * value[1:])",
        new="(1.0 - mix) * value[:-1])",
        tests=seen_by("reference_dreamer", "parts"),
    ),
    Fault(
        "A17",
        "the optimizer clips to a tenth of the weights' size",
        LAPROP,
        old='group["clip"] * size.clamp',
        new='0.1 * group["clip"] * size.clamp',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A18",
        "the rate is that of the update before while it warms up",
        LAPROP,
        old='k / group["warmup"] if',
        new='(k - 1) / group["warmup"] if',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A19",
        "the range of returns is its upper percentile",
        RANGE,
        old="(self.bounds[1] - self.bounds[0])",
        new="self.bounds[1]",
        tests=seen_by("reference_dreamer", "parts"),
    ),
    Fault(
        "A20",
        "the critic on recorded sequences also learns at the last step of an episode",
        RETURNS,
        old="weight = on[:-1].squeeze(-1)",
        new="weight = torch.ones_like(on[:-1]).squeeze(-1)",
        tests=seen_by("reference_dreamer", "parts"),
    ),
    Fault(
        "A21",
        "the discount's horizon is ten times as long",
        CONFIG,
        old="discount_horizon: float = 333.0",
        new="discount_horizon: float = 3330.0",
        tests=seen_by("published_defaults"),
    ),
    Fault(
        "A22",
        "updates become due during the random prefill, too",
        SCHEDULE,
        old="if self.prefill_updates or not self.random(progress):",
        new="if True:",
        tests=seen_by("run"),
    ),
    Fault(
        "A23",
        "prefill actions are a tenth as large",
        SPACES,
        old="rng.uniform(-1.0, 1.0, (",
        new="rng.uniform(-0.1, 0.1, (",
        tests=seen_by("spaces"),
    ),
    Fault(
        "A24",
        "choices begin at 0 wherever their space does",
        SPACES,
        old='"start", 0)',
        new='"begin", 0)',
        tests=seen_by("spaces"),
    ),
    Fault(
        "A25",
        "the newest window is never sampled",
        "agents/replay/samplers.py",
        old="np.maximum(self.written - self.oldest - length + 1, 0)",
        new="np.maximum(self.written - self.oldest - length, 0)",
        tests=seen_by("replay"),
    ),
    Fault(
        "A26",
        "lambda is 0.9",
        CONFIG,
        old="lam: float = 0.95",
        new="lam: float = 0.9",
        tests=seen_by("published_defaults"),
    ),
    Fault(
        "R1",
        "open-loop forecasts read actions that are not scaled",
        "agents/pretrain/models.py",
        old="return (action / self.action_scale).repeat_interleave",
        new="return action.repeat_interleave",
        tests=seen_by("what_is_read"),
    ),
    Fault(
        "R2",
        "the report is made with the last weights, not with the best",
        "agents/pretrain/command.py",
        old="    trainer.load_best()\n",
        new="",
        tests=seen_by("what_is_read"),
    ),
    Fault(
        "A28",
        "a reset keeps numbers that are not finite",
        LATENT,
        old="v.masked_fill(first, 0)",
        new="v * ~first",
        tests=seen_by("acting"),
    ),
    Fault(
        "A29",
        "the slow critic's answer moves the world model",
        V3,
        old='Mean(slow, "v_slow_seen").detach()',
        new='Mean(slow, "v_slow_seen")',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A30",
        "the policy is scored in the state after its action",
        V3,
        old=(
            'self.policy.at(action="action_prev", deter="deter_prev", stoch="stoch_prev")\n'
            "        w, adv"
        ),
        new=(
            'self.policy.at(action="action_prev", deter="deter_next", stoch="stoch_next")\n'
            "        w, adv"
        ),
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A31",
        "no regulariser towards the slow critic on recorded sequences",
        V3,
        old='LogProb(value.at(ret="ret_seen")) + c.slow_regularizer * LogProb(',
        new='LogProb(value.at(ret="ret_seen")) + 0 * LogProb(',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A32",
        "the stored state is that of the row after",
        LATENT_AGENT,
        old='start = {f"{k}_prev": batch[k][0] for k in',
        new='start = {f"{k}_prev": batch[k][int(k == "action")] for k in',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A33",
        "momentum of gradients that are not scaled yet",
        LAPROP,
        old='torch._foreach_addcdiv_(momenta, grads, scales, c * (1.0 - group["beta1"]))',
        new='torch._foreach_add_(momenta, grads, alpha=1.0 - group["beta1"])',
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A34",
        "percentiles 10 and 90",
        RANGE,
        old="low: float = 0.05, high: float = 0.95",
        new="low: float = 0.10, high: float = 0.90",
        tests=seen_by("reference_dreamer", "published_defaults"),
    ),
    Fault(
        "A35",
        "weights leave out the continuation of the start",
        RETURNS,
        old="live.cumprod(0).squeeze(-1) / discount",
        new="(live.cumprod(0) / live[:1]).squeeze(-1)",
        tests=seen_by("reference_dreamer"),
    ),
    Fault(
        "A36",
        "rewards are summed over the end of an episode",
        TARGETS,
        old="going * cont[j - 1 : j - 1 + count] * "
        "(1.0 - is_first[j : j + count].to(reward.dtype))",
        new="going * cont[j - 1 : j - 1 + count]",
        tests=seen_by("tdmpc"),
    ),
    Fault(
        "A37",
        "the bootstrap is discounted once, however far it is",
        TARGETS,
        old="factor = factor * (1.0 - going * (1.0 - discount))",
        new="factor = factor * 1.0",
        tests=seen_by("tdmpc"),
    ),
    Fault(
        "A38",
        "the value is that of the next observation, not of the last one summed to",
        "agents/tdmpc/agent.py",
        old="batch[k][later.row, column] for k",
        new="batch[k][after] for k",
        tests=seen_by("tdmpc"),
    ),
]
