"""Binary logs: Bernoulli densities of values as they are, in each model that has them."""

import numpy as np
import pytest
import torch

from agents.config import load_config
from agents.errors import UsageError
from agents.pretrain import KINDS, Pretrainer
from agents.pretrain.models import build
from agents.pretrain.report import evaluate
from worldmodels.data import Episodes, make_episode, pad

SMALL = {
    "dmm": ["model.latent=4", "model.transition=8", "model.emission=8", "model.rnn=8"],
    "vrnn": ["model.latent=4", "model.rnn=8", "model.hidden=8"],
    "tdvae": ["model.latent=4", "model.rnn=8", "model.hidden=8"],
}
SHORT = [
    "updates=240",
    "eval_every=40",
    "batch=8",
    "length=8",
    "seen=8",
    "horizon=6",
    "draws=4",
    "warmup=2",
    "lr=1e-2",
]


def keys(rows=400, scale=1.0):
    """Four keys, of which each second row presses the first two, and the others are rare."""
    draw = np.random.default_rng(0)
    x = (draw.uniform(size=(rows, 4)) < 0.05).astype(np.float32)
    x[:, :2] = np.arange(rows)[:, None] % 2
    return Episodes([make_episode("0", {"keys_": scale * x, "load": x[:, :1]})], source="keys")


def settings(kind, *more):
    given = [*SMALL[kind], *SHORT, "model.observation=bernoulli", *more]
    return load_config(KINDS[kind], f"pretrain/{kind}", given)


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_binary_log_is_learned_as_it_is(kind, tmp_path):
    with Pretrainer(settings(kind), keys()).begin(tmp_path / "run") as run:
        given = run.model.prepare(pad([run.data.train[0]]))["x"]
        assert given.unique().tolist() == [0, 1]
        run.train()
        assert run.best[1] < 3.1  # five bits are 3.5 nats, and two of them are nearly always 0
        rmse = evaluate(run.model, run.data, run.settings)["rmse"]
        assert rmse[kind]["keys_"][0] < rmse["persist"]["keys_"][0]


@pytest.mark.parametrize("kind", list(SMALL))
def test_values_outside_of_0_and_1_are_refused_for_what_they_are(kind, tmp_path):
    with pytest.raises(
        UsageError, match=r"keys_ of this log lies in \[0, 3\]: give model\.observation=gaussian"
    ):
        Pretrainer(settings(kind), keys(scale=3.0))
    Pretrainer(settings(kind, "model.observation=gaussian"), keys(scale=3.0))


@pytest.mark.parametrize("kind", list(SMALL))
def test_without_a_word_vectors_are_real(kind):
    """In Python as by the command, whose configs say so."""
    made = build(KINDS[kind](), {"x": (2,)}, 0)
    data = Episodes([make_episode("0", {"x": 5 + np.random.default_rng(0).normal(size=(30, 2))})])
    made.fit_units(data)
    assert torch.isfinite(made.loss(pad([data[0]])))
    assert load_config(KINDS[kind], {"model": {"latent": 2}}).model.observation == "gaussian"
