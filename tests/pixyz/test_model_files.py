"""Models: stop and resume is a straight run, nothing saved is pickled, what is refused,
clipping.
"""

import json
from pathlib import Path

import pytest
import torch
from lifetime_parts import B, Decoder, Encoder, Step, X, Z, prior
from torch import nn

from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Parameter
from pixyz.models import Model
from pixyz.types import PixyzError

x = torch.rand(B, X, generator=torch.Generator().manual_seed(0))
series = torch.rand(3, B, X, generator=torch.Generator().manual_seed(0))


def model(**options: object) -> tuple[Model, Encoder, Decoder]:
    torch.manual_seed(0)
    q, p = Encoder(), Decoder()
    loss = (KullbackLeibler(q, prior()) - E(q, LogProb(p))).mean()
    return Model(loss, distributions=[q, p], **options), q, p  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop]
)
def test_stop_and_resume_is_a_straight_run(
    optimizer: type[torch.optim.Optimizer], tmp_path: Path
) -> None:
    momentum = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    options = {"optimizer": optimizer, "optimizer_params": {"lr": 0.02, **momentum}}
    straight, *_ = model(**options)
    torch.manual_seed(1)
    values = [straight.train(x) for _ in range(6)]
    stopped, *_ = model(**options)
    torch.manual_seed(1)
    again = [stopped.train(x) for _ in range(3)]
    stopped.save(tmp_path / "deep" / "folder")
    random = torch.get_rng_state()
    resumed, *_ = model(**options)
    resumed.optimizer.param_groups[0]["lr"] = 99.0
    resumed.load(tmp_path / "deep" / "folder")
    assert resumed.optimizer.param_groups[0]["lr"] == 0.02
    torch.set_rng_state(random)
    again += [resumed.train(x) for _ in range(3)]
    assert torch.equal(torch.stack(values), torch.stack(again))
    for a, b in zip(straight.parameters, resumed.parameters, strict=True):
        assert torch.equal(a, b)


def test_nothing_in_a_saved_model_is_pickled(tmp_path: Path) -> None:
    m, *_ = model()
    m.train(x)
    m.save(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert {f.suffix for f in files} == {".safetensors", ".json"}
    for file in files:
        raw = file.read_bytes()
        if file.suffix == ".json":
            json.loads(raw)
        else:
            size = int.from_bytes(raw[:8], "little")
            header = json.loads(raw[8 : 8 + size])
            assert all(
                k == "__metadata__" or set(v) == {"dtype", "shape", "data_offsets"}
                for k, v in header.items()
            )
        assert raw[:1] != b"\x80" and raw[:2] != b"PK"


def test_shared_and_scattered_weights_can_be_saved(tmp_path: Path) -> None:
    """Tied weights, transposed views, a distribution that is given alone and in a product."""

    def build() -> tuple[Model, Encoder]:
        torch.manual_seed(0)
        q, p = Encoder(), Decoder()
        p.net.weight = nn.Parameter(p.net.weight.detach().t().contiguous().t())
        p.net.bias = q.net[0].bias if q.net[0].bias.shape == p.net.bias.shape else p.net.bias  # type: ignore[assignment]
        tied = Encoder("y", "r")
        tied.net = q.net
        loss = (
            KullbackLeibler(q, prior()) - E(q, LogProb(p)) + KullbackLeibler(tied, prior())
        ).mean()
        return Model(
            loss, distributions=[q, p, p.replace_var(x="y") * q, tied], optimizer_params={"lr": 0.1}
        ), q

    m, q = build()
    m.train({"x": x, "y": x})
    m.save(tmp_path)
    other, _ = build()
    other.load(tmp_path)
    for a, b in zip(m.parameters, other.parameters, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(q.net[0].weight, build()[1].net[0].weight)
    torch.testing.assert_close(
        m.train({"x": x, "y": x}), other.train({"x": x, "y": x}), rtol=1, atol=10
    )


def test_what_a_model_refuses(tmp_path: Path) -> None:
    m, q, _ = model()
    with pytest.raises(PixyzError, match="missing"):
        m.load(tmp_path)
    m.save(tmp_path)
    small = Model(KullbackLeibler(q, prior()).mean(), distributions=[q])
    with pytest.raises(PixyzError, match="another model"):
        small.load(tmp_path)
    with pytest.raises(PixyzError, match=r"mean\(\)"):
        Model(KullbackLeibler(q, prior()), distributions=[q]).train(x)
    with pytest.raises(PixyzError, match="nothing to train"):
        Model(KullbackLeibler(prior(), prior()).mean())
    before = [w.clone() for w in m.parameters]
    with pytest.raises(PixyzError, match="nan"):
        m.train(x * float("nan"))
    assert all(torch.equal(a, b) for a, b in zip(before, m.parameters, strict=True))


def test_parameters_of_the_objective_are_trained() -> None:
    start = nn.Parameter(torch.ones(Z))
    step = Step()
    loss = IterativeLoss(
        E(step, Parameter("h") * Parameter("h")),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": start},
    ).mean()
    m = Model(loss, distributions=[step], optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    assert any(p is start for p in m.parameters)
    m.train(series)
    assert not torch.equal(start, torch.ones(Z))


def test_clipping_and_test_objectives() -> None:
    m, q, _ = model(optimizer=torch.optim.SGD, optimizer_params={"lr": 1.0}, clip_grad_norm=1e-3)
    before = [w.detach().clone() for w in m.parameters]
    m.train(x)
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, m.parameters, strict=True)]).norm()
    assert 0 < moved <= 1.001e-3
    m, q, _ = model(optimizer=torch.optim.SGD, optimizer_params={"lr": 1.0}, clip_grad_value=1e-4)
    before = [w.detach().clone() for w in m.parameters]
    m.train(x)
    assert (
        0 < max((a - b).abs().max() for a, b in zip(before, m.parameters, strict=True)) <= 1.01e-4
    )
    m.set_loss(m.loss_cls, KullbackLeibler(q, prior()).sum())
    torch.testing.assert_close(m.test(x), KullbackLeibler(q, prior()).sum().eval(x).detach())
    assert not q.training and not m.test({"x": x}).requires_grad
    m.train({"x": x})
    assert q.training
