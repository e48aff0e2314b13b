"""Every module path and public name of pixyz 0.3.3 is there, and is what the library itself uses."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

# listed from pixyz 0.3.3 itself: the classes and functions that each of its modules defines
NAMES = {
    "pixyz.autoregressions": "",
    "pixyz.distributions": "Distribution CustomProb Deterministic EmpiricalDistribution Normal Bernoulli RelaxedBernoulli "
    "FactorizedBernoulli Categorical RelaxedCategorical Multinomial Dirichlet Beta Laplace Gamma MultiplyDistribution "
    "ReplaceVarDistribution MarginalizeVarDistribution ProductOfNormal ElementWiseProductOfNormal MixtureOfNormal "
    "MixtureModel TransformedDistribution InverseTransformedDistribution",
    "pixyz.distributions.custom_distributions": "CustomProb",
    "pixyz.distributions.distributions": "Factor DistGraph Distribution DistributionBase MultiplyDistribution "
    "ReplaceVarDistribution MarginalizeVarDistribution",
    "pixyz.distributions.exponential_distributions": "Normal Bernoulli RelaxedBernoulli FactorizedBernoulli Categorical "
    "RelaxedCategorical Multinomial Dirichlet Beta Laplace Gamma",
    "pixyz.distributions.flow_distribution": "TransformedDistribution InverseTransformedDistribution",
    "pixyz.distributions.mixture_distributions": "MixtureModel PosteriorMixtureModel",
    "pixyz.distributions.moe": "MixtureOfNormal",
    "pixyz.distributions.poe": "ProductOfNormal ElementWiseProductOfNormal",
    "pixyz.distributions.special_distributions": "Deterministic EmpiricalDistribution",
    "pixyz.flows": "Flow FlowList PlanarFlow AffineCoupling ChannelConv Squeeze Unsqueeze Permutation Shuffle Reverse "
    "Flatten Preprocess BatchNorm1d BatchNorm2d ActNorm2d",
    "pixyz.flows.conv": "ChannelConv",
    "pixyz.flows.coupling": "AffineCoupling checkerboard_mask channel_wise_mask",
    "pixyz.flows.flows": "Flow FlowList",
    "pixyz.flows.normalizations": "BatchNorm1d BatchNorm2d ActNorm2d",
    "pixyz.flows.normalizing_flows": "PlanarFlow",
    "pixyz.flows.operations": "Squeeze Unsqueeze Permutation Shuffle Reverse Flatten Preprocess",
    "pixyz.layers": "ResNet",
    "pixyz.layers.norm_util": "WNConv2d",
    "pixyz.layers.resnet": "ResidualBlock ResNet",
    "pixyz.losses": "Parameter ValueLoss ConstantVar MinLoss MaxLoss Entropy CrossEntropy Expectation REINFORCE "
    "DataParalleledLoss KullbackLeibler LogProb Prob ELBO AdversarialJensenShannon AdversarialKullbackLeibler "
    "AdversarialWassersteinDistance IterativeLoss MMD WassersteinDistance",
    "pixyz.losses.adversarial_loss": "AdversarialLoss AdversarialJensenShannon AdversarialKullbackLeibler "
    "AdversarialWassersteinDistance",
    "pixyz.losses.divergences": "KullbackLeibler AnalyticalKullbackLeibler",
    "pixyz.losses.elbo": "ELBO",
    "pixyz.losses.entropy": "Entropy AnalyticalEntropy CrossEntropy StochasticReconstructionLoss",
    "pixyz.losses.iteration": "IterativeLoss",
    "pixyz.losses.losses": "Loss Divergence ValueLoss Parameter ConstantVar LossOperator AddLoss SubLoss MulLoss DivLoss "
    "MinLoss MaxLoss LossSelfOperator NegLoss AbsLoss BatchMean BatchSum Detach Expectation REINFORCE DataParalleledLoss",
    "pixyz.losses.mmd": "MMD pairwise_distance_matrix gaussian_rbf_kernel inverse_multiquadratic_rbf_kernel",
    "pixyz.losses.pdf": "LogProb Prob",
    "pixyz.losses.wasserstein": "WassersteinDistance",
    "pixyz.models": "Model ML VAE VI GAN",
    "pixyz.models.gan": "GAN",
    "pixyz.models.ml": "ML",
    "pixyz.models.model": "Model",
    "pixyz.models.vae": "VAE",
    "pixyz.models.vi": "VI",
    "pixyz.utils": "set_epsilon epsilon set_cache_maxsize cache_maxsize get_dict_values delete_dict_values detach_dict "
    "replace_dict_keys replace_dict_keys_split FrozenSampleDict lru_cache_for_sample_dict tolist sum_samples print_latex "
    "convert_latex_name",
}
# parameters in the order of 0.3.3, so that positional arguments mean the same; ours may have more behind them
SIGNATURES = {
    "pixyz.losses": {
        "Parameter": "input_var", "ValueLoss": "loss1", "ConstantVar": "base_loss constant_dict", "MinLoss": "loss1 loss2",
        "MaxLoss": "loss1 loss2", "Entropy": "p analytical sample_shape", "CrossEntropy": "p q analytical sample_shape",
        "Expectation": "p f sample_shape reparam", "REINFORCE": "p f b sample_shape reparam",
        "DataParalleledLoss": "loss distributed", "KullbackLeibler": "p q dim analytical sample_shape",
        "LogProb": "p sum_features feature_dims", "Prob": "p sum_features feature_dims", "ELBO": "p q sample_shape",
        "AdversarialJensenShannon": "p q discriminator optimizer optimizer_params inverse_g_loss",
        "AdversarialKullbackLeibler": "p q discriminator", "AdversarialWassersteinDistance": "p q discriminator clip_value",
        "IterativeLoss": "step_loss max_iter series_var update_value slice_step timestep_var", "MMD": "p q kernel",
        "WassersteinDistance": "p q metric",
    },
    "pixyz.models": {
        "Model": "loss test_loss distributions optimizer optimizer_params clip_grad_norm clip_grad_value retain_graph",
        "ML": "p other_distributions optimizer optimizer_params clip_grad_norm clip_grad_value",
        "VAE": "encoder decoder other_distributions regularizer optimizer optimizer_params clip_grad_norm clip_grad_value",
        "VI": "p approximate_dist other_distributions optimizer optimizer_params clip_grad_norm clip_grad_value",
        "GAN": "p discriminator optimizer optimizer_params d_optimizer d_optimizer_params clip_grad_norm clip_grad_value",
    },
}
PAIRS = [(module, name) for module, names in NAMES.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=[".".join(pair) for pair in PAIRS])
def test_the_name_is_there_and_the_same_everywhere(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert inspect.isclass(found) or callable(found)
    package = importlib.import_module(module.rpartition(".")[0] if module.count(".") == 2 else module)
    if name in getattr(package, "__all__", ()):
        assert found is getattr(package, name)


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in SIGNATURES.items() for n in names])
def test_positional_arguments_mean_what_they_meant(module: str, name: str) -> None:
    old = SIGNATURES[module][name].split()
    target = getattr(importlib.import_module(module), name)
    new = [p.name for p in inspect.signature(target).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [a.replace("loss1", "value") if name == "ValueLoss" else a for a in old] == new[: len(old)]


def test_old_paths_work_before_anything_else_is_imported() -> None:
    code = (
        "from pixyz.losses.losses import Loss; from pixyz.distributions.distributions import DistGraph;"
        "import pixyz.losses.adversarial_loss as a; import pixyz.flows.flows, pixyz.layers.norm_util, pixyz.autoregressions;"
        "import pixyz.losses; assert pixyz.losses.losses.Loss is Loss is pixyz.losses.Loss;"
        "from pixyz.losses.pdf import *; assert LogProb is pixyz.losses.LogProb"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_name_that_was_never_there() -> None:
    with pytest.raises(ImportError, match="Nothing"):
        from pixyz.losses.losses import Nothing  # type: ignore[attr-defined]  # noqa: F401
