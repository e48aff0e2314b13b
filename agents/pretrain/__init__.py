"""Pretraining: a world model learns from logs, and is judged in open loop before anything acts on
it.

settings    what a run is made of
choice, fit what was left open: values or changes; how the log is split, and how far the report goes
models      RSSM, DMM, VRNN, TD-VAE and an ensemble of steps behind one face, which is in
                model: objective, bound, forecast
learner     a model that learns from windows of a log, as an agent learns from a replay
trainer     Pretrainer: that in a run, with validation and early stopping
report      errors against the horizon beside baselines, pictures, a video
trust       intervals around forecasts, and where an ensemble is no longer to be trusted
start       an agent that starts from a pretrained model
"""

from agents.pretrain.models import PretrainModel
from agents.pretrain.settings import KINDS, PretrainSettings
from agents.pretrain.start import start_from
from agents.pretrain.trainer import Pretrainer

__all__ = ["KINDS", "PretrainModel", "PretrainSettings", "Pretrainer", "start_from"]
