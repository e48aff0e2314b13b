"""What pixyz 0.3.3 got wrong about distributions, right: one test a fault, written with 0.3.3's own names.

Each test fails on pixyz 0.3.3 (checked on Python 3.11, torch 2.13); it states the right behaviour.
"""

import copy
import math
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from pixyz.distributions import (
    Bernoulli,
    Categorical,
    Deterministic,
    ElementWiseProductOfNormal,
    Laplace,
    MixtureOfNormal,
    Multinomial,
    Normal,
    ProductOfNormal,
    RelaxedCategorical,
)
from pixyz.losses import KullbackLeibler

D = 3


class Net(Normal):
    """A network with dropout in front."""

    def __init__(self, var=("x",), cond_var=("z",), name="p", dropout=0.0):
        super().__init__(var=list(var), cond_var=list(cond_var), name=name)
        self.layer, self.dropout = nn.Linear(D, D), nn.Dropout(dropout)

    def forward(self, **given):
        loc = self.layer(self.dropout(sum(given.values())))
        return {"loc": loc, "scale": torch.ones_like(loc)}


def standard(var, name="p", loc=0.0, scale=1.0):
    return Normal(var=[var], name=name, loc=torch.full((D,), loc), scale=torch.full((D,), scale))


def test_the_mean_is_the_mean():
    """The mean of a joint and of a renamed distribution is not their variance."""
    p = standard("z", loc=7.0, scale=3.0)
    torch.testing.assert_close(p.replace_var(z="y").sample_mean({}), torch.full((1, D), 7.0))
    joint = Normal(var=["x"], cond_var=["z"], loc="z", scale=torch.full((D,), 2.0)) * p
    torch.testing.assert_close(joint.sample_mean({}), torch.full((1, D), 7.0))
    torch.testing.assert_close(joint.sample_variance({}), torch.full((1, D), 4.0))


def test_parameters_follow_the_weights():
    p, z = Net(), torch.ones(2, D)
    before = p.get_params({"z": z})["loc"].detach().clone()
    with torch.no_grad():
        p.layer.bias.add_(1.0)
    torch.testing.assert_close(p.get_params({"z": z})["loc"], before + 1.0)


def test_parameters_follow_changes_in_place():
    p, z = Net(), torch.ones(2, D)
    p.get_params({"z": z})
    z.zero_()
    torch.testing.assert_close(p.get_params({"z": z})["loc"], p.layer.bias.expand(2, D))


def test_evaluation_mode_does_not_see_training_mode_s_dropout():
    p, z = Net(dropout=0.9), torch.ones(50, D)
    p.get_params({"z": z})
    p.eval()
    torch.testing.assert_close(p.get_params({"z": z})["loc"], p.layer(z))


def test_what_ran_without_gradient_has_one_later():
    p, z = Net(), torch.ones(2, D)
    with torch.no_grad():
        p.get_params({"z": z})
    assert p.get_params({"z": z})["loc"].requires_grad


def test_one_batch_can_be_trained_on_twice():
    p, z = Net(), torch.ones(2, D)
    for _ in range(2):
        p.get_log_prob({"x": z, "z": z}).sum().backward()


def test_relaxed_categorical_has_the_categorical_s_density():
    p = RelaxedCategorical(var=["x"], probs=torch.tensor([0.5, 0.3, 0.2]))
    found = p.get_log_prob({"x": torch.tensor([[1.0, 0.0, 0.0]])})
    torch.testing.assert_close(found, torch.tensor([math.log(0.5)]))


def test_multinomial_draws_total_count():
    p = Multinomial(10, var=["x"], probs=torch.tensor([0.5, 0.3, 0.2]))
    assert float(p.sample()["x"].sum()) == 10.0
    counts = torch.tensor([[5.0, 3.0, 2.0]])
    wanted = torch.distributions.Multinomial(10, torch.tensor([0.5, 0.3, 0.2])).log_prob(counts)
    torch.testing.assert_close(p.get_log_prob({"x": counts}), wanted)


def test_mixture_weights_are_probabilities():
    """The mixture of two equal normals is that normal."""
    parts = [Normal(var=["z"], cond_var=[c], loc=c, scale=torch.ones(1), name="q") for c in ("x", "y")]
    q, zero = MixtureOfNormal(parts), torch.zeros(1, 1)
    found = q.get_log_prob({"z": zero, "x": zero, "y": zero})
    torch.testing.assert_close(found, torch.tensor([-0.5 * math.log(2 * math.pi)]))


def experts():
    return [Net(["z"], [c], "q") for c in ("x", "y")]


def test_product_of_experts_follows_weights_and_inputs():
    q, x = ProductOfNormal(experts()), torch.ones(1, D)
    values = {"x": x, "y": x}
    before = q.get_params(values)["loc"].clone()
    x.fill_(5.0)
    after = q.get_params(values)["loc"].clone()
    assert not torch.allclose(before, after)
    with torch.no_grad():
        for w in q.parameters():
            w.zero_()
    torch.testing.assert_close(q.get_params(values)["loc"], torch.zeros(1, D))


def test_element_wise_product_of_experts_can_be_sampled():
    q = ElementWiseProductOfNormal(Net(["z"], ["x"], "q"))
    assert q.sample({"x": torch.ones(2, D)})["z"].shape == (2, D)


def test_product_of_experts_has_a_density():
    q, x = ProductOfNormal(experts()), torch.ones(2, D)
    params = q.get_params({"x": x, "y": x})
    found = q.get_log_prob({"x": x, "y": x, "z": x})
    torch.testing.assert_close(found, torch.distributions.Normal(**params).log_prob(x).sum(-1))
    torch.testing.assert_close(q.log_prob().eval({"x": x, "y": x, "z": x}), found)


def test_sample_shape_is_applied_once_along_a_joint():
    joint = Net() * standard("z")
    drawn = joint.sample(sample_shape=[5])
    assert drawn["z"].shape == (5, 1, D) and drawn["x"].shape == (5, 1, D)


def test_analytic_divergence_of_a_renamed_condition():
    class Encoder(Normal):
        def __init__(self):
            super().__init__(var=["z"], cond_var=["x"], name="q")

        def forward(self, x):
            return {"loc": x, "scale": torch.ones_like(x)}

    q, prior, x = Encoder(), standard("z"), torch.ones(2, D)
    found = KullbackLeibler(q.replace_var(x="y"), prior).eval({"y": x})
    torch.testing.assert_close(found, torch.full((2,), 0.5 * D))


def test_divergence_of_joints_by_the_chain_rule():
    q = Net(["x"], ["z"], "q") * standard("z", "q", loc=1.0)
    p = Net(["x"], ["z"]) * standard("z")
    p_x, q_x = p.graph.distribution("x"), q.graph.distribution("x")
    p_x.load_state_dict(q_x.state_dict())
    torch.testing.assert_close(KullbackLeibler(q, p).eval({}), torch.full((1,), 0.5 * D))


def test_bound_variables_do_not_capture_free_ones():
    marginal = (Net() * standard("z")).marginalize_var("z")
    joint = marginal * Net(["y"], ["z"])
    assert joint.cond_var == ["z"] and set(joint.var) == {"x", "y"}
    drawn = joint.sample({"z": torch.ones(2, D)})
    assert set(drawn) == {"x", "y", "z"} and torch.equal(drawn["z"], torch.ones(2, D))


def test_circles_are_refused_at_once():
    with pytest.raises(ValueError, match="circle"):
        Net(["x"], ["y"]) * Net(["y"], ["x"])


def test_names_can_be_swapped():
    p, v = Net(["x"], ["y"]), {"x": torch.zeros(1, D), "y": torch.ones(1, D)}
    q = p.replace_var(x="y", y="x")
    torch.testing.assert_close(q.get_log_prob({"x": v["y"], "y": v["x"]}), p.get_log_prob(v))


def test_a_used_distribution_can_be_copied_and_pickled():
    p = Net(["x"], ["z"])
    p.sample({"z": torch.ones(2, D)})
    twin = copy.deepcopy(p)
    assert twin.layer.weight is not p.layer.weight
    again = pickle.loads(pickle.dumps(p))
    torch.testing.assert_close(again.layer.weight, p.layer.weight)


def test_factors_of_other_batch_sizes_are_added():
    joint = Net(["x"], ["z"]) * standard("w")
    v = {"x": torch.zeros(5, D), "z": torch.ones(5, D), "w": torch.zeros(1, D)}
    assert joint.get_log_prob(v).shape == (5,)


@pytest.mark.parametrize("kind", ["OrderedDict", "Parameter", "list"])
def test_inputs_are_taken_by_what_they_are(kind):
    p, z = Net(), torch.ones(2, D)
    given = {"OrderedDict": OrderedDict(z=z), "Parameter": nn.Parameter(z), "list": [nn.Parameter(z)]}[kind]
    assert p.sample(given)["x"].shape == (2, D)


def test_defaults_are_not_shared():
    first = Normal(loc=torch.zeros(1), scale=torch.ones(1))
    first._cond_var.append("oops")
    assert Normal(loc=torch.zeros(1), scale=torch.ones(1)).cond_var == []


def test_one_variable_may_be_written_as_a_string():
    p = Laplace(var="x", loc=torch.zeros(1), scale=torch.ones(1))
    assert p.var == ["x"] and set(p.sample()) == {"x"}


def test_logits_do_not_saturate():
    """Probabilities end at 1; logits do not."""
    far = torch.tensor([40.0])
    p = Bernoulli(var=["x"], cond_var=["l"], logits="l")
    torch.testing.assert_close(p.get_log_prob({"x": torch.zeros(1, 1), "l": far[None]}), -far)
    q = Categorical(var=["x"], cond_var=["l"], logits="l")
    l = torch.tensor([[0.0, 40.0]])
    torch.testing.assert_close(q.get_log_prob({"x": torch.tensor([[1.0, 0.0]]), "l": l}), -far)


def test_several_variables_may_be_computed_at_once():
    class Pair(Deterministic):
        def __init__(self):
            super().__init__(var=["a", "b"], cond_var=["z"])

        def forward(self, z):
            return {"a": z, "b": 2 * z}

    drawn = (Pair() * standard("z")).sample(sample_shape=[4])
    torch.testing.assert_close(drawn["b"], 2 * drawn["a"])
    assert drawn["a"].shape == (4, 1, D)
