"""Images of a log, as uint8 or as floats from 0 to 1: forecasts, errors and pictures are in the
units of the log.
"""

import numpy as np
import pytest
import torch

from agents.plots import new_figure
from agents.pretrain import report
from agents.pretrain.models import build
from agents.pretrain.settings import RSSMSettings
from worldmodels import RSSMConfig
from worldmodels.data import Episodes, Split, make_episode

SMALL = RSSMConfig(
    latent="gaussian",
    core="gru",
    deter=8,
    hidden=8,
    groups=3,
    units=8,
    vectors="gaussian",
    depth=2,
)


def seen(deep, rows=40):
    """Images of one brightness, nearly; those of depth are floats."""
    draw = np.random.default_rng(0)
    image = np.clip(0.5 + 0.01 * draw.normal(size=(rows, 16, 16, 1)), 0, 1).astype(np.float32)
    image = image if deep else (255 * image).astype(np.uint8)
    return Episodes([make_episode("0", {"depth": image}, draw.uniform(-1, 1, (rows, 1)))])


def model_of(data):
    torch.manual_seed(0)
    return build(RSSMSettings(model=SMALL), data.shapes, 1)


@pytest.mark.parametrize("deep", [False, True])
def test_forecasts_are_in_the_units_of_the_log(deep):
    data = seen(deep)
    model, rows = model_of(data), {k: torch.from_numpy(v) for k, v in data[0].series.items()}
    given = {k: v[:8].unsqueeze(1) for k, v in rows.items()}
    found = model.forecast(given, rows["action"][7:11].unsqueeze(1), 4)["depth"]
    gap = (found[:, 0] - rows["depth"][8:12].float()).abs().mean()
    # an untrained model draws grey, as the images are
    assert gap < (0.2 if deep else 51) and found.max() < (2 if deep else 255)


@pytest.mark.parametrize("deep", [False, True])
def test_pictures_are_drawn_from_0_to_1(deep):
    data = seen(deep)
    settings = RSSMSettings(model=SMALL, seen=8, horizon=4, draws=2)
    truth, guess = report._one(model_of(data), data[0].part(0, 12), settings)
    panels = report._panels(truth["depth"], guess["depth"], settings)
    assert 0.4 < panels["truth"].mean() < 0.6 and 0.3 < panels["prediction"].mean() < 0.7
    assert np.abs(panels["difference"]).mean() < 0.2
    assert report._colors("difference")["vmax"] == report._colors("truth")["vmax"] == 1


def test_a_table_keeps_digits_and_columns_apart():
    errors = {"rssm": [137.4191, 1234.5], "persist": [0.3, 0.4]}
    text = report.table({"horizon": 2, "rmse": {k: {"all": e} for k, e in errors.items()}})
    rows = [line.split() for line in text.split("\n")]
    assert rows[1:] == [["rssm", "137.419", "1234.500"], ["persist", "0.300", "0.400"]]
    assert len({len(line) for line in text.split("\n")}) == 1


@pytest.mark.parametrize("deep", [False, True])
def test_errors_of_images_are_said_to_be_in_pixels(deep, tmp_path, monkeypatch):
    data = Split(*[seen(deep)] * 3)
    settings = RSSMSettings(model=SMALL, seen=8, horizon=4, draws=2, predicts="value")
    found = report.evaluate(model_of(seen(deep)), data, settings)
    assert report.unit(found) == f"pixels from 0 to {1 if deep else 255}"
    found["rmse"]["rssm"]["all"][0] = 1e6
    (*_, line) = report.worse(found)
    assert "more updates" in line and "predicts=change" not in line, "which is refused for images"
    figures = []
    monkeypatch.setattr(report, "new_figure", lambda: figures.append(new_figure()) or figures[0])
    report.draw_errors(tmp_path / "errors.png", found)
    assert figures[0].axes[0].get_ylabel() == f"RMSE, {report.unit(found)}"


def test_errors_of_vectors_are_in_deviations():
    x = np.random.default_rng(0).normal(size=(40, 2))
    data = Split(*[Episodes([make_episode("0", {"x": x}, x[:, :1])])] * 3)
    settings = RSSMSettings(model=SMALL, seen=8, horizon=4, draws=2, predicts="value")
    torch.manual_seed(0)
    found = report.evaluate(build(settings, {"x": (2,)}, 1), data, settings)
    assert report.unit(found) == report.unit({"rmse": found["rmse"]}) == "standard deviations"
    found["rmse"]["rssm"]["all"][0] = 1e6
    assert "try predicts=change" in report.worse(found)[0]
