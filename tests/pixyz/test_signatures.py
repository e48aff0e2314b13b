"""Public names and signatures of pixyz 0.3.3 are ours: same paths, same positional arguments, same
defaults.

``signatures_033.json`` is read off 0.3.3 itself (``benchmarks/signatures_033.py``).  A difference
that is not in ``DIFFERENCES`` fails, and so does a listed one that is gone; docs/differences.md
tells them at length.
"""

import functools
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

RECORD = json.loads(Path(__file__).with_name("signatures_033.json").read_text(encoding="utf-8"))
KNOWN = {
    f"{module}.{name}": value
    for module, names in RECORD.items()
    for name, value in names.items()
    if value != ""
}

GRAPH = (
    "a graph is a picture of the factors; distributions sample, rename and multiply, "
    "options are arguments"
)
KEYWORD = "these arguments come behind those of every distribution's method: give them by keyword"
HELPER = "a helper of the implementation"
DIFFERENCES: dict[str, str] = {
    **{
        f"pixyz.distributions.distributions.DistGraph.{m}": GRAPH
        for m in (
            "__init__",
            "appended",
            "factors",
            "forward",
            "get_entropy",
            "get_log_prob",
            "get_params",
            "has_reparam",
            "marginalized",
            "prob_factorized_text",
            "prob_text",
            "sample",
            "sample_mean",
            "sample_variance",
            "united",
            "var_replaced",
        )
    },
    **{
        f"pixyz.distributions.distributions.Factor.{m}": "a factor is the distribution itself"
        for m in (
            "__init__",
            "copy",
            "get_log_prob",
            "rename_var",
            "sample",
        )
    },
    "pixyz.distributions.distributions.Distribution.__init__": "no atomic: a class says "
    "itself whether it has factors",
    "pixyz.distributions.mixture_distributions.MixtureModel.sample": KEYWORD,
    "pixyz.distributions.mixture_distributions.MixtureModel.get_log_prob": KEYWORD,
    "pixyz.distributions.flow_distribution.TransformedDistribution.sample": KEYWORD,
    "pixyz.distributions.flow_distribution.TransformedDistribution.get_log_prob": KEYWORD,
    "pixyz.distributions.flow_distribution.InverseTransformedDistribution.sample": KEYWORD,
    "pixyz.distributions.special_distributions.Deterministic.sample": KEYWORD,
    "pixyz.distributions.special_distributions.EmpiricalDistribution.sample": KEYWORD,
    "pixyz.distributions.custom_distributions.CustomProb.sample": KEYWORD,
    "pixyz.distributions.exponential_distributions.RelaxedBernoulli.set_dist": "the relaxed "
    "distribution, "
    "always",
    "pixyz.distributions.exponential_distributions.RelaxedCategorical.set_dist": "the relaxed "
    "distribution, "
    "always",
    **{
        f"pixyz.distributions.moe.MixtureOfNormal.{m}": "a mixture is no family of one torch class"
        for m in (
            "dist",
            "distribution_torch_class",
            "get_sample",
            "params_keys",
            "set_dist",
        )
    },
    "pixyz.distributions.exponential_distributions.BernoulliTorchOld": HELPER,
    "pixyz.distributions.exponential_distributions.CategoricalTorchOld": HELPER,
    "pixyz.flows.normalizing_flows.PlanarFlow.deriv_tanh": HELPER,
    "pixyz.flows.operations.Preprocess.logit": HELPER,
    "pixyz.losses.iteration.IterativeLoss.slice_step_fn": HELPER,
    "pixyz.losses.losses.Loss.expectation": "one sample is (1,) everywhere, () in 0.3.3; "
    "both are taken",
    "pixyz.losses.losses.REINFORCE": "reparam is False: "
    "the score and pathwise gradients together are wrong",
}


def members(record: dict[str, Any]) -> dict[str, Any]:
    """What an old class answers, with what it inherits."""
    found: dict[str, Any] = {}
    for base in reversed(record["bases"]):
        found.update(KNOWN.get(base, {"members": {}})["members"])
    return {**found, **record["members"]}


@functools.cache
def owners(path: str) -> frozenset[str]:
    """The members whose difference is listed for a base class: an heir is not listed again."""
    return frozenset(
        name
        for base in KNOWN[path]["bases"]
        for name in members(KNOWN[base])
        if f"{base}.{name}" in DIFFERENCES
    )


def normal(default: str) -> str:
    """A default without its harmless spelling: an empty list, dict or None; a list or tuple; a
    number or a tensor.
    """
    alike = {
        "torch.Size([])": "()",
        "[]": "()",
        "{}": "None",
        "['x']": "('x',)",
        "torch.Size([1])": "(1,)",
        "tensor(0.1000)": "0.1",
        "False": "None",
        "PairwiseDistance()": "None",
    }
    return alike.get(default, default)


def compare(old: list[str], function: Any, bound: bool) -> str:
    """What differs for a caller of 0.3.3; nothing if every old call means the same."""
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    places = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    plain = [text.partition("=") for text in old if not text.startswith("*")]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        plain = []
    names, given = (
        [n for n in ns if n not in RENAMED]
        for ns in ([p.name for p in places], [name for name, _, _ in plain])
    )
    if names[: len(given)] != given:
        return f"{given} -> {names}"
    for (name, _, default), place in zip(plain, places):
        if default and place.default is place.empty:
            return f"{name} has no default"
        if default and normal(default) != normal(repr(place.default)):
            return f"{name}={default} -> {place.default!r}"
    if len(places) > len(plain) and places[len(plain)].default is inspect.Parameter.empty and plain:
        return f"{places[len(plain)].name} is required"
    return ""


RENAMED = {
    "x_dict",
    "values",
    "params_dict",
    "train_x_dict",
    "test_x_dict",
    "x",
    "z",
    "args",
    "params",
}
"""The first argument of many methods, always given by position."""


@pytest.mark.parametrize("module", RECORD)
def test_names_are_there_and_the_same_everywhere(module: str) -> None:
    ours = importlib.import_module(module)
    for name, old in RECORD[module].items():
        if f"{module}.{name}" in DIFFERENCES and not hasattr(ours, name):
            continue
        value = getattr(ours, name)
        assert callable(value), name
        package = (
            importlib.import_module(module.rpartition(".")[0]) if module.count(".") == 2 else ours
        )
        if old != "" and name in getattr(package, "__all__", ()):
            assert value is getattr(package, name)


@pytest.mark.parametrize("path", [p for p, v in KNOWN.items() if isinstance(v, dict)])
def test_methods_take_what_they_took(path: str) -> None:
    module, _, name = path.rpartition(".")
    if path in DIFFERENCES:
        assert not hasattr(importlib.import_module(module), name), (
            f"{path} is there: remove it from the table"
        )
        return
    cls = getattr(importlib.import_module(module), name)
    annotated = {n for base in cls.__mro__ for n in getattr(base, "__annotations__", ())}
    for member, old in members(KNOWN[path]).items():
        value = inspect.getattr_static(cls, member, None)
        if value is None:
            message = "" if member in annotated else "missing"
        elif (
            old == "property" or member == "forward"
        ):  # a subclass of the user's defines forward, ours need none
            message = ""
        else:
            message = compare(
                old, getattr(cls, member), not isinstance(value, (staticmethod, classmethod))
            )
        listed = f"{path}.{member}" in DIFFERENCES or (member in owners(path) and bool(message))
        assert bool(message) == listed, (
            f"{path}.{member}: {message or 'no difference any more: remove it from the table'}"
        )


@pytest.mark.parametrize("path", [p for p, v in KNOWN.items() if isinstance(v, list)])
def test_functions_take_what_they_took(path: str) -> None:
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    message = compare(KNOWN[path], function, inspect.isclass(function) and False)
    assert bool(message) == (path in DIFFERENCES), f"{path}: {message}"


def test_every_listed_difference_is_of_a_name_that_was_there() -> None:
    for path in DIFFERENCES:
        owner, _, member = path.rpartition(".")
        assert path in KNOWN or member in members(KNOWN[owner]), path
