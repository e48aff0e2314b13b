"""Laws of every family: its density equals a second implementation and sums to one, its samples follow it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, BoundedNormal, Categorical, GroupedOneHot, Normal, TanhNormal, TwoHot
from pixyz.distributions.one_hot import symexp_bins, two_hot
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.losses import Entropy, IterativeLoss, LogProb
from pixyz.types import PixyzError, ShapeError

B, D = 4, 3
GROUPS, CLASSES = 2, 3


def bounded(loc: Tensor, scale: Tensor) -> td.Distribution:
    return td.Normal(torch.tanh(loc), 0.9 / (1 + torch.exp(-scale - 2)) + 0.1)


def squashed(loc: Tensor, scale: Tensor) -> td.Distribution:
    return td.TransformedDistribution(td.Normal(loc, scale), [td.TanhTransform()])


class Grouped:
    """Groups of torch's one-hot distribution with the uniform distribution mixed in."""

    def __init__(self, logits: Tensor, unimix: float) -> None:
        probs = (1 - unimix) * logits.unflatten(-1, (GROUPS, CLASSES)).softmax(-1) + unimix / CLASSES
        self.base = td.OneHotCategorical(probs=probs)
        self.mean, self.variance = self.base.mean.flatten(-2), self.base.variance.flatten(-2)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.base.log_prob(x.unflatten(-1, (GROUPS, CLASSES)))

    def entropy(self) -> Tensor:
        return self.base.entropy()


@dataclass
class Family:
    """A family, random parameters for it, and what it shall equal."""

    name: str
    make: Callable[..., ParametricDistribution]
    params: dict[str, Tensor]
    reference: Callable[..., object]
    values: list[Tensor] | None = None
    ends: tuple[float, float] = (-30.0, 30.0)
    options: dict[str, object] = field(default_factory=dict)

    def bound(self, **options: object) -> ParametricDistribution:
        """The family with its parameters as conditioning variables."""
        keys = list(self.params)
        return self.make(var="x", cond_var=keys, **dict(zip(keys, keys)), **self.options, **options)

    def constant(self) -> ParametricDistribution:
        """The family with the first row of its parameters as constants."""
        return self.make(var="x", **{k: v[0] for k, v in self.params.items()}, **self.options)

    def dist(self, params: dict[str, Tensor] | None = None) -> td.Distribution:
        return self.reference(**(params or self.params))  # type: ignore[return-value]


def families() -> list[Family]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=draw)

    def scale() -> Tensor:
        return (0.3 + normal(B, D).exp() / 2).clamp(max=1.6)

    one_hots = list(torch.eye(CLASSES, dtype=torch.float64))
    pairs = [torch.cat(p) for p in itertools.product(one_hots, repeat=GROUPS)]
    bits = [torch.full((D,), float(v), dtype=torch.float64) for v in (0, 1)]
    found = [
        Family("Normal", Normal, {"loc": normal(B, D), "scale": scale()}, td.Normal),
        Family("BoundedNormal", BoundedNormal, {"loc": normal(B, D), "scale": normal(B, D)}, bounded),
        Family("TanhNormal", TanhNormal, {"loc": normal(B, D) / 2, "scale": scale() / 2}, squashed, ends=(-1.0, 1.0)),
        Family("Bernoulli-logits", Bernoulli, {"logits": 2 * normal(B, D)}, td.Bernoulli, bits),
        Family("Bernoulli-probs", Bernoulli, {"probs": normal(B, D).sigmoid()}, td.Bernoulli, bits),
        Family("Categorical-logits", Categorical, {"logits": 2 * normal(B, CLASSES)}, td.OneHotCategorical, one_hots),
        Family("Categorical-probs", Categorical, {"probs": normal(B, CLASSES).exp()}, td.OneHotCategorical, one_hots),
    ]
    for unimix in (0.0, 0.1):
        found.append(Family(
            f"GroupedOneHot-{unimix}", GroupedOneHot, {"logits": 2 * normal(B, GROUPS * CLASSES)},
            lambda logits, unimix=unimix: Grouped(logits, unimix), pairs,
            options={"groups": GROUPS, "classes": CLASSES, "unimix": unimix},
        ))
    return found


every = pytest.mark.parametrize("f", families(), ids=lambda f: f.name)


def points(f: Family, count: int = 7) -> Tensor:
    """Values in the support, ``[count, B, ...]``."""
    if f.values is not None:
        return torch.stack([v.expand(B, -1) for v in (f.values * count)[:count]])
    inside = torch.linspace(-0.9, 0.9, count, dtype=torch.float64)
    steps = inside if f.ends[1] == 1 else 4 * inside
    return steps[:, None, None].expand(count, B, D)


@every
def test_log_density_equals_the_reference(f: Family) -> None:
    p = f.bound()
    for x in points(f):
        raw = f.dist().log_prob(x)
        torch.testing.assert_close(p.get_log_prob({"x": x, **f.params}, sum_features=False), raw)
        summed = raw if raw.ndim == 1 else raw.sum(-1)
        torch.testing.assert_close(p.get_log_prob({"x": x, **f.params}), summed)
        torch.testing.assert_close(p.prob().eval({"x": x, **f.params}), summed.exp())
        torch.testing.assert_close(p.dist(f.params).log_prob(_event(f, x)).reshape(B, -1).sum(-1), summed)


def _event(f: Family, x: Tensor) -> Tensor:
    return x.unflatten(-1, (GROUPS, CLASSES)) if f.make is GroupedOneHot else x


@every
def test_density_has_mass_one(f: Family) -> None:
    p = f.bound()
    if f.values is not None:
        rows = [p.get_log_prob({"x": v.expand(B, -1), **f.params}, sum_features=f.make is GroupedOneHot) for v in f.values]
        mass = torch.stack(rows).exp().sum(0)
    else:
        low, high = f.ends
        angle = torch.linspace(-math.pi / 2, math.pi / 2, 40_002, dtype=torch.float64)[1:-1]
        edges = low + (high - low) * (1 + angle.sin()) / 2  # dense at the ends
        middle = (edges[1:] + edges[:-1]) / 2
        x = middle[:, None, None].expand(-1, 1, D)
        params = {k: v[None] for k, v in f.params.items()}
        density = p.get_log_prob({"x": x, **params}, sum_features=False).exp()
        mass = (density * edges.diff()[:, None, None]).sum(0)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-4, atol=1e-4)


@every
def test_samples_have_the_mean_and_variance(f: Family) -> None:
    torch.manual_seed(0)
    count = 20_000
    x = f.bound().sample(f.params, sample_shape=[count])["x"]
    assert x.shape == (count, *f.params[next(iter(f.params))].shape) and x.dtype == torch.float64
    if f.make is TanhNormal:
        x, loc, spread = torch.atanh(x), f.params["loc"], f.params["scale"]
    else:
        loc, spread = f.dist().mean, f.dist().variance.sqrt()
    error = (x.mean(0) - loc) / (spread / math.sqrt(count))
    assert error.abs().max() < 5
    fourth = ((x - loc) ** 4).mean(0) - spread**4
    assert (((x - loc) ** 2).mean(0) - spread**2).abs().le(5 * (fourth / count).clamp(min=1e-12).sqrt() + 1e-9).all()


@every
def test_mean_variance_and_entropy_equal_the_reference(f: Family) -> None:
    p = f.bound()
    if f.make is TanhNormal:
        torch.testing.assert_close(p.sample_mean(f.params), f.params["loc"].tanh())
        for call in (p.sample_variance, p.get_entropy):
            with pytest.raises(NotImplementedError, match=r"TanhNormal|entropy"):
                call(f.params)
        return
    torch.testing.assert_close(p.sample_mean(f.params), f.dist().mean)
    torch.testing.assert_close(p.sample_variance(f.params), f.dist().variance)
    raw = f.dist().entropy()
    torch.testing.assert_close(p.get_entropy(f.params, sum_features=False), raw)
    torch.testing.assert_close(Entropy(p).eval(f.params), raw if raw.ndim == 1 else raw.sum(-1))


@every
def test_samples_lie_in_the_support(f: Family) -> None:
    torch.manual_seed(1)
    x = f.bound().sample(f.params, sample_shape=[200])["x"]
    if f.values is None:
        assert (x > f.ends[0]).all() and (x < f.ends[1]).all()
        return
    assert set(x.unique().tolist()) == {0.0, 1.0}
    if f.make in (Categorical, GroupedOneHot):
        sums = _event(f, x).sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


@every
def test_gradient_of_the_log_density(f: Family) -> None:
    p, x = f.bound(), points(f)[2]

    def log_prob(*params: Tensor) -> Tensor:
        return p.get_log_prob({"x": x, **dict(zip(f.params, params))})

    leaves = [v.clone().requires_grad_() for v in f.params.values()]
    assert torch.autograd.gradcheck(log_prob, leaves, fast_mode=True)


@every
def test_gradient_through_samples(f: Family) -> None:
    p = f.bound()

    def draw(*params: Tensor) -> Tensor:
        torch.manual_seed(3)
        return p.sample(dict(zip(f.params, params)), reparam=True)["x"]

    leaves = [v.clone().requires_grad_() for v in f.params.values()]
    x = draw(*leaves)
    if not p.has_reparam:
        assert f.make in (Bernoulli, Categorical) and not x.requires_grad
    elif f.make is GroupedOneHot:  # straight through: the gradient of the probabilities
        weight = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
        (straight,) = torch.autograd.grad((x * weight).sum(), leaves)
        (wanted,) = torch.autograd.grad((Grouped(leaves[0], float(f.options["unimix"])).mean * weight).sum(), leaves)  # type: ignore[arg-type]
        torch.testing.assert_close(straight, wanted)
        assert straight.abs().sum() > 0
    else:
        assert torch.autograd.gradcheck(draw, leaves, fast_mode=True)
    assert not p.sample(dict(zip(f.params, leaves)))["x"].requires_grad


@every
@pytest.mark.parametrize("shape", [(), (5,), (1,), (2, 5)], ids=str)
def test_shapes_of_constants(f: Family, shape: tuple[int, ...]) -> None:
    p = f.constant()
    features = f.params[next(iter(f.params))].shape[1:]
    torch.manual_seed(0)
    x = p.sample(batch_n=20, sample_shape=shape)["x"]
    assert x.shape == (*shape, 20, *features)
    flat = x.reshape(-1, *features)
    assert len(flat.unique(dim=0)) > 1
    assert p.sample()["x"].shape == (1, *features)
    assert p.get_log_prob({"x": flat}).shape == (len(flat),)
    first = {k: v[:1] for k, v in f.params.items()}
    torch.testing.assert_close(p.get_log_prob({"x": flat}), f.bound().get_log_prob({"x": flat, **first}))


@every
def test_series_equal_their_frames(f: Family) -> None:
    p, steps = f.bound(), 3
    series = {k: torch.stack([v, v.flip(0), v.roll(1, 0)]) for k, v in f.params.items()}
    x = torch.stack(list(points(f)[:steps]))
    loss = IterativeLoss(LogProb(p), series_var=["x", *series], reduction=None)
    found = loss.eval({"x": x, **series})
    frames = [p.get_log_prob({"x": x[t], **{k: v[t] for k, v in series.items()}}) for t in range(steps)]
    torch.testing.assert_close(found, torch.stack(frames))
    direct = p.get_log_prob({"x": x, **series}, sum_features=False)
    raw = [p.get_log_prob({"x": x[t], **{k: v[t] for k, v in series.items()}}, sum_features=False) for t in range(steps)]
    torch.testing.assert_close(direct, torch.stack(raw))


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_type_of_the_parameters_is_kept(f: Family, dtype: torch.dtype) -> None:
    p, params = f.bound(), {k: v.to(dtype) for k, v in f.params.items()}
    x = p.sample(params)["x"]
    assert x.dtype == dtype
    assert p.get_log_prob({"x": x, **params}).dtype == dtype
    assert p.sample_mean(params).dtype == dtype


@every
def test_equal_seeds_give_equal_samples_and_new_calls_new_ones(f: Family) -> None:
    p = f.bound()

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return p.sample(f.params, sample_shape=[20])["x"]

    torch.testing.assert_close(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


# -------------------------------------------------------------------------------------------- constructors


def test_numbers_and_tensors_as_parameters() -> None:
    p = Normal(var="x", loc=1, scale=2, features_shape=[3])
    assert p.get_params()["loc"].shape == (1, 3) and p.features_shape == torch.Size([3])
    x = torch.randn(5, 3)
    torch.testing.assert_close(p.get_log_prob(x), td.Normal(1.0, 2.0).log_prob(x).sum(-1))
    mixed = Normal(var="x", loc=torch.zeros(3), scale=2.0)
    assert mixed.features_shape == torch.Size([3]) and mixed.sample(batch_n=2)["x"].shape == (2, 3)
    late = Normal(var="x", loc=0.0, scale=torch.ones(2, 3))
    assert late.sample(batch_n=5)["x"].shape == (5, 2, 3)
    scalar = Normal(var="x", loc=0.0, scale=1.0)
    assert scalar.sample(batch_n=5)["x"].shape == (5,) and scalar.sample(sample_shape=[7], batch_n=5)["x"].shape == (7, 5)


def test_a_constant_is_expanded_to_the_declared_shape() -> None:
    p = Normal(var="x", loc=torch.arange(3.0), scale=1.0, features_shape=[2, 3])
    assert p.sample(batch_n=4)["x"].shape == (4, 2, 3)
    with pytest.raises(ShapeError, match=r"loc.*\[4\].*\[2, 3\]"):
        Normal(var="x", loc=torch.zeros(4), scale=1.0, features_shape=[2, 3])


def test_a_learned_constant_gets_gradients() -> None:
    loc = nn.Parameter(torch.zeros(3))
    p = Normal(var="x", loc=loc, scale=1.0)
    assert [id(w) for w in p.parameters()] == [id(loc)]
    x = torch.randn(5, 3)
    p.get_log_prob(x).sum().backward()
    torch.testing.assert_close(loc.grad, x.sum(0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Normal(var="x", loc="z", scale=1.0), "z.*cond_var"),
        (lambda: Normal(var=["x", "y"]), "one variable"),
        (lambda: Bernoulli(var="x", probs=0.5, logits=0.0), "probs or logits"),
        (lambda: Categorical(var="x", probs=torch.ones(2), logits=torch.ones(2)), "probs or logits"),
        (lambda: GroupedOneHot(2, 3, unimix=1.0), "unimix"),
        (lambda: Normal(var="x", loc=0.0).sample(), "scale.*missing"),
        (lambda: Normal(var="x", cond_var="x"), "cond_var"),
        (lambda: Normal(var="x", loc=torch.zeros(3, requires_grad=True)), "nn.Parameter"),
        (lambda: Normal(var="self"), "self"),
        (lambda: TwoHot(bins=4), "odd"),
        (lambda: TwoHot(bins=torch.tensor([0.0, 1.0, 2.0])), "symmetric"),
        (lambda: TwoHot(bins=torch.tensor([1.0, 0.0, -1.0])), "increasing"),
    ],
)
def test_wrong_constructions_are_explained(make: Callable[[], object], words: str) -> None:
    with pytest.raises(PixyzError, match=words):
        make()


class Net(Bernoulli):
    """A network that returns ``probs`` or ``logits``."""

    def __init__(self, key: str) -> None:
        super().__init__(var="x", cond_var="z")
        self.key = key

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {self.key: z.sigmoid() if self.key == "probs" else z}


def test_networks_may_return_probs_or_logits() -> None:
    z, x = torch.randn(5, 3, dtype=torch.float64), torch.ones(5, 3, dtype=torch.float64)
    values = [Net(key).get_log_prob({"x": x, "z": z}) for key in ("probs", "logits")]
    torch.testing.assert_close(*values)
    assert "logits" in Net("logits").get_params(z)
    with pytest.raises(PixyzError, match=r"probs.*loc"):
        Net("loc").get_log_prob({"x": x, "z": z})


# -------------------------------------------------------------------------------------------- details of one family


def test_bernoulli_takes_soft_targets_and_sure_events() -> None:
    logits = torch.tensor([[-200.0, 200.0, 0.0]], dtype=torch.float64)
    p = Bernoulli(var="x", logits=logits[0])
    soft = torch.tensor([[0.3, 0.9, 0.5]], dtype=torch.float64)
    wanted = soft * F.logsigmoid(logits) + (1 - soft) * F.logsigmoid(-logits)
    torch.testing.assert_close(p.get_log_prob(soft, sum_features=False), wanted)
    for dtype in (torch.float32, torch.int64, torch.bool):
        found = p.get_log_prob(torch.tensor([[0, 1, 1]], dtype=dtype))
        torch.testing.assert_close(found, torch.tensor([math.log(0.5)]).double())
    sure = Bernoulli(var="x", probs=torch.tensor([0.0, 1.0]))
    assert sure.get_log_prob(torch.tensor([[0.0, 1.0]])).abs().item() < 1e-5
    torch.testing.assert_close(sure.sample(batch_n=50)["x"], torch.tensor([0.0, 1.0]).expand(50, 2))


def test_categorical_takes_soft_targets() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64)
    soft = torch.randn(4, 3, dtype=torch.float64).softmax(-1)
    p = Categorical(var="x", cond_var="l", logits="l")
    torch.testing.assert_close(p.get_log_prob({"x": soft, "l": logits}), (soft * logits.log_softmax(-1)).sum(-1))


def test_impossible_classes_leave_numbers_finite() -> None:
    """Invalid actions are masked with logits of minus infinity."""
    logits = torch.tensor([[0.3, -math.inf, 1.0]], dtype=torch.float64, requires_grad=True)
    p = Categorical(var="x", cond_var="l", logits="l")
    x = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    reference = td.OneHotCategorical(logits=logits)
    values = torch.cat([p.get_log_prob({"x": x, "l": logits}), p.get_entropy(logits)])
    torch.testing.assert_close(values, torch.cat([reference.log_prob(x), reference.entropy()]))
    (grad,) = torch.autograd.grad(values.sum(), logits)
    assert grad.isfinite().all() and grad[0, 1] == 0


@pytest.mark.parametrize("unimix", [0.0, 0.01, 0.3])
def test_unimix_mixes_in_the_uniform_distribution(unimix: float) -> None:
    logits = torch.tensor([[50.0, 0.0, -900.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    p = GroupedOneHot(2, 3, var="x", cond_var="l", logits="l", unimix=unimix)
    wanted = (1 - unimix) * torch.softmax(logits.view(1, 2, 3), -1) + unimix / 3
    torch.testing.assert_close(p.sample_mean(logits), wanted.flatten(-2))
    torch.testing.assert_close(p.get_entropy(logits), torch.special.entr(wanted).sum((-1, -2)))
    rare = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    found = p.get_log_prob({"x": rare, "l": logits})
    if unimix:
        torch.testing.assert_close(found, wanted.view(6)[[2, 4]].log().sum()[None])
    assert not found.isnan().any()
    sure = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(p.get_log_prob({"x": sure, "l": logits}), wanted.view(6)[[0, 4]].log().sum()[None])


def test_without_straight_through_samples_have_no_gradient() -> None:
    logits = torch.zeros(3, 6, requires_grad=True)
    for straight in (True, False):
        p = GroupedOneHot(2, 3, var="x", cond_var="l", logits="l", straight_through=straight)
        assert p.sample(logits, reparam=True)["x"].requires_grad is straight
        assert p.has_reparam is straight


def test_bounds_of_the_bounded_normal() -> None:
    p = BoundedNormal(var="x", cond_var=["m", "s"], loc="m", scale="s", min_scale=0.2, max_scale=0.7)
    m, s = torch.tensor([[-90.0], [0.0], [90.0]]), torch.tensor([[-90.0], [-2.0], [90.0]])
    torch.testing.assert_close(p.sample_mean({"m": m, "s": s}), torch.tensor([[-1.0], [0.0], [1.0]]))
    torch.testing.assert_close(p.sample_variance({"m": m, "s": s}).sqrt(), torch.tensor([[0.2], [0.45], [0.7]]))


def test_tanh_normal_at_the_edge_is_finite() -> None:
    p = TanhNormal(var="x", cond_var="m", loc="m", scale=1.0)
    m = torch.zeros(4, 1, requires_grad=True)
    x = torch.tensor([[-1.0], [1.0], [0.9999999], [0.0]])
    log_prob = p.get_log_prob({"x": x, "m": m})
    log_prob.sum().backward()
    assert log_prob.isfinite().all() and m.grad is not None and m.grad.isfinite().all()


# -------------------------------------------------------------------------------------------- two-hot


def test_the_bins_are_symexp_of_equal_steps() -> None:
    bins = symexp_bins(255)
    assert bins.shape == (255,) and bins[127] == 0 and torch.equal(bins, -bins.flip(0)) and (bins.diff() > 0).all()
    steps = torch.linspace(-20, 20, 255, dtype=torch.float64)
    torch.testing.assert_close(bins.double(), steps.sign() * steps.abs().expm1(), rtol=1e-6, atol=1e-6)


def test_the_mean_of_zero_logits_is_exactly_zero() -> None:
    p = TwoHot(var="r", cond_var="l", logits="l")
    for dtype in (torch.float32, torch.float64):
        mean = p.sample_mean(torch.zeros(7, 255, dtype=dtype))
        assert mean.shape == (7, 1) and mean.dtype == dtype and (mean == 0).all()


@pytest.mark.parametrize("count", [3, 41, 255])
def test_two_hot_keeps_the_mean(count: int) -> None:
    bins = symexp_bins(count).double()
    x = torch.cat([torch.linspace(-9, 9, 61).double().sinh(), bins])
    below, above, weight = two_hot(x, bins)
    target = F.one_hot(below, count) * (1 - weight)[:, None] + F.one_hot(above, count) * weight[:, None]
    torch.testing.assert_close(target @ bins, x)
    torch.testing.assert_close(target.sum(-1), torch.ones_like(x))
    assert ((target > 0).sum(-1) <= 2).all()
    p = TwoHot(var="r", cond_var="l", logits="l", bins=bins)
    torch.testing.assert_close(p.sample_mean(target.log()), x[:, None])


def test_two_hot_clips_beyond_the_ends() -> None:
    bins = symexp_bins(41)
    for x, end in ((1e12, -1), (-1e12, 0), (float("inf"), -1)):
        below, above, weight = two_hot(torch.tensor([x]), bins)
        target = F.one_hot(below, 41) * (1 - weight)[:, None] + F.one_hot(above, 41) * weight[:, None]
        wanted = torch.zeros(1, 41)
        wanted[0, end] = 1
        torch.testing.assert_close(target, wanted)


def test_two_hot_log_density_is_the_cross_entropy() -> None:
    bins = symexp_bins(41).double()
    p = TwoHot(var="r", cond_var="l", logits="l", bins=bins)
    logits = torch.randn(6, 41, dtype=torch.float64)
    x = torch.tensor([[0.0], [0.3], [-7.0], [1e5], [-1e12], [2.5]], dtype=torch.float64)
    below, above, weight = two_hot(x[:, 0], bins)
    target = F.one_hot(below, 41) * (1 - weight)[:, None] + F.one_hot(above, 41) * weight[:, None]
    wanted = (target * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(p.get_log_prob({"r": x, "l": logits}), wanted)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda l: p.get_log_prob({"r": x, "l": l}), [logits], fast_mode=True)
    logits = logits.detach()
    series = IterativeLoss(LogProb(p), series_var=["r", "l"], reduction=None)
    both = series.eval({"r": torch.stack([x, x.flip(0)]), "l": torch.stack([logits, logits.flip(0)])})
    torch.testing.assert_close(both, torch.stack([wanted, wanted.flip(0)]))
    torch.testing.assert_close(p.get_entropy(logits), td.Categorical(logits=logits).entropy())


def test_two_hot_with_constant_logits() -> None:
    p = TwoHot(var="r", logits=torch.zeros(255))
    torch.testing.assert_close(p.get_log_prob(torch.randn(6, 1)), torch.full((6,), -math.log(255)))
    assert p.sample_mean().shape == (1, 1)


def test_two_hot_is_not_sampled() -> None:
    with pytest.raises(NotImplementedError, match="sampled"):
        TwoHot(var="r", logits=torch.zeros(255)).sample()


def test_the_most_likely_logits_predict_the_target() -> None:
    """Gradient descent on the log-density leads the mean to the target."""
    bins = symexp_bins(255)
    logits = torch.zeros(3, 255, requires_grad=True)
    p = TwoHot(var="r", cond_var="l", logits="l", bins=bins)
    x = torch.tensor([[-3.0], [0.5], [120.0]])
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(80):
        optimiser.zero_grad()
        (-p.get_log_prob({"r": x, "l": logits}).sum()).backward()
        optimiser.step()
    torch.testing.assert_close(p.sample_mean(logits.detach()), x, rtol=0.05, atol=0.2)
