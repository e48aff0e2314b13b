"""Files in the form of MNIST's, for tests."""

import gzip
import hashlib
import struct

import numpy as np


def write_idx(file, values):
    """Write an array of bytes; the SHA-256 of what the file holds."""
    raw = np.ascontiguousarray(values).astype(np.uint8)
    content = bytes([0, 0, 8, raw.ndim]) + struct.pack(f">{raw.ndim}I", *raw.shape) + raw.tobytes()
    with gzip.open(file, "wb") as out:
        out.write(content)
    return hashlib.sha256(content).hexdigest()


def write_digits(folder, files):
    """Write ``{"train": (images [N, 28, 28], labels [N]), "t10k": ...}``; what
    ``worldmodels.data.digits`` shall expect.
    """
    found = {}
    for name, values in files.items():
        for kind, value in zip(("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"), values):
            found["train" if name == "train" else "test", kind] = (
                write_idx(folder / f"{name}-{kind}", value),
                1,
            )
    return found
