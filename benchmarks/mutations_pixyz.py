"""Small faults in ``pixyz``, for ``mutations.py``: those of a reading by hand, and others of their
kinds.
"""

from __future__ import annotations

from mutations import Fault

BUILDER = "pixyz/plan/write/builder.py"
RULES = "pixyz/plan/graph/rules.py"
REDUCTIONS = "pixyz/expression/reductions.py"
DIVERGENCES = "pixyz/distributions/kullback_leibler.py"
ONE_HOT = "pixyz/distributions/families/one_hot.py"


def seen_by(*names: str) -> tuple[str, ...]:
    """Files of tests in ``tests/pixyz``."""
    return tuple(f"tests/pixyz/test_{name}.py" for name in names)


FAULTS = [
    Fault(
        "P1",
        "a time loop that runs backward is shifted forward",
        "pixyz/plan/passes/shifts.py",
        old="shift_back if block.loop.reverse else shift_in",
        new="shift_in",
        tests=seen_by("series", "random_steps"),
    ),
    Fault(
        "P2",
        "what is drawn is drawn once where two terms have one formula",
        BUILDER,
        old="return self._write(kinds.Noise, tuple(refs), [self._in_bodies(out)], label, fn=fn)",
        new="""return self._shared(
            ("noise", fn, tuple(refs)),
            lambda: self._write(kinds.Noise, refs, [self._in_bodies(out)], label, fn=fn),
        )""",
        tests=seen_by("expectations", "own_draw"),
    ),
    Fault(
        "P3",
        "a mean over valid frames divides by all frames",
        RULES,
        old="return total.sum() / valid.sum().clamp(min=1)",
        new="return total.sum() / valid.numel()",
        tests=seen_by("masked_frames", "series"),
    ),
    Fault(
        "P4",
        "noise of constant parameters within a loop is one draw for all steps",
        BUILDER,
        old="tuple(refs), [self._in_bodies(out)]",
        new="tuple(refs), [out]",
        tests=seen_by("series"),
    ),
    Fault(
        "P5",
        "check() compares values and no gradients",
        "pixyz/plan/run/compare.py",
        old="if g is not None\n        }\n        found.append(shown)",
        new="if False\n        }\n        found.append(shown)",
        tests=seen_by("lowering", "structure"),
    ),
    Fault(
        "P6",
        "plans that were dropped stay in the quick table",
        "pixyz/plan/run/call.py",
        old="            self.quick.pop(oldest[0], None)\n",
        new="",
        tests=seen_by("lifetime"),
    ),
    Fault(
        "P7",
        "a stopped gradient passes",
        RULES,
        old="return x.detach()",
        new="return x",
        tests=seen_by("golden", "random_objectives"),
    ),
    Fault(
        "P8",
        "a masked frame takes the new value",
        RULES,
        old="return torch.where(lift(mask, new), new, old)",
        new="return torch.where(lift(mask, new), new, new)",
        tests=seen_by("series", "series_laws", "masked_frames"),
    ),
    Fault(
        "P9",
        "slabs keep all activations",
        "pixyz/plan/run/slabs.py",
        old="if torch.is_grad_enabled():",
        new="if False:",
        tests=seen_by("slabs"),
    ),
    Fault(
        "P11",
        "a condition whose batch looks like features is taken for one with leading dimensions",
        "pixyz/plan/run/leads.py",
        old="feature_or_row = len(shape) > e + 1 or shape[0] not in (1, batch)",
        new="feature_or_row = True",
        tests=seen_by("leading_dims"),
    ),
    Fault(
        "P12",
        "a two-hot number goes to the upper bin",
        "pixyz/distributions/families/two_hot.py",
        old="return torch.lerp(low, high, w)",
        new="return torch.lerp(high, low, w)",
        tests=seen_by("two_hot"),
    ),
    Fault(
        "P13",
        "no gradient through a grouped one-hot draw",
        ONE_HOT,
        old="made: Tensor = StraightThrough.apply(sample, probs)",
        new="made: Tensor = sample + (probs - probs)",
        tests=seen_by("family_details", "families"),
    ),
    Fault(
        "P14",
        "the uniform share is not normalised",
        ONE_HOT,
        old="uniform, dtype = share / probs.shape[-1], probs.dtype",
        new="uniform, dtype = share, probs.dtype",
        tests=seen_by("families", "family_details", "kl_families"),
    ),
    Fault(
        "P15",
        "a product of signs keeps one",
        "pixyz/plan/passes/fold.py",
        old="self._point(Constant(-value), (), at)",
        new="self._point(Constant(value), (), at)",
        tests=seen_by("loss_arithmetic", "lowering", "lowering_laws"),
    ),
    Fault(
        "P16",
        "the numbers of a generator that was given are drawn once more",
        "pixyz/plan/random.py",
        old="        generator.set_state(own.get_state())\n",
        new="",
        tests=seen_by("generator"),
    ),
    Fault(
        "P17",
        "a lag without a start reads one step too far",
        RULES,
        old="return (torch.cat([lift(start.to(x.dtype), x[0]).expand_as(x[0]).unsqueeze(0), "
        "x[:-1]]),)",
        new="return (torch.cat([lift(start.to(x.dtype), x[0]).expand_as(x[0]).unsqueeze(0), "
        "x[1:]]),)",
        tests=seen_by("series", "random_steps"),
    ),
    Fault(
        "P18",
        "a flow's inverse has the determinant of its forward",
        "pixyz/flows/coupling.py",
        old="torch.exp(-log_s), -log_s.flatten(1).sum(1)",
        new="torch.exp(-log_s), log_s.flatten(1).sum(1)",
        tests=seen_by("flows"),
    ),
    Fault(
        "P19",
        "what a reset begins with is added to",
        RULES,
        old="return torch.where(_over(first, value), init, value)",
        new="return torch.where(_over(first, value), value, init)",
        tests=seen_by("series", "random_steps"),
    ),
    Fault(
        "P20",
        "a trial on one row counts",
        "pixyz/plan/run/facts.py",
        old="if rows > 1:",
        new="if rows > 0:",
        tests=seen_by("trials"),
    ),
    Fault(
        "P21",
        "noise of a loop that is whole is drawn in the order in which it was written",
        "pixyz/plan/graph/order.py",
        old="_split_order(graph) if any(b.entire for b in blocks) else {}",
        new="{}",
        tests=seen_by("passes"),
    ),
    Fault(
        "P22",
        "a formula that other steps read is only summed",
        "pixyz/plan/passes/totals.py",
        old="or not graph.users[slot] <= means:",
        new="or not graph.users[slot] & means:",
        tests=seen_by("lowering", "passes"),
    ),
    Fault(
        "L1",
        "the KL of normals is that of the swapped ones",
        DIVERGENCES,
        old=(
            "ratio, gap = p_scale / q_scale, (p_loc - q_loc) / q_scale\n"
            "    # x * x: square() costs five small operations\n"
            "    return 0.5 * (ratio * ratio + gap * gap - 1.0) - ratio.log()"
        ),
        new=(
            "ratio, gap = q_scale / p_scale, (p_loc - q_loc) / p_scale\n"
            "    return 0.5 * (ratio * ratio + gap * gap - 1.0) - ratio.log()"
        ),
        tests=seen_by("kl", "kl_families"),
    ),
    Fault(
        "L2",
        "the KL to a standard normal has half of the location",
        DIVERGENCES,
        old="p_scale * p_scale + p_loc * p_loc - 1.0",
        new="p_scale * p_scale + 0.5 * p_loc * p_loc - 1.0",
        tests=seen_by("kl"),
    ),
    Fault(
        "L3",
        "a sum over valid frames counts all of them",
        RULES,
        old="x = torch.where(lift(mask, x), x, 0.0)",
        new="x = torch.where(lift(mask, x), x, x)",
        tests=seen_by("masked_frames", "series"),
    ),
    Fault(
        "L4",
        "a sum under an expectation of K draws is K times too large",
        REDUCTIONS,
        old="inner.keep = scope.keep | set(particles)",
        new="inner.keep = scope.keep",
        tests=seen_by("expectations"),
    ),
    Fault(
        "L5",
        "the entropy of a normal without its half",
        "pixyz/distributions/families/normal.py",
        old="            0.5\n            + LOG_SQRT_2PI\n",
        new="            LOG_SQRT_2PI\n",
        tests=seen_by("families", "losses", "family_details"),
    ),
    Fault(
        "L6",
        "the sampled KL is that of the swapped ones",
        DIVERGENCES,
        old="operator.sub, log_p, log_q, label",
        new="operator.sub, log_q, log_p, label",
        tests=seen_by("kl", "losses"),
    ),
    Fault(
        "L7",
        "a quotient is one of the swapped terms",
        "pixyz/expression/operators.py",
        old="formula = staticmethod(operator.truediv)",
        new="formula = staticmethod(lambda a, b: b / a)",
        tests=seen_by("loss_arithmetic", "losses"),
    ),
    Fault(
        "L8",
        "the KL of choices is weighed by q",
        DIVERGENCES,
        old="return (p_probs * (p_log_probs - q_log_probs)).sum(-1)",
        new="return (q_log_probs.exp() * (p_log_probs - q_log_probs)).sum(-1)",
        tests=seen_by("kl_families", "kl"),
    ),
    Fault(
        "L9",
        "draws of an expectation let no gradient through",
        REDUCTIONS,
        old="Draw(self.reparam, particles)",
        new="Draw(False, particles)",
        tests=seen_by("expectations", "losses", "golden"),
    ),
]
