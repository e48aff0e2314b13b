"""Nats a frame: those frames are counted that the bound has a term for, so that the number does not
depend on how a log is cut.
"""

import numpy as np
import pytest
import torch

from agents.pretrain import KINDS
from agents.pretrain.models import build
from agents.pretrain.trainer import Pretrainer, _pieces
from worldmodels.data import Episodes, make_episode, pad

ROWS = 103


def walk():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(ROWS, 2)).cumsum(0)
    return Episodes([make_episode("0", {"x": x}, action=draw.normal(size=(ROWS, 1)))])


def model_of(kind):
    torch.manual_seed(0)
    data = walk()
    model = build(KINDS[kind](), data.shapes, 1)
    model.fit_units(data)
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "lost"), [("one_step", 1), ("tdvae", 1), ("dmm", 0), ("vrnn", 0), ("rssm", 0)]
)
def test_frames_with_a_term_are_counted(kind, lost):
    model = model_of(kind)
    for length in (2, 17, ROWS):
        batch = pad(_pieces(walk(), length))
        rows = batch["mask"].sum(0)
        assert model.terms(batch).tolist() == (rows - lost).tolist()
        whole = {k: v for k, v in batch.items() if k != "mask"}
        assert set(model.terms(whole).tolist()) == {length - lost}


def test_nats_of_a_step_do_not_depend_on_how_a_log_is_cut():
    """As many steps as rows were counted: pieces of 2 rows had half of the nats."""
    model = model_of("one_step")
    fake = Pretrainer.__new__(Pretrainer)
    fake.model, fake.settings, fake.device = model, KINDS["one_step"](), torch.device("cpu")
    whole, cut = (fake.bound(_pieces(walk(), length)) for length in (ROWS, 2))
    assert cut == pytest.approx(whole, rel=0.1)
    batch = pad(walk())
    nats, made = model.model.nats(batch)
    assert whole == pytest.approx((nats.sum() / made.sum()).item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["one_step", "tdvae", "vrnn"])
def test_pieces_of_one_row_have_a_bound(kind):
    model, batch = model_of(kind), pad([walk()[0].part(0, 1)])
    assert torch.isfinite(model.bound(batch)).all()
    assert model.terms(batch).item() == (kind == "vrnn")
