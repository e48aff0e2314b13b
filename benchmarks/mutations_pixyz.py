"""Small faults in ``pixyz``, for ``mutations.py``: those of a reading by hand, and others of their kinds."""

from __future__ import annotations

from mutations import Fault

BUILDER, RULES, FISSION = "pixyz/plan/builder.py", "pixyz/plan/rules.py", "pixyz/plan/fission.py"
LOSS, DIVERGENCES = "pixyz/expression/loss.py", "pixyz/losses/divergences.py"
FAMILIES, ONE_HOT = "pixyz/distributions/families.py", "pixyz/distributions/one_hot.py"
ALL = ("tests/pixyz",)


def of(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/pixyz/test_{name}.py" for name in names)


FAULTS = [
    Fault("P1", "a time loop that runs backward is shifted forward", FISSION,
          "rules.shift_back if loop.reverse else rules.shift_in", "rules.shift_in", of("series", "random_steps")),
    Fault("P2", "what is drawn is drawn once where two terms have one formula", BUILDER,
          'step = self._step("noise", fn, tuple(refs), label=label)',
          'step = self._shared("noise", fn, tuple(refs), label, None, None)', of("own_draw", "lowering", "random_objectives")),
    Fault("P3", "a mean over valid frames divides by all frames", RULES,
          "return total.sum() / valid.sum().clamp(min=1)", "return total.sum() / valid.numel()", of("masked_frames", "series")),
    Fault("P4", "noise of constant parameters within a loop is one draw for all steps", BUILDER,
          "set(particles))\n        self._in_bodies(step)", "set(particles))", ALL),
    Fault("P5", "check() compares values and no gradients", "pixyz/plan/compare.py",
          "        shown |= {f\"the gradient of {n}\": g for (n, _), g in zip(named, grads, strict=False) if g is not None}\n", "", ALL),
    Fault("P6", "plans that were dropped stay in the quick table", "pixyz/plan/cache.py",
          "                kept.quick.pop(oldest[0], None)\n", "", ALL),
    Fault("P7", "a stopped gradient passes", RULES, "return x.detach()", "return x", of("lowering", "losses", "random_objectives")),
    Fault("P8", "a masked frame takes the new value", RULES,
          "return torch.where(lift(mask, new), new, old)", "return torch.where(lift(mask, new), new, new)", of("masked_frames")),
    Fault("P9", "slabs keep all activations", "pixyz/plan/slabs.py", "if torch.is_grad_enabled():", "if False:", ALL),
    Fault("P11", "a condition whose batch looks like features is taken for one with leading dimensions", "pixyz/plan/leads.py",
          "feature_or_row = len(shape) > e + 1 or shape[0] not in (1, batch)", "feature_or_row = True", ALL),
    Fault("P12", "a two-hot number goes to the upper bin", ONE_HOT,
          "return torch.lerp(low, high, weight)", "return torch.lerp(high, low, weight)", of("two_hot")),
    Fault("P13", "no gradient through a grouped one-hot draw", ONE_HOT,
          "sample = sample + (probs - probs.detach())", "sample = sample + (probs - probs)", of("families", "family_details", "own_draw")),
    Fault("P14", "the uniform share is not normalised", ONE_HOT,
          "probs * (1.0 - self.unimix) + self.unimix / self.classes", "probs * (1.0 - self.unimix) + self.unimix",
          of("families", "family_details", "kl_families")),
    Fault("P15", "a product of signs keeps one", BUILDER,
          "return self.point(operator.mul, self.constant(-value.value), rest)",
          "return self.point(operator.mul, self.constant(value.value), rest)", of("lowering", "loss_arithmetic", "random_objectives")),
    Fault("P16", "the numbers of a generator that was given are drawn once more", "pixyz/plan/random.py",
          "        generator.set_state(own.get_state())\n", "", of("generator")),
    Fault("P17", "a lag without a start reads one step too far", RULES,
          "return (torch.cat([lift(start.to(x.dtype), x[0]).expand_as(x[0]).unsqueeze(0), x[:-1]]),)",
          "return (torch.cat([lift(start.to(x.dtype), x[0]).expand_as(x[0]).unsqueeze(0), x[1:]]),)", of("series", "random_steps")),
    Fault("P18", "a flow's inverse has the determinant of its forward", "pixyz/flows/coupling.py",
          "torch.exp(-log_s), -log_s.flatten(1).sum(1)", "torch.exp(-log_s), log_s.flatten(1).sum(1)", of("flows")),
    Fault("P19", "what a reset begins with is added to", RULES,
          "return torch.where(_over(first, value), init, value)", "return torch.where(_over(first, value), value, init)", of("series", "random_steps")),
    Fault("L1", "the KL of normals is that of the swapped ones", DIVERGENCES,
          "ratio, gap = p_scale / q_scale, (p_loc - q_loc) / q_scale\n    return 0.5 * (ratio * ratio + gap * gap - 1.0) - ratio.log()",
          "ratio, gap = q_scale / p_scale, (p_loc - q_loc) / p_scale\n    return 0.5 * (ratio * ratio + gap * gap - 1.0) - ratio.log()", of("kl", "kl_families")),
    Fault("L2", "the KL to a standard normal has half of the location", DIVERGENCES,
          "p_scale * p_scale + p_loc * p_loc - 1.0", "p_scale * p_scale + 0.5 * p_loc * p_loc - 1.0", of("kl")),
    Fault("L3", "a sum over valid frames counts all of them", RULES,
          "x = torch.where(lift(mask, x), x, 0.0)", "x = torch.where(lift(mask, x), x, x)", of("masked_frames", "series")),
    Fault("L4", "a sum under an expectation of K draws is K times too large", LOSS,
          "inner.keep = scope.keep | set(particles)", "inner.keep = scope.keep", ALL),
    Fault("L5", "the entropy of a normal without its half", FAMILIES,
          "return 0.5 + LOG_SQRT_2PI + log_scale", "return LOG_SQRT_2PI + log_scale", of("families", "losses", "family_details")),
    Fault("L6", "the sampled KL is that of the swapped ones", DIVERGENCES,
          "builder.point(operator.sub, log_p, log_q", "builder.point(operator.sub, log_q, log_p", of("kl", "losses")),
    Fault("L7", "a quotient is one of the swapped terms", LOSS,
          "formula = staticmethod(operator.truediv)", "formula = staticmethod(lambda a, b: b / a)", of("loss_arithmetic", "losses")),
    Fault("L8", "the KL of choices is weighed by q", DIVERGENCES,
          "return (p_probs * (p_log_probs - q_log_probs)).sum(-1)", "return (q_log_probs.exp() * (p_log_probs - q_log_probs)).sum(-1)", of("kl_families", "kl")),
    Fault("L9", "draws of an expectation let no gradient through", LOSS,
          "self.p.lower_sample(builder, scope, reparam=self.reparam,", "self.p.lower_sample(builder, scope, reparam=False,", of("expectations", "losses", "golden")),
]
