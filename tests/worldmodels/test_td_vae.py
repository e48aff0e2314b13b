"""TD-VAE: which frames are paired, and jumps."""

import pytest
import torch

from pixyz.distributions import Normal
from pixyz.types import PixyzError
from worldmodels.td_vae import TDVAE, Jump, TDVAEConfig

T, B = 7, 5


def test_the_second_frame_is_paired_with_its_own_belief() -> None:
    """``x_2`` and ``b_2`` are of one frame, ``jump`` frames after ``b_1``: what is decoded at t_2
    is compared with x[t_2].
    """
    frame = torch.arange(float(T))[:, None, None].expand(T, B, 1)
    jump = torch.tensor([1, 2, 3, 6, 7])
    found = Jump([(1, 1)])(x=frame, b=10 * frame, jump=jump)
    for i, k in enumerate(jump.tolist()):
        n = max(T - k, 0)
        assert found["valid"][:, i].sum() == n and found["valid"][:n, i].all()
        torch.testing.assert_close(found["x_2"][:n, i], frame[k:, i])
        torch.testing.assert_close(found["b_2"][:n, i], 10 * frame[k:, i])
        torch.testing.assert_close(found["b_1"][:n, i], 10 * frame[:n, i])
        assert (found["delta"][:, i] == k).all()


def test_pairs_lie_within_valid_frames() -> None:
    frame, mask = torch.arange(float(T))[:, None, None].expand(T, B, 1), torch.ones(T, B)
    mask[4:, 0], mask[2, 1] = 0, 0
    found = Jump([(1, 1)])(x=frame, b=frame, mask=mask, jump=torch.full((B,), 2))
    valid = found["valid"]
    assert valid[:, 0].tolist() == [True, True, False, False, False, False, False]
    assert valid[:, 1].tolist() == [True, True, False, True, True, False, False]
    # a frame that is masked is not there: two valid frames ahead
    assert found["x_2"][valid[:, 1], 1, 0].tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("ask", ["objective", "bound", "log_weight"])
def test_a_gap_is_as_if_its_frames_were_not_there(ask: str) -> None:
    model = TDVAE(2, TDVAEConfig(3, 4, 4)).double()
    x, mask = torch.randn(6, 2, 2, dtype=torch.float64), torch.ones(6, 2)
    mask[[0, 2, 3]], kept = 0, [1, 4, 5]
    found = getattr(model, ask).eval({"x": x, "mask": mask}, sample_mean=True)
    alone = getattr(model, ask).eval({"x": x[kept]}, sample_mean=True)
    torch.testing.assert_close(found, alone)


def test_jumps_are_drawn_from_their_ranges() -> None:
    torch.manual_seed(0)
    k = Jump([(1, 2), (4, 6)], [0.75, 0.25]).draw(20000, torch.zeros(1))
    share = torch.bincount(k, minlength=7) / 20000
    torch.testing.assert_close(
        share[1:], torch.tensor([0.375, 0.375, 0.0, 1 / 12, 1 / 12, 1 / 12]), rtol=0.05, atol=0.005
    )
    for wrong in ([], [(0, 1)], [(3, 2)]):
        with pytest.raises(PixyzError, match="jumps"):
            Jump(wrong)
    with pytest.raises(PixyzError, match="share"):
        Jump([(1, 2)], [0.5, 0.5])


def test_the_objective_of_one_pair_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Normal,
        "noise",
        staticmethod(lambda shape, like: torch.full(tuple(shape), 0.5, dtype=like.dtype)),
    )
    torch.manual_seed(0)
    model = TDVAE(2, TDVAEConfig(3, 4, 4)).double()
    x = torch.randn(4, 1, 2, dtype=torch.float64)
    b = model.context.read(x)[:, 0]

    def normal(p: Normal, **given: torch.Tensor) -> torch.distributions.Normal:
        found = p(**{k: v[None] for k, v in given.items()})
        return torch.distributions.Normal(found["loc"][0], found["scale"][0])

    total, one = torch.zeros((), dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for t in range(2):
        k = 2 * one
        p_b1, p_b2 = normal(model.belief, b=b[t]), normal(model.belief, b=b[t + 2])
        z_2 = p_b2.mean + 0.5 * p_b2.stddev
        q = normal(model.smoother, z_2=z_2, b_1=b[t], b_2=b[t + 2], delta=k)
        z_1 = q.mean + 0.5 * q.stddev
        total = (
            total
            + p_b2.log_prob(z_2).sum()
            - normal(model.transition, z_1=z_1, delta=k).log_prob(z_2).sum()
        )
        total = total + torch.distributions.kl_divergence(q, p_b1).sum()
        total = total - normal(model.emission, z=z_2).log_prob(x[t + 2, 0]).sum()
    torch.testing.assert_close(model.objective.eval({"x": x, "jump": torch.tensor([2])}), total / 2)


def test_a_bound_is_sequential_whatever_jump_the_batch_holds() -> None:
    model = TDVAE(2, TDVAEConfig(3, 4, 4, ((1, 4),)))
    x, jump = torch.randn(6, 3, 2), torch.tensor([4, 4, 2])
    for ask in ("bound", "log_weight"):
        found = []
        for more in ({}, {"jump": jump}):
            torch.manual_seed(1)
            found.append(getattr(model, ask).eval({"x": x, **more}))
        assert torch.equal(*found), ask
    found = []
    for given in (jump, torch.ones(3)):
        torch.manual_seed(1)
        found.append(model.objective.eval({"x": x, "jump": given}))
    assert not torch.equal(*found)


def test_a_jump_is_one_transition() -> None:
    torch.manual_seed(0)
    model = TDVAE(2, TDVAEConfig(3, 4, 4))
    state = model.initial(3)
    torch.testing.assert_close(
        model.jump(state, 1, mean=True)["z"], model.predict(state, mean=True)["z"]
    )
    mixed = model.jump(state, torch.tensor([1, 5, 9]), mean=True)["z"]
    torch.testing.assert_close(mixed[1], model.jump(state, 5, mean=True)["z"][1])
    assert not torch.equal(mixed[1], model.predict(state, mean=True)["z"][1])


def test_a_rotation_of_two_steps_is_two_rotations() -> None:
    torch.manual_seed(0)
    model = TDVAE(2, TDVAEConfig(5, 4, 4, pairs=2))
    state = model.initial(3)
    once = model.jump(state, 7, mean=True)["z"]
    twice = model.jump(model.jump(state, 3, mean=True), 4, mean=True)["z"]
    torch.testing.assert_close(once, twice)
    z = state["z"]
    # a rotation keeps the length
    torch.testing.assert_close(once[:, :4].square().sum(1), z[:, :4].square().sum(1))
    torch.testing.assert_close(once[:, 4], z[:, 4])
    assert (once[:, :4] - z[:, :4]).abs().min() > 1e-4
    with pytest.raises(PixyzError, match="pairs"):
        TDVAE(2, TDVAEConfig(4, 4, 4, pairs=2))
