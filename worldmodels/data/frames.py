"""Images and videos of recordings, by PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.episodes import Array
from worldmodels.data.errors import DataError
from worldmodels.data.folders import need, reading

FORMATS = {1: "gray", 3: "rgb24"}
Size = tuple[int, int] | None


def decode_images(encoded: Sequence[bytes], channels: int, where: str, size: Size = None) -> Array:
    """``[T, H, W, C]`` uint8 from PNG or JPEG files of one size, scaled to ``size`` (height, width).

    Raises:
        DataError: one cannot be decoded, or is of another size; names ``where`` and the step.
    """
    av = need("av", "reading images")
    found: list[Array] = []
    for step, content in enumerate(encoded):
        with reading(f"{where}, step {step}: expected a PNG or JPEG image"), av.open(io.BytesIO(content)) as file:
            image = _array(next(iter(file.decode(video=0))), channels, size)
        if found and image.shape != found[0].shape:
            raise DataError(f"{where}, step {step}: expected an image of {list(found[0].shape)}, got {list(image.shape)}")
        found.append(image)
    return np.stack(found)


def write_video(file: Path, images: Array, rate: float) -> None:
    """``[T, H, W, C]`` uint8 as H.264 (every other frame a key frame, full colour resolution).

    Raises:
        DataError: images of neither one nor three channels.
    """
    av = need("av", "writing videos")
    if images.shape[-1] not in FORMATS:
        raise DataError(f"{file.name}: a video has 1 or 3 channels, got images {list(images.shape[1:])}")
    kind = FORMATS[images.shape[-1]]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "gray" if kind == "gray" else "yuv444p"
        stream.options = {"crf": "12", "g": "2", "preset": "medium"}
        for image in images:
            image = image[..., 0] if kind == "gray" else image
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=kind)))
        container.mux(stream.encode())


def read_video(file: Path, start: float, rate: float, steps: int, channels: int, where: str, size: Size = None) -> Array:
    """``steps`` frames from ``start`` seconds on, at ``rate`` frames a second, scaled to ``size``: ``[T, H, W, C]`` uint8.

    Raises:
        DataError: the file cannot be read or lacks a frame; names ``where`` and the step.
    """
    av = need("av", "reading videos")
    found: list[Array | None] = [None] * steps
    with reading(f"{where}: expected a video in {file}"), av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(max(0, int(start / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            step = round((frame.time - start) * rate)
            if step >= steps:
                break
            if step >= 0:
                found[step] = _array(frame, channels, size)
    missing = [step for step, image in enumerate(found) if image is None]
    if missing:
        raise DataError(f"{where}, step {missing[0]}: {file} has no such frame ({len(missing)} of {steps} are missing)")
    return np.stack([image for image in found if image is not None])


def _array(frame: Any, channels: int, size: Size) -> Array:
    if channels not in FORMATS:
        raise ValueError(f"an image has 1 or 3 channels, not {channels}")
    scaled = {} if size is None else {"height": size[0], "width": size[1], "interpolation": "AREA"}
    found: Array = frame.to_ndarray(format=FORMATS[channels], **scaled)
    return found[..., None] if channels == 1 else found
