"""Data of series: episodes, their check, readers and writers, batches, known data sets.

    episodes    Episode, Episodes: the one form of all data; make_episode builds it from a log
    check       the checker: bad values by episode, step and key
    split       training, validation and test parts, by time or by episode
    sampling    batches [T, B, ...]: random windows, padded ragged episodes
    store       the memory-mapped form
    npz, table  folders of .npz files; CSV files with a column map
    folders     what readers and writers of folders share
"""

from worldmodels.data.check import Problem, checked, problems
from worldmodels.data.episodes import Episode, Episodes, make_episode
from worldmodels.data.errors import DataError
from worldmodels.data.npz import read_npz, write_npz
from worldmodels.data.sampling import Windows, pad, windows
from worldmodels.data.split import Split, split
from worldmodels.data.store import read_store, write_store
from worldmodels.data.table import Columns, read_csv

__all__ = [
    "Columns", "DataError", "Episode", "Episodes", "Problem", "Split", "Windows", "checked", "make_episode", "pad", "problems",
    "read_csv", "read_npz", "read_store", "split", "windows", "write_npz", "write_store",
]
