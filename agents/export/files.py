"""Exported policies as files: torch's ``.pt2`` and ``.onnx``; the signature lies in the file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.errors import UsageError
from agents.export.step import PolicyStep, Signature

Array = NDArray[Any]
Function = Callable[[Sequence[Array]], list[Array]]
"""Inputs in the order of the signature to outputs in theirs."""

Form = Literal["torch", "onnx"]
ENDINGS: dict[Form, str] = {"torch": ".pt2", "onnx": ".onnx"}
PACKAGES = {"onnx": ("onnx", "onnxscript")}
KEY = "pixyz"
EXTRA = "pixyz.json"


def check_packages(form: Form, runs: bool) -> None:
    """Refuse before any work what would be missed at its end.

    Args:
        form: of the file.
        runs: it will be tried, too.

    Raises:
        UsageError: a package is not installed; says which.
    """
    needed = (*PACKAGES.get(form, ()), *(("onnxruntime",) if runs and form == "onnx" else ()))
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--to {form} needs {' and '.join(missing)}, not installed: "
            f"pip install {' '.join(missing)}, or take --to torch"
        )


def write(step: PolicyStep, inputs: tuple[Tensor, ...], path: Path, form: Form) -> None:
    """Write a function.

    Args:
        step: of :func:`agents.export.policy_step`.
        inputs: that it is traced with.
        path: of the file; it is written whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    signature, new = step.signature, path.with_name(f".{path.stem}.writing{path.suffix}")
    with _quiet(), torch.no_grad():
        program = torch.export.export(step, inputs, strict=False)
        try:
            if form == "torch":
                file = BytesIO()  # to a file, torch has its own errors, and a word on its ending
                torch.export.save(program, file, extra_files={EXTRA: signature.text()})
                new.write_bytes(file.getbuffer())
            else:
                names = [s.name for s in signature.inputs], [s.name for s in signature.outputs]
                made: Any = torch.onnx.export(
                    program,
                    input_names=names[0],
                    output_names=names[1],
                    dynamo=True,
                    optimize=True,
                    verbose=False,
                )
                made.model.metadata_props[KEY] = signature.text()
                made.save(new, external_data=False)
            new.replace(path)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
        finally:
            new.unlink(missing_ok=True)


def read(path: Path, form: Form) -> tuple[Signature, Function]:
    """The function of a file that :func:`write` made, on one thread of the CPU.

    Raises:
        UsageError: a package is missing, or the file is none.
    """
    check_packages(form, runs=True)
    return (_read_torch if form == "torch" else _read_onnx)(path)


def _read_torch(path: Path) -> tuple[Signature, Function]:
    extra = {EXTRA: ""}
    with _quiet():
        module = torch.export.load(BytesIO(path.read_bytes()), extra_files=extra).module()

    def run(inputs: Sequence[Array]) -> list[Array]:
        with torch.no_grad():
            return [v.numpy() for v in module(*map(torch.from_numpy, inputs))]

    return Signature.read(extra[EXTRA]), run


def _read_onnx(path: Path) -> tuple[Signature, Function]:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    signature = Signature.read(session.get_modelmeta().custom_metadata_map.get(KEY, ""))
    wanted = {i.name for i in session.get_inputs()}  # what no output depends on is left out
    names = [slot.name for slot in signature.inputs]

    def run(inputs: Sequence[Array]) -> list[Array]:
        found = session.run(None, {k: v for k, v in zip(names, inputs, strict=True) if k in wanted})
        return [np.asarray(v) for v in found]

    return signature, run


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' notes about packages that they did not find, and about their own code."""
    levels = {log: log.level for log in map(logging.getLogger, ("torch.onnx", "onnxscript"))}
    for log in levels:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)
