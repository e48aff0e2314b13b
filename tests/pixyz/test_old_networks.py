"""More of what scripts for pixyz 0.3.3 do: numbers from networks, names of their own, numbered
steps, odd spellings.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixyz.distributions import (
    Bernoulli,
    Categorical,
    Deterministic,
    MixtureModel,
    Normal,
    RelaxedBernoulli,
    RelaxedCategorical,
    Scan,
)
from pixyz.losses import (
    Entropy,
    Expectation,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Loss,
    Parameter,
)
from pixyz.models import VAE
from pixyz.types import PixyzError, VariableError
from pixyz.utils import lru_cache_for_sample_dict

B, X, Z = 4, 3, 2
x = torch.randn(B, X, generator=torch.Generator().manual_seed(0))
prior = Normal(var="z", loc=0.0, scale=1.0, features_shape=[Z])


class Net(Normal):
    """Its scale is what it is given; attributes are called as users call them."""

    def __init__(self, scale: Any, var: str = "z", cond: str = "x") -> None:
        super().__init__(var, cond, name="q")
        self.layer, self.given = nn.Linear(X, Z), scale
        self.modules = [self.layer]  # type: ignore[assignment]
        self.returns, self.bounds, self.matrices, self.noise = [], (0, 255), None, 0.1  # type: ignore[assignment]
        self.draw, self.mean_of, self.states = None, 0.5, 10  # type: ignore[assignment]

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"loc": self.layer(x), "scale": self.given}


NUMBERS = [0.5, 1, np.float32(0.5), np.float64(0.5), np.array(0.5), np.array([0.5, 2.0])]


@pytest.mark.parametrize("scale", NUMBERS, ids=lambda v: type(v).__name__)
def test_a_network_may_return_numbers(scale: Any) -> None:
    torch.manual_seed(0)
    q, same = Net(scale), Net(torch.as_tensor(scale, dtype=torch.float32).expand(B, Z))
    same.load_state_dict(q.state_dict())
    losses: list[Callable[[Net], Loss]] = [
        lambda q: KullbackLeibler(q, prior).mean(),
        lambda q: Expectation(q, LogProb(q), sample_shape=[5]).mean(),
        lambda q: Expectation(q.frozen(), prior.log_prob()).mean(),
        lambda q: Entropy(q).mean(),
    ]
    for loss in losses:
        torch.manual_seed(1)
        found = loss(q).eval({"x": x})
        torch.manual_seed(1)
        torch.testing.assert_close(found, loss(same).eval({"x": x}))
    z = torch.zeros(B, Z)
    torch.testing.assert_close(
        q.get_log_prob({"x": x, "z": z}), same.get_log_prob({"x": x, "z": z})
    )
    assert q.sample({"x": x}, sample_shape=[3])["z"].dtype == torch.float32


class Walk(Normal):
    def __init__(self, scale: Any) -> None:
        super().__init__("h", ["h_prev", "x"], name="q")
        self.layer, self.given = nn.Linear(X, X), scale
        self.modules = [self.layer]  # type: ignore[assignment]

    def forward(self, h_prev: Tensor, x: Tensor) -> dict[str, Any]:
        return {"loc": self.layer(h_prev) + x, "scale": self.given}


def test_numbers_in_a_time_loop() -> None:
    torch.manual_seed(0)
    number, tensor = Walk(0.5), Walk(torch.full((B, X), 0.5))
    tensor.load_state_dict(number.state_dict())
    given, found = {"x": torch.randn(5, B, X), "h_prev": torch.zeros(B, X)}, []
    for fission in (True, False):
        for q in (number, tensor):
            loss = IterativeLoss(
                Expectation(q, LogProb(q)),
                series_var="x",
                update_value={"h": "h_prev"},
                fission=fission,
            )
            torch.manual_seed(1)
            found.append(loss.eval(given))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_numbers_alone_are_one_density_a_row() -> None:
    class Coin(Bernoulli):
        def forward(self, z: Tensor) -> dict[str, Any]:
            return {"probs": 0.5}

    given = {"z": torch.zeros(B, Z)}
    assert Coin("x", "z").sample(given)["x"].shape == (B,)
    assert Coin("x", "z", features_shape=[3]).sample(given)["x"].shape == (B, 3)

    class Half(Deterministic):
        def forward(self, z: Tensor) -> dict[str, Any]:
            return {"y": 0.5}

    torch.testing.assert_close(Half("y", "z").sample(given)["y"], torch.full((B,), 0.5))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: x, r"must return a dict with the keys \['loc', 'scale'\].*got Tensor"),
        (
            lambda x: {"loc": x, "scale": "wide"},
            r"must return tensors or numbers, got \{'scale': str\}",
        ),
        (
            lambda x: {"loc": x, "scale": None},
            r"must return tensors or numbers, got \{'scale': NoneType\}",
        ),
    ],
)
def test_what_else_a_network_returns_is_named(
    returned: Callable[[Tensor], Any], message: str
) -> None:
    class Wrong(Normal):
        def forward(self, x: Tensor) -> Any:
            return returned(x)

    for _ in range(2):
        with pytest.raises(PixyzError, match=message):
            Wrong("z", "x").sample({"x": x})


def test_numpy_values_are_refused_by_name() -> None:
    q = Net(0.5)
    loss = q.log_prob().mean()
    for _ in range(2):
        with pytest.raises(VariableError, match=r"\['x'\] are numpy arrays"):
            loss.eval({"x": x.numpy(), "z": torch.zeros(B, Z)})
        with pytest.raises(VariableError, match="numpy"):
            q.sample({"x": x.numpy()})
        loss.eval({"x": x, "z": torch.zeros(B, Z)})


def test_a_loss_may_name_a_variable_twice() -> None:
    class Ratio(Loss):
        def __init__(self, p: Normal, q: Normal) -> None:
            super().__init__(p.var + p.cond_var + q.var + q.cond_var)
            self.p, self.q = p, q

        def forward(self, x_dict: Any, **kwargs: Any) -> Any:
            return (self.p.get_log_prob(x_dict) - self.q.get_log_prob(x_dict)).exp(), {}

    q = Net(0.5)
    assert Ratio(q, q).input_var == ["z", "x"]
    torch.testing.assert_close(Ratio(q, q).eval({"x": x, "z": torch.zeros(B, Z)}), torch.ones(B))


class Clocked(Normal):
    """Its mean moves with the number of the step."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["h", "t"])

    def forward(self, h: Tensor, t: Any) -> dict[str, Any]:
        return {"loc": h + t, "scale": 1.0}


class ClockedState(Normal):
    def __init__(self) -> None:
        super().__init__(var=["h"], cond_var=["h_prev", "t"], name="q")

    def forward(self, h_prev: Tensor, t: Any) -> dict[str, Any]:
        return {"loc": h_prev + t, "scale": 1e-6}


class Slice(Deterministic):
    def __init__(self) -> None:
        super().__init__(var=["x_t"], cond_var=["x", "t"], name="f")

    def forward(self, t: Any, x: Tensor) -> dict[str, Any]:
        return {"x_t": x[t]}


def test_a_density_may_read_the_number_of_the_step() -> None:
    """Recorded from 0.3.3, where it is a Python number."""
    series, h = torch.zeros(3, 2, 1), torch.zeros(2, 1)
    loss = Clocked().log_prob()
    for found in (
        IterativeLoss(loss, max_iter=3, timestep_var="t", series_var="x").eval(
            {"x": series, "h": h}
        ),
        IterativeLoss(loss, timestep_var="t", series_var="x").eval({"x": series, "h": h}),
        IterativeLoss(loss, max_iter=3, timestep_var="t").eval({"x": series[0], "h": h}),
        IterativeLoss(
            Clocked().replace_var(x="x_t").log_prob(),
            max_iter=3,
            slice_step=Slice(),
            timestep_var="t",
        ).eval({"x": series, "h": h}),
    ):
        torch.testing.assert_close(found, torch.full((2,), -5.2568), atol=1e-4, rtol=0)
    for count in ((1,), (4,)):
        step = Expectation(ClockedState(), loss, sample_shape=count)
        path = IterativeLoss(step, timestep_var="t", series_var="x", update_value={"h": "h_prev"})
        torch.testing.assert_close(
            path.eval({"x": series, "h_prev": h}), torch.full((2,), -17.2568), atol=1e-3, rtol=0
        )
    bound = IterativeLoss(
        Normal("x", "t", loc="t", scale=1.0).log_prob(), timestep_var="t", series_var="x"
    )
    with pytest.raises(PixyzError, match="number of the step"):
        bound.eval({"x": series})


def test_one_name_for_the_number_of_steps() -> None:
    walk = Scan(ClockedState(), timestep_var="t", max_iter=4, update_value={"h": "h_prev"})
    assert (
        walk.sample({"h_prev": torch.zeros(2, 1)})["h"].shape == (4, 2, 1)
        and walk.recurrence.steps == 4
    )
    assert IterativeLoss(Parameter("t"), steps=3, timestep_var="t").eval() == 3
    with pytest.raises(PixyzError, match="one number, got 3 and 4"):
        Scan(ClockedState(), steps=3, max_iter=4, timestep_var="t", update_value={"h": "h_prev"})
    with pytest.raises(PixyzError, match="one number, got 3 and 4"):
        IterativeLoss(Parameter("t"), max_iter=3, steps=4, timestep_var="t")


def test_one_meaning_of_sample_shape() -> None:
    for shape in (1, (1,), ()):
        assert Expectation(prior, Parameter("z"), sample_shape=shape).sample_shape == ()
        assert (
            KullbackLeibler(prior, prior, sample_shape=shape).sample_shape
            == Entropy(prior, sample_shape=shape).sample_shape
        )
    assert KullbackLeibler(prior, prior, sample_shape=5).sample_shape == (5,)
    for make in (
        lambda: KullbackLeibler(prior, prior, sample_shape=[0]),
        lambda: Entropy(prior, sample_shape=[-1]),
    ):
        with pytest.raises(PixyzError, match="positive"):
            make()


def test_means_of_relaxed_variables_are_those_of_the_discrete_ones() -> None:
    probs = torch.tensor([0.2, 0.8])
    for make in (RelaxedBernoulli, RelaxedCategorical):
        torch.testing.assert_close(
            make(var="y", probs=probs, temperature=0.5).sample_mean(), probs[None]
        )


def test_a_mixture_whose_prior_has_the_default_name() -> None:
    parts = [Normal(loc=0.0, scale=1.0), Normal(loc=1.0, scale=1.0)]
    p = MixtureModel(parts, Categorical(probs=torch.tensor([0.4, 0.6])))
    assert p.var == ["x"] and p.hidden_var == ["z"] and "prior.probs" in p.state_dict()
    wanted = torch.tensor([0.4, 0.6]).log() + torch.distributions.Normal(
        torch.tensor([0.0, 1.0]), 1.0
    ).log_prob(torch.zeros(2))
    torch.testing.assert_close(p.get_log_prob({"x": torch.zeros(1)}), wanted.logsumexp(0, True))
    assert p.posterior().get_log_prob({"x": torch.zeros(1)}).shape == (2, 1)
    assert set(p.sample(batch_n=3, return_hidden=True)) == {"x", "z"}


@pytest.mark.parametrize(
    "p",
    [
        Normal(loc=0, scale=1),
        Normal(var=["x"], loc=0, scale=1) * Normal(var=["y"], loc=0, scale=1),
    ],
    ids=["one", "joint"],
)
@pytest.mark.parametrize(
    ("dims", "shape"), [(None, [2]), ([-2], [2, 4]), ([0, 1], [4]), ([], [2, 3, 4])]
)
def test_feature_dims_count_in_the_value_as_given(
    p: Any, dims: list[int] | None, shape: list[int]
) -> None:
    drawn = p.sample(batch_n=4, sample_shape=(2, 3))
    assert list(p.get_log_prob(drawn, sum_features=True, feature_dims=dims).shape) == shape


def test_a_memo_of_parameters() -> None:
    """0.3.3's decorator: parameters are computed once for all terms of an objective anyway."""
    calls: list[str] = []

    class Encoder(Net):
        @lru_cache_for_sample_dict(maxsize=2)
        def get_params(self, params_dict: Any = None, **kwargs: Any) -> Any:
            return super().get_params(params_dict, **kwargs)

        def forward(self, x: Tensor) -> dict[str, Any]:
            calls.append("E")
            return super().forward(x)

    class Decoder(Normal):
        def forward(self, z: Tensor) -> dict[str, Any]:
            calls.append("D")
            return {"loc": z.sum(-1, keepdim=True).expand(-1, X), "scale": 1.0}

    q = Encoder(0.5)
    model = VAE(
        q, Decoder("x", "z"), regularizer=KullbackLeibler(q, prior), optimizer=torch.optim.Adam
    )
    model.train({"x": x})
    # its scale is a number: the first evaluation finds it out (docs/differences.md)
    assert calls == [
        "E",
        "D",
        "D",
    ]
    calls.clear()
    model.train({"x": x})
    assert calls == ["E", "D"]


def test_options_of_a_graph_are_arguments() -> None:
    with pytest.raises(PixyzError, match="sample"):
        prior.graph.set_option({"batch_n": 4}, ["z"])
