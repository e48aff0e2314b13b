"""DreamerV3 as torchrl 0.14 ships it, at the published size1m: its losses, optimizer and update
from its public parts.

torchrl is no dependency. It needs another tensordict than this library's tests, so it is installed
beside them:

    pip install --no-deps --target DIR torchrl==0.14.1 tensordict==0.14.3 hoptorch pyvers

What its wheel has: networks, world-model, actor, value and replay-value losses, optimizer and the
    guarded update of
DreamerV3. What it has not: the files that its example reads its sizes from, so they are written
here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

DETER, HIDDEN, GROUPS, CLASSES, UNITS, BINS = 512, 64, 32, 4, 64, 255
STATE = GROUPS * CLASSES
DISCOUNT_HORIZON = 333


def find(folder: Path) -> str:
    """Put torchrl's folder first among those that imports look into; its version."""
    sys.path.insert(0, str(folder))
    import tensordict
    import torchrl

    for package in (tensordict, torchrl):
        place = Path(package.__file__ or "").resolve()
        assert folder.resolve() in place.parents, f"{place} was imported before"
    return str(torchrl.__version__)


def build(
    observed: int, actions: int, batch: int, length: int, horizon: int, compiled: bool = False
) -> tuple[Callable[[], None], Callable[[], None], int]:
    """An update on made data, an action for one environment, and the number of trained weights."""
    from tensordict import TensorDict
    from tensordict.nn import ProbabilisticTensorDictModule as Draw
    from tensordict.nn import ProbabilisticTensorDictSequential
    from tensordict.nn import TensorDictModule as Module
    from tensordict.nn import TensorDictSequential as Chain
    from torchrl.data import Bounded, Composite, Unbounded
    from torchrl.envs.model_based import DreamerEnv
    from torchrl.modules import (
        DreamerV3MLP,
        RSSMPosteriorV3,
        RSSMPriorV3,
        RSSMRolloutV3,
        RSSMStateEstimatorV3,
        SymExpTwoHot,
        WorldModelWrapper,
    )
    from torchrl.modules.distributions.continuous import IndependentNormal
    from torchrl.objectives import (
        DreamerV3ActorLoss,
        DreamerV3Loss,
        DreamerV3ModelLoss,
        DreamerV3ValueLoss,
        SoftUpdate,
        ValueEstimators,
        symexp,
        symlog,
    )
    from torchrl.trainers.algorithms import DreamerV3OptimizationStepper, DreamerV3Optimizer

    def mlp(size: int, layers: int, out: int | None, outscale: float = 1.0) -> Any:
        return DreamerV3MLP(size, out, depth=layers, num_cells=UNITS, outscale=outscale)

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(STATE + DETER, 3, observed)

        def forward(self, state: torch.Tensor, belief: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = symexp(self.net(state, belief))
            return found

    class Actor(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(STATE + DETER, 3, 2 * actions, outscale=0.01)

        def forward(
            self, state: torch.Tensor, belief: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            loc, scale = self.net(belief, state).chunk(2, -1)
            return loc.tanh(), 0.9 * torch.sigmoid(scale + 2.0) + 0.1

    prior = RSSMPriorV3(
        action_shape=(actions,),
        hidden_dim=HIDDEN,
        rnn_hidden_dim=DETER,
        num_categoricals=GROUPS,
        num_classes=CLASSES,
        action_dim=actions,
        recurrent_model="block_gru",
        num_blocks=8,
        unimix=0.01,
    )
    posterior = RSSMPosteriorV3(
        hidden_dim=HIDDEN,
        num_categoricals=GROUPS,
        num_classes=CLASSES,
        rnn_hidden_dim=DETER,
        obs_embed_dim=UNITS,
        unimix=0.01,
        use_rms_norm=True,
        num_layers=1,
    )
    encoder = mlp(observed, 3, None)
    reward, cont = mlp(STATE + DETER, 1, BINS, 0.0), mlp(STATE + DETER, 1, 1)
    two_hot = SymExpTwoHot(BINS)
    rollout = RSSMRolloutV3(
        Module(
            prior,
            in_keys=["state", "belief", "action"],
            out_keys=[("next", "prior_logits"), ("next", "state"), ("next", "belief")],
        ),
        Module(
            posterior,
            in_keys=[("next", "belief"), ("next", "encoded")],
            out_keys=[("next", "posterior_logits"), ("next", "state")],
        ),
        reset_key="is_init",
    )
    seen = [("next", "state"), ("next", "belief")]
    world = Chain(
        Module(symlog, in_keys=[("next", "observation")], out_keys=[("next", "symlog")]),
        Module(encoder, in_keys=[("next", "symlog")], out_keys=[("next", "encoded")]),
        rollout,
        Module(Decoder(), in_keys=seen, out_keys=[("next", "reco_pixels")]),
        Module(reward, in_keys=seen, out_keys=[("next", "reward_logits")]),
        Module(two_hot, in_keys=[("next", "reward_logits")], out_keys=[("next", "reward")]),
        Module(cont, in_keys=seen, out_keys=[("next", "continue_pred")]),
    )
    imagination = WorldModelWrapper(
        Module(prior, in_keys=["state", "belief", "action"], out_keys=["_", "state", "belief"]),
        Chain(
            Module(reward, in_keys=["state", "belief"], out_keys=["reward_logits"]),
            Module(two_hot, in_keys=["reward_logits"], out_keys=["reward"]),
        ),
    )
    env = DreamerEnv(imagination, prior_shape=(STATE,), belief_shape=(DETER,))
    env.observation_spec = Composite(state=Unbounded(STATE), belief=Unbounded(DETER))
    env.state_spec = env.observation_spec.clone()
    env.action_spec, env.reward_spec = Bounded(-1, 1, (actions,)), Unbounded((1,))
    actor = ProbabilisticTensorDictSequential(
        Module(Actor(), in_keys=["state", "belief"], out_keys=["loc", "scale"]),
        Draw(
            in_keys=["loc", "scale"],
            out_keys=["action"],
            distribution_class=IndependentNormal,
            return_log_prob=True,
            log_prob_key="action_log_prob",
        ),
    )
    value = Chain(
        Module(
            mlp(STATE + DETER, 3, BINS, 0.0),
            in_keys=["state", "belief"],
            out_keys=["state_value_logits"],
        ),
        Module(SymExpTwoHot(BINS), in_keys=["state_value_logits"], out_keys=["state_value"]),
    )
    goes_on = Chain(
        Module(cont, in_keys=["state", "belief"], out_keys=["continue_logits"]),
        Module(torch.nn.Sigmoid(), in_keys=["continue_logits"], out_keys=["continuation"]),
    )
    model_loss = DreamerV3ModelLoss(
        world,
        num_reward_bins=BINS,
        kl_mode="separate",
        unimix=0.01,
        lambda_continue=1.0,
        continue_target_scale=1 - 1 / DISCOUNT_HORIZON,
        detach_output=False,
    )
    model_loss.set_keys(pixels="observation")
    actor_loss = DreamerV3ActorLoss(
        actor,
        value,
        env,
        continuation_model=goes_on,
        imagination_horizon=horizon,
        use_reinforce=True,
    )
    actor_loss.make_value_estimator(ValueEstimators.TDLambda, gamma=1.0, lmbda=0.95)
    value_loss = DreamerV3ValueLoss(
        value,
        value_loss="two_hot",
        num_value_bins=BINS,
        actor_loss=actor_loss,
        slow_critic_regularization=1.0,
    )
    slow = SoftUpdate(value_loss, tau=0.02)
    loss = DreamerV3Loss(model_loss, actor_loss, value_loss)
    trained = {id(p): p for m in (world, actor, value_loss) for p in m.parameters()}
    optimizer = DreamerV3Optimizer(list(trained.values()))
    stepper = DreamerV3OptimizationStepper(
        loss, optimizer, slow, compile_train_step=compiled, cudagraph=False, warmup_steps=1
    )
    size = [batch, length]
    flag = torch.zeros(*size, 1, dtype=torch.bool)
    data = TensorDict(
        {
            "state": torch.zeros(*size, STATE),
            "belief": torch.zeros(*size, DETER),
            "action": torch.rand(*size, actions) * 2 - 1,
            "is_init": flag.clone(),
            "next": {
                "observation": torch.randn(*size, observed),
                "reward": torch.rand(*size, 1),
                "done": flag.clone(),
                "terminated": flag.clone(),
            },
        },
        size,
    )
    if compiled:
        stepper.warmup(data.clone())

    def update() -> None:
        stepper.step(None, data.clone())

    policy = Chain(
        Module(symlog, in_keys=["observation"], out_keys=["symlog"]),
        Module(encoder, in_keys=["symlog"], out_keys=["encoded_latents"]),
        RSSMStateEstimatorV3(prior, posterior),
        actor,
    )
    now = TensorDict(
        {
            "state": torch.zeros(1, STATE),
            "belief": torch.zeros(1, DETER),
            "previous_action": torch.zeros(1, actions),
            "is_init": torch.zeros(1, 1, dtype=torch.bool),
            "observation": torch.randn(1, observed),
        },
        [1],
    )

    def act() -> None:
        with torch.no_grad():
            policy(now.clone())

    return update, act, sum(p.numel() for p in trained.values())
