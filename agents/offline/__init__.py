"""An agent that learns from logs alone, within a model of them, and is paid for staying where the
model knows.

imagined   a source of what the model imagines under the agent's policy, less a penalty
trainer    from settings to a run that `pixyz robot learn --from` goes on from
"""

from agents.offline.imagined import Imagination
from agents.offline.trainer import OfflineTrainer

__all__ = ["Imagination", "OfflineTrainer"]
