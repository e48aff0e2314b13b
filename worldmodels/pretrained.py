"""A model in a folder of two files that anybody can read: ``config.json`` and
``model.safetensors``.

    save_pretrained(model, folder)     any model of series of this library, or one whose constructor
                                       keeps its arguments
    from_pretrained(folder)            the same model again; a name of the Hugging Face Hub where
                                       that is no folder

Nothing is unpickled. :mod:`agents.pretrained` does the same for agents and for models of logs.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pixyz import __version__
from pixyz.types import PixyzError
from worldmodels.data.folders import fresh_folder

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1
NOT_SAVED = ("self", "config", "fission", "terms")
"""Arguments of constructors that are no plain data, or say how a plan is made."""

M = TypeVar("M", bound=nn.Module)


class Saved(NamedTuple):
    """What lies in a folder: ``config.json``, and the weights by name."""

    about: dict[str, Any]
    weights: dict[str, Tensor]


def save_pretrained(model: nn.Module, folder: str | Path) -> Path:
    """Write a model of series into an empty or new folder, whole or not at all.

    Own terms of the objective are not written, their weights are: give the same ``terms`` to
    :func:`from_pretrained`.

    Args:
        model: of :mod:`worldmodels`, or of a class that keeps its constructor's arguments as
            attributes.
        folder: of the files.

    Raises:
        PixyzError: an argument is not kept, or is no plain data.
        DataError: the folder is not empty, or cannot be written.
    """
    cls = type(model)
    names = [n for n in inspect.signature(cls.__init__).parameters if n not in NOT_SAVED]
    lacking = [n for n in names if not hasattr(model, n)]
    config: Any = getattr(model, "config", None)
    if lacking or not hasattr(config, "__dataclass_fields__"):
        what = lacking or ["config"]
        raise PixyzError(
            f"save_pretrained: expected that {cls.__name__} keeps {what[0]!r} as an attribute; "
            f"set it there"
        )
    about = {
        "model": cls.__name__,
        "arguments": {n: getattr(model, n) for n in names},
        "config": asdict(config),
    }
    own = getattr(model, "own", None)
    if own is not None and own.losses:
        about["terms"] = list(own.losses)
    load = f"import worldmodels\n\nmodel = worldmodels.from_pretrained(FOLDER)  # a {cls.__name__}"
    return write_folder(folder, about, model.state_dict(), load)


def from_pretrained(
    source: str | Path, cls: type[M] | None = None, *, terms: Any = None, device: str = "cpu"
) -> Any:
    """The model of :func:`save_pretrained`, in the mode for evaluation.

    Args:
        source: a folder, or the name of a repository on the Hugging Face Hub (package
            ``huggingface_hub``).
        cls: the model's class; one of :mod:`worldmodels` if None.
        terms: own terms, where the model had some.
        device: where to.

    Raises:
        PixyzError: it is no such folder, is damaged, or holds another model.

    >>> import tempfile
    >>> from worldmodels import VRNN, VRNNConfig
    >>> model = VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = VRNN.from_pretrained(model.save_pretrained(f"{folder}/model"))
    >>> again.config == model.config, list(again.state_dict()) == list(model.state_dict())
    (True, True)
    """
    saved = read_folder(source)
    name = saved.about.get("model")
    found = (
        cls if cls is not None else getattr(importlib.import_module("worldmodels"), str(name), None)
    )
    if found is None or found.__name__ != name:
        wanted = "a model of worldmodels" if cls is None else cls.__name__
        raise PixyzError(
            f"{source}: expected {wanted}, got {name!r}; "
            f"load it by its own class or by agents.from_pretrained"
        )
    if saved.about.get("terms") and terms is None:
        raise PixyzError(
            f"{source}: the model had the own terms {saved.about['terms']}; give them again, "
            f"as terms="
        )
    more = {} if terms is None else {"terms": terms}
    try:
        config = read_config(_config_class(found), saved.about["config"])
        model = found(**_tuples(saved.about["arguments"]), config=config, **more)
        model.to(next(v.dtype for v in saved.weights.values() if v.is_floating_point()))
        model.load_state_dict(saved.weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PixyzError(
            f"{source}: does not fit this version: {' '.join(str(error).split())[:300]}"
        ) from None
    return model.to(device).eval()


# ---------------------------------------------------------------- folders


def write_folder(
    folder: str | Path, about: Mapping[str, Any], weights: Mapping[str, Tensor], load: str
) -> Path:
    """Write ``config.json``, ``model.safetensors`` and a card.

    Args:
        folder: an empty or new one.
        about: plain data.
        weights: by name; written as they are, on the CPU.
        load: lines of Python that load it.
    """
    folder = Path(folder)
    head = {"format": FORMAT, "library": "pixyz-worldmodels", "version": __version__}
    text = json.dumps({**head, **about}, indent=2, default=_refuse)
    with fresh_folder(folder) as writing:
        (writing / CONFIG).write_text(text + "\n", encoding="utf-8")
        # a copy each: weights that are shared are written twice
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()},
            writing / WEIGHTS,
        )
        card = f"---\nlibrary_name: pixyz-worldmodels\n---\n\n```python\n{load}\n```\n"
        (writing / CARD).write_text(card, encoding="utf-8")
    return folder


def read_folder(source: str | Path) -> Saved:
    """What :func:`write_folder` wrote, from a folder or from the Hub.

    Raises:
        PixyzError: it is not there, damaged, or of a later version.
    """
    folder = _folder(source)
    try:
        about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        name = Path(error.filename or WEIGHTS).name
        raise PixyzError(
            f"{source}: expected {CONFIG} and {WEIGHTS} of save_pretrained; {name} is missing"
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise PixyzError(f"{source} is damaged: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        what = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise PixyzError(
            f"{source}/{CONFIG}: expected the format {FORMAT}, got {what}; it is of another version"
        )
    return Saved(about, weights)


def _folder(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if (
        path.is_dir()
        or isinstance(source, Path)
        or str(source).count("/") != 1
        or str(source).startswith((".", "~"))
    ):
        if not path.is_dir():
            raise PixyzError(
                f"{source}: expected a folder of save_pretrained, "
                f"or OWNER/NAME of the Hugging Face Hub; "
                "it is neither"
            )
        return path
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError:
        raise PixyzError(
            f"{source}: no such folder; "
            f"a repository of the Hugging Face Hub needs the package huggingface_hub: "
            "pip install huggingface_hub"
        ) from None
    try:
        return Path(hub.snapshot_download(str(source), allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # of the network, of the Hub
        raise PixyzError(
            f"{source}: no such folder, and the Hub says {' '.join(str(error).split())[:200]}"
        ) from None


def read_config(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """A configuration from JSON: lists become tuples, dataclasses inside are built too."""
    inside = {f.name: f.default_factory for f in fields(cls) if is_dataclass(f.default_factory)}

    def read(key: str, value: Any) -> Any:
        if key not in inside:
            return _tuples(value)
        return read_config(inside[key], value)  # type: ignore[arg-type]

    return cls(**{k: read(k, v) for k, v in values.items()})


def _config_class(cls: type[Any]) -> type[Any]:
    """The class of a model's configuration: the one that its constructor builds where none is
    given.
    """
    hint = inspect.signature(cls.__init__, eval_str=True).parameters["config"].annotation
    kinds: tuple[Any, ...] = getattr(hint, "__args__", (hint,))
    return next(kind for kind in kinds if hasattr(kind, "__dataclass_fields__"))


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _refuse(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise PixyzError(
        f"save_pretrained: expected plain data as arguments, got {type(value).__name__}"
    )
