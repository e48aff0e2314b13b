"""Images of a log, as uint8 or as floats from 0 to 1: forecasts, errors and pictures are in the
units of the log.
"""

import numpy as np
import pytest
import torch

from agents.pretrain import report
from agents.pretrain.models import build
from agents.pretrain.settings import RSSMSettings
from worldmodels import RSSMConfig
from worldmodels.data import Episodes, make_episode

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
