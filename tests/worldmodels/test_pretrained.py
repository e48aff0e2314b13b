"""Every model in a folder and out of it: the same weights, the same numbers; what is damaged or
does not fit is one line.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
import torch
from model_parts import data, every, make
from safetensors.torch import load_file

import worldmodels
from pixyz.distributions import Normal
from pixyz.losses import LogProb
from pixyz.types import PixyzError
from worldmodels import DMM, RSSM, VRNN, VRNNConfig
from worldmodels.pretrained import CONFIG, WEIGHTS


@every
def test_a_model_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = make(name)
    model.save_pretrained(tmp_path / "out")
    again = worldmodels.from_pretrained(tmp_path / "out")
    assert type(again) is type(model) and again.config == model.config and not again.training
    for key, value in model.state_dict().items():
        assert (
            torch.equal(value, again.state_dict()[key])
            and value.dtype == again.state_dict()[key].dtype
        )
    found = []
    for m in (model, again):
        torch.manual_seed(1)
        found.append(m.objective.eval(data()))
    assert torch.equal(*found)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", CONFIG, WEIGHTS]


class Heat(Normal):
    def __init__(self) -> None:
        super().__init__("heat", ["h"], "p_heat", features_shape=[1])
        self.net = torch.nn.Linear(4, 1)

    def forward(self, h: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loc": self.net(h), "scale": torch.ones_like(h[:, :1])}


def small(**more: object) -> VRNN:
    torch.manual_seed(0)
    return VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4), **more)  # type: ignore[arg-type]


def test_own_terms_are_given_again(tmp_path: Path) -> None:
    model = small(terms={"warmth": -0.1 * LogProb(Heat())})
    model.save_pretrained(tmp_path / "out")
    with pytest.raises(PixyzError, match=r"own terms \['warmth'\]; give them again"):
        VRNN.from_pretrained(tmp_path / "out")
    again = VRNN.from_pretrained(tmp_path / "out", terms={"warmth": -0.1 * LogProb(Heat())})
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


class Mine(VRNN):
    """A class of a user's."""


def test_a_class_of_one_s_own(tmp_path: Path) -> None:
    model = Mine(3, VRNNConfig(latent=2, rnn=4, hidden=4))
    model.save_pretrained(tmp_path / "out")
    assert type(Mine.from_pretrained(str(tmp_path / "out"))) is Mine
    with pytest.raises(PixyzError, match="expected VRNN, got 'Mine'"):
        VRNN.from_pretrained(tmp_path / "out")
    with pytest.raises(PixyzError, match="expected a model of worldmodels, got 'Mine'"):
        worldmodels.from_pretrained(tmp_path / "out")
    del model.size
    with pytest.raises(PixyzError, match="Mine keeps 'size' as an attribute"):
        model.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def changed(folder: Path, **more: object) -> None:
    about = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**about, **more}))


def test_what_is_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = small().save_pretrained(tmp_path / "out")
    assert "rnn" in json.loads((out / CONFIG).read_text())["config"] and load_file(out / WEIGHTS)
    with pytest.raises(PixyzError, match="is not empty"):
        small().save_pretrained(out)
    with pytest.raises(PixyzError, match="expected DMM, got 'VRNN'"):
        DMM.from_pretrained(out)
    changed(out, config={"latent": 3, "rnn": 4, "hidden": 4})
    with pytest.raises(PixyzError, match=r"does not fit this version: .*size mismatch") as error:
        VRNN.from_pretrained(out)
    assert "\n" not in str(error.value)
    changed(out, config={"latnt": 3})
    with pytest.raises(PixyzError, match=r"does not fit this version: .*latnt"):
        VRNN.from_pretrained(out)
    changed(out, format=99)
    with pytest.raises(PixyzError, match="expected the format 1, got 99"):
        VRNN.from_pretrained(out)
    (out / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(PixyzError, match="is damaged"):
        VRNN.from_pretrained(out)
    (out / WEIGHTS).unlink()
    with pytest.raises(PixyzError, match=r"model.safetensors is missing"):
        VRNN.from_pretrained(out)
    with pytest.raises(PixyzError, match="it is neither"):
        VRNN.from_pretrained(tmp_path / "none")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PixyzError, match="pip install huggingface_hub"):
        VRNN.from_pretrained("somebody/model")


def test_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    out, asked = model.save_pretrained(tmp_path / "out"), []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        if name == "some/other":
            raise OSError("404 Client\nError")
        return str(out)

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=download)
    )
    again = VRNN.from_pretrained("somebody/model")
    assert torch.equal(next(again.parameters()), next(model.parameters()))
    assert asked == [("somebody/model", [CONFIG, WEIGHTS])]
    with pytest.raises(PixyzError, match="the Hub says 404 Client Error"):
        RSSM.from_pretrained("some/other")
