"""Settings from YAML: typed, refused where they are wrong, one line an error."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from agents.config import config_names, load_config, to_dict, to_yaml
from agents.errors import ConfigError
from agents.settings import RunSettings


@dataclass(frozen=True)
class Inner:
    rate: float = 1e-4
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    count: int = 3
    flag: bool = False
    limit: int | None = None
    sizes: tuple[int, ...] = (1, 2)

    def __post_init__(self):
        if self.count < 0:
            raise ValueError("count must not be negative")


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_loads_and_survives_the_round_trip(name, tmp_path):
    settings = load_config(RunSettings, name)
    path = tmp_path / "c.yaml"
    path.write_text(to_yaml(settings))
    assert load_config(RunSettings, path) == settings == load_config(RunSettings, to_dict(settings))


def test_overrides_and_types():
    c = load_config(Outer, {}, ["inner.rate=1e-3", "limit=4", "sizes=[3, 4, 5]", "flag=true", "inner.kind=b"])
    assert c == Outer(Inner(1e-3, "b"), 3, True, 4, (3, 4, 5))
    assert load_config(Outer, {}, ["inner.rate=2"]).inner.rate == 2.0


@pytest.mark.parametrize(("override", "message"), [
    ("inner.rat=1", "unknown key inner.rat .*rate"), ("cuont=1", "unknown key cuont .*count"),
    ("count=1.5", "count: expected int, got 1.5"), ("count=true", "count: expected int, got True"),
    ("flag=1", "flag: expected bool"), ("inner.kind=c", "inner.kind: expected one of a, b"),
    ("inner.rate=fast", "inner.rate: expected float"), ("inner=3", "inner: expected keys"), ("count=-1", "not be negative"),
    ("count", "expected key=value"), ("count=[", "YAML"), ("sizes=[1, x]", r"sizes\[1\]"), ("count.x=1", "count"),
])
def test_wrong_settings_are_refused_in_one_line(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(Outer, {"count": 2}, [override])
    assert "\n" not in str(caught.value)


def test_files(tmp_path):
    with pytest.raises(ConfigError, match="dreamer_v3/pendulum"):
        load_config(RunSettings, "dreamer_v3/pendulm")
    with pytest.raises(ConfigError, match="no file"):
        load_config(RunSettings, "missing.yaml")
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text(f"base: {b}\ncount: 7\n")
    b.write_text("count: 5\ninner: {rate: 1e-2}\n")
    assert load_config(Outer, a) == Outer(Inner(1e-2), 7)
    b.write_text(f"base: {a}\n")
    with pytest.raises(ConfigError, match="circle"):
        load_config(Outer, a)
    b.write_text("- 1\n")
    with pytest.raises(ConfigError, match="keys and values"):
        load_config(Outer, b)
