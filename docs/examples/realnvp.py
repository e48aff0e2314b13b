r"""RealNVP (Dinh et al., 2017) on MNIST, in bits per dimension.

    python docs/examples/realnvp.py --seed 0

.. math::
    \log p(x) = \log N(f(x); 0, I) + \log |\det \partial f / \partial x|

``f`` dequantises the image and takes the logit (:class:`Preprocess`), then goes through two scales
of checkerboard and channel-wise couplings with batch normalisation (:class:`RealNVP2d`).
"""

from collections.abc import Sequence

from flow_images import run

from pixyz.flows import RealNVP2d


def build() -> RealNVP2d:
    """Small enough for a processor: 8 channels in the first scale's networks (32 in the last), one
    block each.
    """
    return RealNVP2d((1, 28, 28), levels=2, mid_channels=8, num_blocks=1)


def main(argv: Sequence[str] | None = None) -> float:
    return run("realnvp", build, epochs=1, rate=5e-3, argv=argv)


if __name__ == "__main__":
    main()
