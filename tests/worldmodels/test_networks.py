"""Laws of the layers."""

import pytest
import torch
from torch.nn import functional as F

from pixyz.types import ShapeError
from worldmodels.images import ConvDecoder, ConvEncoder
from worldmodels.networks import MLP, BlockGRU, BlockLinear, GRUCore
from worldmodels.normalization import LARGE, FusedRMSNorm, RMSNorm


def test_fused_norm_equals_torch_and_its_gradient_is_right():
    x = torch.randn(5, 3, 8, dtype=torch.float64, requires_grad=True)
    w = torch.rand(8, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(FusedRMSNorm.apply(x, w, 1e-4), F.rms_norm(x, (8,), w, 1e-4), atol=1e-14)
    assert torch.autograd.gradcheck(lambda a, b: FusedRMSNorm.apply(a, b, 1e-4), (x, w))


@pytest.mark.parametrize("autocast", [False, True])
def test_norm_is_the_same_on_both_sides_of_the_threshold(autocast):
    norm = RMSNorm(64)
    x = torch.randn(LARGE // 64, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        large, small = norm(x), norm(x[:8])
    assert large.dtype == torch.float32
    assert torch.allclose(large[:8], small, atol=1e-6)
    large.sum().backward()
    assert x.grad.isfinite().all()


def test_block_linear_is_a_block_diagonal_matrix():
    layer = BlockLinear(12, 6, 3)
    x = torch.randn(5, 12)
    dense = torch.block_diag(*layer.weight)
    assert torch.allclose(layer(x), x @ dense + layer.bias, atol=1e-6)
    with pytest.raises(ShapeError, match="blocks"):
        BlockLinear(10, 6, 3)


@pytest.mark.parametrize("core", [BlockGRU(16, 6, 2, 8, 4), GRUCore(16, 6, 2, 8)])
def test_cores_keep_bounds_and_scale_large_actions(core):
    h, s, a = torch.rand(3, 16) * 2 - 1, torch.randn(3, 6), torch.rand(3, 2) * 2 - 1
    out = core(h, s, a)
    assert out.shape == (3, 16) and out.abs().max() <= 1
    assert torch.allclose(core(h, s, torch.full_like(a, 7.0)), core(h, s, torch.ones_like(a)))


def test_mlp_with_outscale_zero_starts_at_zero():
    assert torch.equal(MLP(4, 8, 2, 3, outscale=0.0)(torch.randn(5, 4)), torch.zeros(5, 3))


def test_images_there_and_back():
    encoder, decoder = ConvEncoder((32, 48, 3), 2), ConvDecoder(7, (32, 48, 3), 2)
    pixels = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    assert encoder(pixels).shape == (2, encoder.out)
    assert torch.allclose(encoder(pixels), encoder(pixels.float() / 255))
    out = decoder(torch.randn(2, 7))
    assert out.shape == (2, 32, 48, 3) and out.min() >= 0 and out.max() <= 1
    with pytest.raises(ShapeError, match="16"):
        ConvEncoder((30, 48, 3), 2)
