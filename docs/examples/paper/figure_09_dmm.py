r"""Figure 9: the objective of a Deep Markov Model (Krishnan et al., 2017), as a loop over steps and
as one IterativeLoss.

The printed chain ``update_value={"z_t": "z_t_1", "z_t_1": "z_q_t_1"}`` gives q the z of two steps
ago, where the printed loop (whose ``trans_update`` copies z) gives p and q the same z of one step
ago.  ``loss_all`` follows the loop: one drawn value is carried under two names.  ``loss_printed``
is the printed line; ``trans_update+combiner`` inside ``E`` is the product.
"""

import torch
from made import HIDDEN, Z_DIM, Gauss, Generator, sequences
from torch import Tensor

from pixyz.distributions import Deterministic
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, Parameter

T_max = 6
combiner = Gauss("z_t", ["z_q_t_1", "h_rnn"], "q", Z_DIM + HIDDEN)
trans = Gauss("z_t", ["z_t_1"], "p", Z_DIM)
emitter = Generator(["z"]).replace_var(x="x_t", z="z_t")
beta = Parameter("beta")


class Update(Deterministic):
    """The z of the last step, under the name by which q reads it."""

    def __init__(self) -> None:
        super().__init__(var=["z_q_t_update"], cond_var=["z_t_1"], name="f")

    def forward(self, z_t_1: Tensor) -> dict[str, Tensor]:
        return {"z_q_t_update": z_t_1}


trans_update = Update()

# loss function for one step
step_loss = -E(combiner, LogProb(emitter)) + beta * KullbackLeibler(combiner, trans)

# loss function for all steps
loss_all: Loss = IterativeLoss(
    step_loss,
    max_iter=T_max,
    series_var=["x_t", "h_rnn"],  # variables for each step
    update_value={"z_t": ["z_t_1", "z_q_t_1"]},
)

# as printed
loss_printed: Loss = IterativeLoss(
    E(trans_update + combiner, step_loss),
    max_iter=T_max,
    series_var=["x_t", "h_rnn"],  # variables for each step
    update_value={"z_t": "z_t_1", "z_t_1": "z_q_t_1"},
)


def in_a_loop(
    mini_batch: Tensor, rnn_output: Tensor, mini_batch_mask: Tensor, annealing_factor: float
) -> Tensor:
    """The upper half of the figure, ``[B]``."""
    z_prev = z_q_prev = torch.zeros(mini_batch.shape[1], Z_DIM)
    loss_all = []
    for t in range(0, T_max):
        # evaluation for one step
        loss = step_loss.eval(
            {
                "x_t": mini_batch[t],
                "z_q_t_1": z_q_prev,
                "z_t_1": z_prev,
                "h_rnn": rnn_output[t],
                "beta": annealing_factor,
            }
        )
        loss_all.append(loss * mini_batch_mask[t])

        z_prev = combiner.sample({"z_q_t_1": z_q_prev, "h_rnn": rnn_output[t]})["z_t"]
        z_q_prev = trans_update.sample({"z_t_1": z_prev})["z_q_t_update"]

    return torch.stack(loss_all).sum(0)


def at_once(
    mini_batch: Tensor,
    rnn_output: Tensor,
    mini_batch_mask: Tensor,
    annealing_factor: float,
    loss: Loss = loss_all,
) -> Tensor:
    """The lower half, ``[B]``: the mask is one of the values given."""
    z_prev = z_q_prev = torch.zeros(mini_batch.shape[1], Z_DIM)
    found: Tensor = loss.eval(
        {
            "x_t": mini_batch,
            "mask": mini_batch_mask,
            "z_q_t_1": z_q_prev,
            "z_t_1": z_prev,
            "h_rnn": rnn_output,
            "beta": annealing_factor,
        }
    )
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    x = sequences(T_max)
    given = (x, torch.randn(T_max, x.shape[1], HIDDEN), torch.ones(x.shape[:2]), 0.3)
    print(loss_all)
    print(f"loop {in_a_loop(*given).mean():.2f}, at once {at_once(*given).mean():.2f}")
