"""Figure A1(a): the M2 model (Kingma et al., 2014), semi-supervised; a few labels name the patterns
of many data.
"""

import torch
from made import Y_DIM, Classifier, Generator, Inference, patterns, prior

from pixyz.distributions import Categorical
from pixyz.losses import ELBO, LogProb, Parameter
from pixyz.models import Model

p_x_zy, q_z_xy, q_y_x = Generator(["z", "y"]), Inference(["x", "y"]), Classifier()
p_z = prior()
p_y = Categorical(var="y", probs=torch.full((Y_DIM,), 1 / Y_DIM), name="p_{prior}")
pu_x_zy, qu_z_xy, qu_y_x = (
    p_x_zy.replace_var(x="x_u"),
    q_z_xy.replace_var(x="x_u"),
    q_y_x.replace_var(x="x_u"),
)

# distributions for supervised learning
p_xyz = p_x_zy * p_z * p_y

# distributions for unsupervised learning
pu_xyz = pu_x_zy * p_z * p_y
qu_zy_x = qu_z_xy * qu_y_x

# parameter (the paper prints Parameter() without the name, which nothing could give a value)
alpha = Parameter("alpha")

# loss
elbo_u = ELBO(pu_xyz, qu_zy_x)
elbo = ELBO(p_xyz, q_z_xy)

elbo_all = (elbo + alpha * LogProb(q_y_x)).sum() + elbo_u.sum()

model = Model(-elbo_all, distributions=[p_x_zy, q_z_xy, q_y_x], optimizer_params={"lr": 1e-2})


def main(steps: int = 120) -> tuple[list[float], float]:
    """Train on 20 labels; the losses, and the share of the others that is named rightly."""
    x, y = patterns()
    given = {"x": x[:20], "y": y[:20], "x_u": x[20:], "alpha": 20.0}
    losses = [model.train(given).item() for _ in range(steps)]
    right = q_y_x.sample_mean({"x": x[20:]}).argmax(-1) == y[20:].argmax(-1)
    return losses, right.float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    print(elbo_all)
    losses, accuracy = main()
    print(f"loss {losses[0]:.1f} -> {losses[-1]:.1f}, accuracy {accuracy:.1%}")
