"""An agent behind the interface of LeRobot's RL loop: its abstract methods, its batches, its
weights.
"""

import abc

import pytest
import torch

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.errors import UsageError
from agents.online.lerobot import Algorithm, subclass_of, window
from agents.sac.agent import SAC
from agents.sac.config import SACConfig
from agents.spaces import ActionSpec
from worldmodels import RSSMConfig


class Base(abc.ABC):
    """The abstract methods of lerobot.rl.algorithms.base.RLAlgorithm (0.6)."""

    @abc.abstractmethod
    def update(self, batch_iterator): ...

    @abc.abstractmethod
    def load_weights(self, weights, device="cpu"): ...

    def transition_to_online(self):
        return "theirs"


def agent(seed=0, shapes=None):
    torch.manual_seed(seed)
    return SAC(shapes or {"state": (3,)}, ActionSpec(2), SACConfig(units=8, batch=4))


def batches(count=4, images=False):
    g = torch.Generator().manual_seed(1)

    def seen():
        found = {"observation.state": torch.randn(count, 3, generator=g)}
        return found | (
            {"observation.images.front": torch.rand(count, 3, 16, 16, generator=g)}
            if images
            else {}
        )

    while True:
        yield {
            "state": seen(),
            "next_state": seen(),
            "action": torch.rand(count, 2, generator=g) * 2 - 1,
            "reward": torch.randn(count, generator=g),
            "done": torch.tensor([0.0, 1.0, 0.0, 0.0]),
            "truncated": torch.tensor([0.0, 0.0, 1.0, 0.0]),
            "complementary_info": None,
        }


def test_their_trainer_can_call_it():
    made = subclass_of(Base)(agent(), updates=3)
    assert isinstance(made, Base) and made.transition_to_online() == "theirs"
    before = made.get_weights()
    stats = made.update(batches())
    assert made.optimization_step == 3 and not made.supports_offline_phase()
    logged = stats.to_log_dict()
    assert {"loss", "critic", "policy", "temperature", "all_grad_norm"} <= logged.keys()
    assert all(isinstance(v, float) for v in logged.values())
    after = made.get_weights()
    assert any(not torch.equal(before[k], after[k]) for k in before)
    other = Algorithm(agent(seed=5))
    other.load_weights(after)
    assert all(torch.equal(v, after[k]) for k, v in other.get_weights().items())
    made.optimization_step = 7
    assert made.optimization_step == 7 and list(made.make_optimizers()) == ["optimizer"]
    assert made.get_observation_features(None, None) == (None, None)


def test_the_update_is_that_of_the_agent_on_the_same_transitions():
    one, two = agent(), agent()
    batch = next(batches())
    torch.manual_seed(3)
    Algorithm(one).update(iter([batch]))
    series = {
        "state": torch.stack([batch[k]["observation.state"] for k in ("state", "next_state")]),
        "action": torch.stack([batch["action"], batch["action"] * 0]),
        "reward": torch.stack([batch["reward"] * 0, batch["reward"]]),
        "is_first": torch.zeros(2, 4, dtype=torch.bool),
        "is_last": torch.tensor([[False] * 4, [False, True, True, False]]),
        "is_terminal": torch.tensor([[False] * 4, [False, True, False, False]]),
    }
    torch.manual_seed(3)
    two.learn(series)
    for k, v in one.state_dict().items():
        assert torch.equal(v, two.state_dict()[k]), k


def test_a_batch_is_a_window_and_images_are_ours():
    found = window(next(batches(images=True)), torch.device("cpu"))
    assert found["front"].shape == (2, 4, 16, 16, 3) and found["front"].dtype == torch.uint8
    given = next(batches(images=True))["next_state"]["observation.images.front"]
    assert found["front"][1, 2, 5, 6, 1] == round(float(given[2, 1, 5, 6]) * 255)
    with pytest.raises(UsageError, match=r"none of \['reward', 'done'\]"):
        window({"state": {}, "next_state": {}, "action": torch.zeros(1, 1)}, torch.device("cpu"))


def test_the_mixer_is_asked_for_the_agents_batch():
    class Mixer:
        def get_iterator(self, batch_size, async_prefetch, queue_size):
            return batch_size, async_prefetch, queue_size

    found = Algorithm(agent()).configure_data_iterator(
        Mixer(), 256, async_prefetch=False, queue_size=2
    )
    assert found == (4, False, 2)


def test_an_agent_of_sequences_is_refused():
    small = RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8)
    with pytest.raises(UsageError, match="learns from 65 rows"):
        Algorithm(DreamerV3({"x": (3,)}, ActionSpec(1), DreamerV3Config(small, units=8)))
