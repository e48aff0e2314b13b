r"""Glow (Kingma and Dhariwal, 2018; Figure 8 of the Pixyz paper) on MNIST, in bits per dimension.

    python docs/examples/glow.py --seed 0

.. math::
    \log p(x) = \log N(f(x); 0, I) + \log |\det \partial f / \partial x|

``f`` dequantises the image and takes the logit (:class:`Preprocess`), then goes through two scales
of four steps: activation normalisation, 1 x 1 convolution, affine coupling (:class:`Glow`).
"""

from collections.abc import Sequence

from flow_images import run

from pixyz.flows import Glow


def build() -> Glow:
    """Small enough for a processor: networks of 32 channels."""
    return Glow((1, 28, 28), levels=2, steps=4, hidden_channels=32)


def main(argv: Sequence[str] | None = None) -> float:
    return run("glow", build, epochs=3, rate=5e-3, argv=argv)


if __name__ == "__main__":
    main()
