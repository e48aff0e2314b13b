"""YAML over frozen dataclasses: typed, with unknown keys refused."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from agents.errors import ConfigError

T = TypeVar("T")
PACKAGE = "configs"


def load_config(cls: type[T], source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> T:
    """A configuration from a name, a file or a dict, with changes.

    Args:
        cls: a frozen dataclass.
        source: a name such as ``dreamer_v3/pendulum``, the path of a YAML file, or a dict. A file may say
            ``base: NAME``, which is applied first.
        overrides: ``a.b=value``; the value is YAML.

    Raises:
        ConfigError: one line: an unknown key with the nearest one, a wrong type, a missing file.
    """
    values = dict(source) if isinstance(source, Mapping) else _read(str(source), ())
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected key=value, got {text!r}")
        try:
            found = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{key}: cannot read {value!r} as YAML: {_line(error)}") from None
        _set(values, key.split("."), found, key)
    built: T = _build(cls, values, "")
    return built


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as plain data."""
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config)}


def to_yaml(config: Any) -> str:
    """The settings as YAML, defaults included."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=False)


def config_names() -> list[str]:
    """The names that ship with the library."""
    found: list[str] = []

    def visit(folder: Any, prefix: str) -> None:
        for item in folder.iterdir():
            if item.is_dir() and not item.name.startswith("_"):
                visit(item, f"{prefix}{item.name}/")
            elif item.name.endswith(".yaml"):
                found.append(prefix + item.name.removesuffix(".yaml"))

    visit(resources.files(PACKAGE), "")
    return sorted(found)


# -------------------------------------------------------------------------------------------- reading


def _read(source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if source in seen:
        raise ConfigError(f"base: {' -> '.join([*seen, source])} is a circle")
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no file {source!r}; the names that ship are {', '.join(config_names())}")
        text = path.read_text(encoding="utf-8")
    elif source in config_names():
        text = resources.files(PACKAGE).joinpath(*f"{source}.yaml".split("/")).read_text(encoding="utf-8")
    else:
        raise ConfigError(f"no config {source!r}{_nearest(source, config_names())}; there are {', '.join(config_names())}")
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {_line(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected keys and values, got {type(values).__name__}")
    base = values.pop("base", None)
    if base is None:
        return values
    return _merge(_read(str(base), (*seen, source)), values)


def _merge(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _set(values: dict[str, Any], path: list[str], value: Any, full: str) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{full}: {key!r} is a value, {inner!r}, and has no keys of its own")
        values[key] = values = dict(inner)
    values[path[-1]] = value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (nearest: {near[0]!r})" if near else ""


# -------------------------------------------------------------------------------------------- typing


def _build(cls: type[Any], values: Mapping[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(cls)
    known = [f.name for f in fields(cls)]
    built = {}
    for key, value in values.items():
        if key not in known:
            hint = _nearest(str(key), known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"unknown key {path}{key}{hint}")
        built[key] = _convert(value, hints[key], f"{path}{key}")
    try:
        return cls(**built)
    except ValueError as error:
        raise ConfigError(f"{path.rstrip('.') or 'config'}: {_line(error)}") from None


def _convert(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(path, "keys and values", value)
        return _build(hint, value, f"{path}.")  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, path)
    if origin is Literal:
        if value not in arguments:
            raise _wrong(path, f"one of {', '.join(map(str, arguments))}", value)
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(inner) != len(value):
            raise _wrong(path, f"{len(inner)} values", value)
        return tuple(_convert(v, h, f"{path}[{i}]") for i, (v, h) in enumerate(zip(value, inner)))
    if origin is dict and isinstance(value, Mapping):
        return {_convert(k, arguments[0], path): _convert(v, arguments[1], f"{path}.{k}") for k, v in value.items()}
    return _scalar(value, hint, path)


def _convert_union(value: Any, arguments: Sequence[Any], path: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    rest = [a for a in arguments if a is not type(None)]
    for hint in rest:
        try:
            return _convert(value, hint, path)
        except ConfigError:
            continue
    raise _wrong(path, " or ".join(getattr(a, "__name__", str(a)) for a in arguments), value)


def _scalar(value: Any, hint: Any, path: str) -> Any:
    if hint is float and not isinstance(value, bool):
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
            try:
                return float(value)
            except ValueError:
                pass
    elif hint is bool or not isinstance(value, bool):
        if isinstance(hint, type) and isinstance(value, hint):
            return value
    raise _wrong(path, getattr(hint, "__name__", str(hint)), value)


def _wrong(path: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"{path}: expected {expected}, got {value!r} ({type(value).__name__})")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
