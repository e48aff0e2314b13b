"""Laws that every flow obeys, in one table; then what is special to one of them."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from pixyz.flows import (
    NICE,
    ActNorm2d,
    AdditiveCoupling,
    AffineCoupling,
    BatchNorm1d,
    BatchNorm2d,
    ChannelConv,
    DiagonalScale,
    FactorOut,
    Flatten,
    Flow,
    FlowList,
    Glow,
    InverseAutoregressive,
    Permutation,
    PlanarFlow,
    RealNVP,
    RealNVP2d,
    Reverse,
    Shuffle,
    Squeeze,
    Unsqueeze,
)
from pixyz.layers import ScaleTranslateConv, ScaleTranslateDense, TranslateDense
from pixyz.types import PixyzError


def dense(**kwargs):
    return AffineCoupling(
        4, scale_translate_net=ScaleTranslateDense(4, (8,), kwargs.pop("cond", 0)), **kwargs
    )


def conv(mask, **kwargs):
    return AffineCoupling(
        2, mask, scale_translate_net=ScaleTranslateConv(2, 4, kwargs.pop("cond", 0)), **kwargs
    )


class Half(nn.Module):
    """A network of scale alone, of several conditions."""

    def __init__(self, n, cond=0):
        super().__init__()
        self.l = nn.Linear(n + cond, n)

    def forward(self, x, *y):
        return torch.tanh(self.l(torch.cat([x, *y], 1)))


# name: (flow, shape of one x, shapes of the conditions)
FLOWS = {
    "identity": (lambda: Flow(3), (3,), []),
    "list": (
        lambda: FlowList([dense(), Reverse(4), dense(inverse_mask=True), BatchNorm1d(4)]),
        (4,),
        [],
    ),
    "planar": (lambda: PlanarFlow(3), (3,), []),
    "planar of one feature": (lambda: PlanarFlow(1), (1,), []),
    "planar constrained": (lambda: PlanarFlow(3, constraint_u=True), (3,), []),
    "coupling": (dense, (4,), []),
    "coupling of an odd number": (
        lambda: AffineCoupling(3, scale_translate_net=ScaleTranslateDense(3, (8,))),
        (3,),
        [],
    ),
    "coupling inverse mask": (lambda: dense(inverse_mask=True), (4,), []),
    "coupling of a condition": (lambda: dense(cond=3), (4,), [(3,)]),
    "coupling of two conditions": (lambda: dense(cond=5), (4,), [(3,), (2,)]),
    "coupling of two nets": (
        lambda: AffineCoupling(4, scale_net=Half(4, 2), translate_net=Half(4, 2)),
        (4,),
        [(2,)],
    ),
    "coupling checkerboard": (lambda: conv("checkerboard"), (2, 4, 4), []),
    "coupling odd checkerboard": (lambda: conv("checkerboard", inverse_mask=True), (2, 3, 5), []),
    "coupling channels": (lambda: conv("channel_wise"), (2, 3, 5), []),
    "coupling channels, two conditions": (
        lambda: conv("channel_wise", cond=4),
        (2, 3, 3),
        [(3,), (1, 3, 3)],
    ),
    "additive": (lambda: AdditiveCoupling(4, TranslateDense(4, (8,), 2)), (4,), [(2,)]),
    "channel conv": (lambda: ChannelConv(3), (3, 2, 4), []),
    "channel conv of vectors": (lambda: ChannelConv(3), (3,), []),
    "channel conv by LU": (lambda: ChannelConv(4, decomposed=True), (4, 2, 2), []),
    "squeeze": (Squeeze, (3, 4, 2), []),
    "unsqueeze": (Unsqueeze, (8, 1, 3), []),
    "permutation": (lambda: Permutation([2, 0, 1]), (3,), []),
    "permutation of channels": (lambda: Permutation([2, 0, 1]), (3, 2, 2), []),
    "shuffle": (lambda: Shuffle(5), (5,), []),
    "reverse": (lambda: Reverse(4), (4, 2, 1), []),
    "flatten": (lambda: Flatten((2, 2, 3)), (2, 2, 3), []),
    "batch norm 1d": (lambda: BatchNorm1d(3, momentum=0.5), (3,), []),
    "batch norm 2d": (lambda: BatchNorm2d(3, momentum=0.5), (3, 2, 3), []),
    "act norm": (lambda: ActNorm2d(3, scale=0.5), (3, 2, 3), []),
    "diagonal scale": (lambda: DiagonalScale(3), (3,), []),
    "factor out": (
        lambda: FactorOut(FlowList([ChannelConv(1), Flatten((1, 2, 2))]), (3, 2, 2)),
        (3, 2, 2),
        [],
    ),
    "NICE": (lambda: NICE(3, 3, (8,), 2), (3,), [(2,)]),
    "autoregressive": (lambda: InverseAutoregressive(4, 8), (4,), []),
    "RealNVP": (lambda: RealNVP(3, 3, (8,), batch_norm=True), (3,), []),
    "RealNVP of images": (lambda: RealNVP2d((1, 4, 4), 1, 4, 1), (1, 4, 4), []),
    "Glow": (lambda: Glow((1, 4, 4), 2, 1, 4, cond_channels=2), (1, 4, 4), [(2,)]),
    "Glow by LU": (lambda: Glow((2, 4, 4), 1, 1, 4, decomposed=True), (2, 4, 4), []),
}


def made(name, seed=0):
    """A flow in float64 and evaluation mode with random weights, initialised and with running
    statistics.
    """
    torch.manual_seed(seed)
    build, shape, conditions = FLOWS[name]
    flow = build().double()
    x = torch.randn(6, *shape, dtype=torch.float64)
    y = [torch.randn(6, *s, dtype=torch.float64) for s in conditions]
    given = None if not y else y[0] if len(y) == 1 else y
    for weight in flow.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    flow.train()
    flow.forward_and_logdet(2 * torch.randn(20, *shape, dtype=torch.float64) + 1, repeat(y, 20))
    return flow.eval(), x, given


def repeat(y, n):
    wide = [part[:1].expand(n, *part.shape[1:]) for part in y]
    return None if not wide else wide[0] if len(wide) == 1 else wide


def row(y, i):
    if y is None or isinstance(y, torch.Tensor):
        return y if y is None else y[i : i + 1]
    return [part[i : i + 1] for part in y]


@pytest.mark.parametrize("name", FLOWS)
def test_inverse_undoes_forward(name):
    flow, x, y = made(name)
    z, logdet = flow.forward_and_logdet(x, y)
    back, opposite = flow.inverse_and_logdet(z, y)
    assert logdet.shape == opposite.shape == (6,)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(opposite, -logdet, rtol=1e-9, atol=1e-9)
    x2, _ = flow.inverse_and_logdet(torch.randn_like(z), y)
    again, _ = flow.inverse_and_logdet(flow.forward_and_logdet(x2, y)[0], y)
    torch.testing.assert_close(again, x2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FLOWS)
def test_logdet_is_that_of_the_jacobian(name):
    flow, x, y = made(name)
    _, logdet = flow.forward_and_logdet(x, y)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, i=i: flow.forward_and_logdet(v, row(y, i))[0], x[i : i + 1]
        )
        n = x[0].numel()
        assert jacobian.numel() == n * n
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian.reshape(n, n))[1], logdet[i], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("name", FLOWS)
def test_gradients(name):
    flow, x, y = made(name)
    x = x[:2].clone().requires_grad_()
    y = y if y is None else [part[:2] for part in ([y] if isinstance(y, torch.Tensor) else y)]
    y = y[0] if y is not None and len(y) == 1 else y
    z = flow.forward_and_logdet(x, y)[0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: flow.forward_and_logdet(v, y), x, fast_mode=True)
    assert torch.autograd.gradcheck(lambda v: flow.inverse_and_logdet(v, y), z, fast_mode=True)
    weights = list(flow.parameters())
    weights = weights[:: max(1, len(weights) // 8)]
    if weights:
        assert torch.autograd.gradcheck(
            lambda *w: flow.forward_and_logdet(x.detach(), y), weights, fast_mode=True
        )
        assert torch.autograd.gradcheck(
            lambda *w: flow.inverse_and_logdet(z.detach(), y), weights, fast_mode=True
        )


@pytest.mark.parametrize("name", FLOWS)
def test_a_state_dict_is_the_whole_flow(name):
    flow, x, y = made(name)
    buffer = io.BytesIO()
    torch.save(flow.state_dict(), buffer)
    torch.manual_seed(99)
    other = FLOWS[name][0]().double()
    other.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    for mode in (False, True):
        z, logdet = flow.train(mode).forward_and_logdet(x, y)
        z2, logdet2 = other.train(mode).forward_and_logdet(x, y)
        assert torch.equal(z, z2) and torch.equal(logdet, logdet2)


@pytest.mark.parametrize("name", FLOWS)
def test_copies_after_use(name):
    flow, x, y = made(name)
    z = flow(x, y)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert twin.logdet_jacobian is None
        assert torch.equal(twin(x, y), z)


@pytest.mark.parametrize("name", FLOWS)
def test_form_of_0_3_3(name):
    flow, x, y = made(name)
    z, logdet = flow.forward_and_logdet(x, y)
    assert torch.equal(flow(x, y), z) and torch.equal(flow.logdet_jacobian, logdet)
    torch.testing.assert_close(flow.inverse(z, y=y), x, rtol=1e-9, atol=1e-9)
    assert torch.equal(flow.logdet_jacobian, logdet)  # an inverse changes nothing
    flow(x, y, compute_jacobian=False)
    assert flow.logdet_jacobian is None


@pytest.mark.parametrize("name", FLOWS)
def test_rows_are_independent_in_evaluation(name):
    flow, x, y = made(name)
    z, logdet = flow.forward_and_logdet(x, y)
    alone, one = flow.forward_and_logdet(x[3:4], row(y, 3))
    torch.testing.assert_close(alone, z[3:4], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(one, logdet[3:4], rtol=1e-10, atol=1e-12)


def test_a_flow_of_no_layers_is_refused():
    with pytest.raises(PixyzError, match="at least one flow"):
        FlowList([])


def test_a_flow_list_sums_and_indexes():
    a, b = PlanarFlow(2), PlanarFlow(2)
    flow, x = FlowList([a, b]), torch.randn(4, 2)
    z, la = a.forward_and_logdet(x)
    z, lb = b.forward_and_logdet(z)
    assert len(flow) == 2 and flow[1] is b and list(flow) == [a, b]
    torch.testing.assert_close(flow.forward_and_logdet(x)[1], la + lb)
    assert repr(flow).startswith("FlowList(")
