"""Figure 4: sampling from, and the log-likelihood of, p(x) and the joint p(x,y) = p(y|x)p(x)."""

import torch

from pixyz.distributions import Normal

# define a distribution p(x)
a = Normal(loc=0, scale=1, var=["x"])
# sample
drawn = a.sample()
# estimate log-likelihood
test_sample = {"x": torch.tensor(0.1)}
simple = a.log_prob().eval(test_sample)

# define conditional distribution p(y|x)
b = Normal(loc="x", scale=1, cond_var=["x"], var=["y"])
# define joint distribution p(x,y) = p(y|x)p(x)
joint = a * b
# sample
drawn_jointly = joint.sample()
# estimate log-likelihood
test_sample = {"x": torch.tensor(0.1), "y": torch.tensor(2.0)}
both = joint.log_prob().eval(test_sample)

if __name__ == "__main__":
    print(a, joint, drawn, drawn_jointly, simple, both, sep="\n")
