"""YAML over frozen dataclasses: what a run is asked for, checked before anything starts.

name, path or dict  ->  its base below it  ->  overrides above it  ->  a dataclass, each value
checked against its type
"""

from __future__ import annotations

import copy
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from agents.errors import ConfigError

T = TypeVar("T")
_INSTALLED = Path(__file__).resolve().parent / "configs"
CONFIGS = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1] / "configs"
"""The settings that ship: inside of an installed ``agents``, beside it where the library runs from
its sources.
"""
KIND = "kind"
# 1e-4 is a number in YAML 1.2, text in PyYAML's 1.1
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


def load_config(
    cls: type[T], source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> T:
    """A configuration from a name, a file or a dict, with changes.

    Args:
        cls: a frozen dataclass of bool, int, float, str, None, Literal, tuple, dict and further
            dataclasses.
        source: a name such as ``dreamer_v3/pendulum``, the path of a YAML file, or a dict. A file
            may say ``base: NAME``, or the path of a file seen from its own folder, which is applied
            first.
        overrides: ``a.b=value``; the value is YAML, but for a field whose metadata says ``as_is``,
            such as a path. ``agent.kind=other`` leaves what the file says of the agent that it
            names, and begins with the other's defaults; all stays where the other's settings are of
            the same class, as those of a subclass of the agent are.

    Raises:
        ConfigError: one line: an unknown key with the nearest one, a wrong type, a missing file.
    """
    values = (
        copy.deepcopy(dict(source))
        if isinstance(source, Mapping)
        else _read(str(source), Path(), ())
    )
    kinds = any(f.name == KIND for f in fields(cls))  # type: ignore[arg-type]
    if KIND in values and not kinds:
        name = str(source).removeprefix("pretrain/") if source in config_names() else values[KIND]
        raise _error(f"{source} is for `pixyz pretrain`: pixyz pretrain {name} --data LOG")
    changes = []
    for text in overrides:
        key, path, value = parted(text)
        as_is = len(path) == 1 and path[0] in _texts(cls)
        changes.append((path, value if as_is else parse_yaml(value, key), key))
    for path, value, key in sorted(changes, key=lambda change: change[0][-1] != KIND):
        if path[-1] == KIND:
            _leave_other_kind(cls, values, path[:-1], value)
        _set(values, path, value, key)
    built: T = _build(cls, values, "")
    return built


def kind_of(source: str | Path) -> Any:
    """The ``kind`` that a config says, or its base; None if neither says one.

    >>> kind_of("pretrain/doubt")
    'one_step'
    """
    return _read(str(source), Path(), ()).get(KIND)


def said_by(source: str | Path) -> dict[str, Any]:
    """What a file of one's own says by itself, without its base; of a name that ships nothing.

    >>> said_by("dreamer_v3/fast")
    {}
    """
    values = {} if str(source) in config_names() else parse_yaml(_find(str(source), Path())[1], "")
    return values if isinstance(values, dict) else {}


def parted(override: str) -> tuple[str, list[str], str]:
    """The key of an override, its names, and the text of the value.

    Raises:
        ConfigError: it is no ``key=value``.

    >>> parted("agent.lr=1e-3")
    ('agent.lr', ['agent', 'lr'], '1e-3')
    """
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise _error(f"override {override!r}: expected key=value, such as seed=1 or agent.lr=1e-4")
    return key, path, value


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as plain data, which ``load_config`` reads back."""
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config) if f.init}


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Settings by their names with dots; blocks within blocks, too.

    >>> flat({"agent": {"lr": 0.1, "model": {"deter": 8}}, "steps": 9})
    {'agent.lr': 0.1, 'agent.model.deter': 8, 'steps': 9}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= (
            flat(value, f"{path}{key}.")
            if isinstance(value, Mapping) and value
            else {f"{path}{key}": value}
        )
    return found


def to_yaml(config: Any) -> str:
    """The settings as YAML, defaults included."""
    text: str = yaml.dump(
        to_dict(config),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
    )
    return text


def config_names() -> list[str]:
    """The names that ship with the library."""
    return sorted(
        path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml")
    )


def merge(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Values above others, block by block.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def parse_yaml(text: str, where: str) -> Any:
    """Plain data from YAML: 1e-4 is a number, a key that comes twice is refused. ``where`` opens
    the error's line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise _error(f"{where}{line}: expected YAML: {problem or error}") from None
    except (
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # 2024-13-01, a number of thousands of digits, [[[[...
        raise _error(f"{where}: expected YAML: {error}") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    def compose_mapping_node(self, anchor: Any) -> Any:
        node, seen = super().compose_mapping_node(anchor), set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} comes twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return node


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    pass


for _kind in (_Loader, _Dumper):  # the dumper too, so that the text "1e-4" is quoted
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def _texts(cls: type[Any]) -> set[str]:
    """The fields whose values are text as it is given: a path may look like a date, a number or a
    remark.
    """
    return {f.name for f in fields(cls) if f.metadata.get("as_is")}


def _read(source: str, folder: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """The values of a name or a file, its base's below its own."""
    name, text, folder = _find(source, folder)
    if name in seen:
        raise _error(
            f"base: {' -> '.join([*seen, name])} is a circle; remove one of these `base:` lines"
        )
    if (values := parse_yaml(text, source)) is None:
        return {}
    if not isinstance(values, dict):
        raise _error(f"{source}: expected keys and values, got {type(values).__name__}")
    base = values.pop("base", None)
    return values if base is None else merge(_read(str(base), folder, (*seen, name)), values)


def _find(source: str, folder: Path) -> tuple[str, str, Path]:
    """Full name, text, and the folder that paths in it are seen from."""
    names = config_names()
    if source in names:
        return source, (CONFIGS / f"{source}.yaml").read_text(encoding="utf-8"), Path()
    try:
        path = (folder / Path(source).expanduser()).resolve()
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8"), path.parent
    except (OSError, ValueError, RuntimeError) as error:
        raise _error(f"{source}: expected a readable file: {error}") from None
    if (path / "config.yaml").is_file():
        raise _error(
            f"{source} is a run's folder: go on with it by `pixyz resume {source}`, "
            f"or name its settings, {source}/config.yaml"
        )
    what = "file" if Path(source).suffix in (".yaml", ".yml") else "config"
    raise _error(
        f"no {what} {source!r}{_nearest(source, names)}; the names that ship are {', '.join(names)}"
    )


def _leave_other_kind(
    cls: type[Any], values: dict[str, Any], path: Sequence[str], kind: Any
) -> None:
    """Empty the block at ``path`` if it says that it is of another kind, with other settings."""
    block: Any = values
    for key in path:
        block = block.get(key) if isinstance(block, dict) else None
    if not path or not isinstance(block, dict) or block.get(KIND, kind) == kind:
        return
    of_kind = next((f.metadata.get("kinds") for f in fields(cls) if [f.name] == list(path)), None)
    if of_kind is None or not issubclass(of_kind({KIND: kind}), of_kind({KIND: block[KIND]})):
        block.clear()


def _set(values: dict[str, Any], path: Sequence[str], value: Any, full: str) -> None:
    for i, key in enumerate(path[:-1]):
        if values.get(key) is None:
            values[key] = {}
        if not isinstance(values[key], dict):
            raise _error(
                f"override {full}: "
                f"{'.'.join(path[: i + 1])} is {_show(values[key])} and has no keys of its own"
            )
        values = values[key]
    values[path[-1]] = value


def _build(cls: type[Any], values: Mapping[Any, Any], path: str) -> Any:
    hints, known = typing.get_type_hints(cls), {f.name: f for f in fields(cls) if f.init}
    values = dict(values)
    for name, f in known.items():
        # the values say of which class they are
        if "kinds" in f.metadata and values.get(name) is not None:
            if not isinstance(values[name], Mapping):
                raise _wrong(f"{path}{name}", "keys and values", values[name])
            hints[name] = f.metadata["kinds"](values[name])
    built = {}
    for key, value in values.items():
        if key not in known:
            near = _nearest(str(key), list(known), path)
            raise _error(
                f"unknown key {path}{key}{near}; "
                f"{path.rstrip('.') or 'the config'} has {', '.join(known)}"
            )
        built[key] = _convert(_over_default(value, known[key]), hints[key], f"{path}{key}")
    for name, f in known.items():
        if name not in built and f.default is MISSING and f.default_factory is MISSING:
            raise _error(
                f"{path}{name}: expected a value ({_name(hints[name])}), got none; "
                f"add it to the config"
            )
    try:
        return cls(**built)
    except ValueError as error:
        raise _error(f"{path.rstrip('.') or 'config'}: {error}") from None


def _over_default(value: Any, field: Field[Any]) -> Any:
    """The values of a dataclass, above those of the field's own default, which may be others than
    the class's.
    """
    if (
        "kinds" in field.metadata
        or not isinstance(value, Mapping)
        or field.default_factory is MISSING
    ):
        return value
    default = field.default_factory()
    return {**to_dict(default), **value} if is_dataclass(default) else value


def _convert(value: Any, hint: Any, path: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if (is_dataclass(hint) or origin is dict) and not isinstance(value, Mapping):
        raise _wrong(path, "keys and values", value)
    if is_dataclass(hint):
        return _build(hint, value, f"{path}.")  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return _convert_union(value, inner, path)
    if origin is Literal:
        if any(type(value) is type(a) and value == a for a in inner):
            return value
        raise _wrong(
            path,
            f"one of {', '.join(map(str, inner))}",
            value,
            _nearest(str(value), list(map(str, inner))),
        )
    if origin is tuple:
        each = (
            inner[:1] * len(value)
            if inner[-1] is ... and isinstance(value, (list, tuple))
            else inner
        )
        if not isinstance(value, (list, tuple)) or len(each) != len(value):
            raise _wrong(path, _name(hint), value)
        return tuple(_convert(v, h, f"{path}[{i}]") for i, (v, h) in enumerate(zip(value, each)))
    if origin is dict:
        return {
            _convert(k, inner[0], f"{path}, key"): _convert(v, inner[1], f"{path}.{k}")
            for k, v in value.items()
        }
    return _scalar(value, hint, path)


def _convert_union(value: Any, hints: Sequence[Any], path: str) -> Any:
    rest = [h for h in hints if h is not type(None)]
    if value is None and len(rest) < len(hints):
        return None
    if isinstance(value, Mapping) and len(rest) == 1:  # its own error says which key is wrong
        return _convert(value, rest[0], path)
    for hint in sorted(rest, key=lambda h: h is not type(value)):  # an exact type first
        try:
            return _convert(value, hint, path)
        except ConfigError:
            continue
    raise _wrong(path, " or ".join(map(_name, hints)), value)


def _scalar(value: Any, hint: Any, path: str) -> Any:
    if hint not in (bool, int, float, str, dict):
        raise TypeError(
            f"{path}: expected a field of bool, int, float, str, tuple[...], dict[...] or Literal, "
            f"got {_name(hint)}"
        )
    if hint is float and (
        isinstance(value, (int, float)) or (isinstance(value, str) and EXPONENT.match(value))
    ):
        if not isinstance(value, bool) and not math.isnan(value := _float(value)):
            return value
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    whole = hint is int and isinstance(value, float) and value.is_integer()
    raise _wrong(path, _name(hint), value, f"; write {int(value)}" if whole else "")


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf if value > 0 else -math.inf


def _error(text: str) -> ConfigError:
    return ConfigError(" ".join(text.split()))


def _wrong(path: str, expected: str, value: Any, advice: str = "") -> ConfigError:
    return _error(f"{path}: expected {expected}, got {_show(value)}{advice}")


def _show(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not write a whole number of thousands of digits
        text = "a number of thousands of digits"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _name(hint: Any) -> str:
    if hint is type(None):
        return "None"
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def _nearest(name: str, known: Sequence[str], path: str = "") -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (nearest: {path}{near[0]})" if near else ""


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
