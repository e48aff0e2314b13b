"""Settings from YAML: typed, refused where they are wrong, one line an error."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import yaml

from agents.config import config_names, kind_of, load_config, parse_yaml, to_dict, to_yaml
from agents.errors import ConfigError
from agents.pretrain import KINDS
from agents.settings import RunSettings
from agents.tdmpc import TDMPCConfig


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
    extra: dict[str, Any] = field(default_factory=dict)
    name: str = "x"
    pair: tuple[float, str] = (1.0, "m")
    second: Inner | None = None

    def __post_init__(self):
        if self.count < 0:
            raise ValueError("count must not be negative")


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_loads_and_survives_the_round_trip(name, tmp_path):
    cls = KINDS[kind_of(name)] if name.startswith("pretrain/") else RunSettings
    settings = load_config(cls, name)
    path = tmp_path / "c.yaml"
    path.write_text(to_yaml(settings))
    assert load_config(cls, path) == settings == load_config(cls, to_dict(settings))


def test_overrides_and_types():
    c = load_config(
        Outer, {}, ["inner.rate=1e-3", "limit=4", "sizes=[3, 4, 5]", "flag=true", "inner.kind=b"]
    )
    assert c == Outer(Inner(1e-3, "b"), 3, True, 4, (3, 4, 5))
    assert load_config(Outer, {}, ["inner.rate=2"]).inner.rate == 2.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.rat=1", "unknown key inner.rat .*rate"),
        ("cuont=1", "unknown key cuont .*count"),
        ("count=1.5", "count: expected int, got 1.5"),
        ("count=true", "count: expected int, got True"),
        ("flag=1", "flag: expected bool"),
        ("inner.kind=c", "inner.kind: expected one of a, b"),
        ("inner.rate=fast", "inner.rate: expected float"),
        ("inner=3", "inner: expected keys"),
        ("count=-1", "not be negative"),
        ("count", "expected key=value"),
        ("count=[", "YAML"),
        ("sizes=[1, x]", r"sizes\[1\]"),
        ("count.x=1", "count"),
    ],
)
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


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "+1e-04", "1.0e-4", "0.0001", ".1e-3"])
def test_every_way_to_write_a_float_is_a_float(text, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(f"inner: {{rate: {text}}}\nextra: {{rate: {text}}}\n")
    for c in (
        load_config(Outer, path),
        load_config(Outer, {}, [f"inner.rate={text}", f"extra.rate={text}"]),
    ):
        assert c.inner.rate == c.extra["rate"] == 1e-4 and type(c.extra["rate"]) is float
    # text, in part
    assert load_config(Outer, {"inner": {"rate": yaml.safe_load(text)}}).inner.rate == 1e-4


@pytest.mark.parametrize(
    "name",
    ["1e-4", "1", "no", "null", "", " a\n b", "é: #", "0x1f", "1e5e", "2020-01-01", "~", "a'b"],
)
def test_text_that_looks_like_something_else_survives_the_round_trip(name, tmp_path):
    c = Outer(
        Inner(1e-300),
        3,
        True,
        None,
        (),
        {"k": [name, {"deep": 1e-7}]},
        name,
        (float("inf"), name),
        Inner(),
    )
    (tmp_path / "c.yaml").write_text(to_yaml(c), encoding="utf-8")
    assert load_config(Outer, tmp_path / "c.yaml") == c == load_config(Outer, to_dict(c))


def test_the_source_is_not_changed():
    source = {"inner": {"rate": 0.5}, "extra": {"a": [1]}}
    c = load_config(Outer, source, ["inner.rate=0.25", "extra.b=2"])
    c.extra["a"].append(2)
    assert source == {"inner": {"rate": 0.5}, "extra": {"a": [1]}} and c.extra == {
        "a": [1, 2],
        "b": 2,
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.rate=true", "inner.rate: expected float, got True"),
        ("inner.rate=.nan", "inner.rate: expected float, got nan"),
        ("count=1e3", "count: expected int, got 1000.0 .*write 1000"),
        ("name=5", "name: expected str, got 5"),
        ("limit=x", "limit: expected int or None, got 'x'"),
        ("inner.kind=aa", r"inner.kind: expected one of a, b.*nearest: a"),
        ("pair=[1]", "pair: expected tuple.*float, str"),
        ("sizes=3", "sizes: expected tuple"),
        ("extra=3", "extra: expected keys"),
        ("extra={1: 2}", "extra, key: expected str, got 1"),
        ("second.rat=1", "unknown key second.rat .nearest: second.rate"),
        ("=3", "expected key=value"),
        ("inner..rate=3", "expected key=value"),
        ("count={a: 1, a: 2}", "'a' comes twice"),
        ('{"x": "a\\nb"}=1', "unknown key"),
        ("name=" + "[" * 30 + "]" * 30, "name: expected str"),
    ],
)
def test_more_wrong_settings_are_refused_in_one_line(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(Outer, {}, [override])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_path_is_named_where_a_nested_check_fails():
    @dataclass(frozen=True)
    class Positive:
        x: float

        def __post_init__(self):
            if self.x <= 0:
                raise ValueError("x must be positive")

    Whole = dataclass(frozen=True)(type("Whole", (), {"__annotations__": {"part": Positive}}))
    with pytest.raises(ConfigError, match=r"^part: x must be positive$"):
        load_config(Whole, {"part": {"x": -1}})
    with pytest.raises(ConfigError, match=r"^part\.x: expected a value \(float\), got none"):
        load_config(Whole, {"part": {}})


def test_bases_apply_in_order_and_are_seen_from_their_own_folder(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("count: 1\nlimit: 1\ninner: {rate: 1.0, kind: b}\n")
    (tmp_path / "sub/b.yaml").write_text("base: ../a.yaml\ncount: 2\ninner: {rate: 2.0}\n")
    (tmp_path / "c.yaml").write_text("base: sub/b.yaml\nname: c\n")
    monkeypatch.chdir("/")
    assert load_config(Outer, tmp_path / "c.yaml") == Outer(Inner(2.0, "b"), 2, limit=1, name="c")
    (tmp_path / "d.yaml").write_text("base: dreamer_v3/pendulum\nseed: 5\n")
    c = load_config(RunSettings, tmp_path / "d.yaml")
    assert c.seed == 5 and c.env == load_config(RunSettings, "dreamer_v3/pendulum").env
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(Outer, tmp_path / "empty.yaml") == Outer()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "c.yaml, line"),
        ("count: 1\nname: x\ncount: 2\n", "line 3: .*'count' comes twice"),
        ("base: [x]\n", "no config"),
        ("base: c.yaml\n", "is a circle"),
        ("\tcount: 1\n", "c.yaml, line 1"),
        ("!!python/object:os.system {}\n", "expected YAML"),
    ],
)
def test_files_that_cannot_be_read_are_named_in_one_line(text, message, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(Outer, tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_a_key_may_be_overridden_beside_a_merged_one():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, x: 2}\n", "text")["b"] == {"x": 2}


def test_another_kind_of_agent_begins_with_its_own_defaults():
    changes = ["agent.lr=0.01", "agent.kind=tdmpc"]
    found = load_config(RunSettings, "dreamer_v3/pendulum", changes)
    assert found.agent == TDMPCConfig(lr=0.01) and found.env.id == "Pendulum-v1"
    same = load_config(RunSettings, "dreamer_v3/pendulum", ["agent.kind=dreamer_v3"])
    assert same == load_config(RunSettings, "dreamer_v3/pendulum")


def test_a_subclass_of_an_agent_keeps_what_the_config_says_of_it(tmp_path, monkeypatch):
    (tmp_path / "kept_settings.py").write_text(
        "from dataclasses import dataclass\n"
        "from agents.dreamer import DreamerV3, DreamerV3Config\n"
        "class Same(DreamerV3): pass\n"
        "@dataclass(frozen=True)\n"
        "class MoreConfig(DreamerV3Config):\n"
        "    more: int = 3\n"
        "class More(DreamerV3):\n"
        "    Config = MoreConfig\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = to_dict(load_config(RunSettings, "dreamer_v3/fast").agent)
    for kind, more in (("Same", {}), ("More", {"more": 3})):
        changes = [f"agent.kind=kept_settings:{kind}"]
        found = to_dict(load_config(RunSettings, "dreamer_v3/fast", changes).agent)
        assert found == plain | more | {"kind": f"kept_settings:{kind}"}
