"""The loops of agents, made of parts. They use nothing of an agent but its contract
(:mod:`agents.agent`).

progress   the counters
schedule   what comes next: act, update, evaluate, save
driver     environments and an actor -> rows
learner    an agent and a replay -> updates
train      the loop over them
run        parts that are saved together, the folder, the clock, the stop
evaluate   episodes of a policy that does not learn
trainer    all of it from settings;  in_folder: what it shares with pretraining
"""

from agents.run.driver import Driver, Moved, Moves
from agents.run.evaluate import Judge
from agents.run.learner import Learner
from agents.run.progress import Progress
from agents.run.run import Run, read_part
from agents.run.schedule import Offline, Online, Schedule
from agents.run.signals import Stop
from agents.run.train import train
from agents.run.trainer import Trainer

__all__ = [
    "Driver",
    "Judge",
    "Learner",
    "Moved",
    "Moves",
    "Offline",
    "Online",
    "Progress",
    "Run",
    "Schedule",
    "Stop",
    "Trainer",
    "read_part",
    "train",
]
