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

FORMATS = {1: "gray", 3: "rgb24", 4: "rgba"}
VIDEOS = (1, 3)
"""The channels of a video."""
DEEP = {1: "gray16le", 3: "rgb48le", 4: "rgba64le"}
TOLERANCE = 1e-4
"""Seconds between a frame and its row, as in lerobot."""
Size = tuple[int, int] | None


def decode_images(encoded: Sequence[bytes], channels: int, where: str, size: Size = None) -> Array:
    """``[T, H, W, C]`` uint8 from PNG or JPEG files of one size, scaled to ``size`` (height,
    width).

    Files of 16 bits (depth) become float32 from 0 to 1, with all their bits.

    Raises:
        DataError: one cannot be decoded, or is of another size; names ``where`` and the step.
    """
    av = need("av", "reading images")
    found: list[Array] = []
    for step, content in enumerate(encoded):
        with (
            reading(f"{where}, step {step}: expected a PNG or JPEG image"),
            av.open(io.BytesIO(content), format=_image_format(content)) as file,
        ):
            frame = next(iter(file.decode(video=0)))
            image = _array(
                frame, channels, size, deep=max(c.bits for c in frame.format.components) > 8
            )
        if found and (image.shape, image.dtype) != (found[0].shape, found[0].dtype):
            raise DataError(
                f"{where}, step {step}: "
                f"expected an image of {list(found[0].shape)} and type {found[0].dtype}, got "
                f"{list(image.shape)} and {image.dtype}"
            )
        found.append(image)
    return np.stack(found)


def write_video(file: Path, images: Array, rate: float) -> None:
    """``[T, H, W, C]`` uint8 as H.264 (every other frame a key frame, full colour resolution).

    Raises:
        DataError: images of neither one nor three channels.
    """
    av = need("av", "writing videos")
    if images.shape[-1] not in VIDEOS:
        raise DataError(
            f"{file.name}: a video has 1 or 3 channels, got images {list(images.shape[1:])}"
        )
    kind = FORMATS[images.shape[-1]]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "gray" if kind == "gray" else "yuv444p"
        stream.options = {"crf": "12", "g": "2", "preset": "medium"}
        for image in images:
            image = image[..., 0] if kind == "gray" else image
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=kind))
            )
        container.mux(stream.encode())


def read_video(
    file: Path, times: Array, rate: float, channels: int, where: str, size: Size = None
) -> Array:
    """The frames at ``times`` (seconds, going up), scaled to ``size``: ``[T, H, W, C]`` uint8.

    Raises:
        DataError: the file cannot be read, lacks a frame, or has one at another time (by more than
            0.1 ms, and what float32 cannot tell); names ``where`` and the step.
    """
    av = need("av", "reading videos")
    steps = len(times)
    found: list[Array | None] = [None] * steps
    numbers = {int(n): step for step, n in enumerate(np.round((times - times[0]) * rate))}
    slack = TOLERANCE + float(np.abs(times).max()) * np.finfo(np.float32).eps
    with (
        reading(f"{where}: expected a video in {file}"),
        av.open(str(file), format=_format(file)) as container,
    ):
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(max(0, int(times[0] / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            number = round((frame.time - float(times[0])) * rate)
            if number > max(numbers):
                break
            step = numbers.get(number)
            if step is None:
                continue
            if abs(frame.time - times[step]) > slack:
                raise DataError(
                    f"{where}, step {step}: {file} has a frame at {frame.time:.6g} s, "
                    f"the row is of "
                    f"{times[step]:.6g} s"
                )
            found[step] = _array(frame, channels, size)
    missing = [step for step, image in enumerate(found) if image is None]
    if missing:
        raise DataError(
            f"{where}, step {missing[0]}: "
            f"{file} has no such frame ({len(missing)} of {steps} are missing)"
        )
    return np.stack([image for image in found if image is not None])


def _format(file: Path) -> str | None:
    """The container by the file's ending; what is in the file may not choose one that reads other
    files (a playlist).
    """
    return {".mp4": "mp4", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}.get(
        file.suffix.lower(), "mp4"
    )


def _image_format(content: bytes) -> str:
    if content.startswith(b"\x89PNG"):
        return "png_pipe"
    if content.startswith(b"\xff\xd8"):
        return "jpeg_pipe"
    raise ValueError(f"it begins with {content[:8]!r}")


def _array(frame: Any, channels: int, size: Size, deep: bool = False) -> Array:
    if channels not in FORMATS:
        raise ValueError(f"an image has 1, 3 or 4 channels, not {channels}")
    scaled = {} if size is None else {"height": size[0], "width": size[1], "interpolation": "AREA"}
    found: Array = frame.to_ndarray(format=(DEEP if deep else FORMATS)[channels], **scaled)
    found = (found / np.float32(65535)).astype(np.float32) if deep else found
    return found[..., None] if found.ndim == 2 else found
