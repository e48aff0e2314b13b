"""Data of series: episodes, their check, readers and writers, batches, known data sets.

    episodes    Episode, Episodes: the one form of all data; make_episode builds it from a log
    check       the checker: bad values by episode, step and key
    split       training, validation and test parts, by time or by episode
    sampling    batches [T, B, ...]: random windows, padded ragged episodes
    store       the memory-mapped form
    npz, minari, lerobot, table   folders of .npz files; Minari's HDF5; LeRobot's parquet and videos; CSV with a column map
    read        any of these, checked
    folders, frames               what readers and writers share
"""

from worldmodels.data.check import Problem, checked, problems
from worldmodels.data.episodes import Episode, Episodes, make_episode
from worldmodels.data.errors import DataError
from worldmodels.data.lerobot import read_lerobot
from worldmodels.data.lerobot_write import write_lerobot
from worldmodels.data.minari import read_minari, write_minari
from worldmodels.data.npz import read_npz, write_npz
from worldmodels.data.read import read_episodes
from worldmodels.data.sampling import Windows, pad, windows
from worldmodels.data.split import Split, split
from worldmodels.data.store import read_store, write_store
from worldmodels.data.table import Columns, read_csv

__all__ = [
    "Columns", "DataError", "Episode", "Episodes", "Problem", "Split", "Windows", "checked", "make_episode", "pad", "problems",
    "read_csv", "read_episodes", "read_lerobot", "read_minari", "read_npz", "read_store", "split", "windows", "write_lerobot",
    "write_minari", "write_npz", "write_store",
]
