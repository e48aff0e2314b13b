"""One thread: the tensors here are small, and threads that wait for one another on a busy machine
take most of the time.
"""

import torch

torch.set_num_threads(1)
