"""A log that is sampled fast: changes are chosen, said and kept; one step ahead no model is worse
than the last row.
"""

import json
import re
import signal

import numpy as np
import pytest
import torch

import agents
from agents.cli import main
from agents.config import load_config
from agents.dreamer import DreamerV3, DreamerV3Config
from agents.errors import UsageError
from agents.pretrain import KINDS, Pretrainer, start_from
from agents.pretrain.choice import chosen
from agents.pretrain.fit import fitted
from agents.pretrain.report import evaluate, worse
from agents.rundir import open_run
from agents.spaces import ActionSpec, Interface
from worldmodels.data import DataError, Episodes, make_episode, pad, split, windows, write_npz

TINY = {
    "rssm": [
        "model.deter=32",
        "model.hidden=32",
        "model.groups=4",
        "model.units=32",
        "model.bins=11",
    ],
    "dmm": ["model.latent=4", "model.transition=16", "model.emission=16", "model.rnn=16"],
    "vrnn": ["model.latent=4", "model.rnn=16", "model.hidden=16"],
    "tdvae": ["model.latent=4", "model.rnn=16", "model.hidden=16"],
}
FEW = [
    "updates=200",
    "eval_every=50",
    "patience=0",
    "batch=8",
    "length=16",
    "seen=20",
    "horizon=10",
    "stride=8",
    "draws=8",
    "warmup=20",
    "checkpoint_every=1000",
    "lr=3e-3",
]


def arm(rows=3441, episodes=1):
    """Slow sines of three joints at 125 Hz, and the torques that move them."""
    draw, t, found = np.random.default_rng(0), np.arange(rows) / 125, []
    for i in range(episodes):
        q = sum(
            draw.uniform(0.2, 0.6, 3)
            * np.sin(2 * np.pi * draw.uniform(0.05, 0.4, 3) * t[:, None] + draw.uniform(0, 6, 3))
            for _ in range(3)
        )
        v = np.gradient(q, 1 / 125, axis=0)
        torque = np.gradient(v, 1 / 125, axis=0) + 3 * np.sin(q)
        found.append(make_episode(f"arm{i}", {"position": q, "velocity": v}, action=torque))
    return Episodes(found, 125.0, "arm")


def rough(rows=600):
    """Noise: the last rows know nothing of the next one."""
    x = np.random.default_rng(0).normal(size=(rows, 2))
    return Episodes([make_episode("noise", {"x": x}, action=np.zeros((rows, 1)))])


def settings(kind, *more):
    return load_config(KINDS[kind], f"pretrain/{kind}", [*TINY[kind], *FEW, *more])


# an ensemble of steps knows no speed that its log lacks: tests/worldmodels/test_one_step.py
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "one_step"])
def test_one_step_ahead_no_model_is_worse_than_the_last_row(kind, tmp_path):
    with Pretrainer(settings(kind), arm()).begin(tmp_path / "run") as run:
        run.train()
    run.load_best()
    found = evaluate(run.model, run.data, run.settings)
    rmse = found["rmse"]
    assert found["predicts"] == "change" and found["roughness"] < 0.05
    assert rmse[kind]["all"][0] < 0.5 * rmse["persist"]["all"][0] and worse(found) == []


# the decoder of an RSSM has a density of x itself
@pytest.mark.parametrize("kind", ["dmm", "vrnn", "tdvae"])
def test_bounds_of_changes_and_of_values_are_of_the_same_numbers(kind):
    """A log-density of x is that of its changes and the logarithms of their units, whatever the
    length of a sequence.
    """
    made = Pretrainer(settings(kind), arm(600))
    made.model.eval()
    data, units = made.data.train[0], made.model.changes.steps
    batch = pad([data.part(0, 9), data.part(40, 44), data.part(80, 81)])
    y = made.model.prepare(batch)
    torch.manual_seed(0)
    plain = made.model.model.bound.eval(y)
    torch.manual_seed(0)
    gap = plain - made.model.bound(batch)
    first = made.model.changes.unforeseen.log().sum()
    later = units.scale.log().sum()
    torch.testing.assert_close(
        -gap, torch.stack([7 * later + first, 2 * later + first, 0 * first]), rtol=1e-4, atol=1e-3
    )


def test_values_are_chosen_for_noise_and_for_models_without_normal_densities():
    for data, kind, more, predicts, why in (
        (arm(600), "rssm", [], "change", "below 0.1"),
        (rough(), "rssm", [], "value", "not below 0.1"),
        (arm(600), "rssm", ["model.vectors=symlog"], "value", "no normal densities"),
        (arm(600), "dmm", ["model.observation=bernoulli"], "value", "no normal densities"),
        (arm(600), "vrnn", ["predicts=value"], "value", "as asked"),
        (rough(), "vrnn", ["predicts=change"], "change", "as asked"),
        (rough(), "rssm", ["model.predicts=change"], "change", "as asked"),
    ):
        given = settings(kind, *more)
        found, choice = chosen(given, split(data, "time").train)
        assert (found.predicts, choice.predicts, choice.why) == (predicts, predicts, why)
        assert getattr(found.model, "predicts", predicts) == predicts
        assert chosen(found, split(rough(), "time").train)[0] == found  # once chosen, it stays
    camera = Episodes(
        [
            make_episode(
                "0", {"camera": np.zeros((60, 16, 16, 3), np.uint8)}, action=np.zeros((60, 1))
            )
        ]
    )
    assert chosen(settings("rssm"), camera)[1].why == "no vectors"
    with pytest.raises(UsageError, match="predicts=change needs vectors"):
        chosen(settings("rssm", "predicts=change"), camera)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("rssm", ["model.vectors=symlog", "predicts=change"]),
        ("dmm", ["model.observation=bernoulli", "predicts=change"]),
        ("rssm", ["model.predicts=change", "predicts=value"]),
        ("rssm", ["predicts=line"]),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, more):
    with pytest.raises(ValueError, match="predicts"):
        settings(kind, *more)


@pytest.mark.parametrize("kind", ["rssm", "vrnn"])
def test_the_choice_is_said_and_kept(kind, tmp_path, capsys):
    logs, run = tmp_path / "logs", tmp_path / "run"
    write_npz(arm(600), logs)
    few = [*TINY[kind], *FEW, "updates=6", "eval_every=3"]
    assert main(["pretrain", kind, "--data", str(logs), "--run", str(run), *few]) == 0
    said = capsys.readouterr()
    assert (
        len(
            re.findall(
                r"predicts change: a line .* leaves 0\.0\S+ deviations .* \(below 0\.1\)",
                said.out + said.err,
            )
        )
        == 2
    )
    assert open_run(run)[0]["predicts"] == "change"
    report = json.loads((run / "open_loop.json").read_text())
    assert report["predicts"] == "change" and report["roughness"] < 0.1
    model, data = agents.load_model(run), Pretrainer(settings(kind, "seen=20"), arm(600)).data
    seen = {k: torch.from_numpy(np.asarray(v))[:20, None] for k, v in data.test[0].series.items()}
    torch.manual_seed(0)
    guess = model.forecast(seen, seen["action"][:5], 5)
    for key, row in guess.items():  # an untrained model of values would be a deviation away
        assert (row[0] - seen[key][-1]).abs().max() < 0.1, key
    assert main(["resume", str(run), "updates=8"]) == 0
    assert main(["resume", str(run), "predicts=value"]) == 2


@pytest.mark.parametrize("kind", ["rssm", "dmm"])
def test_a_run_goes_on_as_it_was_chosen(kind, tmp_path):
    """Stopped and resumed, from the config that the folder holds, it ends where a straight run
    does.
    """

    def stop(run, metrics):
        signal.raise_signal(signal.SIGINT)

    few, weights = ["updates=8", "eval_every=4", "seen=8"], []
    for name, watch in (("straight", None), ("stopped", stop)):
        with Pretrainer(settings(kind, *few), arm(600), watch).begin(tmp_path / name) as run:
            assert (run.train().at < 8) == (watch is not None)
        if watch is not None:
            kept = load_config(KINDS[kind], open_run(tmp_path / name)[0])
            with Pretrainer(kept, arm(600)).resume(tmp_path / name) as run:
                assert run.train().at == 8 and run.settings == kept
        weights.append(run.model.state_dict())
    assert all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())
    assert any("steps" in k for k in weights[0])


def test_a_model_that_is_worse_is_named():
    noise = Pretrainer(settings("vrnn", "predicts=value"), arm(600))
    found = evaluate(noise.model, noise.data, noise.settings)
    lines = worse(found)
    assert re.search(
        r"one step ahead vrnn \(.*\) is worse than persist \(.*\): try predicts=change", lines[0]
    )


# ---------------------------------------------------------------- an agent


def test_an_agent_acts_and_learns_in_a_model_of_changes(tmp_path):
    """It remembers the last frames, also in its replay, and starts from a pretrained model."""
    few = ["updates=2", "eval_every=1", "batch=2", "length=8", "seen=8", "horizon=4"]
    data = Episodes(
        [
            make_episode(
                e.name, {k: e[k] for k in ("position", "velocity")}, action=np.sin(e["action"])
            )
            for e in arm(600)
        ]
    )
    with Pretrainer(settings("rssm", *few), data).begin(tmp_path / "run") as run:
        run.train()
    model = run.settings.model
    assert model.predicts == "change"
    interface = Interface(
        {"position": (3,), "velocity": (3,)},
        {"position": np.float32, "velocity": np.float32},
        ActionSpec(3),
    )
    for stored in (True, False):
        config = DreamerV3Config(
            model, units=8, batch=2, length=4, horizon=3, bins=11, stored_latents=stored
        )
        agent = DreamerV3(interface.shapes, interface.action, config)
        agents.check_agent(agent, interface)
        assert set(agent.stored) == ({"deter", "stoch", "now", "before"} if stored else set())
    start_from(agent, tmp_path / "run")
    state, seen = agent.initial(1), []
    for t in range(4):
        row = {k: torch.from_numpy(data[0][k][t : t + 1]).float() for k in ("position", "velocity")}
        _, state = agent.act({**row, "is_first": torch.tensor([t == 2])}, state)
        seen.append([state["now"][0, -1].item(), state["before"][0, -1].item()])
        torch.testing.assert_close(
            agent.model.encoder.scaling["position"](row["position"]), state["now"][:, :3]
        )
    assert seen == [[1, 0], [1, 1], [1, 0], [1, 1]]  # the third row begins an episode
    needed = {id(b) for b in agent.acting.buffers()}
    assert all(id(b) in needed for b in agent.model.decoder.steps.buffers())


# ---------------------------------------------------------------- a test part that is too short for
# the report


@pytest.mark.parametrize(
    ("rows", "episodes", "more", "cures"),
    [
        (
            150,
            12,
            ["split=time"],
            [
                "split=episode, which tests whole episodes (the longest has 150 rows)",
                "seen=7 horizon=8",
                "a larger test share",
            ],
        ),
        (60, 12, ["split=time"], ["seen=5 horizon=1", "a larger test share"]),
        (500, 2, ["split=time"], ["seen=25 horizon=25", "a larger test share"]),
        (30, 12, ["split=episode"], ["seen=15 horizon=15", "longer episodes"]),
        (40, 12, ["split=time"], ["a larger test share"]),
    ],
)
def test_a_log_that_is_too_short_names_what_cures_it(rows, episodes, more, cures):
    data, more = arm(rows, episodes), [*more, "seen=50", "horizon=50"]
    with pytest.raises(
        DataError, match=r"reads 50 rows and predicts 50, and the longest test episode has"
    ) as error:
        Pretrainer(load_config(KINDS["rssm"], "pretrain/rssm", [*TINY["rssm"], *more]), data)
    text = str(error.value)
    assert text.split("; choose ")[1].count(", or ") == len(cures) - 1 and all(
        cure in text for cure in cures
    ), text
    for cure in re.findall(r"split=episode(?=, which)|seen=\d+ horizon=\d+", text):
        Pretrainer(
            load_config(KINDS["rssm"], "pretrain/rssm", [*TINY["rssm"], *more, *cure.split()]), data
        )


@pytest.mark.parametrize(
    ("rows", "episodes", "more", "chosen"),
    [
        (1000, 2, [], ("time", 50, 50)),
        (150, 12, [], ("episode", 50, 50)),
        (60, 12, [], ("episode", 30, 30)),
        (500, 2, [], ("time", 25, 25)),
        (30, 12, ["split=episode"], ("episode", 15, 15)),
        (5, 12, [], None),
        (1000, 2, ["seen=20"], ("time", 20, 50)),
        (700, 2, ["horizon=40"], ("time", 30, 40)),
        (700, 2, ["seen=20"], ("time", 20, 50)),
        (150, 12, ["split=time"], ("time", 7, 8)),
        (150, 2, ["horizon=10"], ("time", 5, 10)),
        (4, 30, ["split=time"], None),
        (1000, 2, ["horizon=100"], None),
    ],
)
def test_what_is_left_open_fits_the_log(rows, episodes, more, chosen):
    settings, data = load_config(KINDS["rssm"], "pretrain/rssm", more), arm(rows, episodes)
    if chosen is None:
        with pytest.raises(DataError, match=r"no validation part|the longest test episode has"):
            fitted(settings, data)
        return
    found, parts, fit = fitted(settings, data)
    assert (found.split, found.seen, found.horizon) == (fit.split, fit.seen, fit.horizon) == chosen
    assert windows(parts.test, found.seen + found.horizon)
    again = fitted(found, data)  # a run's settings hold what was chosen
    assert again[0] == found and not again[2].open
