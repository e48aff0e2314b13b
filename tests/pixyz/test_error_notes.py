"""What is said of an error inside a plan: whose it was, and what that was called with."""

import pytest
import torch
from torch import nn

from pixyz.distributions import Normal, Scan
from pixyz.losses import E, IterativeLoss, LogProb
from pixyz.types import ShapeError, VariableError

B, X, Z = 5, 7, 8


class Encoder(Normal):
    def __init__(self, name="q"):
        super().__init__("z", "x", name, features_shape=[Z])
        self.layer = nn.Linear(X, Z)

    def forward(self, x):
        return {"loc": self.layer(x), "scale": torch.ones(Z)}


class Decoder(Normal):
    def __init__(self):
        super().__init__("x", "z", "p", features_shape=[X])
        self.layer = nn.Linear(Z, X)

    def forward(self, z):
        return {"loc": self.layer(z), "scale": torch.ones_like(self.layer(z))}


class Both(Normal):
    """Reads a set of points of any number beside a batch."""

    def __init__(self, wrong):
        super().__init__("y", ["x", "points"], "r", features_shape=[X])
        self.wrong = wrong

    def forward(self, x, points):
        if self.wrong:
            torch.cat([x, points], -1)
        return {"loc": x + points.mean(0), "scale": torch.ones(X)}


def _notes(call, match, kind=RuntimeError):
    with pytest.raises(kind, match=match) as found:
        call()
    assert type(found.value) is kind
    return getattr(found.value, "__notes__", [])


WIDE = ["in q(z|x), called with x [5, 8] float32"]


@pytest.mark.parametrize("ran", [False, True])
def test_an_error_of_a_network_says_whose_it_is_and_its_arguments(ran):
    q = Encoder()
    loss = E(q, LogProb(Decoder())).mean()
    x, wide = torch.rand(B, X), torch.rand(B, Z)
    if ran:
        for _ in range(3):
            loss.eval({"x": x})
            q.sample(x)
            q.get_log_prob({"x": x, "z": wide})
            q.get_params(x)
    match = "mat1 and mat2 shapes"
    assert _notes(lambda: loss.eval({"x": wide}), match) == WIDE
    assert _notes(lambda: q.sample(wide), match) == WIDE
    assert _notes(lambda: q.get_log_prob({"x": wide, "z": wide}), match) == WIDE
    assert _notes(lambda: q.get_params(wide), match) == WIDE
    double = ["in q(z|x), called with x [5, 7] float64"]
    assert _notes(lambda: loss.eval({"x": x.double()}), "same dtype") == double


def test_an_error_in_a_loop_says_whose_it_is():
    class Step(Normal):
        def __init__(self):
            super().__init__("x", "x_prev", features_shape=[X])
            self.layer = nn.Linear(X, X)

        def forward(self, x_prev):
            return {"loc": self.layer(x_prev), "scale": torch.ones_like(x_prev)}

    scan = Scan(Step(), update_value={"x": "x_prev"}, steps=3)
    narrow = ["in p(x|x_{prev}), called with x_prev [5, 3] float32"]
    assert _notes(lambda: scan.sample({"x_prev": torch.rand(B, 3)}), "mat1") == narrow
    for fission, rows in ((True, 20), (False, 5)):
        loss = IterativeLoss(LogProb(Decoder()), series_var=["x", "z"], fission=fission)
        series = {"x": torch.rand(4, B, X), "z": torch.rand(4, B, 3)}
        narrow = [f"in p(x|z), called with z [{rows}, 3] float32"]
        assert _notes(lambda loss=loss, x=series: loss.eval(x), "mat1") == narrow


def test_an_error_of_ones_own_stays_what_it_is():
    class Own(Exception):
        pass

    class Fails(Encoder):
        def forward(self, x):
            raise Own("no")

    assert _notes(lambda: Fails().sample(torch.rand(B, X)), "no", Own) == [
        "in q(z|x), called with x [5, 7] float32"
    ]


def test_the_librarys_own_errors_have_no_note():
    x = {"x": torch.rand(B, X), "z": torch.rand(B, 3)}
    assert _notes(lambda: Encoder().get_log_prob(x), "'z' has the shape", ShapeError) == []


@pytest.mark.parametrize("ran", [False, True])
def test_batches_that_differ_are_named(ran):
    p = Decoder()
    x = {"x": torch.rand(B, X), "z": torch.rand(4, Z)}
    loss = (LogProb(p) * 2).mean()
    if ran:
        for _ in range(3):
            loss.eval({**x, "z": torch.rand(B, Z)})
    match = r"log p\(x\|z\): z \[4, 8\], x \[5, 7\] \(batch.* different batches; give all"
    assert _notes(lambda: loss.eval(x), match, ShapeError) == []
    assert _notes(lambda: p.get_log_prob(x), match, ShapeError) == []
    terms = LogProb(p) + LogProb(p.replace_var(x="y", z="u"))
    more = {"x": torch.rand(B, X), "z": torch.rand(B, Z), "y": torch.rand(4, X)}
    _notes(lambda: terms.eval({**more, "u": torch.rand(4, Z)}), "different batches", ShapeError)


def test_batches_of_series_that_differ_are_named():
    loss = IterativeLoss(LogProb(Decoder()), series_var=["x", "z"])
    x, z = torch.rand(3, B, X), torch.rand(3, 4, Z)
    match = r"a step of x \[5, 7\], a step of z \[4, 8\] .* have different batches"
    _notes(lambda: loss.eval({"x": x, "z": z}), match, ShapeError)
    loss = IterativeLoss(LogProb(Decoder()), series_var="x")
    match = r"a step of x \[5, 7\], z \[4, 8\] .* have different batches"
    _notes(lambda: loss.eval({"x": x, "z": z[0]}), match, ShapeError)


def test_what_may_have_another_batch_is_taken():
    p = Decoder()
    one = {"x": torch.rand(B, X), "z": torch.rand(1, Z)}
    assert LogProb(p).eval(one).shape == p.get_log_prob(one).shape == (B,)
    x = {"x": torch.rand(B, X), "points": torch.rand(9, X)}
    assert Both(wrong=False).sample(x)["y"].shape == (B, X)
    # what is wrong inside a network is not for the library to say
    note = ["in r(y|x,points), called with x [5, 7] float32, points [9, 7] float32"]
    assert _notes(lambda: Both(wrong=True).sample(x), "Sizes of tensors must match") == note


def test_names_of_the_librarys_own_are_not_shown():
    with pytest.raises(VariableError, match=r"needs the variables \['z'\], got \[\]: \['z'\] miss"):
        Decoder().sample(batch_n=B)
