"""What lives how long: plans, memory, copies of every class, modes and types that change."""

import copy
import gc
import linecache
import pickle
import threading
import weakref
from collections.abc import Callable

import pytest
import torch
from lifetime_parts import B, Decoder, Encoder, Step, X, Z, prior
from torch import Tensor, nn

from pixyz.distributions import (
    Bernoulli,
    BoundedNormal,
    Categorical,
    Deterministic,
    Distribution,
    EmpiricalDistribution,
    GroupedOneHot,
    LogDensity,
    Mean,
    Normal,
    Scan,
    SeriesFunction,
    TanhNormal,
    TwoHot,
)
from pixyz.losses import (
    ELBO,
    CrossEntropy,
    E,
    Entropy,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Loss,
    MinLoss,
    Parameter,
)
from pixyz.plan import Plan
from pixyz.plan.run.cache import MOST_KEYS
from pixyz.plan.run.plan import forget_sources


class Logits(Deterministic):
    def __init__(self) -> None:
        super().__init__("l", "x", name="f")
        self.net = nn.Linear(X, Z)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"l": self.net(x)}


class Total(SeriesFunction):
    def __init__(self) -> None:
        super().__init__("s", ["h"], like={"s": None})

    def forward(self, h: Tensor) -> dict[str, Tensor]:
        return {"s": h.sum(0)}


def scan() -> Scan:
    return Scan(
        Step(),
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": nn.Parameter(torch.ones(Z))},
    )


x = torch.rand(B, X, generator=torch.Generator().manual_seed(0))
series = torch.rand(3, B, X, generator=torch.Generator().manual_seed(0))

DISTRIBUTIONS: dict[str, Callable[[], Distribution]] = {
    "Normal": Encoder,
    "constant": prior,
    "learned": lambda: Normal(var="z", loc=nn.Parameter(torch.zeros(Z)), scale=1.0),
    "Bernoulli": lambda: Bernoulli(var="z", cond_var="x", logits="x"),
    "Categorical": lambda: Categorical(var="z", cond_var="x", logits="x"),
    "BoundedNormal": lambda: BoundedNormal(var="z", cond_var="x", loc="x", scale="x"),
    "TanhNormal": lambda: TanhNormal(var="z", cond_var="x", loc="x", scale=1.0),
    "GroupedOneHot": lambda: GroupedOneHot(2, 3, var="z", cond_var="x", logits="x"),
    "TwoHot": lambda: TwoHot(var="z", cond_var="x", logits="x", bins=torch.linspace(-5, 5, X)),
    "Deterministic": Logits,
    "EmpiricalDistribution": lambda: EmpiricalDistribution("x"),
    "LogDensity": lambda: LogDensity(Encoder(), "density") * Encoder(),
    "Mean": lambda: Mean(Encoder(), "z"),
    "product": lambda: Decoder().replace_var(x="y") * Encoder(),
    "renamed": lambda: Encoder().replace_var(z="w"),
    "marginal": lambda: (Decoder().replace_var(x="y") * Encoder()).marginalize_var("z"),
    "detached": lambda: Encoder().detach(),
    "frozen": lambda: Encoder().frozen(),
    "Scan": scan,
    "detached scan": lambda: scan().detach(),
}
LOSSES: dict[str, Callable[[], Loss]] = {
    "E": lambda: E(Encoder(), LogProb(Decoder()), sample_shape=[2]),
    "KL": lambda: KullbackLeibler(Encoder(), prior()),
    "KL sampled": lambda: KullbackLeibler(Encoder(), prior(), analytical=False),
    "Entropy": lambda: Entropy(Encoder()) + CrossEntropy(Encoder(), prior()),
    "ELBO": lambda: ELBO(Decoder() * prior(), Encoder()).mean(),
    "operators": lambda: (
        MinLoss((KullbackLeibler(Encoder(), prior()) * 2 - 1).abs().clamp(max=9) / 3, 2)
        .named("n")
        .sum()
    ),
    "fixed": lambda: (Parameter("beta") * KullbackLeibler(Encoder(), prior())).constant_var(
        {"beta": 2.0}
    ),
    "frozen": lambda: KullbackLeibler(Encoder().frozen(), prior()) + Entropy(Encoder().detach()),
    "series": lambda: IterativeLoss(
        E(Step(), Parameter("h")), series_var="x", update_value={"h": "h_prev"}, init={"h_prev": 0}
    ),
    "scan": lambda: E(scan() * Total(), Parameter("s").mean()),
}


def data_for(name: str) -> dict[str, Tensor]:
    return {"x": series if "series" in name or "scan" in name.lower() else x}


def clone_deep(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module)


def clone_pickled(module: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(module))  # type: ignore[no-any-return]


clones = pytest.mark.parametrize("clone", [clone_deep, clone_pickled])


def use(p: Distribution, name: str) -> Tensor:
    """A value that depends on all of ``p``."""
    torch.manual_seed(0)
    if name == "TwoHot":
        return p.sample_mean(x)
    found = p.sample(data_for(name), return_all=False, reparam=True)
    return torch.stack([v.sum() for v in found.values()])


@clones
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_copies_of_every_distribution(name: str, clone: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(1)
    p = DISTRIBUTIONS[name]()
    wanted = use(p, name)
    twin = clone(p)
    assert isinstance(twin, type(p)) and len(twin._plans) == 0
    torch.testing.assert_close(use(twin, name), wanted)
    weights = list(twin.parameters())
    if weights:
        with torch.no_grad():
            weights[0].add_(1.0)
        torch.testing.assert_close(use(p, name), wanted)
        assert not torch.equal(use(twin, name), wanted)
    assert (twin.var, twin.cond_var, str(twin)) == (p.var, p.cond_var, str(p))


@clones
@pytest.mark.parametrize("name", LOSSES)
def test_copies_of_every_loss(name: str, clone: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(1)
    loss = LOSSES[name]()

    def value(of: Loss) -> Tensor:
        torch.manual_seed(0)
        return of.eval(data_for(name))  # type: ignore[no-any-return]

    wanted = value(loss)
    twin = clone(loss)
    assert isinstance(twin, Loss) and len(twin._plans) == 0 and str(twin) == str(loss)
    torch.testing.assert_close(value(twin), wanted)
    with torch.no_grad():
        next(twin.parameters()).add_(1.0)
    torch.testing.assert_close(value(loss), wanted)
    assert not torch.equal(value(twin), wanted)


def test_a_shared_distribution_stays_shared_in_a_copy() -> None:
    q = Encoder()
    loss = KullbackLeibler(q, prior()) - E(q, LogProb(Decoder()))
    loss.eval(x)
    twin = copy.deepcopy(loss)
    assert len(list(twin.parameters())) == len(list(loss.parameters()))
    assert "net q(z|x)" in str(twin.plan) and str(twin.plan).count("net q(z|x)") == 1


# --------------------------------------------------------------------------------------------
# memory


@pytest.mark.parametrize("name", ["ELBO", "series", "frozen"])
def test_three_hundred_evaluations_leave_nothing(name: str) -> None:
    loss, given = LOSSES[name](), data_for(name)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    def rounds(count: int) -> None:
        for i in range(count):
            value = loss.eval({k: v[..., : 1 + i % B, :] for k, v in given.items()}).sum()
            if i % 3 == 0 and value.requires_grad:
                value.backward()
            elif i % 3 == 1:
                loss.eval(given, return_dict=True)

    rounds(6)
    alive, plans, lines = tensors(), len(loss._plans), len(linecache.cache)
    rounds(300)
    assert len(loss._plans) == plans and len(linecache.cache) <= lines
    assert tensors() <= alive + 2


@pytest.mark.parametrize(
    "name", ["Normal", "GroupedOneHot", "BoundedNormal", "TwoHot", "product", "frozen", "Scan"]
)
def test_a_used_distribution_can_be_forgotten(name: str) -> None:
    p = DISTRIBUTIONS[name]()
    use(p, name)
    gone = weakref.ref(p)
    forget_sources()
    before = len(linecache.cache)
    del p
    gc.collect()
    assert gone() is None
    forget_sources()
    assert len(linecache.cache) < before


@pytest.mark.parametrize("name", LOSSES)
def test_a_used_loss_can_be_forgotten(name: str) -> None:
    loss = LOSSES[name]()
    loss.eval(data_for(name))
    gone = [weakref.ref(m) for m in loss.modules()]
    del loss
    gc.collect()
    assert not [r() for r in gone if r() is not None]


def test_an_evaluation_keeps_no_graph() -> None:
    q = Encoder()
    loss = KullbackLeibler(q, prior()) + E(q, LogProb(Decoder()))
    given = torch.rand(B, X)
    gone = weakref.ref(given)
    loss.eval(given)
    q.get_params(given)
    q.sample(given, reparam=True)
    del given
    gc.collect()
    assert gone() is None


# -------------------------------------------------------------------------------------------- what
# may change between calls


def test_the_first_call_decides_nothing_about_gradients() -> None:
    loss = KullbackLeibler(Encoder(), prior()).mean()
    with torch.no_grad():
        assert not loss.eval(x).requires_grad
    assert loss.eval(x).requires_grad
    with torch.inference_mode():
        loss.eval(x)
    loss.eval(x).backward()


def test_weights_that_are_switched_off() -> None:
    q = Encoder()
    loss = KullbackLeibler(q, prior()).mean()
    loss.eval(x)
    q.requires_grad_(False)
    assert not loss.eval(x).requires_grad
    q.requires_grad_(True)
    assert loss.eval(x).requires_grad


def test_the_type_of_a_module_may_change_after_use() -> None:
    loss = ELBO(Decoder() * prior(), Encoder()).mean()
    torch.manual_seed(0)
    single = loss.eval(x)
    torch.manual_seed(0)
    assert loss.double().eval(x.double()).dtype == torch.float64
    torch.manual_seed(0)
    torch.testing.assert_close(loss.float().eval(x), single)


def test_an_edited_input_is_seen() -> None:
    q, given = Encoder(), x.clone()
    before = q.get_params(given)["loc"]
    given.add_(1.0)
    assert not torch.equal(q.get_params(given)["loc"], before)


def test_batch_normalisation_counts_each_training_call_once() -> None:
    class Normed(Normal):
        def __init__(self) -> None:
            super().__init__(var="z", cond_var="x", scale=1.0)
            self.norm = nn.BatchNorm1d(X)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"loc": self.norm(x)}

    q = Normed()
    p = Normal(var="z", loc=0.0, scale=1.0)
    loss = KullbackLeibler(q, p).mean() + E(q, LogProb(p)).mean()
    for count in (1, 2, 3):
        loss.eval(x)
        assert q.norm.num_batches_tracked.item() == count
    nn.Module.eval(loss)
    one, all_rows = loss.eval(x[:1]), loss.eval(x)
    assert q.norm.num_batches_tracked.item() == 3 and one.isfinite() and all_rows.isfinite()


class Moody(Bernoulli):
    """Returns probabilities in training and logits in evaluation."""

    def __init__(self) -> None:
        super().__init__(var="x", cond_var="z")

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"probs": z.sigmoid()} if self.training else {"logits": z}


def test_a_network_may_return_logits_later() -> None:
    p, z = Moody(), torch.randn(B, X)
    loss = LogProb(p)
    wanted = loss.eval({"x": x, "z": z})
    for mode in (False, True, False):
        p.train(mode)
        torch.testing.assert_close(loss.eval({"x": x, "z": z}), wanted)


def test_two_losses_of_one_distribution() -> None:
    """What the first evaluation finds out (p returns logits) holds for plans that were built before
    it.
    """
    p = Decoder()
    one, two = LogProb(p), (2 * LogProb(p)).mean()
    given = {"x": x, "z": torch.zeros(B, Z)}
    assert str(two.plan) and two.input_var == one.input_var
    torch.testing.assert_close(two.eval(given), 2 * one.eval(given).mean())


def test_threads_with_copies_and_with_one_loss() -> None:
    """Values without draws are the same from every thread, from the first call on."""
    wanted: list[Tensor] = []
    found: list[Tensor] = []
    for _ in range(3):
        loss = LogProb(Decoder()) + 0 * KullbackLeibler(Encoder(), prior())
        given = {"x": x, "z": torch.zeros(B, Z)}
        start = threading.Barrier(4)

        def work(
            loss: Loss = loss, start: threading.Barrier = start, given: dict[str, Tensor] = given
        ) -> None:
            start.wait()
            for _ in range(5):
                found.append(loss.eval(given).detach())
                wanted.append(copy.deepcopy(loss).eval(given).detach())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == len(wanted) == 60
    for i in range(0, 60, 20):
        for value in found[i : i + 20] + wanted[i : i + 20]:
            torch.testing.assert_close(value, found[i])


def test_what_was_dropped_is_dropped_everywhere() -> None:
    """A cache that gets ever new keys holds the newest, and nothing of the others."""
    loss = LogProb(prior())
    first: list[weakref.ref[Plan]] = []
    for n in range(2, MOST_KEYS + 20):  # a number of draws is a key
        assert loss.eval({"z": torch.zeros(n, 3, Z)}).shape == (n, 3)
        first = first or [
            weakref.ref(plan) for key, plan in loss._plans.quick.items() if "2" in repr(key)
        ]
    gc.collect()
    kept = loss._plans._kept
    assert len(kept.plans) <= MOST_KEYS and set(kept.plain) <= set(kept.plans)
    assert set(kept.quick) <= {key for key, _ in kept.plans}
    assert first and all(ref() is None for ref in first)
