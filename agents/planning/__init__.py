"""Planning: the best actions on a path that a model imagines. Solvers are values; their memory is
handed in and back.

plan       what solvers share: a plan, its warm start, rounds within a time budget
scorer     what a path is worth: rewards, constraints of one's own, continuation, a value at its end
shooting, cem, icem, mppi     the solvers
"""

from agents.planning.cem import CEM
from agents.planning.icem import ICEM
from agents.planning.mppi import MPPI
from agents.planning.plan import Guess, Plan, Score, Solver, Tried
from agents.planning.scorer import PathScorer
from agents.planning.shooting import RandomShooting

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "Guess",
    "PathScorer",
    "Plan",
    "RandomShooting",
    "Score",
    "Solver",
    "Tried",
]
