"""What pixyz 0.3.3 got wrong about distributions and flows, right: tests of the listed faults, by
number.

They are written with 0.3.3's own names; ``benchmarks/faults_033.py`` runs them there, and each
fails.
"""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from pixyz.distributions import (
    ElementWiseProductOfNormal,
    MixtureOfNormal,
    Multinomial,
    Normal,
    ProductOfNormal,
    RelaxedCategorical,
    TransformedDistribution,
)
from pixyz.flows import ActNorm2d, Flow, PlanarFlow
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


class Scale(Flow):
    """``z = 2 x``: a flow written by a user of 0.3.3."""

    def __init__(self):
        super().__init__(D)

    def forward(self, x, y=None, compute_jacobian=True):
        if compute_jacobian:
            self._logdet_jacobian = torch.full((len(x),), D * math.log(2.0))
        return 2 * x

    def inverse(self, z, y=None):
        return z / 2


def standard(var, name="p", loc=0.0, scale=1.0):
    return Normal(var=[var], name=name, loc=torch.full((D,), loc), scale=torch.full((D,), scale))


def experts():
    return [Net(["z"], [c], "q") for c in ("x", "y")]


def test_b1_the_mean_is_the_mean():
    """The mean of a joint and of a renamed distribution is not their variance."""
    p = standard("z", loc=7.0, scale=3.0)
    torch.testing.assert_close(p.replace_var(z="y").sample_mean({}), torch.full((1, D), 7.0))
    joint = Normal(var=["x"], cond_var=["z"], loc="z", scale=torch.full((D,), 2.0)) * p
    torch.testing.assert_close(joint.sample_mean({}), torch.full((1, D), 7.0))
    torch.testing.assert_close(joint.sample_variance({}), torch.full((1, D), 4.0))


def test_b2_parameters_follow_the_weights():
    p, z = Net(), torch.ones(2, D)
    before = p.get_params({"z": z})["loc"].detach().clone()
    with torch.no_grad():
        p.layer.bias.add_(1.0)
    torch.testing.assert_close(p.get_params({"z": z})["loc"], before + 1.0)


def test_b2_parameters_follow_changes_in_place():
    p, z = Net(), torch.ones(2, D)
    p.get_params({"z": z})
    z.zero_()
    torch.testing.assert_close(p.get_params({"z": z})["loc"], p.layer.bias.expand(2, D))


def test_b2_evaluation_mode_does_not_see_training_mode_s_dropout():
    p, z = Net(dropout=0.9), torch.ones(50, D)
    p.get_params({"z": z})
    p.eval()
    torch.testing.assert_close(p.get_params({"z": z})["loc"], p.layer(z))


def test_b2_what_ran_without_gradient_has_one_later():
    p, z = Net(), torch.ones(2, D)
    with torch.no_grad():
        p.get_params({"z": z})
    assert p.get_params({"z": z})["loc"].requires_grad


def test_b2_one_batch_can_be_trained_on_twice():
    p, z = Net(), torch.ones(2, D)
    for _ in range(2):
        p.get_log_prob({"x": z, "z": z}).sum().backward()


def test_b5_relaxed_categorical_has_the_categorical_s_density():
    p = RelaxedCategorical(var=["x"], probs=torch.tensor([0.5, 0.3, 0.2]))
    found = p.get_log_prob({"x": torch.tensor([[1.0, 0.0, 0.0]])})
    torch.testing.assert_close(found, torch.tensor([math.log(0.5)]))


def test_b6_multinomial_draws_total_count():
    p = Multinomial(10, var=["x"], probs=torch.tensor([0.5, 0.3, 0.2]))
    assert float(p.sample()["x"].sum()) == 10.0
    counts = torch.tensor([[5.0, 3.0, 2.0]])
    wanted = torch.distributions.Multinomial(10, torch.tensor([0.5, 0.3, 0.2])).log_prob(counts)
    torch.testing.assert_close(p.get_log_prob({"x": counts}), wanted)


def test_b7_mixture_weights_are_probabilities():
    """The mixture of two equal normals is that normal."""
    parts = [
        Normal(var=["z"], cond_var=[c], loc=c, scale=torch.ones(1), name="q") for c in ("x", "y")
    ]
    q, zero = MixtureOfNormal(parts), torch.zeros(1, 1)
    found = q.get_log_prob({"z": zero, "x": zero, "y": zero})
    torch.testing.assert_close(found, torch.tensor([-0.5 * math.log(2 * math.pi)]))


def test_b8_product_of_experts_follows_weights_and_inputs():
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


def test_b9_element_wise_product_of_experts_can_be_sampled():
    q = ElementWiseProductOfNormal(Net(["z"], ["x"], "q"))
    assert q.sample({"x": torch.ones(2, D)})["z"].shape == (2, D)


def test_b10_product_of_experts_has_a_density():
    q, x = ProductOfNormal(experts()), torch.ones(2, D)
    params = q.get_params({"x": x, "y": x})
    found = q.get_log_prob({"x": x, "y": x, "z": x})
    torch.testing.assert_close(found, torch.distributions.Normal(**params).log_prob(x).sum(-1))
    torch.testing.assert_close(q.log_prob().eval({"x": x, "y": x, "z": x}), found)


def test_b11_sample_shape_is_applied_once_along_a_joint():
    joint = Net() * standard("z")
    drawn = joint.sample(sample_shape=[5])
    assert drawn["z"].shape == (5, 1, D) and drawn["x"].shape == (5, 1, D)


def test_b12_several_samples_keep_their_batch():
    """The sum over features does not swallow the batch behind a leading dimension of samples."""
    p = standard("x")
    x = p.sample(batch_n=4, sample_shape=[7])["x"]
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
    assert wanted.shape == (7, 4)
    for found in (p.get_log_prob({"x": x}), p.log_prob().eval({"x": x})):
        assert found.shape == (7, 4)
        torch.testing.assert_close(found, wanted)


def test_b12_several_samples_given_a_batch():
    """Parameters ``[B, D]`` and values ``[K, B, D]``."""
    p, z = Net(), torch.randn(4, D)
    x = p.sample({"z": z}, sample_shape=[7])["x"]
    wanted = torch.stack([p.get_log_prob({"x": row, "z": z}) for row in x])
    torch.testing.assert_close(p.get_log_prob({"x": x, "z": z}), wanted)


def test_b12_several_samples_of_a_joint():
    p = Net() * standard("z")
    torch.manual_seed(0)
    drawn = {"x": torch.randn(7, 4, D), "z": torch.randn(7, 4, D)}
    wanted = torch.stack([p.get_log_prob({"x": x, "z": z}) for x, z in zip(drawn["x"], drawn["z"])])
    torch.testing.assert_close(p.get_log_prob(drawn), wanted)


def test_b16_analytic_divergence_of_a_renamed_condition():
    class Encoder(Normal):
        def __init__(self):
            super().__init__(var=["z"], cond_var=["x"], name="q")

        def forward(self, x):
            return {"loc": x, "scale": torch.ones_like(x)}

    q, prior, x = Encoder(), standard("z"), torch.ones(2, D)
    found = KullbackLeibler(q.replace_var(x="y"), prior).eval({"y": x})
    torch.testing.assert_close(found, torch.full((2,), 0.5 * D))


def test_b16_divergence_of_joints_by_the_chain_rule():
    q = Net(["x"], ["z"], "q") * standard("z", "q", loc=1.0)
    p = Net(["x"], ["z"]) * standard("z")
    p_x, q_x = p.graph.distribution("x"), q.graph.distribution("x")
    p_x.load_state_dict(q_x.state_dict())
    torch.testing.assert_close(KullbackLeibler(q, p).eval({}), torch.full((1,), 0.5 * D))


def test_b17_bound_variables_do_not_capture_free_ones():
    marginal = (Net() * standard("z")).marginalize_var("z")
    joint = marginal * Net(["y"], ["z"])
    assert joint.cond_var == ["z"] and set(joint.var) == {"x", "y"}
    drawn = joint.sample({"z": torch.ones(2, D)})
    assert set(drawn) == {"x", "y", "z"} and torch.equal(drawn["z"], torch.ones(2, D))


def test_b18_circles_are_refused_at_once():
    with pytest.raises(ValueError, match="circle"):
        Net(["x"], ["y"]) * Net(["y"], ["x"])


def test_b18_names_can_be_swapped():
    p, v = Net(["x"], ["y"]), {"x": torch.zeros(1, D), "y": torch.ones(1, D)}
    q = p.replace_var(x="y", y="x")
    torch.testing.assert_close(q.get_log_prob({"x": v["y"], "y": v["x"]}), p.get_log_prob(v))


def test_b19_a_flow_density_can_be_read_twice():
    q = TransformedDistribution(prior=standard("u"), flow=PlanarFlow(D), var=["z"])
    drawn = q.sample(batch_n=4)
    values = [q.get_log_prob(drawn, compute_jacobian=True) for _ in range(2)]
    torch.testing.assert_close(*values)


def test_b19_a_flow_density_needs_no_flag_for_its_jacobian():
    q = TransformedDistribution(prior=standard("u"), flow=Scale(), var=["z"])
    z = torch.ones(4, D)
    torch.testing.assert_close(
        q.get_log_prob({"z": z}), torch.distributions.Normal(0.0, 2.0).log_prob(z).sum(-1)
    )


def test_b19_samples_through_a_flow_have_gradients():
    base = Net(["u"], ["x"], "q")
    q = TransformedDistribution(prior=base, flow=PlanarFlow(D), var=["z"])
    z = q.sample({"x": torch.ones(4, D)}, reparam=True)["z"]
    assert torch.autograd.grad(z.sum(), [base.layer.weight])[0].abs().sum() > 0


def test_b19_a_flow_joins_a_product():
    q = TransformedDistribution(prior=standard("u"), flow=PlanarFlow(D), var=["z"])
    drawn = (Net(["x"], ["z"]) * q).sample(batch_n=4)
    assert set(drawn) == {"x", "z"} and drawn["x"].shape == (4, D)


def test_b20_an_initialised_act_norm_stays_so_when_it_is_loaded():
    flow, images = ActNorm2d(2), 3.0 + torch.arange(64.0).reshape(4, 2, 2, 4)
    flow(images)
    state = copy.deepcopy(flow.state_dict())
    loaded = ActNorm2d(2)
    loaded.load_state_dict(state)
    loaded.train()
    loaded(images * 7.0 - 2.0)  # another batch must not set it anew
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, state[name])
    torch.testing.assert_close(loaded(images), flow(images))


def test_b24_a_used_distribution_can_be_copied():
    p = Net(["x"], ["z"])
    p.sample({"z": torch.ones(2, D)})
    twin = copy.deepcopy(p)
    assert twin.layer.weight is not p.layer.weight
    again = pickle.loads(pickle.dumps(p))
    torch.testing.assert_close(again.layer.weight, p.layer.weight)


def test_b24_no_distribution_object_is_kept():
    """The torch distribution, and with it the graph of a call, does not stay on the module."""
    p = Net()
    p.sample({"z": torch.ones(2, D)}, reparam=True)
    held = [v for v in vars(p).values() if isinstance(v, torch.distributions.Distribution)]
    assert not held and pickle.loads(pickle.dumps(p)).layer.weight.shape == (D, D)


def test_b26_factors_of_other_batch_sizes_are_added():
    joint = Net(["x"], ["z"]) * standard("w")
    v = {"x": torch.zeros(5, D), "z": torch.ones(5, D), "w": torch.zeros(1, D)}
    assert joint.get_log_prob(v).shape == (5,)
