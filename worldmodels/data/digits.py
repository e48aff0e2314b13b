"""MNIST (LeCun, Cortes and Burges): 60,000 and 10,000 digits, as images and as series of rows."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from worldmodels.data.download import Source, fetch, unzipped_sha256
from worldmodels.data.episodes import Array
from worldmodels.data.errors import DataError
from worldmodels.data.folders import reading

Part = Literal["train", "test"]
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
LICENCE = "none stated by the authors; commonly given as CC BY-SA 3.0"
FILES = {"train": "train", "test": "t10k"}
IMAGES, LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
CONTENT = {  # SHA-256 of what the .gz files hold, and their sizes
    ("train", IMAGES): (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        9_912_422,
    ),
    ("train", LABELS): ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 28_881),
    ("test", IMAGES): (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        1_648_877,
    ),
    ("test", LABELS): ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 4_542),
}


def mnist(
    part: Part, folder: str | Path | None = None, verify: bool = True
) -> tuple[Tensor, Tensor]:
    """Images ``[N, 28, 28]`` uint8 and labels ``[N]`` int64.

    Args:
        part: ``"train"`` (60,000 digits) or ``"test"`` (10,000).
        folder: with the four ``.gz`` files; they are downloaded if None.
        verify: False for a folder with other images in the same files (Fashion-MNIST, made digits):
            nothing is then compared with MNIST's checksums.

    Raises:
        DataError: a file is missing, damaged, or not MNIST's.
    """
    if part not in FILES:
        raise DataError(f"part must be 'train' or 'test', got {part!r}")
    images, labels = (_read(part, kind, folder, verify) for kind in (IMAGES, LABELS))
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: expected as many labels as images, "
            f"got {len(images)} images and {len(labels)} labels"
        )
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def mnist_rows(part: Part, folder: str | Path | None = None, verify: bool = True) -> Tensor:
    """Digits as series of their rows from top to bottom, ``[28, N, 28]`` (time, digits, pixels),
    floats in [0, 1].

    The convention of pixyzoo's VRNN and DMM: the grey value is a soft target of a Bernoulli;
    nothing is binarised.
    """
    images, _ = mnist(part, folder, verify)
    return (images.float() / 255).transpose(0, 1).contiguous()


def _read(part: str, kind: str, folder: str | Path | None, verify: bool) -> Array:
    name, (sha256, size) = f"{FILES[part]}-{kind}", CONTENT[part, kind]
    if folder is not None and not verify:
        file = Path(folder).expanduser() / name
    else:
        file = fetch(
            Source(f"mnist/{name}", MIRROR + name, sha256, LICENCE, size, unzipped_sha256), folder
        )
    with reading(f"{file}: expected a gzip file of MNIST's form"), gzip.open(file) as opened:
        content = opened.read()
    rank = 3 if kind == IMAGES else 1
    shape = (
        struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        if len(content) >= 4 + 4 * rank
        else ()
    )
    if content[:4] != bytes([0, 0, 8, rank]) or len(content) != 4 + 4 * rank + math.prod(shape):
        raise DataError(
            f"{file}: expected an IDX file of {rank} axes, "
            f"got the first bytes {content[:4].hex()} and {list(shape)}"
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
