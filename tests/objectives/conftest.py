"""One thread: the machine's other cores are somebody else's."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
