"""Small faults in ``worldmodels``, for ``mutations.py``: of a reading by hand, and others of their
kinds.
"""

from __future__ import annotations

from mutations import Fault

RSSM = "worldmodels/rssm.py"
CONFIG = "worldmodels/rssm_config.py"
PARTS = "worldmodels/rssm_parts.py"
NETWORKS = "worldmodels/networks.py"
GATES = "worldmodels/gates.py"
CORE = "worldmodels/fused_core.py"
DECODER = "worldmodels/decoder.py"
DMM = "worldmodels/dmm.py"
TDVAE = "worldmodels/td_vae.py"


def seen_by(*names: str) -> tuple[str, ...]:
    """Files of tests in ``tests/worldmodels``."""
    return tuple(f"tests/worldmodels/test_{name}.py" for name in names)


FAULTS = [
    Fault(
        "W1",
        "both KL terms move the posterior",
        RSSM,
        old="KullbackLeibler(q.detach(), p)",
        new="KullbackLeibler(q, p)",
        tests=("tests/worldmodels/test_rssm.py", "tests/agents/test_dreamer_v3.py"),
    ),
    Fault(
        "W2",
        "no free nats on the representation term",
        RSSM,
        old='KullbackLeibler(q, p.detach()).clamp(min=c.free_nats).named("rep")',
        new='KullbackLeibler(q, p.detach()).named("rep")',
        tests=seen_by("formulas"),
    ),
    Fault(
        "W3",
        "the update gate is biased towards the new",
        GATES,
        old="sigmoid(update - 1.0)",
        new="sigmoid(update + 1.0)",
        tests=seen_by("formulas"),
    ),
    Fault(
        "W4",
        "a decoded vector is not brought back by symexp",
        DECODER,
        old="scope.builder.point(symexp, params[k]",
        new="scope.builder.point(torch.clone, params[k]",
        tests=seen_by("formulas"),
    ),
    Fault(
        "W5",
        "vectors are compared without symlog",
        DECODER,
        old="gap = symlog(x) - loc",
        new="gap = x - loc",
        tests=("tests/worldmodels/test_rssm.py", "tests/agents/test_dreamer_v3.py"),
    ),
    Fault(
        "W6",
        "a reset keeps the action before it",
        "worldmodels/declared.py",
        old='({"action_prev": 0} if self.acts else {})',
        new="{}",
        tests=(*seen_by("rssm", "contract"), "tests/agents/test_dreamer_v3.py"),
    ),
    Fault(
        "W7",
        "pairs of TD-VAE read the belief after the second frame",
        TDVAE,
        old='"b_1": b, "delta"',
        new='"b_1": found["b_2"], "delta"',
        tests=seen_by("td_vae", "contract"),
    ),
    Fault(
        "W8",
        "a jump of TD-VAE turns as far as one of a frame",
        TDVAE,
        old="angle = delta * F.softplus",
        new="angle = F.softplus",
        tests=seen_by("td_vae"),
    ),
    Fault(
        "W9",
        "the importance-sampled bound is a sum, not a mean",
        "worldmodels/estimators.py",
        old=" - math.log(self.log_weights.shape[0])",
        new="",
        tests=("tests/worldmodels/test_likelihood.py", "worldmodels/estimators.py"),
    ),
    Fault(
        "W10",
        "weights of particles are kept when they are resampled",
        "worldmodels/particles.py",
        old="logs = torch.where(chosen, 0.0, logs)",
        new="logs = torch.where(chosen, logs, logs)",
        tests=seen_by("likelihood"),
    ),
    Fault(
        "W11",
        "predictions of overshooting read the action one step late",
        "worldmodels/overshooting.py",
        old='("action", d - 1)',
        new='("action", d)',
        tests=seen_by("overshooting"),
    ),
    Fault(
        "W12",
        "the encoder sees vectors without symlog",
        PARTS,
        old="return symlog(join(*[obs[k] for k in self.vectors]))",
        new="return join(*[obs[k] for k in self.vectors])",
        tests=seen_by("formulas"),
    ),
    Fault(
        "W13",
        "a smoother's context reads padding first",
        "worldmodels/context.py",
        old="rank, steps + frame)",
        new="rank, frame - steps)",
        tests=seen_by("contract"),
    ),
    Fault(
        "W14",
        "DMM's combiner adds and does not average",
        DMM,
        old="1.0 / (1 + networks)",
        new="1.0",
        tests=seen_by("formulas"),
    ),
    Fault(
        "W15",
        "DMM's gate opens the wrong way",
        DMM,
        old="torch.lerp(self.linear(z_prev), proposed, gate)",
        new="torch.lerp(proposed, self.linear(z_prev), gate)",
        tests=seen_by("formulas"),
    ),
    Fault(
        "W16",
        "weights start 2.6 times too large",
        NETWORKS,
        old="outscale * 1.1368 /",
        new="outscale * 2.6 * 1.1368 /",
        tests=seen_by("formulas"),
    ),
    Fault(
        "W17",
        "a Gaussian bound without the scale of its units",
        DECODER,
        old="0.5 * gap * gap + log_scale + 0.5 * LOG_2PI",
        new="0.5 * gap * gap + 0.5 * LOG_2PI",
        tests=seen_by("formulas"),
    ),
    Fault(
        "A27",
        "the representation term weighs 1",
        CONFIG,
        old="rep_scale: float = 0.1",
        new="rep_scale: float = 1.0",
        tests=("tests/agents/test_published_defaults.py",),
    ),
    Fault(
        "W1n",
        "both KL terms move the posterior (by the numbers of DreamerV3)",
        RSSM,
        old="KullbackLeibler(q.detach(), p)",
        new="KullbackLeibler(q, p)",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W2n",
        "no free nats on the representation term (by the numbers of DreamerV3)",
        RSSM,
        old='KullbackLeibler(q, p.detach()).clamp(min=c.free_nats).named("rep")',
        new='KullbackLeibler(q, p.detach()).named("rep")',
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W3n",
        "the update gate (by the numbers of DreamerV3)",
        CORE,
        old="bias[:, :, 2] -= 1.0",
        new="bias[:, :, 2] += 1.0",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W5n",
        "vectors without symlog (by the numbers of DreamerV3)",
        DECODER,
        old="gap = symlog(x) - loc",
        new="gap = x - loc",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W12n",
        "the encoder without symlog (by the numbers of DreamerV3)",
        PARTS,
        old="return symlog(join(*[obs[k] for k in self.vectors]))",
        new="return join(*[obs[k] for k in self.vectors])",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W18n",
        "RMS norm's epsilon is 1e-6 (by the numbers of DreamerV3)",
        "worldmodels/normalization.py",
        old="eps: float = 1e-4",
        new="eps: float = 1e-6",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W19n",
        "the reset gate is left out (by the numbers of DreamerV3)",
        CORE,
        old="c = (reset * candidate).tanh_()",
        new="c = candidate.tanh()",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
    Fault(
        "W20n",
        "actions above 1 are not scaled (by the numbers of DreamerV3)",
        CORE,
        old="action.clamp(-1.0, 1.0)",
        new="action",
        tests=("tests/agents/test_reference_dreamer.py",),
    ),
]
