"""Figure 5: a joint of four distributions, printed as an equation and drawn as a graph.

python docs/examples/paper/figure_05_graph.py [FILE.png]
"""

import sys

import torch

from pixyz.distributions import Normal
from pixyz.utils import print_latex

# Define each distribution
p1 = Normal(
    loc=torch.tensor(0.0), scale=torch.tensor(1.0), var=["x"], cond_var=["y", "a"], name="p_{1}"
)
p2 = Normal(
    loc=torch.tensor(0.0), scale=torch.tensor(1.0), var=["z"], cond_var=["x", "y"], name="p_{2}"
)
p3 = Normal(loc=torch.tensor(0.0), scale=torch.tensor(1.0), var=["a"], name="p_{3}")
p4 = Normal(loc=torch.tensor(0.0), scale=torch.tensor(1.0), var=["y"], name="p_{4}")

# Define a joint distribution
p = p1 * p2 * p3 * p4

# Print the joint distribution in the LaTeX style
equation = print_latex(p)


# Plot the joint distribution
def main(path: str = "figure_05.png") -> None:
    """The paper's call, then the same graph laid out from parents to children in a file, by one
    call.
    """
    import matplotlib.pyplot as plt
    import networkx as nx

    nx.draw_networkx(p.graph.visible_graph())
    plt.close()
    p.graph.draw(path)


if __name__ == "__main__":
    print(equation)
    main(*sys.argv[1:])
