"""Learning online in two processes, on one machine or two: an actor that has the robot, and a
learner.

    message    what they say, under a checksum; nothing that is read is executed
    log        the actor's rows on its own disk, until the learner has them safely
    record     a row in it
    sending    the actor's end of the talk, receiving: the learner's; no socket and no clock in them
    link       ZeroMQ
    weights    a policy as arrays
    acting     the actor's part of the loop, learning: the learner's; the loop is that of
               ``agents.run.train``
    actor, learner   both from settings;  panel: what a person sees

Rows are never lost (they are in the log until a checkpoint of the learner has them) and never
double (they are numbered).
"""

from agents.online.acting import Acting, LostLearnerError, Newest, Nothing, Reporting
from agents.online.actor import ActorSide
from agents.online.beat import Beat
from agents.online.learner import LearnerSide, Meeting
from agents.online.learning import Arrivals, LearnerRun, Publisher, Streaming
from agents.online.link import ActorLink, LearnerLink
from agents.online.log import LogFullError, RowLog
from agents.online.message import DamagedError, pack, unpack
from agents.online.panel import Panel
from agents.online.receiving import Receiving
from agents.online.record import Record, RecordError
from agents.online.sending import Pace, Sending
from agents.online.weights import Weights

__all__ = [
    "Acting",
    "ActorLink",
    "ActorSide",
    "Arrivals",
    "Beat",
    "DamagedError",
    "LearnerLink",
    "LearnerRun",
    "LearnerSide",
    "LogFullError",
    "LostLearnerError",
    "Meeting",
    "Newest",
    "Nothing",
    "Pace",
    "Panel",
    "Publisher",
    "Receiving",
    "Record",
    "RecordError",
    "Reporting",
    "RowLog",
    "Sending",
    "Streaming",
    "Weights",
    "pack",
    "unpack",
]
