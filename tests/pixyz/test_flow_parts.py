"""What is special to one flow or network: normalisation, preprocessing, planar flows, errors; the
faults of 0.3.3.
"""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from pixyz.flows import (
    ActNorm2d,
    AffineCoupling,
    BatchNorm1d,
    BatchNorm2d,
    DiagonalScale,
    FactorOut,
    Flatten,
    Flow,
    FlowList,
    Glow,
    Permutation,
    PlanarFlow,
    Preprocess,
    Reverse,
    Shuffle,
    Squeeze,
    Unsqueeze,
)
from pixyz.flows.coupling import channel_wise_mask, checkerboard_mask
from pixyz.layers import ResNet, ScaleTranslateConv, ScaleTranslateResNet, WNConv2d
from pixyz.types import PixyzError, ShapeError

# ---------------------------------------------------------------- flows written for 0.3.3


class Doubled(Flow):
    def forward(self, x, y=None, compute_jacobian=True):
        if compute_jacobian:
            self._logdet_jacobian = torch.tensor(x.shape[1] * math.log(2.0))
        return 2 * x

    def inverse(self, z, y=None):
        return z / 2


def test_a_flow_written_for_0_3_3_works():
    flow, x = FlowList([Doubled(3), DiagonalScale(3)]), torch.randn(5, 3)
    z, logdet = flow.forward_and_logdet(x)
    torch.testing.assert_close(z, 2 * x)
    torch.testing.assert_close(logdet, torch.full((5,), 3 * math.log(2.0)))
    back, opposite = flow.inverse_and_logdet(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(opposite, -logdet)


def test_a_flow_without_inverse_says_so():
    class OneWay(Flow):
        def forward_and_logdet(self, x, y=None):
            return 2 * x, x.new_zeros(len(x))

    with pytest.raises(NotImplementedError, match="OneWay has no inverse"):
        OneWay(2).inverse(torch.zeros(1, 2))


def test_overriding_what_nobody_calls_is_refused():
    with pytest.raises(PixyzError, match="override forward_and_logdet"):

        class Wrong(AffineCoupling):
            def forward(self, x, y=None, compute_jacobian=True):
                return x


# ---------------------------------------------------------------- normalisation


def test_act_norm_normalises_its_first_batch_and_only_that():
    torch.manual_seed(0)
    flow = ActNorm2d(3, scale=0.5).double()
    x = 3 * torch.randn(50, 3, 4, 4, dtype=torch.float64) + 2
    z = flow(x)
    torch.testing.assert_close(
        z.mean([0, 2, 3]), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(
        z.std([0, 2, 3], correction=0),
        torch.full((3,), 0.5, dtype=torch.float64),
        atol=1e-6,
        rtol=0,
    )
    before = flow.bias.clone()
    flow(x + 5)
    assert torch.equal(flow.bias, before)


def test_act_norm_does_not_initialise_again_after_loading():
    """0.3.3 held the flag as a Python bool outside of the state dict."""
    torch.manual_seed(0)
    flow = ActNorm2d(2)
    flow(torch.randn(8, 2, 3, 3) + 4)
    loaded = ActNorm2d(2)
    loaded.load_state_dict(flow.state_dict())
    loaded.train()(torch.randn(8, 2, 3, 3) - 7)
    assert torch.equal(loaded.bias, flow.bias) and torch.equal(loaded.logs, flow.logs)
    old = {k: v for k, v in flow.state_dict().items() if k != "inited"}
    older = ActNorm2d(2)
    older.load_state_dict(old)
    assert older.inited
    assert "inited" not in old  # the caller's dict is as it was


def test_act_norm_inverse_and_evaluation_do_not_initialise():
    flow = ActNorm2d(2)
    flow.inverse(torch.randn(8, 2, 3, 3) + 4)
    flow.eval()(torch.randn(8, 2, 3, 3) + 4)
    assert not flow.inited and torch.equal(flow.bias, torch.zeros(1, 2, 1, 1))


@pytest.mark.parametrize(("kind", "shape"), [(BatchNorm1d, (4,)), (BatchNorm2d, (4, 3, 5))])
def test_batch_norm_modes(kind, shape):
    torch.manual_seed(0)
    flow, x = kind(4, momentum=0.75).double(), 2 * torch.randn(30, *shape, dtype=torch.float64) + 1
    dims = [d for d in range(x.ndim) if d != 1]
    z, logdet = flow.forward_and_logdet(x)
    torch.testing.assert_close(z.mean(dims), torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)
    mean, var = x.mean(dims), x.var(dims, correction=0)
    count = x[0, 0].numel()
    torch.testing.assert_close(
        logdet, (-0.5 * var.log().sum() * count).expand(30), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(flow.running_mean.flatten(), 0.25 * mean)
    torch.testing.assert_close(flow.running_var.flatten(), 0.75 + 0.25 * var, rtol=1e-6, atol=1e-6)
    flow.eval()
    state = {k: v.clone() for k, v in flow.state_dict().items()}
    z = flow(x)
    lift = (1, 4, *[1] * (x.ndim - 2))
    wanted = (x - flow.running_mean.reshape(lift)) / flow.running_var.reshape(lift).sqrt()
    torch.testing.assert_close(z, wanted)
    torch.testing.assert_close(flow.inverse(z), x)
    assert all(torch.equal(v, flow.state_dict()[k]) for k, v in state.items())


def test_batch_norm_trains_after_an_evaluation_with_a_graph():
    flow, x = BatchNorm1d(2, 0.5), torch.randn(8, 2)
    flow(x)
    kept = flow.eval()(x.clone().requires_grad_()).sum()
    flow.train()(x + 1)
    kept.backward()


@pytest.mark.parametrize("kind", [BatchNorm1d, BatchNorm2d])
def test_batch_norm_with_momentum_zero_inverts_the_last_batch(kind):
    x = torch.randn(9, 4, *([3, 3] if kind is BatchNorm2d else []), dtype=torch.float64)
    flow = kind(4).double()
    torch.testing.assert_close(flow.inverse(flow(x)), x)


# ---------------------------------------------------------------- operations


def test_preprocess():
    torch.manual_seed(0)
    flow = Preprocess().double()
    x = torch.randint(0, 256, (7, 1, 3, 3)).double() / 255
    torch.manual_seed(1)
    z, logdet = flow.forward_and_logdet(x)
    torch.manual_seed(1)
    u = (x * 255 + torch.rand_like(x)) / 256
    constraint = float(flow.data_constraint)
    slope = torch.autograd.functional.jacobian(
        lambda v: torch.logit((1 + (2 * v - 1) * (1 - constraint)) / 2).sum(), u
    )
    torch.testing.assert_close(logdet, slope.log().flatten(1).sum(1))
    back, opposite = flow.inverse_and_logdet(z)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(opposite, -logdet)
    assert (back - x).abs().max() <= 1 / 256
    assert not torch.equal(flow(x), z)  # the noise is drawn anew


def test_squeeze_keeps_the_order_of_0_3_3():
    x = torch.arange(1, 17).view(1, 1, 4, 4)
    assert Squeeze()(x).tolist() == [
        [[[1, 3], [9, 11]], [[2, 4], [10, 12]], [[5, 7], [13, 15]], [[6, 8], [14, 16]]]
    ]
    two = torch.arange(32).view(1, 2, 4, 4)
    assert torch.equal(Squeeze()(two)[:, :4], Squeeze()(two[:, :1]))


def test_shuffle_is_in_the_state_dict():
    """0.3.3 did not store it: a loaded model permuted otherwise."""
    torch.manual_seed(0)
    a, b = Shuffle(20), Shuffle(20)
    x = torch.randn(2, 20)
    assert not torch.equal(a(x), b(x))
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(x), b(x))
    with pytest.raises(RuntimeError, match="permute_indices"):
        b.load_state_dict({})
    Reverse(20).load_state_dict({})  # a checkpoint of 0.3.3


def test_flatten_learns_its_shape_once():
    flow = Flatten()
    with pytest.raises(ShapeError, match="in_size"):
        flow.inverse(torch.zeros(1, 4))
    flow(torch.zeros(1, 2, 1, 2))
    assert flow.inverse(torch.zeros(3, 4)).shape == (3, 2, 1, 2)
    with pytest.raises(ShapeError, match="made for"):
        flow(torch.zeros(1, 4, 1, 1))
    other = Flatten()
    other.load_state_dict(flow.state_dict())
    assert other.inverse(torch.zeros(3, 4)).shape == (3, 2, 1, 2)
    Flatten((4,)).load_state_dict({})  # a checkpoint of 0.3.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Squeeze()(torch.zeros(1, 1, 3, 4)), "even H and W"),
        (lambda: Unsqueeze()(torch.zeros(1, 3, 2, 2)), "multiple of 4"),
        (lambda: Permutation([0, 0]), "each of 0..n-1 once"),
        (lambda: Permutation([1, 0])(torch.zeros(1, 3)), "permutes 2 features"),
        (
            lambda: AffineCoupling(4, "diagonal", scale_translate_net=nn.Identity()),
            "mask_type is one of",
        ),
        (lambda: AffineCoupling(4), "takes scale_net and translate_net"),
        (lambda: AffineCoupling(4, scale_net=nn.Identity()), "takes scale_net and translate_net"),
        (
            lambda: AffineCoupling(4, "checkerboard", scale_translate_net=nn.Identity())(
                torch.zeros(1, 4)
            ),
            "checkerboard",
        ),
        (lambda: BatchNorm1d(3)(torch.zeros(2, 3, 1, 1)), "normalises"),
        (lambda: BatchNorm2d(3)(torch.zeros(2, 4, 1, 1)), "normalises"),
        (lambda: ActNorm2d(3)(torch.zeros(2, 3)), "normalises"),
        (lambda: Glow((1, 6, 6), levels=2), "cannot be"),
        (lambda: FactorOut(Flatten(), (4, 2, 2))(torch.zeros(1, 2, 2, 2)), "made for"),
        (
            lambda: ScaleTranslateConv(1, 4, 2)(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 2, 2)),
            "a condition of an image",
        ),
    ],
)
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(PixyzError, match=message):
        call()


# ---------------------------------------------------------------- planar


def test_planar_constraint_holds_for_any_weights():
    """0.3.3 divided by the norm of w instead of its square, which does not ensure w'u > -1."""
    torch.manual_seed(0)
    for scale in (0.1, 1.0, 5.0):
        flow = PlanarFlow(3, constraint_u=True).double()
        for weight in flow.parameters():
            weight.data = scale * torch.randn_like(weight)
        flow.u.data = -3 * flow.w.data
        x = scale * torch.randn(100, 3, dtype=torch.float64)
        torch.testing.assert_close(flow.inverse(flow(x)), x, rtol=1e-8, atol=1e-8)


def test_planar_that_is_not_invertible_says_so():
    flow = PlanarFlow(2)
    flow.w.data, flow.u.data = torch.tensor([[1.0, 1.0]]), torch.tensor([[-1.0, -1.0]])
    with pytest.raises(PixyzError, match="constraint_u=True"):
        flow.inverse(torch.zeros(1, 2))


# ---------------------------------------------------------------- networks


def test_weight_norm_is_torch_s():
    torch.manual_seed(0)
    mine = WNConv2d(3, 5, 3, 1)
    plain = nn.Conv2d(3, 5, 3, padding=1)
    theirs = nn.utils.parametrizations.weight_norm(plain)
    theirs.parametrizations.weight.original0.data = mine.conv.weight_g.data = (
        torch.rand(5, 1, 1, 1) + 0.5
    )
    theirs.parametrizations.weight.original1.data = mine.conv.weight_v.data
    theirs.bias.data = mine.conv.bias.data
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(mine(x), theirs(x))


def test_resnet_copies_after_use_and_does_not_change_its_input():
    net, x = (
        ResNet(2, 4, 6, num_blocks=2, kernel_size=3, padding=1, double_after_norm=True),
        torch.randn(3, 2, 5, 5),
    )
    before = x.clone()
    net(x).sum().backward()
    assert torch.equal(x, before)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(net))).eval()
    torch.testing.assert_close(twin(x), net.eval()(x))
    assert twin(x).shape == (3, 6, 5, 5)


@pytest.mark.parametrize(
    "net", [ScaleTranslateConv(1, 4), ScaleTranslateResNet(1, 4, 1)], ids=lambda n: type(n).__name__
)
def test_scale_is_bounded(net):
    log_s, t = net(1e4 * torch.randn(2, 1, 4, 4))
    assert log_s.shape == t.shape == (2, 1, 4, 4) and log_s.abs().max() <= 1


@pytest.mark.parametrize("inverse", [False, True])
def test_masks_of_couplings_are_those_of_their_functions(inverse):
    for height, width in ((2, 3), (4, 4), (5, 2), (1, 1)):
        flow = AffineCoupling(
            3, "checkerboard", scale_translate_net=lambda x: (x, x), inverse_mask=inverse
        )
        mask = flow.build_mask(torch.ones(1, 3, height, width))
        assert mask.shape == (1, 1, height, width)
        assert torch.equal(mask[0, 0], torch.from_numpy(checkerboard_mask(height, width, inverse)))
    for channels in (2, 5):
        flow = AffineCoupling(channels, scale_translate_net=lambda x: (x, x), inverse_mask=inverse)
        mask = flow.build_mask(torch.ones(1, channels, 2, 2, dtype=torch.float64))
        assert mask.shape == (1, channels, 1, 1) and mask.dtype == torch.float64
        assert torch.equal(
            mask.flatten().float(), torch.from_numpy(channel_wise_mask(channels, inverse))
        )
