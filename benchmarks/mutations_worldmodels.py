"""Small faults in ``worldmodels``, for ``mutations.py``: those of a reading by hand, and others of their kinds."""

from __future__ import annotations

from mutations import Fault

RSSM, NETWORKS, DECODER = "worldmodels/rssm.py", "worldmodels/networks.py", "worldmodels/decoder.py"
DMM, TDVAE = "worldmodels/dmm.py", "worldmodels/td_vae.py"
ALL = ("tests/worldmodels",)
CONTRACT = "tests/worldmodels/test_contract.py"

FAULTS = [
    Fault(
        "W1", "both KL terms move the posterior", RSSM,
        "KullbackLeibler(q.detach(), p)", "KullbackLeibler(q, p)",
        ("tests/worldmodels/test_rssm.py", "tests/agents/test_dreamer_v3.py"),
    ),
    Fault(
        "W2", "no free nats on the representation term", RSSM,
        'KullbackLeibler(q, p.detach()).clamp(min=c.free_nats).named("rep")',
        'KullbackLeibler(q, p.detach()).named("rep")', ALL,
    ),
    Fault("W3", "the update gate is biased towards the new", NETWORKS, "sigmoid(update - 1.0)", "sigmoid(update + 1.0)", ALL),
    Fault(
        "W4", "a decoded vector is not brought back by symexp", DECODER,
        "builder.point(symexp, params[k]", "builder.point(torch.clone, params[k]", ALL,
    ),
    Fault(
        "W5", "vectors are compared without symlog", DECODER,
        "gap = symlog(x) - loc", "gap = x - loc", ("tests/worldmodels/test_rssm.py", "tests/agents/test_dreamer_v3.py"),
    ),
    Fault(
        "W6", "a reset keeps the action before it", RSSM,
        '"init": {"deter_prev": 0, "stoch_prev": 0, "action_prev": 0},\n            "lags"',
        '"init": {"deter_prev": 0, "stoch_prev": 0},\n            "lags"',
        ("tests/worldmodels/test_rssm.py", CONTRACT, "tests/agents/test_dreamer_v3.py"),
    ),
    Fault(
        "W7", "pairs of TD-VAE read the belief after the second frame", TDVAE,
        '"b_1": b, "delta"', '"b_1": found["b_2"], "delta"', ("tests/worldmodels/test_td_vae.py", CONTRACT),
    ),
    Fault(
        "W8", "a jump of TD-VAE turns backwards", TDVAE,
        "cos * a - sin * b, sin * a + cos * b", "cos * a + sin * b, cos * b - sin * a", ("tests/worldmodels/test_td_vae.py",),
    ),
    Fault(
        "W9", "the importance-sampled bound is a sum, not a mean", "worldmodels/estimators.py",
        " - math.log(self.log_weights.shape[0])", "", ("tests/worldmodels/test_likelihood.py", "worldmodels/estimators.py"),
    ),
    Fault(
        "W10", "weights of particles are kept when they are resampled", "worldmodels/particles.py",
        "logs = torch.where(chosen, 0.0, logs)", "logs = torch.where(chosen, logs, logs)",
        ("tests/worldmodels/test_likelihood.py",),
    ),
    Fault(
        "W11", "predictions of overshooting read the action one step late", "worldmodels/overshooting.py",
        '("action", d - 1)', '("action", d)', ("tests/worldmodels/test_overshooting.py",),
    ),
    Fault(
        "W12", "the encoder sees vectors without symlog", RSSM,
        "return symlog(join(*[obs[k] for k in self.vectors]))", "return join(*[obs[k] for k in self.vectors])", ALL,
    ),
    Fault(
        "W13", "a smoother's context reads padding first", "worldmodels/context.py",
        "rank, steps + frame)", "rank, frame - steps)", (CONTRACT,),
    ),
    Fault(
        "W14", "DMM's combiner adds and does not average", DMM,
        "1.0 / (1 + networks)", "1.0", ALL,
    ),
    Fault(
        "W15", "DMM's gate opens the wrong way", DMM,
        "torch.lerp(self.linear(z_prev), proposed, gate)", "torch.lerp(proposed, self.linear(z_prev), gate)", ALL,
    ),
    Fault("W16", "weights start 2.6 times too large", NETWORKS, "outscale * 1.1368 /", "outscale * 2.6 * 1.1368 /", ALL),
    Fault(
        "W17", "a Gaussian bound without the scale of its units", DECODER,
        "0.5 * gap * gap + log_scale + 0.5 * LOG_2PI", "0.5 * gap * gap + 0.5 * LOG_2PI",
        ("tests/worldmodels/test_rssm.py", CONTRACT),
    ),
    Fault(
        "A27", "the representation term weighs 1", RSSM, "rep_scale: float = 0.1", "rep_scale: float = 1.0",
        ("tests/agents/test_published_defaults.py",),
    ),
    # faults of single pieces that the reference numbers of DreamerV3 must see
    *[
        Fault(f"{name}n", f"{what} (by the numbers of DreamerV3)", file, old, new, ("tests/agents/test_reference_dreamer.py",))
        for name, what, file, old, new in (
            ("W1", "both KL terms move the posterior", RSSM, "KullbackLeibler(q.detach(), p)", "KullbackLeibler(q, p)"),
            (
                "W2", "no free nats on the representation term", RSSM,
                'KullbackLeibler(q, p.detach()).clamp(min=c.free_nats).named("rep")',
                'KullbackLeibler(q, p.detach()).named("rep")',
            ),
            ("W3", "the update gate", NETWORKS, "sigmoid(update - 1.0)", "sigmoid(update + 1.0)"),
            ("W5", "vectors without symlog", DECODER, "gap = symlog(x) - loc", "gap = x - loc"),
            (
                "W12", "the encoder without symlog", RSSM,
                "return symlog(join(*[obs[k] for k in self.vectors]))", "return join(*[obs[k] for k in self.vectors])",
            ),
            ("W18", "RMS norm's epsilon is 1e-6", "worldmodels/normalization.py", "eps: float = 1e-4", "eps: float = 1e-6"),
            ("W19", "the reset gate is left out", NETWORKS, "torch.sigmoid(reset) * candidate", "candidate"),
            ("W20", "actions above 1 are not scaled", NETWORKS, "action.detach().abs().clamp(min=1.0)", "1.0"),
        )
    ],
]
