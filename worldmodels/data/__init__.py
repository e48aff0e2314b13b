"""Data of series: episodes, their check, readers and writers, batches, known data sets.

episodes, log                Episode, Episodes: the one form of all data; make_episode builds it
                             from a log
check                        the checker: bad values by episode, step and key
summary                      lengths, rate, the range of each feature
split                        training, validation and test parts, by time or by episode
sampling                     batches [T, B, ...]: random windows, padded ragged episodes
store                        the memory-mapped form
npz, minari, lerobot, table  folders of .npz files; Minari's HDF5; LeRobot's parquet and videos; CSV
                             with a column map
read                         any of these, checked: a form is a row of a table
folders, frames, parquet     what readers and writers share
names, actions               how observations are called; when whole numbers are classes
tensordicts                  transitions of torchrl, and back
d4rl                         the names of D4RL's arrays
download                     files of public data sets: a cache, checksums, licences
digits, music, robots        MNIST, polyphonic music, a wall follower and an arm
generated                    oscillators, bouncing balls, moving digits
"""

from worldmodels.data.check import Problem, checked, problems
from worldmodels.data.columns import Columns
from worldmodels.data.digits import mnist, mnist_rows
from worldmodels.data.download import Source, cache_folder, fetch
from worldmodels.data.episodes import Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.generated import Balls, bouncing_balls, moving_mnist, oscillators
from worldmodels.data.lerobot import read_lerobot
from worldmodels.data.lerobot_write import write_lerobot
from worldmodels.data.log import make_episode
from worldmodels.data.minari import read_minari, write_minari
from worldmodels.data.music import polyphonic
from worldmodels.data.npz import read_npz, write_npz
from worldmodels.data.read import READERS, Reader, read_episodes, read_unchecked
from worldmodels.data.robots import sarcos, wall_following
from worldmodels.data.sampling import Windows, pad, windows
from worldmodels.data.split import Split, split
from worldmodels.data.store import read_store, write_store
from worldmodels.data.summary import Feature, Summary, summarise
from worldmodels.data.table import read_csv
from worldmodels.data.table_write import write_csv
from worldmodels.data.tensordicts import from_tensordict, to_tensordict

__all__ = [
    "READERS",
    "Balls",
    "Columns",
    "DataError",
    "Episode",
    "Episodes",
    "Feature",
    "Problem",
    "Reader",
    "Source",
    "Split",
    "Summary",
    "Windows",
    "bouncing_balls",
    "cache_folder",
    "checked",
    "fetch",
    "from_tensordict",
    "make_episode",
    "mnist",
    "mnist_rows",
    "moving_mnist",
    "oscillators",
    "pad",
    "polyphonic",
    "problems",
    "read_csv",
    "read_episodes",
    "read_lerobot",
    "read_minari",
    "read_npz",
    "read_store",
    "read_unchecked",
    "sarcos",
    "split",
    "summarise",
    "to_tensordict",
    "wall_following",
    "windows",
    "write_csv",
    "write_lerobot",
    "write_minari",
    "write_npz",
    "write_store",
]
