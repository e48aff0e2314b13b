"""Networks that flows are made of."""

from pixyz import wings
from pixyz.layers.resnet import ResidualBlock, ResNet
from pixyz.layers.scale_translate import (
    ScaleTranslateConv,
    ScaleTranslateDense,
    ScaleTranslateImage,
    ScaleTranslateResNet,
    TranslateDense,
)
from pixyz.layers.weight_norm import WNConv2d

__all__ = [
    "ResNet",
    "ResidualBlock",
    "ScaleTranslateConv",
    "ScaleTranslateDense",
    "ScaleTranslateImage",
    "ScaleTranslateResNet",
    "TranslateDense",
    "WNConv2d",
]

wings.complete(__name__)
