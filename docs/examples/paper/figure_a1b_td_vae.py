"""Figure A1(b): TD-VAE (Gregor et al., 2019); the step's variables come from a slice of whole
series.
"""

import torch
from made import HIDDEN, X_DIM, Z_DIM, Gauss, Generator, sequences
from torch import Tensor, nn

from pixyz.distributions import Deterministic
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb
from pixyz.models import Model


class BeliefStateNet(Deterministic):
    """b_t, of all of x_1 ... x_t."""

    def __init__(self) -> None:
        super().__init__(var=["b"], cond_var=["x"], name="f")
        self.rnn = nn.GRU(X_DIM, HIDDEN)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"b": self.rnn(x)[0]}


class SliceStep(Deterministic):
    """What a step reads; ``t`` is the step's number without being declared anywhere else."""

    def __init__(self) -> None:
        super().__init__(var=["x_t", "b_t", "b_prev"], cond_var=["x", "b", "t"], name="s")

    def forward(self, x: Tensor, b: Tensor, t: int) -> dict[str, Tensor]:
        return {"x_t": x[t + 1], "b_t": b[t + 1], "b_prev": b[t]}


seq_len = 6
belief_state_net, slice_step = BeliefStateNet(), SliceStep()
p_b = Gauss("z", ["b"], "p_B", HIDDEN)
p_b1, p_b2 = p_b.replace_var(z="z_prev", b="b_prev"), p_b.replace_var(z="z_t", b="b_t")
q = Gauss("z_prev", ["z_t", "b_prev", "b_t"], "q", Z_DIM + 2 * HIDDEN)
p_t = Gauss("z_t", ["z_prev"], "p", Z_DIM)
p_d = Generator(["z"]).replace_var(x="x_t", z="z_t")

kl = KullbackLeibler(q, p_b1)
reconst = E(q, LogProb(p_t) + LogProb(p_d) - LogProb(p_b2))
step_elbo = E(p_b2, reconst - kl)

_elbo = IterativeLoss(step_elbo, max_iter=seq_len - 1, series_var=["x", "b"], slice_step=slice_step)

elbo = E(belief_state_net, _elbo).mean()

model = Model(
    -elbo, distributions=[belief_state_net, p_b, q, p_t, p_d], optimizer_params={"lr": 1e-2}
)


def main(steps: int = 60) -> list[float]:
    """Train on patterns that follow one another; the losses."""
    x = sequences(seq_len)
    return [model.train({"x": x}).item() for _ in range(steps)]


if __name__ == "__main__":
    torch.manual_seed(0)
    print(elbo)
    losses = main()
    print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
