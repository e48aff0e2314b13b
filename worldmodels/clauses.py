"""The clauses of the contract of models of series, one function each;
:func:`worldmodels.check_model` runs them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pixyz.distributions import Deterministic
from pixyz.types import PixyzError
from worldmodels.checked import Checked, ModelError, at, face
from worldmodels.doors import FIRST
from worldmodels.types import LatentDynamics, Smoother

HORIZON = 4


def _face_law(c: Checked) -> None:
    """its face: the protocols that it says it has."""
    m = c.model
    for protocol, wanted in ((Smoother, m.smooths), (LatentDynamics, m.acts)):
        if wanted and not isinstance(m, protocol):
            lacking = [n for n in face(protocol) if not hasattr(m, n)]
            raise ModelError(
                f"its face: {c.name} says it is a {protocol.__name__} and lacks {lacking}; "
                f"define them, or "
                "say it is not"
            )
    if m.acts and "action" not in c.batch:
        raise ModelError(
            f"its face: {c.name} acts, so that batches hold 'action'; got {sorted(c.batch)}"
        )


def _shape_law(c: Checked) -> None:
    """shapes: of states, observations and expressions, with type and device."""
    m, lead = c.model, (c.steps, c.rows)
    action = c.batch["action"] if m.acts else None
    first = m.initial(c.rows)
    states = m.filter(c.batch)
    if set(states) != set(first):
        raise ModelError(
            f"shapes: a state of {c.name} begins as {sorted(first)} and is "
            f"filtered as {sorted(states)}; "
            "name the same"
        )
    found = {
        "initial": (first, (c.rows,)),
        "filter": (states, lead),
        "sample": (m.sample(first, c.steps, action), lead),
    }
    if getattr(m, "decodes", True):
        found["reconstruct"] = (m.reconstruct(c.batch), lead)
    for method, (values, wanted) in found.items():
        for k, v in values.items():
            if tuple(v.shape[: len(wanted)]) != wanted:
                raise ModelError(
                    f"shapes: {method}() of {c.name} was expected to give "
                    f"{k!r} as {[*wanted, '...']}, "
                    f"got {list(v.shape)}; series are time-major"
                )
            if v.dtype != c.like.dtype or v.device != c.like.device:
                raise ModelError(
                    f"shapes: {method}() of {c.name} was expected to "
                    f"give {k!r} as {c.like.dtype} on "
                    f"{c.like.device}, got "
                    f"{v.dtype} on {v.device}; make tensors like the weights (new_zeros, "
                    f"zeros_like)"
                )
    for k in m.keys if getattr(m, "decodes", True) else ():
        if (
            found["reconstruct"][0][k].shape != c.batch[k].shape
            or found["sample"][0][k].shape[2:] != c.batch[k].shape[2:]
        ):
            raise ModelError(
                f"shapes: {c.name} draws {k!r} in another shape than {list(c.batch[k].shape)}, "
                f"the observation's"
            )
    for name, wanted in (("objective", ()), ("bound", (c.rows,)), ("log_weight", (c.rows,))):
        value = getattr(m, name).eval(c.batch)
        if tuple(value.shape) != wanted:
            raise ModelError(
                f"shapes: {name} of {c.name} was expected to be {list(wanted)}, "
                f"got {list(value.shape)}; see "
                "its reduction"
            )


def _learning_law(c: Checked) -> None:
    """learning: the loss is finite, every weight gets a gradient."""
    m = c.model
    named = {k: p for k, p in m.named_parameters() if p.requires_grad}
    value, bound = m.objective.eval(c.batch), m.bound.eval(c.batch)
    if not torch.isfinite(value) or not torch.isfinite(bound).all():
        raise ModelError(
            f"learning: the objective of {c.name} was expected to be finite, got {value.item()}, "
            f"bound "
            f"{bound.tolist()}"
        )
    reached: set[str] = set()
    for loss in (value, bound.sum()):
        grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for k, g in zip(named, grads, strict=True):
            if g is not None:
                reached.add(k)
                if not torch.isfinite(g).all():
                    raise ModelError(
                        f"learning: the gradient of {k!r} of {c.name} is not finite, on finite data"
                    )
    if lost := [k for k in named if k not in reached]:
        raise ModelError(
            f"learning: no gradient reaches {lost} of {c.name}; use these weights, "
            f"or requires_grad_(False)"
        )


def _seed_law(c: Checked) -> None:
    """one seed: one result, of a copy too."""
    value, again = c.seeded(c.model.objective, c.batch), c.seeded(c.model.objective, c.batch)
    if not torch.equal(value, again):
        raise ModelError(
            f"one seed: the objective of {c.name} is {value.item()}, then {again.item()}; "
            f"it keeps state, or "
            "draws elsewhere"
        )
    twin = copy.deepcopy(c.model)
    if not torch.equal(c.seeded(twin.objective, c.batch), value):
        raise ModelError(
            f"one seed: a copy of {c.name} has another result; "
            f"what decides it lies outside of the model"
        )
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(0.5)
    if not torch.equal(c.seeded(c.model.objective, c.batch), value) or torch.equal(
        c.seeded(twin.objective, c.batch), value
    ):
        raise ModelError(
            f"one seed: the objective of a copy of {c.name} reads the weights of the first; "
            f"hold them as submodules"
        )


def _saved_law(c: Checked) -> None:
    """saved: a state dict holds every weight once and restores the result."""
    m = c.model
    seen: dict[int, str] = {}
    for k, p in m.named_parameters(remove_duplicate=False):
        if id(p) in seen:
            raise ModelError(
                f"saved: {c.name} holds one weight twice, as {seen[id(p)]!r} and {k!r}; "
                f"register it once"
            )
        seen[id(p)] = k
    if loose := [k for k, p in m.objective.named_parameters() if id(p) not in seen]:
        raise ModelError(
            f"saved: the objective of {c.name} has weights that the model does not hold, {loose}: "
            f"keep their "
            "networks as "
            "attributes or in an nn.ModuleList"
        )
    twin = copy.deepcopy(m)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(0.5)
    twin.load_state_dict(m.state_dict())
    if not torch.equal(c.seeded(twin.objective, c.batch), c.seeded(m.objective, c.batch)):
        raise ModelError(
            f"saved: loading the state dict of {c.name} does not restore its objective; "
            f"register all that it reads"
        )


def _chopped_law(c: Checked) -> None:
    """chopped: filtering in two parts is filtering the whole."""
    cut, m = c.steps // 2, c.model
    whole, head = m.filter(c.batch, mean=True), m.filter(c.part(0, cut), mean=True)
    rest = c.part(cut, c.steps)
    if m.acts:
        rest["action_prev"] = c.batch["action"][cut - 1]
    tail = m.filter(rest, at(head, -1), mean=True)
    joined = {k: torch.cat([head[k], tail[k]]) for k in head}
    c.same("chopped", joined, whole, "all that a step reads of the past belongs to the state")


def _step_law(c: Checked) -> None:
    """step by step: observing frame by frame is filtering."""
    m = c.model
    whole, state = m.filter(c.batch, mean=True), m.initial(c.rows)
    for t in range(c.steps):
        step = {k: v[t] for k, v in c.batch.items() if k not in ("action", "action_prev")}
        if m.acts:
            before = torch.zeros_like(c.batch["action"][0])
            step["action_prev"] = (
                c.batch["action"][t - 1] if t else c.batch.get("action_prev", before)
            )
        state = m.observe(state, step, mean=True)
        c.same(
            "step by step",
            state,
            at(whole, t),
            f"at frame {t}; observe() is one frame of filter()",
        )


def _masked_law(c: Checked) -> None:
    """masked: frames that are masked change nothing."""
    m, found = c.model, []
    clean = {**c.batch, "mask": c.mask}
    dirty = {k: v.clone() for k, v in clean.items()}
    for k, v in dirty.items():
        if k not in ("mask", "action_prev", *getattr(m, "flags", ())):
            v[c.mask == 0] = float("nan") if v.is_floating_point() else 1
    weights = [p for p in m.parameters() if p.requires_grad]
    for batch in (clean, dirty):
        value = c.seeded(m.objective, batch)
        grads = torch.autograd.grad(value, weights, allow_unused=True)
        states = m.filter(batch, mean=True)
        named = {f"gradient {i}": g for i, g in enumerate(grads) if g is not None}
        found.append({"objective": value, "bound": c.seeded(m.bound, batch), **named, **states})
    c.same(
        "masked",
        found[1],
        found[0],
        "a masked frame held NaN: read frames through the mask, before the networks",
    )


def _ragged_law(c: Checked) -> None:
    """ragged: a ragged batch is its sequences one by one."""
    m = c.model
    batch = {**c.batch, "mask": c.mask}
    nats, states = m.bound.eval(batch, sample_mean=True), m.filter(batch, mean=True)
    for i, length in enumerate(c.lengths):
        one = {k: v[:length, i : i + 1] for k, v in c.batch.items() if k != "action_prev"}
        alone = {"bound": m.bound.eval(one, sample_mean=True), **at(m.filter(one, mean=True), -1)}
        here = {"bound": nats[i : i + 1], **{k: v[-1, i : i + 1] for k, v in states.items()}}
        c.same(
            "ragged",
            here,
            alone,
            f"sequence {i} of {length} frames; what is masked adds nothing, "
            f"and states are held there",
        )


def _reset_law(c: Checked) -> None:
    """resets: a frame that begins an episode sees nothing before it, or the batch is refused."""
    m, cut = c.model, c.steps // 2
    name = getattr(m, "recurrence", {}).get("reset_var") or FIRST
    flag = torch.zeros(c.steps, c.rows, dtype=torch.bool, device=c.like.device)
    flag[0], flag[cut] = True, True
    whole = {**c.batch, name: flag}
    head, tail = {**c.part(0, cut), name: flag[:cut]}, {**c.part(cut, c.steps), name: flag[cut:]}
    asks = {"filter()": m.filter, "objective": m.objective.eval, "bound": m.bound.eval}
    refused = {k: _refused(ask, whole) for k, ask in asks.items()}
    if any(refused.values()) and not all(refused.values()):
        taken = [k for k, no in refused.items() if not no]
        raise ModelError(
            f"resets: {c.name} was expected to refuse a batch where {name!r} is set at frame {cut} "
            f"everywhere, or nowhere; {taken} took it"
        )
    if not any(refused.values()):
        advice = f"{name!r} was set; give every carried variable an init, or refuse the batch"
        states, alone = m.filter(whole, mean=True), m.filter(tail, mean=True)
        c.same("resets", {k: v[cut:] for k, v in states.items()}, alone, advice)
        nats = [m.bound.eval(part, sample_mean=True) for part in (whole, head, tail)]
        c.same("resets", {"bound": nats[0]}, {"bound": nats[1] + nats[2]}, advice)
    step = {k: v[0] for k, v in tail.items() if k != "action"}
    if m.acts:
        step["action_prev"] = c.batch["action"][cut - 1]
    before = at(m.filter(c.batch, mean=True), cut - 1)
    c.same(
        "resets",
        m.observe(before, step, mean=True),
        m.observe(m.initial(c.rows), step, mean=True),
        f"{name!r} was set; observe() begins at initial() there",
    )


def _refused(ask: Callable[..., Any], batch: Mapping[str, Tensor]) -> bool:
    """Whether a batch raises an error, or gives NaN on a device that is not waited for."""
    try:
        found = ask(dict(batch))
    except PixyzError:
        return True
    values = found.values() if isinstance(found, Mapping) else [found]
    return not all(bool(torch.isfinite(v).all()) for v in values)


def _prediction_law(c: Checked) -> None:
    """prediction: a sampled path is a loop of predict."""
    m = c.model
    state = at(m.filter(c.batch, mean=True), -1)
    action = c.batch["action"] if m.acts else None
    path = m.sample(state, c.steps, action, mean=True)
    for t in range(c.steps):
        state = m.predict(state, None if action is None else {"action_prev": action[t]}, mean=True)
        here = {k: v for k, v in state.items() if k in path}
        c.same(
            "prediction",
            {k: path[k][t] for k in here},
            here,
            f"at step {t}; predict() is one step of sample()",
        )


class _Policy(Deterministic):
    """Actions from what heads read."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__("action", list(model.state_names), name="a", features_shape=[size])
        self.size, self.read = size, model.features

    def forward(self, **state: Tensor) -> dict[str, Tensor]:
        features = self.read(state)
        return {
            "action": torch.tanh(
                features.mean(-1, keepdim=True)
                * torch.ones_like(features[..., :1]).expand(-1, self.size)
            )
        }


def _imagination_law(c: Checked) -> None:
    """imagination: an imagined path is a loop of predict."""
    m = c.model
    if not m.acts:
        return
    start = {k: v.detach() for k, v in at(m.filter(c.batch, mean=True), -1).items()}
    policy = _Policy(m, c.batch["action"].shape[-1])
    for kind in (policy, lambda state: policy.forward(**state)["action"]):
        torch.manual_seed(2)
        path, state = m.imagine(start, kind, HORIZON), start
        if kind is not policy:
            torch.manual_seed(2)
        for t in range(HORIZON):
            action = policy.forward(**state)["action"]
            taken = {"action": path["action"][t]}
            c.same(
                "imagination",
                taken,
                {"action": action},
                "actions are the policy's in the state before",
            )
            after = at({k: v for k, v in path.items() if k != "action"}, t)
            if kind is not policy:
                state = m.predict(state, {"action_prev": action})
                c.same(
                    "imagination", after, state, "imagine() is a loop of predict(), draw for draw"
                )
            state = after
        if m.features(path).shape[:2] != (HORIZON, c.rows):
            raise ModelError(
                f"imagination: "
                f"features() of {c.name} was expected as {[HORIZON, c.rows, '...']} of a path"
            )


LAWS: tuple[Callable[[Checked], None], ...] = (
    _face_law,
    _shape_law,
    _learning_law,
    _seed_law,
    _saved_law,
    _chopped_law,
    _step_law,
    _masked_law,
    _ragged_law,
    _reset_law,
    _prediction_law,
    _imagination_law,
)
